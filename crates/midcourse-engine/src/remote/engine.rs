//! A server's model that goes on from inside its turn: trees become requests, answers become paths.
//!
//! A fork is a request for several paths, with consecutive seeds where there are more than one. Requests leave in
//! the order of trees and lengths, so that what a server keeps of one prefix serves the next. Every answer is held
//! against what was asked: other tokens read, another model, a repeated prefix or missing paths are faults, never
//! records.

use std::collections::VecDeque;
use std::sync::Arc;

use midcourse_core::engine::{
    BoxError, Continue, Finish, Forest, Fork, Grown, Growth, PathSpec, Sampling, TokenId, Tree, Usage,
};
use midcourse_core::template::{TokenizeError, Tokenizer};
use serde_json::{Value, json};

use super::client::{Reply, Request};
use super::dispatcher::{Dispatcher, Source};
use super::fault::Fault;
use super::framed::{Conversation, FramedTokenizer};
use super::protocol::{Ask, Choice, Completion, Given, Mistake, Protocol, field};
use super::survey::{Evidence, Survey};
use super::text::ModelText;

/// Bytes of a token, where tokens can neither be counted nor are told; of English text with usual vocabularies.
const BYTES_PER_TOKEN: usize = 4;
/// Answers for several paths that could not be understood, after which every path is asked for by itself.
const N_APART: usize = 3;
/// A repeated prefix of fewer bytes can be chance.
const MIN_ECHO_BYTES: usize = 16;

/// A server's model.
pub struct RemoteEngine {
    pub(super) dispatcher: Dispatcher,
    pub(super) survey: Survey,
    pub(super) context: usize,
    text: Text,
}

/// In what a model is given its input.
enum Text {
    /// Token ids of its own.
    Ids(Box<ModelText>),
    /// Messages, framed.
    Messages(Arc<FramedTokenizer>),
}

/// A request for some paths of a fork.
struct Job {
    ids: Vec<TokenId>,
    /// The messages, where these are sent.
    said: Option<Conversation>,
    /// Consecutive seeds.
    paths: Vec<PathSpec>,
}

/// What became of a request.
enum Answer {
    /// Its paths, in the order of their seeds; none for one that the server withholds.
    Paths { paths: Vec<Option<(Vec<TokenId>, Finish)>>, n_prompt: usize, n_sampled: usize },
    /// An answer for several paths that cannot be understood: each is asked for by itself.
    Apart,
}

impl RemoteEngine {
    /// An engine that is given token ids.
    pub(super) fn with_ids(dispatcher: Dispatcher, survey: Survey, context: usize, text: ModelText) -> Self {
        Self { dispatcher, survey, context, text: Text::Ids(Box::new(text)) }
    }

    /// An engine that is given messages.
    pub(super) fn with_messages(
        dispatcher: Dispatcher,
        survey: Survey,
        context: usize,
        framed: Arc<FramedTokenizer>,
    ) -> Self {
        Self { dispatcher, survey, context, text: Text::Messages(framed) }
    }

    /// What was found out about the server, and proved.
    pub fn survey(&self) -> &Survey {
        &self.survey
    }

    /// Requests for the paths of a fork, at most `most` paths in one.
    fn jobs(&self, trunk: &[TokenId], fork: &Fork, most: usize) -> Result<Vec<Job>, TokenizeError> {
        let ids = [&trunk[..fork.at], &fork.lead].concat();
        let said = match &self.text {
            Text::Ids(_) => None,
            Text::Messages(framed) => Some(framed.conversation(&ids)?),
        };
        let runs = fork.paths.chunk_by(|a, b| a.seed.checked_add(1) == Some(b.seed));
        let parts = runs.flat_map(|run| run.chunks(most.max(1)));
        Ok(parts.map(|paths| Job { ids: ids.clone(), said: said.clone(), paths: paths.to_vec() }).collect())
    }

    fn request(&self, job: &Job, sampling: Sampling) -> Request {
        let given = job.said.as_ref().map_or(Given::Ids(&job.ids), Given::Conversation);
        let seed = job.paths.first().map_or(0, |path| path.seed);
        let ask = Ask { model: &self.survey.model, given, sampling, n: job.paths.len(), seed };
        Request::post(self.survey.protocol.route(), &self.survey.protocol.body(&ask))
    }

