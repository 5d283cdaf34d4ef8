//! From ended paths to the JSON of an answer, whole or in pieces.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use midcourse_core::engine::{Finish, Scored, TokenId};
use midcourse_core::template::{TokenizeError, Tokenizer};
use serde_json::{Map, Value, json};

use super::Server;
use super::asked::{Asked, Streaming, chance};
use super::error::ApiError;
use super::http::{Connection, Response};
use super::scheduler::{Ended, Event, Job, Scope, Ticket};
use super::text::{Pieces, before, until_stop};

/// How often it is looked whether a client that waits is still there.
const LOOK: Duration = Duration::from_millis(100);

/// A request that is to be answered with sampled paths.
pub(super) struct Generation {
    pub kind: Kind,
    pub job: Job,
    /// Texts of the prompts, where they are to stand before the answers.
    pub echoed: Vec<String>,
    pub asked: Asked,
}

/// Which of the two shapes an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Completions,
    Chat,
}

/// What became of a request.
pub(super) enum Outcome {
    Whole(Response),
    /// All of it is written; with a problem that came up on the way.
    Streamed(Option<ApiError>),
    /// The client has gone.
    Gone,
}

/// Tokens of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub n_prompt: usize,
    /// Drawn, the ends of turns among them.
    pub n_sampled: usize,
}

impl Counts {
    fn usage(self) -> Value {
        let Self { n_prompt, n_sampled } = self;
        json!({"prompt_tokens": n_prompt, "completion_tokens": n_sampled, "total_tokens": n_prompt + n_sampled})
    }
}

/// A path as it is told.
struct Choice {
    tokens: Vec<TokenId>,
    text: String,
    finish: &'static str,
    stop: Option<String>,
    scores: Vec<Scored>,
}

/// Answers a request.
pub(super) fn generate(
    server: &Server,
    generation: &Generation,
    connection: &mut Connection,
) -> (Result<Outcome, ApiError>, Counts) {
    let n_prompt = generation.job.prompts.iter().map(|prompt| prompt.len()).sum();
    let mut counts = Counts { n_prompt, n_sampled: 0 };
    let ticket = match server.scheduler.submit(generation.job.clone()) {
        Ok(ticket) => ticket,
        Err(error) => return (Err(error), counts),
    };
    let mut reply = Reply::new(server, generation, &mut counts);
    let outcome = match generation.asked.stream {
        Streaming::Off => reply.whole(&ticket, connection),
        Streaming::On | Streaming::WithUsage => Ok(reply.stream(&ticket, connection)),
    };
    (outcome, counts)
}

struct Reply<'a> {
    server: &'a Server,
    generation: &'a Generation,
    tokenizer: &'a dyn Tokenizer,
    counts: &'a mut Counts,
    id: String,
    created: u64,
}

/// The next event, or none when the client has gone.
fn next(ticket: &Ticket, connection: &Connection) -> Result<Option<Event>, ApiError> {
    loop {
        match ticket.events.recv_timeout(LOOK) {
            Ok(event) => return Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) if connection.is_gone() => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(ApiError::internal("the engine has stopped")),
        }
    }
}

impl<'a> Reply<'a> {
    fn new(server: &'a Server, generation: &'a Generation, counts: &'a mut Counts) -> Self {
        let name = match generation.kind {
            Kind::Completions => "cmpl",
            Kind::Chat => "chatcmpl",
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = format!("{name}-{:016x}", chance());
        let tokenizer = server.model.tokenizer.as_ref();
        Self { server, generation, tokenizer, counts, id, created: since.as_secs() }
    }

    fn n_paths(&self) -> usize {
        self.generation.job.prompts.len() * self.generation.job.n
    }

    fn prompt_of(&self, path: usize) -> &'a [TokenId] {
        &self.generation.job.prompts[path / self.generation.job.n]
    }

    fn choice(&mut self, path: usize, ended: Ended) -> Result<Choice, ApiError> {
        let Ended { tokens, finish, scores } = ended;
        self.counts.n_sampled += tokens.len() + usize::from(finish == Finish::EndOfTurn);
        let found = until_stop(self.tokenizer, (self.prompt_of(path), &tokens), &self.generation.job.stops);
        let (text, stop) = found.map_err(ApiError::internal)?;
        let finish = if finish == Finish::Length && stop.is_none() { "length" } else { "stop" };
        Ok(Choice { text, finish, stop: stop.map(str::to_owned), tokens, scores })
    }

