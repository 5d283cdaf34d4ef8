//! A server's model as an engine: from its name and what is at hand of its text.

use std::sync::Arc;

use midcourse_core::template::ChatTemplate;

use super::dispatcher::Dispatcher;
use super::engine::RemoteEngine;
use super::framed::{self, FramedTokenizer};
use super::survey::{PrefillChoice, survey};
use super::text::{ModelText, SharedTokenizer};
use crate::Error;

/// A server's model that can be evaluated.
pub struct RemoteModel {
    /// Grows trees.
    pub engine: RemoteEngine,
    /// Text to the engine's tokens.
    pub tokenizer: SharedTokenizer,
    /// Conversations to text.
    pub template: ChatTemplate,
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