    /// Reads an answer and holds it against what was asked.
    fn read(&self, job: &Job, reply: &Reply, sampling: Sampling) -> Result<Answer, Fault> {
        match self.understood(job, &reply.json()?, sampling) {
            Ok(answer) => Ok(answer),
            // What a server cannot do for several paths at once it may do for one.
            Err(_) if job.paths.len() > 1 => Ok(Answer::Apart),
            Err(Mistake(problem)) => Err(Fault::Strange { problem }),
        }
    }

    fn understood(&self, job: &Job, json: &Value, sampling: Sampling) -> Result<Answer, Mistake> {
        let completion = self.survey.protocol.reply(json, job.paths.len())?;
        self.check(job, &completion)?;
        let path = |choice: &Choice| {
            let Some(finish) = choice.finish else { return Ok(None) };
            Ok(Some((self.path(job, choice, sampling)?, finish)))
        };
        let paths: Vec<_> = completion.choices.iter().map(path).collect::<Result<_, Mistake>>()?;
        let drawn = |(tokens, finish): &(Vec<TokenId>, Finish)| {
            self.count(tokens.len()) + usize::from(*finish == Finish::EndOfTurn)
        };
        let n_drawn = paths.iter().flatten().map(drawn).sum();
        Ok(Answer::Paths {
            n_prompt: completion.n_prompt.unwrap_or_else(|| self.count(job.ids.len())),
            n_sampled: completion.n_sampled.unwrap_or(n_drawn),
            paths,
        })
    }

    /// So many of the engine's tokens as tokens of the model, about.
    fn count(&self, n: usize) -> usize {
        if self.tokenizer().counts_tokens() { n } else { n.div_ceil(BYTES_PER_TOKEN) }
    }

    /// Whether the server answers for the model and the input that were meant.
    fn check(&self, job: &Job, completion: &Completion) -> Result<(), Mistake> {
        if let (Some(expected), Some(found)) = (&self.survey.served_as, &completion.model)
            && expected != found
        {
            return Err(Mistake(format!("expected an answer of model {expected:?}, found one of {found:?}")));
        }
        let open = job.said.as_ref().map(|said| said.open.as_str());
        match (open, &completion.prompt_ids, &completion.prompt_text) {
            (None, Some(read), _) if *read != job.ids => {
                return Err(Mistake(
                    "expected the token ids that were sent as its model's input, found others".into(),
                ));
            }
            (Some(open), _, Some(read)) if !read.ends_with(open) => return Err(not_the_prefix()),
            (Some(open), Some(read), None) if !self.ends_with(read, open) => return Err(not_the_prefix()),
            _ => {}
        }
        let counted = self.survey.protocol.takes_ids() && self.survey.evidence != Evidence::CutWords;
        if let Some(read) = completion.n_prompt.filter(|read| counted && *read != job.ids.len()) {
            let sent = job.ids.len();
            return Err(Mistake(format!("expected {sent} tokens of input as were sent, found {read}")));
        }
        check_echo(job, &completion.choices)
    }

    /// The tokens of a path.
    fn path(&self, job: &Job, choice: &Choice, sampling: Sampling) -> Result<Vec<TokenId>, Mistake> {
        let wrong = |TokenizeError(problem)| Mistake(problem);
        let tokens = match &self.text {
            Text::Messages(framed) => return framed.added(&choice.text).map_err(wrong),
            Text::Ids(text) => match &choice.tokens {
                Some(tokens) => text.without_end(tokens).to_vec(),
                None if self.survey.tells_token_ids => {
                    return Err(Mistake("expected the ids of the sampled tokens, found none".into()));
                }
                None => {
                    let whole = 0..choice.text.len();
                    let encoded = text.tokenizer.encode(&choice.text, std::slice::from_ref(&whole));
                    return Ok(encoded.map_err(wrong)?.ids);
                }
            },
        };
        if tokens.len() > sampling.max_new_tokens {
            let (most, n) = (sampling.max_new_tokens, tokens.len());
            return Err(Mistake(format!("expected a path of at most {most} tokens, found {n}")));
        }
        // Foreign ids have no text.
        self.tokenizer().decode_after(&job.ids, &tokens).map_err(wrong)?;
        Ok(tokens)
    }

