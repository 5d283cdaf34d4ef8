//! How likely a server's model finds given texts: `/v1/completions` with `echo` and `logprobs`.
//!
//! A request is one text; a server that keeps prefixes computes what neighbouring texts share once. Whether a token is
//! the likeliest in its place is seen by the likeliest that the server names. vLLM, SGLang and `midcourse serve` tell
//! what is needed; one that only chats, or that tells nothing of tokens that it was given, is refused.

use std::collections::VecDeque;

use midcourse_core::engine::{Assess, Assessed, Assessment, BoxError, Branch, TokenId, Usage};
use serde_json::{Value, json};

use super::client::{Reply, Request};
use super::dispatcher::Source;
use super::engine::RemoteEngine;
use super::fault::Fault;
use super::protocol::{Protocol, field};
use crate::Error;

impl Assess for RemoteEngine {
    fn assess(&self, assessment: &mut dyn Assessment) -> Result<Usage, BoxError> {
        if self.survey.protocol != Protocol::Completions {
            let how = self.survey.protocol.name();
            return Err(Box::new(self.tells_nothing(&format!("it is asked to go on by {how}"))));
        }
        let mut texts = Texts {
            engine: self,
            assessment,
            queue: VecDeque::new(),
            usage: Usage::default(),
            failure: None,
        };
        self.dispatcher.run(&mut texts, read)?;
        match texts.failure {
            Some(error) => Err(Box::new(error)),
            None => Ok(texts.usage),
        }
    }
}

impl RemoteEngine {
    fn tells_nothing(&self, why: &str) -> Error {
        let server = self.survey.server.name();
        Error::EndpointCannot {
            problem: format!("the server ({server}) tells no probabilities of given texts: {why}"),
            hint: "vLLM, SGLang and `midcourse serve` tell them on /v1/completions with echo and logprobs; a .gguf file \
                   or a directory is scored in this process"
                .into(),
        }
    }

    fn scoring(&self, text: &Text) -> Request {
        let body = json!({
            "model": self.survey.model, "prompt": text.tokens, "echo": true, "logprobs": 1, "temperature": 0.0,
            // Servers sample one token at least.
            "max_tokens": 1, "n": 1, "stream": false, "add_special_tokens": false,
        });
        Request::post(Protocol::Completions.route(), &body)
    }
}

/// A text that is asked about.
struct Text {
    id: usize,
    tokens: Vec<TokenId>,
    /// Number of the first scored token.
    from: usize,
}

/// The texts of an assessment as requests.
struct Texts<'a> {
    engine: &'a RemoteEngine,
    assessment: &'a mut dyn Assessment,
    queue: VecDeque<Text>,
    usage: Usage,
    failure: Option<Error>,
}

impl Texts<'_> {
    /// A text with room for the token that the server samples: its start goes where there is none.
    fn text(&self, trunk: &[TokenId], branch: &Branch) -> Text {
        let tokens = [trunk, &branch.tokens].concat();
        let cut = (tokens.len() + 1).saturating_sub(self.engine.context).min(branch.from - 1);
        Text { id: branch.id, tokens: tokens[cut..].to_vec(), from: branch.from - cut }
    }
}

impl Source for Texts<'_> {
    type Job = Text;
    type Answer = (f64, bool);

    fn next(&mut self) -> Option<(Text, Request)> {
        while self.queue.is_empty() {
            let bundle = self.assessment.next()?;
            let texts: Vec<Text> =
                bundle.branches.iter().map(|branch| self.text(&bundle.trunk, branch)).collect();
            self.queue.extend(texts);
        }
        let text = self.queue.pop_front()?;
        let request = self.engine.scoring(&text);
        Some((text, request))
    }

    fn stopping(&self) -> bool {
        self.failure.is_some() || self.assessment.stopping()
    }

    fn done(&mut self, text: Text, answer: Result<(f64, bool), Fault>) -> Result<(), BoxError> {
        let (logp, is_greedy) = match answer {
            Ok(found) => found,
            Err(Fault::Stopped) => return Ok(()),
            Err(Fault::Refused { status: 400 | 404 | 405 | 422 | 501, .. }) if self.usage.n_requests == 0 => {
                self.failure = Some(self.engine.tells_nothing("it refuses to"));
                return Ok(());
            }
            Err(Fault::Strange { problem }) if self.usage.n_requests == 0 => {
                self.failure = Some(self.engine.tells_nothing(&problem));
                return Ok(());
            }
            Err(fault) => return Err(Box::new(self.engine.dispatcher.error(0, &fault))),
        };
        self.usage.n_requests += 1;
        self.usage.n_prompt += text.tokens.len();
        self.assessment.progress(self.usage);
        self.assessment.take(vec![Assessed { id: text.id, logp, is_greedy }])
    }
}

/// Reads what a server found of a text.
fn read(text: &Text, reply: &Reply) -> Result<(f64, bool), Fault> {
    let json = reply.json()?;
    scored(&json, text).ok_or_else(|| {
        let problem =
            "expected a log-probability of every token that was sent, and the likeliest in its place";
        Fault::Strange { problem: format!("{problem}, found none") }
    })
}

/// The sum over the scored tokens, and whether each is the likeliest.
fn scored(json: &Value, text: &Text) -> Option<(f64, bool)> {
    let of = |name: &str| field(json, "choices")?.get(0).and_then(|choice| field(choice, name))?.as_array();
    let (logprobs, likeliest) = (of("logprobs.token_logprobs")?, of("logprobs.top_logprobs")?);
    let n = text.tokens.len();
    let (logprobs, likeliest) = (logprobs.get(text.from..n)?, likeliest.get(text.from..n)?);
    let (mut sum, mut is_greedy) = (0.0, true);
    for (logprob, likeliest) in logprobs.iter().zip(likeliest) {
        let logprob = logprob.as_f64().filter(|logprob| logprob.is_finite())?;
        let most =
            likeliest.as_object()?.values().filter_map(Value::as_f64).fold(f64::NEG_INFINITY, f64::max);
        sum += logprob;
        is_greedy &= logprob >= most;
    }
    Some((sum, is_greedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(token_logprobs: &Value, top_logprobs: &Value) -> Option<(f64, bool)> {
        let choice = json!({"logprobs": {"token_logprobs": token_logprobs, "top_logprobs": top_logprobs}});
        scored(&json!({"choices": [choice]}), &Text { id: 0, tokens: vec![5, 6, 7], from: 1 })
    }

    #[test]
    fn the_scored_tokens_count_and_not_the_sampled_one() {
        let logprobs = json!([null, -1.0, -0.5, -9.0]);
        let likeliest = json!([null, {"a": -1.0, "b": -3.0}, {"c": -0.5}, {"d": -1.0}]);
        assert_eq!(found(&logprobs, &likeliest), Some((-1.5, true)));
        let other = json!([null, {"a": -0.2, "b": -1.0}, {"c": -0.5}, {"d": -1.0}]);
        assert_eq!(found(&logprobs, &other), Some((-1.5, false)));
    }

    #[test]
    fn an_answer_without_probabilities_is_none() {
        let likeliest = json!([null, {"a": -1.0}, {"c": -0.5}]);
        for logprobs in
            [json!(null), json!([null, -1.0]), json!([null, "x", -1.0]), json!([null, null, -1.0])]
        {
            assert_eq!(found(&logprobs, &likeliest), None, "{logprobs}");
        }
        assert_eq!(found(&json!([null, -1.0, -1.0]), &json!([])), None);
    }
}
