//! A model's chat template, with the names that transformers gives templates.

use super::framing::{Framing, Thinking};
use super::jinja::{Fault, FaultKind, Program, Value};
use crate::chat::Message;
use crate::{Error, Result};

/// A model's chat template, parsed, and how its conversations are framed.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    model: String,
    source: String,
    origin: String,
    program: Program,
    bos: String,
    eos: String,
    framing: Framing,
}

/// Whether the template opens a turn for the model after the last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextTurn {
    Opened,
    NotOpened,
}

impl ChatTemplate {
    /// Parses `source`, the template of `model`; `bos` and `eos` are the texts it may write.
    pub fn new(model: &str, source: &str, bos: &str, eos: &str) -> Result<Self> {
        let program = Program::parse(source).map_err(|fault| template_error(model, fault))?;
        Ok(Self {
            model: model.to_owned(),
            source: source.to_owned(),
            origin: String::new(),
            program,
            bos: bos.to_owned(),
            eos: eos.to_owned(),
            framing: Framing::default(),
        })
    }

    /// The same template, told where it comes from.
    #[must_use]
    pub fn from_origin(self, origin: impl Into<String>) -> Self {
        Self { origin: origin.into(), ..self }
    }

    /// The same template, whose conversations are framed so.
    #[must_use]
    pub fn framed(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Where it comes from: a file, a field of one, or `builtin:NAME`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How its conversations are framed.
    pub fn framing(&self) -> &Framing {
        &self.framing
    }

    /// The model whose template it is.
    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// The text that begins a sequence.
    pub(super) fn bos(&self) -> &str {
        &self.bos
    }

    /// The text that ends a sequence.
    pub(crate) fn eos(&self) -> &str {
        &self.eos
    }

    /// Renders a conversation; `thinks` is what the template is told of thinking.
    pub(super) fn render_thinking(
        &self,
        messages: &[Message],
        next: NextTurn,
        thinks: bool,
    ) -> Result<String> {
        let date = self.framing.date;
        let n_bytes = messages.iter().map(|message| message.content.len()).sum();
        let names = |messages| {
            Ok::<_, Fault>(vec![
                ("messages", Value::list(messages)?),
                ("tools", Value::None),
                ("documents", Value::None),
                ("add_generation_prompt", Value::Bool(next == NextTurn::Opened)),
                ("bos_token", self.bos.as_str().into()),
                ("eos_token", self.eos.as_str().into()),
                ("enable_thinking", Value::Bool(thinks)),
                ("thinking", Value::Bool(thinks)),
            ])
        };
        let value = |message: &Message| {
            Value::dict([("role", message.role.name().into()), ("content", message.content.as_str().into())])
        };
        let messages = messages.iter().map(value).collect::<std::result::Result<Vec<_>, _>>();
        let rendered = messages.and_then(names).and_then(|names| self.program.render(names, date, n_bytes));
        rendered.map_err(|fault| template_error(&self.model, fault))
    }

    pub(super) fn render(&self, messages: &[Message], next: NextTurn) -> Result<String> {
        let thinks = matches!(self.framing.thinking, Thinking::Text(_));
        self.render_thinking(messages, next, thinks)
    }
}

fn template_error(model: &str, fault: Fault) -> Error {
    let Fault { kind, line, problem } = fault;
    let hint = match kind {
        FaultKind::Exhausted => "the template does not end, or fills the memory: it was stopped",
        FaultKind::Syntax => "the template is not Jinja as transformers reads it",
        FaultKind::Raised => {
            "the template itself refuses this conversation: does the model know these roles?"
        }
        FaultKind::Run => "the template asks for what is not there; --chat-template takes another one",
    };
    Error::Template { model: model.to_owned(), problem: format!("line {line}: {problem}"), hint: hint.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Llama 3.1 and 3.3 take a day of their own where they are told none, and transformers tells none.
    #[test]
    fn a_day_that_the_template_falls_back_to_stays() {
        let source = "{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}\
                      {{ date_string }} {{ messages[0].content }}";
        let template = ChatTemplate::new("test", source, "", "").unwrap();
        assert_eq!(template.render(&[Message::user("Hi")], NextTurn::Opened).unwrap(), "26 Jul 2024 Hi");
    }
}
