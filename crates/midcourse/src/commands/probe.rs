//! `midcourse probe`: what a model is given for one prefix, and what it would say next.

use anyhow::Result;
use midcourse_core::engine::TokenId;
use midcourse_core::report::strip_controls;
use midcourse_core::template::{Proof, Tokenizer, prefill};
use midcourse_engine::local::BatchLimits;
use serde::Serialize;

use crate::args::ProbeArgs;
use crate::failure::Failure;
use crate::model;
use crate::session::into_anyhow;
use crate::terminal::print;

/// Next tokens shown.
const N_NEXT: usize = 20;

#[derive(Serialize)]
struct Probe {
    /// The text of the model's input.
    rendered: String,
    token_ids: Vec<TokenId>,
    /// Index of the first token of the prefix.
    prefix_start: usize,
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
    let model = model::load(&args.model, BatchLimits::default())?;
    let tokenizer = model.tokenizer.as_ref();
    let rendered = prefill(&model.template, tokenizer, (&args.prompt, &args.response), args.mode)?;
    if args.k > rendered.n_response_tokens() {
        return Err(Failure::Usage {
            problem: format!(
                "--k: the response has {} tokens, found {}",
                rendered.n_response_tokens(),
                args.k
            ),
            hint: "force fewer tokens or give a longer --response".into(),
        }
        .into());
    }
    let token_ids = rendered.input(args.k);
    let next =
        model.engine.next_tokens(&token_ids, N_NEXT).map_err(|error| into_anyhow(error, &args.model))?;
    let next_token = |(id, logprob): (TokenId, f64)| -> Result<NextToken> {
        Ok(NextToken { id, text: tokenizer.decode_after(&token_ids, &[id])?, logprob })
    };
    let probe = Probe {
        rendered: tokenizer.decode(&token_ids)?,
        prefix_start: rendered.prefix_start,
        proof: rendered.proof(tokenizer, args.k)?,
        next_tokens: next.into_iter().map(next_token).collect::<Result<_>>()?,
        token_ids,
    };
    print(&if args.json { serde_json::to_string_pretty(&probe)? } else { render(&probe, tokenizer)? });
    Ok(0)
}

fn render(probe: &Probe, tokenizer: &dyn Tokenizer) -> Result<String> {
    let answer = |holds: bool| if holds { "yes" } else { "NO" };
    let before = tokenizer.decode(&probe.token_ids[..probe.prefix_start.min(probe.token_ids.len())])?;
    let forced = probe.rendered.strip_prefix(&before).unwrap_or_default();
    let indented =
        |text: &str| text.lines().map(|line| format!("  {}", strip_controls(line))).collect::<Vec<_>>();
    let bos =
        if probe.proof.bos_as_expected { "as tokenizer and template put it" } else { "NOT as expected" };
    let mut lines = vec![format!("The model is given {} tokens:", probe.token_ids.len())];
    lines.extend(indented(&before));
    lines.push(format!("and from token {} on, as forced:", probe.prefix_start));
    lines.extend(indented(forced));
    lines.extend([
        format!("  ends with the prefix   {}", answer(probe.proof.ends_with_prefix)),
        format!("  the turn stays open    {}", answer(probe.proof.no_end_of_turn_after)),
        format!("  beginning of sequence  {} ({bos})", probe.proof.n_bos),
        "Likeliest next tokens:".to_owned(),
    ]);
    lines.extend(probe.next_tokens.iter().map(|next| {
        let percent = next.logprob.exp() * 100.0;
        format!("  {percent:>6.2} %  {:>8.4}  {:>7}  {:?}", next.logprob, next.id, next.text)
    }));
    Ok(lines.join("\n"))
}