    /// Whether ids that a server tells end with a text, as far as they can be read.
    fn ends_with(&self, ids: &[TokenId], text: &str) -> bool {
        match &self.text {
            Text::Ids(_) => true,
            Text::Messages(framed) => framed.read(ids).is_none_or(|read| read.ends_with(text)),
        }
    }

    fn tokenizer(&self) -> &dyn Tokenizer {
        match &self.text {
            Text::Ids(text) => text.tokenizer.as_ref(),
            Text::Messages(framed) => framed.as_ref(),
        }
    }
}

impl Continue for RemoteEngine {
    fn grow(&self, sampling: &Sampling, forest: &mut dyn Forest) -> Result<Usage, BoxError> {
        let mut paths = Paths {
            engine: self,
            sampling: *sampling,
            forest,
            queue: VecDeque::new(),
            n_open: 0,
            n_apart: 0,
            failure: None,
            usage: Usage::default(),
        };
        self.dispatcher.run(&mut paths, |job, reply| self.read(job, reply, *sampling))?;
        match paths.failure {
            Some(error) => Err(Box::new(error)),
            None => Ok(paths.usage),
        }
    }

    fn context(&self) -> usize {
        self.context
    }

    fn next_tokens(&self, tokens: &[TokenId], n: usize) -> Result<Vec<(TokenId, f64)>, BoxError> {
        let one = Sampling { temperature: 1.0, top_p: 1.0, max_new_tokens: 1 };
        let ask = Ask { model: &self.survey.model, given: Given::Ids(tokens), sampling: one, n: 1, seed: 0 };
        let more = match self.survey.protocol {
            Protocol::LlamaCompletion => json!({ "n_probs": n }),
            Protocol::Completions => json!({ "logprobs": n, "return_tokens_as_token_ids": true }),
            // Texts of tokens are no ids.
            _ => return Ok(Vec::new()),
        };
        let body = super::protocol::with(self.survey.protocol.body(&ask), more);
        let request = Request::post(self.survey.protocol.route(), &body);
        match self.dispatcher.ask(0, &request).and_then(|reply| reply.json()) {
            Ok(json) => Ok(likeliest(&json)),
            // A server that does not tell them is sound.
            Err(Fault::Refused { status: 400 | 422, .. }) => Ok(Vec::new()),
            Err(fault) => Err(Box::new(self.dispatcher.error(0, &fault))),
        }
    }
}

/// Refuses paths that all begin with the prefix once more, or with the whole input where token ids are sent.
fn check_echo(job: &Job, choices: &[Choice]) -> Result<(), Mistake> {
    let repeats = |choice: &Choice| match &job.said {
        Some(said) => said.open.len() >= MIN_ECHO_BYTES && choice.text.starts_with(&said.open),
        None => choice.tokens.as_ref().is_some_and(|tokens| tokens.starts_with(&job.ids)),
    };
    if choices.iter().all(repeats) {
        return Err(Mistake("expected text after the forced prefix, found the prefix again".into()));
    }
    Ok(())
}

fn not_the_prefix() -> Mistake {
    Mistake("expected a model input that ends with the prefix, found another".into())
}

/// The likeliest next tokens that an answer tells, likeliest first; none where it tells no ids.
fn likeliest(json: &Value) -> Vec<(TokenId, f64)> {
    let json = json.get(0).unwrap_or(json);
    let listed = field(json, "completion_probabilities").and_then(|all| all.get(0));
    let listed = listed.and_then(|first| first.get("top_logprobs")).and_then(Value::as_array);
    let named =
        field(json, "choices").and_then(|choices| field(choices.get(0)?, "logprobs.top_logprobs")?.get(0));
    let of_entry =
        |entry: &Value| Some((entry.get("id")?.as_u64()? as TokenId, entry.get("logprob")?.as_f64()?));
    let of_name = |(name, logprob): (&String, &Value)| {
        Some((name.strip_prefix("token_id:")?.parse().ok()?, logprob.as_f64()?))
    };
    let listed = listed.into_iter().flatten().filter_map(of_entry);
    let named = named.and_then(Value::as_object).into_iter().flatten().filter_map(of_name);
    let mut all: Vec<(TokenId, f64)> = listed.chain(named).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

/// The paths of a forest as requests.
struct Paths<'a> {
    engine: &'a RemoteEngine,
    sampling: Sampling,
    forest: &'a mut dyn Forest,
    /// Requests that are laid out, or laid out again.
    queue: VecDeque<Job>,
    /// Paths that are asked for and not answered.
    n_open: usize,
    /// Answers for several paths that could not be understood.
    n_apart: usize,
    /// A tree that cannot be laid out, which the plan should not hold.
    failure: Option<TokenizeError>,
    usage: Usage,
}

