//! Options that say how a conversation is framed: the same for `eval` and `probe`.

use std::time::{SystemTime, UNIX_EPOCH};

use midcourse_core::template::{ChatTemplate, Date, Framing, Rewriting, System, Thinking};
use midcourse_engine::chat_template::TemplateChoice;
use serde::{Deserialize, Serialize};

use crate::plan::names;

/// Options of the framing, on the command line and in a file.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct FramingOptions {
    /// Chat template: a Jinja file, builtin:NAME (chatml, llama-2, mistral, vicuna, zephyr), or name:NAME for one
    /// of several that the model has [default: the model's own]
    #[arg(long, value_name = "FILE|builtin:NAME|name:NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
    /// System prompt: a text, none (not even the template's own) or default (what the template does by itself)
    /// [default: default]
    #[arg(long, value_name = "TEXT|none|default", value_parser = |text: &str| Ok::<_, String>(System::from(text.to_owned())))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<System>,
    /// What a thinking model has thought before its answer: off (its template is told not to think), empty (a
    /// thought without words) or a text [default: off]
    #[arg(long, value_name = "off|empty|TEXT", value_parser = |text: &str| Ok::<_, String>(Thinking::from(text.to_owned())))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thinking>,
    /// The day that templates take for today [default: the day of the run's first session, UTC]
    #[arg(long, value_name = "YYYY-MM-DD")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
    /// When the template trims or rewrites the response: refused, or allowed (what it makes of it is forced)
    /// [default: refused]
    #[arg(long, value_parser = names::<Rewriting>(&["refused", "allowed"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewritten_prefix: Option<Rewriting>,
}

impl FramingOptions {
    /// The options of a framing, everything named.
    pub(crate) fn of(framing: &Framing, chat_template: Option<String>) -> Self {
        Self {
            chat_template,
            system: Some(framing.system.clone()),
            thinking: Some(framing.thinking.clone()),
            date: Some(framing.date),
            rewritten_prefix: Some(framing.rewriting),
        }
    }

    /// The framing, everything decided.
    pub(crate) fn framing(&self) -> Framing {
        Framing {
            system: self.system.clone().unwrap_or_default(),
            thinking: self.thinking.clone().unwrap_or_default(),
            date: self.date.unwrap_or_else(today),
            rewriting: self.rewritten_prefix.unwrap_or_default(),
        }
    }
}

/// The template that an option names.
pub(crate) fn choice(chat_template: Option<&str>) -> TemplateChoice {
    chat_template.map_or(TemplateChoice::Own, TemplateChoice::from)
}

/// What to say of a thought that a template knows nothing of.
pub(crate) fn note(framing: &Framing, template: &ChatTemplate) -> Option<&'static str> {
    let is_strange = framing.thinking != Thinking::Off && !template.source().contains("think");
    is_strange.then_some(
        "the chat template knows no thinking: the thought stands before the answer as <think>…</think>",
    )
}

/// The day, in UTC.
fn today() -> Date {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Date::from_days((since.as_secs() / 86_400).cast_signed())
}
