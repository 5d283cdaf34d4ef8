//! A server's model that answers whole conversations: enough to judge.

use midcourse_core::engine::{Answer, BoxError, Chat, Interview, Question, Usage};
use serde_json::{Value, json};

use super::client::{Reply, Request, Route};
use super::dispatcher::{Dispatcher, Source};
use super::fault::Fault;
use super::protocol::{array, field};
use crate::Error;

/// Alternatives of the first token that are asked for; no server refuses so few.
const N_ALTERNATIVES: usize = 20;

/// Tokens of the answer to the first question: some hosts refuse a limit within which a model did not end thinking.
const MAX_FIRST_TOKENS: usize = 256;

/// A server's model as a partner in conversations.
pub struct RemoteChat {
    dispatcher: Dispatcher,
    model: String,
    dialect: Dialect,
}

/// Which fields a server takes: hosts differ in what they refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// All, with the probabilities of the first token.
    Probabilities,
    /// All but these.
    Text,
    /// What reasoning models take: no temperature, and another name for the limit of tokens.
    Bare,
}

const DIALECTS: [Dialect; 3] = [Dialect::Probabilities, Dialect::Text, Dialect::Bare];

impl RemoteChat {
    /// Asks the server a first question, to learn which fields it takes.
    ///
    /// # Errors
    /// [`Error::Endpoint`] when it answers in none of the ways it is asked.
    pub fn open(dispatcher: Dispatcher, model: &str) -> Result<Self, Error> {
        let messages = vec![midcourse_core::chat::Message::user("Say yes.")];
        let first = Question { id: 0, messages, max_new_tokens: MAX_FIRST_TOKENS };
        let mut chat = Self { dispatcher, model: model.to_owned(), dialect: Dialect::Probabilities };
        let mut refusal = None;
        for dialect in DIALECTS {
            chat.dialect = dialect;
            match chat.dispatcher.ask(0, &chat.request(&first)).and_then(|reply| read(&first, &reply)) {
                Ok(_) => return Ok(chat),
                Err(fault @ Fault::Refused { status: 400 | 422 | 501, .. }) => refusal = Some(fault),
                Err(fault) => return Err(chat.dispatcher.error(0, &fault)),
            }
        }
        let fault = refusal.unwrap_or(Fault::Stopped);
        Err(chat.dispatcher.error(0, &fault))
    }

    fn request(&self, question: &Question) -> Request {
        let mut body = json!({ "model": self.model, "messages": question.messages, "n": 1, "stream": false });
        let more = match self.dialect {
            Dialect::Bare => json!({ "max_completion_tokens": question.max_new_tokens }),
            Dialect::Text => json!({ "max_tokens": question.max_new_tokens, "temperature": 0.0, "seed": 0 }),
            Dialect::Probabilities => json!({
                "max_tokens": question.max_new_tokens, "temperature": 0.0, "seed": 0,
                "logprobs": true, "top_logprobs": N_ALTERNATIVES,
            }),
        };
        body = super::protocol::with(body, more);
        Request::post(Route::Api("/chat/completions"), &body)
    }
}

/// The answer in a reply.
fn read(question: &Question, reply: &Reply) -> Result<Answer, Fault> {
    let json = reply.json()?;
    let strange = |problem: String| Fault::Strange { problem };
    let choices = array(&json, "choices").map_err(|mistake| strange(mistake.0))?;
    let choice = choices.first().ok_or_else(|| strange("field choices: expected one, found none".into()))?;
    // A model that only thought has said nothing, which is an answer that cannot be understood.
    let text = match field(choice, "message.content") {
        Some(Value::String(text)) => text.clone(),
        // Some hosts divide what was thought from what is said; only the latter has a text.
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
        }
        Some(Value::Null) | None if field(choice, "message").is_some() => String::new(),
        _ => return Err(strange("field choices.message.content: expected a string".into())),
    };
    let first =
        field(choice, "logprobs.content").and_then(|tokens| tokens.get(0)?.get("top_logprobs")?.as_array());
    let alternative =
        |entry: &Value| Some((entry.get("token")?.as_str()?.to_owned(), entry.get("logprob")?.as_f64()?));
    let first = first.into_iter().flatten().filter_map(alternative).collect();
    let count = |path: &str| field(&json, path).and_then(Value::as_u64).unwrap_or(0) as usize;
    let usage = Usage {
        n_requests: 1,
        n_prompt: count("usage.prompt_tokens"),
        n_sampled: count("usage.completion_tokens"),
        n_computed: 0,
    };
    Ok(Answer { id: question.id, text, first, usage })
}

impl Chat for RemoteChat {
    fn talk(&self, interview: &mut dyn Interview) -> Result<(), BoxError> {
        self.dispatcher.run(&mut Talk { chat: self, interview }, read).map(|_| ())
    }
}

struct Talk<'a> {
    chat: &'a RemoteChat,
    interview: &'a mut dyn Interview,
}

impl Source for Talk<'_> {
    type Job = Question;
    type Answer = Answer;

    fn next(&mut self) -> Option<(Question, Request)> {
        let question = self.interview.ask()?;
        let request = self.chat.request(&question);
        Some((question, request))
    }

    fn stopping(&self) -> bool {
        self.interview.stopping()
    }

    fn done(&mut self, question: Question, answer: Result<Answer, Fault>) -> Result<(), BoxError> {
        match answer {
            Ok(answer) => self.interview.hear(answer),
            Err(Fault::Stopped) => Ok(()),
            // A filter of contents, or a question longer than the context: the next one may be read.
            Err(fault @ Fault::Refused { status: 400 | 413 | 422, .. }) => {
                self.interview.refused(question.id, &fault.to_string())
            }
            Err(fault) => Err(Box::new(self.chat.dispatcher.error(0, &fault))),
        }
    }
}