impl Paths<'_> {
    /// Lays out the next tree when nothing is laid out.
    fn lay_out(&mut self) -> Result<(), TokenizeError> {
        while self.queue.is_empty() {
            let Some(Tree { trunk, forks }) = self.forest.plant() else { return Ok(()) };
            for fork in &forks {
                let most = self.engine.survey.paths_per_request.unwrap_or(usize::MAX);
                let most = if self.n_apart < N_APART { most } else { 1 };
                self.queue.extend(self.engine.jobs(&trunk, fork, most)?);
            }
        }
        Ok(())
    }

    /// Asks for every path of a request by itself.
    fn ask_apart(&mut self, job: &Job) {
        let single =
            |path: &PathSpec| Job { paths: vec![*path], ids: job.ids.clone(), said: job.said.clone() };
        job.paths.iter().rev().for_each(|path| self.queue.push_front(single(path)));
    }

    /// A path as the forest takes it: told token by token, as far as the forest wants it.
    fn grown(&mut self, id: usize, tokens: Vec<TokenId>, finish: Finish) -> Grown {
        for n in 1..=tokens.len() {
            if self.forest.grown_by_one(id, &tokens[..n]) == Growth::Stop {
                return Grown { id, tokens: tokens[..n].to_vec(), finish: Finish::Stopped };
            }
        }
        Grown { id, tokens, finish }
    }
}

impl Source for Paths<'_> {
    type Job = Job;
    type Answer = Answer;

    fn next(&mut self) -> Option<(Job, Request)> {
        if let Err(error) = self.lay_out() {
            self.failure = Some(error);
        }
        let more = self.n_open + self.queue.front()?.paths.len();
        if self.n_open > 0 && self.engine.survey.slots.is_some_and(|slots| more > slots) {
            return None;
        }
        self.n_open = more;
        let job = self.queue.pop_front()?;
        let request = self.engine.request(&job, self.sampling);
        Some((job, request))
    }

    fn stopping(&self) -> bool {
        self.failure.is_some() || self.forest.stopping()
    }

    fn done(&mut self, job: Job, answer: Result<Answer, Fault>) -> Result<(), BoxError> {
        self.n_open -= job.paths.len();
        let (paths, n_prompt, n_sampled) = match answer {
            Ok(Answer::Paths { paths, n_prompt, n_sampled }) => (paths, n_prompt, n_sampled),
            Err(Fault::Stopped) => return Ok(()),
            Ok(Answer::Apart) => {
                self.n_apart += 1;
                self.ask_apart(&job);
                return Ok(());
            }
            Err(Fault::Refused { status: 400 | 422, .. }) if job.paths.len() > 1 => {
                self.ask_apart(&job);
                return Ok(());
            }
            Err(fault) => return Err(Box::new(self.engine.dispatcher.error(0, &fault))),
        };
        self.usage.n_requests += 1;
        self.usage.n_prompt += n_prompt;
        self.usage.n_sampled += n_sampled;
        let mut grown = Vec::with_capacity(job.paths.len());
        for (path, became) in job.paths.iter().zip(paths) {
            match became {
                Some((tokens, finish)) => grown.push(self.grown(path.id, tokens, finish)),
                None => self.forest.failed(path.id, "the server's filter of content withholds it".into())?,
            }
        }
        self.forest.progress(self.usage);
        self.forest.harvest(grown)
    }
}