    fn whole(&mut self, ticket: &Ticket, connection: &Connection) -> Result<Outcome, ApiError> {
        let mut choices: Vec<Option<Value>> = vec![None; self.n_paths()];
        for _ in 0..self.n_paths() {
            match next(ticket, connection)? {
                None => return Ok(Outcome::Gone),
                Some(Event::Failed(error)) => return Err(error),
                Some(Event::Token { .. }) => {}
                Some(Event::Ended { path, ended }) => {
                    let choice = self.choice(path, ended)?;
                    choices[path] = Some(self.shown(path, &choice).map_err(ApiError::internal)?);
                }
            }
        }
        let choices: Vec<Value> = choices.into_iter().flatten().collect();
        let mut body = self.frame("", &choices);
        body.insert("usage".into(), self.counts.usage());
        if self.generation.kind == Kind::Chat && self.generation.asked.return_token_ids {
            body.insert("prompt_token_ids".into(), json!(self.prompt_of(0)));
        }
        Ok(Outcome::Whole(Response::ok(Value::Object(body))))
    }

    /// What stands around choices.
    fn frame(&self, suffix: &str, choices: &[Value]) -> Map<String, Value> {
        let object = match self.generation.kind {
            Kind::Completions => "text_completion".to_owned(),
            Kind::Chat => format!("chat.completion{suffix}"),
        };
        let frame = json!({
            "id": self.id, "object": object, "created": self.created,
            "model": self.server.model.identity.name, "choices": choices,
        });
        match frame {
            Value::Object(frame) => frame,
            _ => Map::new(),
        }
    }

    /// A whole choice.
    fn shown(&self, path: usize, choice: &Choice) -> Result<Value, TokenizeError> {
        let mut shown = Map::new();
        shown.insert("index".into(), path.into());
        match self.generation.kind {
            Kind::Completions => {
                let text = [self.echo(path), &choice.text].concat();
                shown.insert("text".into(), text.into());
                shown.insert("logprobs".into(), self.logprobs(path, choice)?);
            }
            Kind::Chat => {
                shown.insert("message".into(), json!({"role": "assistant", "content": choice.text}));
                shown.insert("logprobs".into(), self.chat_logprobs(path, choice)?);
            }
        }
        shown.insert("finish_reason".into(), choice.finish.into());
        shown.insert("stop_reason".into(), json!(choice.stop));
        if self.generation.asked.return_token_ids {
            shown.insert("token_ids".into(), json!(choice.tokens));
            if self.generation.kind == Kind::Completions {
                shown.insert("prompt_token_ids".into(), json!(self.prompt_of(path)));
            }
        }
        Ok(Value::Object(shown))
    }

    /// The prompt's text, where it stands before the answer.
    fn echo(&self, path: usize) -> &str {
        self.generation.echoed.get(path / self.generation.job.n).map_or("", String::as_str)
    }

    /// The text that a token adds after `before`.
    fn token_text(&self, before: &[TokenId], token: TokenId) -> Result<String, TokenizeError> {
        self.tokenizer.decode_after(before, &[token])
    }

