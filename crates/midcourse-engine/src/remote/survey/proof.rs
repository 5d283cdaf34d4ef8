//! The trial of one protocol at one server: does its model go on from inside its turn?

use midcourse_core::engine::{Sampling, TokenId};
use midcourse_core::template::{Mode, Tokenizer, prefill};
use serde_json::{Value, json};

use super::discovery::{Discovery, Kind};
use super::{Evidence, Seeds, Survey};
use crate::remote::client::{Request, Route};
use crate::remote::dispatcher::Dispatcher;
use crate::remote::fault::Fault;
use crate::remote::framed::{Conversation, FramedTokenizer, template};
use crate::remote::protocol::{Ask, Completion, Given, Protocol, field};
use crate::remote::text::ModelText;

const PROMPT: &str = "What is a good breakfast before a day of walking?";
const RESPONSE: &str = "A bowl of oats keeps you going for long, and an apple is light to carry. Then";
/// Lengths at which the response is cut, in tokens of the tokenizer at hand.
const LENGTHS: [usize; 2] = [4, 11];
const SEED: u32 = 20_407;
/// Words that are cut in the middle, and what is missing of them.
const CUT_WORDS: [(&str, &str, &str); 3] = [
    ("Which days does a week have?", "The days of the week are Monday, Tuesday, Wednes", "day"),
    ("Count from one to ten.", "One, two, three, four, five, six, sev", "en"),
    ("Which months does a year have?", "January, February, March, April, May, June, Ju", "ly"),
];
/// Cut words that must be continued.
const N_CONTINUED: usize = 2;
/// Tokens that joining texts can add or save by itself; a new turn takes more.
const SLACK: usize = 2;

/// A protocol on trial.
pub(super) struct Trial<'a> {
    pub dispatcher: &'a Dispatcher,
    pub replica: usize,
    pub discovery: &'a Discovery,
    pub text: Option<&'a ModelText>,
    pub protocol: Protocol,
}

/// Why a protocol is not used.
pub(super) enum Refusal {
    /// It is no prefill here; why, in words.
    Cannot(String),
    /// The server does not answer as it should.
    Fault(Fault),
}

type Outcome<T> = Result<T, Refusal>;

/// What a model is given, owned.
enum Input {
    Ids(Vec<TokenId>),
    Said(Conversation),
}

