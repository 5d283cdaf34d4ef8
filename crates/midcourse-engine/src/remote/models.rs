//! A server's model as an engine: what is at hand of its text, and opening it.

use std::sync::Arc;

use midcourse_core::engine::TokenId;
use midcourse_core::template::{ChatTemplate, Tokenizer};

use super::dispatcher::Dispatcher;
use super::engine::RemoteEngine;
use super::framed::{self, FramedTokenizer};
use super::survey::{PrefillChoice, survey};
use crate::Error;

/// A tokenizer that several threads use.
pub type SharedTokenizer = Arc<dyn Tokenizer + Send + Sync>;

/// What is at hand of the text of a server's model.
#[derive(Clone)]
pub struct ModelText {
    /// Where it comes from, as the user names it.
    pub name: String,
    /// Conversations to text.
    pub template: ChatTemplate,
    /// Text to tokens.
    pub tokenizer: SharedTokenizer,
    /// Tokens of context that the model was made for.
    pub context: usize,
}

/// A server's model that can be evaluated.
pub struct RemoteModel {
    /// Grows trees.
    pub engine: RemoteEngine,
    /// Text to the engine's tokens.
    pub tokenizer: SharedTokenizer,
    /// Conversations to text.
    pub template: ChatTemplate,
}

impl ModelText {
    /// Sampled tokens without the end of turn that some servers count among them.
    pub(super) fn without_end<'a>(&self, tokens: &'a [TokenId]) -> &'a [TokenId] {
        match tokens.split_last() {
            Some((last, before)) if self.tokenizer.special().end_of_turn.contains(last) => before,
            _ => tokens,
        }
    }
}

impl RemoteModel {
    /// Looks at the server, proves how its model goes on, and makes it an engine. `model` is the name to ask for.
    ///
    /// # Errors
    /// [`Error::EndpointCannot`] when no true prefill is proved.
    pub fn open(
        dispatcher: Dispatcher,
        model: Option<&str>,
        choice: PrefillChoice,
        text: Option<ModelText>,
    ) -> Result<Self, Error> {
        let survey = survey(&dispatcher, model, choice, text.as_ref())?;
        let context = survey.context.or(text.as_ref().map(|text| text.context)).unwrap_or(usize::MAX);
        if let Some(text) = text.as_ref().filter(|_| survey.protocol.takes_ids()) {
            let (template, tokenizer) = (text.template.clone(), Arc::clone(&text.tokenizer));
            let engine = RemoteEngine::with_ids(dispatcher, survey, context, text.clone());
            return Ok(Self { engine, tokenizer, template });
        }
        let mut framed = FramedTokenizer::new(text.map(|text| text.tokenizer));
        framed.keeps_trailing_space = survey.keeps_trailing_space;
        let framed = Arc::new(framed);
        let template = framed::template().map_err(|error| Error::EndpointCannot {
            problem: error.to_string(),
            hint: error.hint().to_owned(),
        })?;
        let engine = RemoteEngine::with_messages(dispatcher, survey, context, Arc::clone(&framed));
        Ok(Self { engine, tokenizer: framed, template })
    }
}
