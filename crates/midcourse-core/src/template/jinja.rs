//! Chat templates through minijinja, with the names that transformers gives them.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error as JinjaError, ErrorKind, Value, context};

use crate::chat::Message;
use crate::{Error, Result};

/// Steps a template may take: a conversation of some turns needs a few thousand.
const FUEL: u64 = 500_000;
/// A rendered conversation may be this much longer than its contents, in bytes.
const MAX_GROWTH: usize = 1 << 20;
/// Name under which the environment holds the template.
const NAME: &str = "chat_template";

/// A model's chat template, compiled.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    model: String,
    source: String,
    env: Environment<'static>,
    bos: String,
    eos: String,
}

/// Whether the template opens a turn for the model after the last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextTurn {
    Opened,
    NotOpened,
}

impl ChatTemplate {
    /// Compiles `source`, the template of `model`; `bos` and `eos` are the texts it may write.
    pub fn new(model: &str, source: &str, bos: &str, eos: &str) -> Result<Self> {
        let mut env = Environment::new();
        env.set_syntax(transformers_syntax());
        env.set_fuel(Some(FUEL));
        env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        env.add_function("raise_exception", raise_exception);
        env.add_template_owned(NAME, source.to_owned()).map_err(|e| template_error(model, &e))?;
        Ok(Self {
            model: model.to_owned(),
            source: source.to_owned(),
            env,
            bos: bos.to_owned(),
            eos: eos.to_owned(),
        })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The model whose template it is.
    pub(super) fn model(&self) -> &str {
        &self.model
    }

    pub(super) fn render(&self, messages: &[Message], next: NextTurn) -> Result<String> {
        let wrap = |e: JinjaError| template_error(&self.model, &e);
        let template = self.env.get_template(NAME).map_err(wrap)?;
        let limit = MAX_GROWTH + messages.iter().map(|m| 4 * m.content.len()).sum::<usize>();
        let mut out = Bounded { bytes: Vec::new(), limit };
        let values = context! {
            messages => messages.iter().map(message_value).collect::<Vec<_>>(),
            add_generation_prompt => next == NextTurn::Opened,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
        };
        template.render_captured_to(values, &mut out).map_err(wrap)?;
        String::from_utf8(out.bytes).map_err(|e| Error::Template {
            model: self.model.clone(),
            problem: format!("rendered text is not UTF-8: {e}"),
            hint: "check the template file's encoding".into(),
        })
    }
}

/// Jinja as transformers sets it up: a block tag takes the newline after it and the blanks before it.
fn transformers_syntax() -> SyntaxConfig {
    // The builder only fails on clashing delimiters, and these are the default ones.
    SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().unwrap_or_default()
}

/// A writer that refuses to grow beyond a limit, so that a template cannot fill the memory.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl std::io::Write for Bounded {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + part.len() > self.limit {
            return Err(std::io::Error::other(format!("it wrote more than {} bytes", self.limit)));
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn message_value(message: &Message) -> Value {
    Value::from_pairs([("role", message.role.name()), ("content", &message.content)])
}

fn raise_exception(message: String) -> std::result::Result<String, JinjaError> {
    Err(JinjaError::new(ErrorKind::InvalidOperation, message))
}

fn template_error(model: &str, error: &JinjaError) -> Error {
    let line = error.line().map_or_else(String::new, |line| format!("line {line}: "));
    let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(" ({cause})"));
    let hint = match error.kind() {
        ErrorKind::OutOfFuel => "the template loops: it was stopped after 500,000 steps",
        ErrorKind::SyntaxError => "the template is not Jinja as transformers reads it",
        _ => "the template itself refuses this conversation: does the model know these roles?",
    };
    Error::Template { model: model.to_owned(), problem: format!("{line}{error}{cause}"), hint: hint.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Message;

    const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}\
        {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

    fn render(source: &str) -> Result<String> {
        ChatTemplate::new("m", source, "<s>", "</s>")?
            .render(&[Message::user("Hi"), Message::assistant("Yes")], NextTurn::Opened)
    }

    #[test]
    fn renders_turns_and_the_next_header() {
        assert_eq!(
            render(CHATML).unwrap(),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn python_methods_and_bos_are_there() {
        assert_eq!(render("{{ bos_token }}{{ messages[0]['content'].strip().upper() }}").unwrap(), "<s>HI");
    }

    #[test]
    fn broken_raising_and_looping_templates_are_errors() {
        let syntax = render("{% for %}").unwrap_err();
        assert!(syntax.to_string().starts_with("chat template of m: line 1"), "{syntax}");
        let raised = render("{{ raise_exception('only two turns') }}").unwrap_err();
        assert!(raised.to_string().contains("only two turns"), "{raised}");
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(render(endless).unwrap_err().hint().contains("loops"));
        let huge = "{% for a in range(9000) %}{{ messages[0].content * 900 }}{% endfor %}";
        assert!(render(huge).is_err());
        let recursive = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
        assert!(render(recursive).is_err());
    }
}