impl Trial<'_> {
    /// The survey, if it is proved that the model goes on from inside its turn.
    pub(super) fn run(&self) -> Outcome<Survey> {
        let tokenizer_agrees = if self.protocol.takes_ids() { self.compare_tokenizers()? } else { None };
        let mut evidence = Vec::new();
        let mut last = None;
        for n in LENGTHS {
            let (input, prefix) = self.input((PROMPT, RESPONSE), Cut::Tokens(n))?;
            let completion = self.ask(&input, 1, &greedy(8))?;
            evidence.push(self.read_back(&completion, &input, &prefix)?);
            last = Some((input, completion));
        }
        let (input, completion) = last.ok_or_else(|| cannot("nothing was tried"))?;
        let evidence =
            match evidence.into_iter().collect::<Option<Vec<_>>>().and_then(|all| all.last().copied()) {
                Some(evidence) => evidence,
                None => self.continues_cut_words()?,
            };
        let tells_token_ids = self.tells_token_ids(&completion, &input)?;
        let (paths_per_request, seeds) = self.seeds(&input)?;
        Ok(Survey {
            server: self.discovery.kind,
            version: self.discovery.version.clone(),
            model: self.discovery.model.clone(),
            served_as: completion.model,
            context: self.discovery.context,
            protocol: self.protocol,
            evidence,
            n_checked: LENGTHS.len(),
            tokenizer_agrees,
            tells_token_ids,
            paths_per_request,
            slots: self.discovery.n_slots,
            seeds,
            keeps_trailing_space: self.keeps_trailing_space()?,
        })
    }

    /// What the model is given of a conversation whose response is cut, and the prefix as text.
    fn input(&self, (prompt, response): (&str, &str), cut: Cut) -> Outcome<(Input, String)> {
        let wrong = |error: &dyn std::fmt::Display| cannot(error);
        let framed = FramedTokenizer::new(None);
        let own = self.text.filter(|_| self.protocol.takes_ids());
        let framed_template = template().map_err(|e| wrong(&e))?;
        let (template, tokenizer): (_, &dyn Tokenizer) = match own {
            Some(text) => (&text.template, &*text.tokenizer),
            None => (&framed_template, &framed),
        };
        let rendered =
            prefill(template, tokenizer, (prompt, response), Mode::OpenTurn).map_err(|e| wrong(&e))?;
        let all = rendered.n_response_tokens();
        let n = match cut {
            Cut::Whole => all,
            Cut::Tokens(n) if own.is_some() => n.min(all),
            // Bytes stand for tokens: whole words are cut.
            Cut::Tokens(n) => rendered.tokens_of_words(n).unwrap_or(all),
        };
        let prefix = rendered.response()[..rendered.prefix_bytes(n)].to_owned();
        let ids = rendered.input(n);
        let input = match own {
            Some(_) => Input::Ids(ids),
            None => Input::Said(framed.conversation(&ids).map_err(|e| wrong(&e))?),
        };
        Ok((input, prefix))
    }

    fn ask(&self, input: &Input, n: usize, how: &(Sampling, u32)) -> Outcome<Completion> {
        let given = match input {
            Input::Ids(ids) => Given::Ids(ids),
            Input::Said(said) => Given::Conversation(said),
        };
        let ask = Ask { model: &self.discovery.model, given, sampling: how.0, n, seed: how.1 };
        let request = Request::post(self.protocol.route(), &self.protocol.body(&ask));
        let reply = self.dispatcher.ask(self.replica, &request).map_err(Refusal::Fault)?;
        let json = reply.json().map_err(|fault| match fault {
            Fault::Refused { status: 400 | 404 | 405 | 415 | 422 | 501, message } => {
                cannot(&format!("the server refuses it: {message}"))
            }
            fault => Refusal::Fault(fault),
        })?;
        self.protocol.reply(&json, n).map_err(|mistake| cannot(&mistake))
    }

    /// The evidence of one answer; none where the server tells nothing of what its model was given.
    fn read_back(&self, completion: &Completion, input: &Input, prefix: &str) -> Outcome<Option<Evidence>> {
        if completion.choices.iter().all(|choice| choice.text.starts_with(prefix)) {
            return Err(cannot("its answer repeats the forced prefix"));
        }
        if let Some(told) = completion.prompt_ids.as_ref().filter(|_| self.text.is_some()) {
            return self.compare_ids(told, input, prefix).map(Some);
        }
        let sent = if let Input::Ids(ids) = input { Some(ids.len()) } else { None };
        if let (Some(sent), Some(read)) = (sent, completion.n_prompt)
            && sent != read
        {
            return Err(cannot(&format!("its model read {read} tokens where {sent} were sent")));
        }
        if let Some(text) = &completion.prompt_text {
            if !text.ends_with(prefix) {
                return Err(cannot(
                    "the prompt that it made does not end with the prefix: it opens a new turn",
                ));
            }
            return Ok(Some(Evidence::PromptText));
        }
        Ok(sent.and(completion.n_prompt).map(|_| Evidence::TokenCount))
    }

    /// Token ids that the server tells, against those that were sent or against the prefix.
    fn compare_ids(&self, told: &[TokenId], input: &Input, prefix: &str) -> Outcome<Evidence> {
        match (input, self.text) {
            (Input::Ids(sent), _) if sent == told => Ok(Evidence::PromptIds),
            (Input::Ids(sent), _) => Err(cannot(&format!(
                "its model read other token ids than were sent ({} of {})",
                told.len(),
                sent.len()
            ))),
            (Input::Said(_), Some(text)) => match text.tokenizer.decode(told) {
                Ok(read) if read.ends_with(prefix) => Ok(Evidence::PromptIds),
                _ => Err(cannot("what its model read does not end with the prefix: it opens a new turn")),
            },
            (Input::Said(_), None) => {
                Err(cannot("no tokenizer is at hand to read the token ids that it tells"))
            }
        }
    }

    /// Whether cut words are continued, where the server tells nothing better.
    fn continues_cut_words(&self) -> Outcome<Evidence> {
        if !self.protocol.takes_ids() {
            self.spends_no_turn()?;
        }
        let mut n_continued = 0;
        for (prompt, cut, rest) in CUT_WORDS {
            let (input, prefix) = self.input((prompt, cut), Cut::Whole)?;
            let completion = self.ask(&input, 1, &greedy(8))?;
            self.read_back(&completion, &input, &prefix)?;
            n_continued += usize::from(completion.choices[0].text.starts_with(rest));
        }
        if n_continued < N_CONTINUED {
            return Err(cannot(&format!(
                "of {} words cut in the middle its model went on with {n_continued}: it opens a new turn",
                CUT_WORDS.len()
            )));
        }
        Ok(Evidence::CutWords)
    }

    /// Refuses a server whose model reads tokens beyond those of question and prefix: an end of turn and the header
    /// of another. The tokens of the prefix are those by which the question grows when it stands there.
    fn spends_no_turn(&self) -> Outcome<()> {
        let (input, prefix) = self.input((PROMPT, RESPONSE), Cut::Whole)?;
        let Input::Said(said) = &input else { return Ok(()) };
        let count = |messages: Vec<_>, open: &str| -> Outcome<Option<usize>> {
            let said = Input::Said(Conversation { messages, open: open.to_owned() });
            Ok(self.ask(&said, 1, &greedy(1))?.n_prompt)
        };
        let mut longer = said.messages.clone();
        if let Some(last) = longer.last_mut() {
            last.content = format!("{} {prefix}", last.content);
        }
        let counts =
            (count(said.messages.clone(), "")?, count(longer, "")?, count(said.messages.clone(), &prefix)?);
        let (Some(asked), Some(longer), Some(forced)) = counts else { return Ok(()) };
        match forced.saturating_sub(asked).saturating_sub(longer.saturating_sub(asked)) {
            more if more > SLACK => Err(cannot(&format!(
                "its model reads {more} tokens beyond question and prefix: it opens a new turn"
            ))),
            _ => Ok(()),
        }
    }

    /// Whether the server divides sample texts as the tokenizer at hand does; none where it cannot be asked.
    fn compare_tokenizers(&self) -> Outcome<Option<bool>> {
        let Some(text) = self.text else { return Ok(None) };
        let sample = format!("{PROMPT}\n{RESPONSE} naïve 3.14\t— 日本");
        let whole = 0..sample.len();
        let ours = text.tokenizer.encode(&sample, std::slice::from_ref(&whole)).map_err(|e| cannot(&e))?.ids;
        let body = match self.discovery.kind {
            Kind::LlamaCpp => json!({ "content": sample, "add_special": false, "parse_special": false }),
            _ => json!({ "model": self.discovery.model, "prompt": sample, "add_special_tokens": false }),
        };
        let reply = self.dispatcher.ask(self.replica, &Request::post(Route::Native("/tokenize"), &body));
        let Ok(json) = reply.and_then(|reply| reply.json()) else { return Ok(None) };
        let id = |id: &Value| id.as_u64().and_then(|id| TokenId::try_from(id).ok());
        let theirs = field(&json, "tokens").and_then(Value::as_array);
        let Some(theirs) = theirs.and_then(|ids| ids.iter().map(id).collect::<Option<Vec<_>>>()) else {
            return Ok(None);
        };
        if theirs == ours {
            return Ok(Some(true));
        }
        Err(cannot(&format!(
            "the tokenizer of {} is not the server's: they divide a text otherwise",
            text.name
        )))
    }

    /// Whether the server tells the ids of sampled tokens, and they are those of its text.
    fn tells_token_ids(&self, completion: &Completion, input: &Input) -> Outcome<bool> {
        let (Input::Ids(before), Some(text)) = (input, self.text) else { return Ok(false) };
        let choice = &completion.choices[0];
        let Some(tokens) = &choice.tokens else { return Ok(false) };
        let tokens = text.without_end(tokens);
        match text.tokenizer.decode_after(before, tokens) {
            Ok(decoded) if decoded.trim() == choice.text.trim() => Ok(true),
            _ => Err(cannot(&format!(
                "the tokenizer of {} is not the server's: its tokens are another text than it says",
                text.name
            ))),
        }
    }

    /// How many paths a request can ask for, and what seeds do.
    fn seeds(&self, input: &Input) -> Outcome<(Option<usize>, Seeds)> {
        let how = |seed| (Sampling { temperature: 1.0, top_p: 1.0, max_new_tokens: 8 }, seed);
        let texts = |completion: Completion| -> Vec<String> {
            completion.choices.into_iter().map(|choice| choice.text).collect()
        };
        let first = texts(self.ask(input, 1, &how(SEED))?);
        let again = texts(self.ask(input, 1, &how(SEED))?);
        let next = texts(self.ask(input, 1, &how(SEED + 1))?);
        let honoured = first == again;
        let most = self.discovery.n_slots;
        let together = if self.protocol.takes_several() && most != Some(1) {
            match self.ask(input, 2, &how(SEED)) {
                Ok(completion) => Some(texts(completion)),
                Err(Refusal::Cannot(_)) => None,
                Err(fault) => return Err(fault),
            }
        } else {
            None
        };
        Ok(match together {
            // Every path is asked for with a seed of its own.
            None => (Some(1), if honoured { Seeds::CountedUp } else { Seeds::Ignored }),
            Some(together) if honoured && together == [first, next].concat() => (most, Seeds::CountedUp),
            Some(_) => (most, if honoured { Seeds::Single } else { Seeds::Ignored }),
        })
    }

    /// Whether white space at the end of a prefix reaches the model; known only where the server shows it.
    fn keeps_trailing_space(&self) -> Outcome<bool> {
        if self.protocol.takes_ids() {
            return Ok(true);
        }
        let spaced = format!("{RESPONSE} \n");
        let (input, _) = self.input((PROMPT, &spaced), Cut::Whole)?;
        let completion = self.ask(&input, 1, &greedy(1))?;
        let shown = completion.prompt_text.or_else(|| {
            let ids = completion.prompt_ids.as_ref()?;
            self.text?.tokenizer.decode(ids).ok()
        });
        Ok(shown.is_some_and(|shown| shown.ends_with(&spaced)))
    }
}

/// Where a response is cut.
#[derive(Clone, Copy)]
enum Cut {
    /// After all of it.
    Whole,
    /// After some of its tokens.
    Tokens(usize),
}

fn greedy(max_new_tokens: usize) -> (Sampling, u32) {
    (Sampling { temperature: 0.0, top_p: 1.0, max_new_tokens }, SEED)
}

fn cannot(why: &(impl std::fmt::Display + ?Sized)) -> Refusal {
    Refusal::Cannot(why.to_string())
}
