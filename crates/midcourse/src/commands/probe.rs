//! `midcourse probe`: what a model is given for one prefix, and what it would say next.

use anyhow::Result;
use midcourse_core::engine::TokenId;
use midcourse_core::report::strip_controls;
use midcourse_core::template::{Mode, Prefill, Proof, Tokenizer, prefill};
use midcourse_engine::local::LoadOptions;
use serde::Serialize;

use crate::args::ProbeArgs;
use crate::failure::Failure;
use crate::model::{self, Loading, Model};
use crate::session::into_anyhow;
use crate::terminal::{print, say};
use crate::{adapted, framing};

/// Next tokens shown.
const N_NEXT: usize = 20;

#[derive(Serialize)]
struct Probe {
    /// Where the chat template comes from.
    chat_template: String,
    mode: Mode,
    /// The text of the model's input.
    rendered: String,
    token_ids: Vec<TokenId>,
    /// Index of the first token of the prefix.
    prefix_start: usize,
    /// Whether the template changed the response, which was allowed.
    rewritten: bool,
    proof: Proof,
    next_tokens: Vec<NextToken>,
}

#[derive(Serialize)]
struct NextToken {
    id: TokenId,
    text: String,
    /// Natural logarithm.
    logprob: f64,
}

/// Runs the command.
pub(crate) fn run(args: &ProbeArgs) -> Result<u8> {
    let template = framing::choice(args.framing.chat_template.as_deref());
    args.endpoint.check(&args.model)?;
    let (dtype, adapter) = (args.dtype.unwrap_or_default(), args.adapter.clone());
    let local = LoadOptions { template, dtype, adapter, ..LoadOptions::default() };
    let mut model = model::load(&args.model, &Loading { local, endpoint: args.endpoint.clone(), seed: 0 })?;
    model.template = model.template.framed(args.framing.framing());
    framing::note(&args.framing.framing(), &model.template).into_iter().for_each(say);
    adapted::warn(args.adapter.as_deref(), &model.identity, &args.framing.framing().system)?;
    let given = Given::of(args, &model, args.mode)?;
    let next = next_tokens(&given, &model, &args.model)?;
    if args.json {
        let Given { mode, rendered, prefill, token_ids, proof } = given;
        print(&serde_json::to_string_pretty(&Probe {
            chat_template: model.template.origin().to_owned(),
            mode,
            rendered,
            token_ids,
            prefix_start: prefill.prefix_start,
            rewritten: prefill.rewritten,
            proof,
            next_tokens: next,
        })?);
        return Ok(0);
    }
    let other = match args.mode {
        Mode::OpenTurn => Mode::NewTurn,
        Mode::NewTurn => Mode::OpenTurn,
    };
    let other = Given::of(args, &model, other)?;
    let mut lines = vec![format!("Chat template: {}", strip_controls(model.template.origin()))];
    lines.extend(given.explain(model.tokenizer.as_ref())?);
    lines.extend(next.iter().map(|next| {
        let percent = next.logprob.exp() * 100.0;
        format!("  {percent:>6.2} %  {:>8.4}  {:>7}  {:?}", next.logprob, next.id, next.text)
    }));
    lines.push(String::new());
    lines.extend(other.explain(model.tokenizer.as_ref())?);
    lines.push(format!("  shown with --mode {}", other.mode.name()));
    print(&lines.join("\n"));
    Ok(0)
}

fn next_tokens(given: &Given, model: &Model, name: &str) -> Result<Vec<NextToken>> {
    let next =
        model.engine.next_tokens(&given.token_ids, N_NEXT).map_err(|error| into_anyhow(error, name))?;
    let next_token = |(id, logprob): (TokenId, f64)| -> Result<NextToken> {
        Ok(NextToken { id, text: model.tokenizer.decode_after(&given.token_ids, &[id])?, logprob })
    };
    next.into_iter().map(next_token).collect()
}

/// What the model is given in one mode.
struct Given {
    mode: Mode,
    prefill: Prefill,
    token_ids: Vec<TokenId>,
    rendered: String,
    proof: Proof,
}

impl Given {
    fn of(args: &ProbeArgs, model: &Model, mode: Mode) -> Result<Self> {
        let tokenizer = model.tokenizer.as_ref();
        let prefill = prefill(&model.template, tokenizer, (&args.prompt, &args.response), mode)?;
        let n_tokens = prefill.n_response_tokens();
        if args.k > n_tokens {
            return Err(Failure::Usage {
                problem: format!("--k: the response has {n_tokens} tokens, found {}", args.k),
                hint: "force fewer tokens or give a longer --response".into(),
            }
            .into());
        }
        let token_ids = prefill.input(args.k);
        let (rendered, proof) = (tokenizer.decode(&token_ids)?, prefill.proof(tokenizer, args.k)?);
        Ok(Self { mode, prefill, token_ids, rendered, proof })
    }

    /// The input, its proof, and what the mode is.
    fn explain(&self, tokenizer: &dyn Tokenizer) -> Result<Vec<String>> {
        let answer = |holds: bool| if holds { "yes" } else { "NO" };
        let (start, n_tokens) = (self.prefill.prefix_start, self.token_ids.len());
        let before = tokenizer.decode(&self.token_ids[..start.min(n_tokens)])?;
        let forced = self.rendered.strip_prefix(&before).unwrap_or_default();
        let indented = |text: &str| -> Vec<String> {
            text.lines().map(|line| format!("  {}", strip_controls(line))).collect()
        };
        let mut lines = vec![match self.mode {
            Mode::OpenTurn => {
                "open-turn, a true prefill: the model goes on in the middle of its answer.".to_owned()
            }
            Mode::NewTurn => {
                "new-turn, as the released scripts: the answer is closed as a finished turn, and the \
                model is asked to begin another."
                    .to_owned()
            }
        }];
        lines.push(format!("The model is given {n_tokens} tokens:"));
        lines.extend(indented(&before));
        lines.push(format!("and from token {start} on, as forced:"));
        lines.extend(indented(forced));
        if self.prefill.rewritten {
            lines.push("  (as the chat template rewrites the response)".to_owned());
        }
        let bos =
            if self.proof.bos_as_expected { "as tokenizer and template put it" } else { "NOT as expected" };
        lines.extend([
            format!("  ends with the prefix   {}", answer(self.proof.ends_with_prefix)),
            format!("  the turn stays open    {}", answer(self.proof.no_end_of_turn_after)),
            format!("  beginning of sequence  {} ({bos})", self.proof.n_bos),
            "Likeliest next tokens:".to_owned(),
        ]);
        Ok(lines)
    }
}