    /// Scored tokens, each with the tokens before it that its text depends on.
    fn in_context<'s>(&self, path: usize, choice: &'s Choice) -> Vec<(Vec<TokenId>, &'s Scored)> {
        let prompt = self.prompt_of(path);
        let n_given = match self.generation.job.scoring.map(|scoring| scoring.of) {
            Some(Scope::Everything) => 1,
            _ => prompt.len(),
        };
        let scored: Vec<TokenId> = choice.scores.iter().map(|scored| scored.token).collect();
        let context = |at: usize| before(&prompt[..n_given], &scored[..at]);
        choice.scores.iter().enumerate().map(|(at, scored)| (context(at), scored)).collect()
    }

    /// Log-probabilities as the completions API shows them.
    fn logprobs(&self, path: usize, choice: &Choice) -> Result<Value, TokenizeError> {
        let Some(scoring) = self.generation.job.scoring else { return Ok(Value::Null) };
        let (mut tokens, mut logprobs, mut likeliest, mut offsets) = (vec![], vec![], vec![], vec![]);
        let mut offset = 0;
        if scoring.of == Scope::Everything {
            let first = self.token_text(&[], self.prompt_of(path)[0])?;
            offsets.push(offset);
            offset += first.chars().count();
            tokens.push(first);
            logprobs.push(None);
            likeliest.push(Value::Null);
        }
        for (context, scored) in self.in_context(path, choice) {
            let text = self.token_text(&context, scored.token)?;
            let mut others = Map::new();
            let given = (scored.token, scored.logprob);
            for &(token, logprob) in scored.likeliest.iter().chain([&given]) {
                // Of several tokens with one text, the likeliest is shown.
                others.entry(self.token_text(&context, token)?).or_insert_with(|| logprob.into());
            }
            offsets.push(offset);
            offset += text.chars().count();
            tokens.push(text);
            logprobs.push(Some(scored.logprob));
            likeliest.push(Value::Object(others));
        }
        Ok(
            json!({"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": likeliest, "text_offset": offsets}),
        )
    }

    /// Log-probabilities as the chat API shows them.
    fn chat_logprobs(&self, path: usize, choice: &Choice) -> Result<Value, TokenizeError> {
        if self.generation.job.scoring.is_none() {
            return Ok(Value::Null);
        }
        let entry = |context: &[TokenId], token: TokenId, logprob: f64| {
            let text = self.token_text(context, token)?;
            // Of a part of a character there are no bytes to tell.
            let bytes = (!text.contains(char::REPLACEMENT_CHARACTER)).then(|| text.as_bytes().to_vec());
            Ok(json!({"token": text, "logprob": logprob, "bytes": bytes}))
        };
        let content = self.in_context(path, choice).into_iter().map(|(context, scored)| {
            let others = scored.likeliest.iter().map(|&(token, logprob)| entry(&context, token, logprob));
            let others = others.collect::<Result<Vec<_>, TokenizeError>>()?;
            let mut shown = entry(&context, scored.token, scored.logprob)?;
            shown["top_logprobs"] = others.into();
            Ok(shown)
        });
        Ok(json!({"content": content.collect::<Result<Vec<_>, _>>()?}))
    }

    fn stream(&mut self, ticket: &Ticket, connection: &mut Connection) -> Outcome {
        match self.events(ticket, connection) {
            Ok(true) => Outcome::Streamed(None),
            Ok(false) => Outcome::Gone,
            Err(error) => {
                let _ = connection.event(&error.body().to_string());
                Outcome::Streamed(Some(error))
            }
        }
    }

    /// Sends pieces; false when the client has gone.
    fn events(&mut self, ticket: &Ticket, connection: &mut Connection) -> Result<bool, ApiError> {
        let mut pieces: Vec<Pieces> = (0..self.n_paths()).map(|_| Pieces::default()).collect();
        let begun = connection.begin_events().and_then(|()| {
            (0..pieces.len()).try_for_each(|path| connection.event(&self.first_chunk(path).to_string()))
        });
        if begun.is_err() {
            return Ok(false);
        }
        let mut n_open = pieces.len();
        while n_open > 0 {
            let chunk = match next(ticket, connection)? {
                None => return Ok(false),
                Some(Event::Failed(error)) => return Err(error),
                Some(Event::Token { path, token }) => {
                    let (prompt, stops) = (self.prompt_of(path), &self.generation.job.stops);
                    let piece = pieces[path].push(self.tokenizer, (prompt, token), stops);
                    let piece = piece.map_err(ApiError::internal)?;
                    if piece.is_empty() && !self.generation.asked.return_token_ids {
                        continue;
                    }
                    self.chunk(path, &piece, &[token], None)
                }
                Some(Event::Ended { path, ended }) => {
                    n_open -= 1;
                    let choice = self.choice(path, ended)?;
                    let rest = pieces[path].rest(&choice.text);
                    self.chunk(path, rest, &[], Some(&choice))
                }
            };
            if connection.event(&chunk.to_string()).is_err() {
                return Ok(false);
            }
        }
        if self.generation.asked.stream == Streaming::WithUsage {
            let mut last = self.frame(".chunk", &[]);
            last.insert("usage".into(), self.counts.usage());
            if connection.event(&Value::Object(last).to_string()).is_err() {
                return Ok(false);
            }
        }
        Ok(connection.event("[DONE]").is_ok())
    }

    /// What is sent of a choice before its first token.
    fn first_chunk(&self, path: usize) -> Value {
        let mut chunk = self.chunk(path, self.echo(path), &[], None);
        if self.generation.kind == Kind::Chat {
            chunk["choices"][0]["delta"]["role"] = "assistant".into();
        }
        if self.generation.asked.return_token_ids {
            match self.generation.kind {
                Kind::Completions => chunk["choices"][0]["prompt_token_ids"] = json!(self.prompt_of(path)),
                Kind::Chat => chunk["prompt_token_ids"] = json!(self.prompt_of(path)),
            }
        }
        chunk
    }

    fn chunk(&self, path: usize, text: &str, tokens: &[TokenId], ended: Option<&Choice>) -> Value {
        let mut shown = Map::new();
        shown.insert("index".into(), path.into());
        match self.generation.kind {
            Kind::Completions => shown.insert("text".into(), text.into()),
            Kind::Chat => shown.insert("delta".into(), json!({"content": text})),
        };
        shown.insert("logprobs".into(), Value::Null);
        shown.insert("finish_reason".into(), json!(ended.map(|choice| choice.finish)));
        shown.insert("stop_reason".into(), json!(ended.and_then(|choice| choice.stop.as_ref())));
        if self.generation.asked.return_token_ids {
            shown.insert("token_ids".into(), json!(tokens));
        }
        Value::Object(self.frame(".chunk", &[Value::Object(shown)]))
    }
}
