//! A pair as a line of JSON, in the words of each trainer.
//!
//! Sources: TRL, "Dataset formats and types", conversational preference with an explicit prompt; LLaMA-Factory,
//! `data/README.md`, ranking data in the format `sharegpt`, and `SharegptDatasetConverter`; axolotl, `chat_template.default` of
//! `prompt_strategies/dpo`. `perf/pairs/` holds the programs that check these against the tools.

use midcourse_core::chat::{Message, Role};
use midcourse_core::eval::Set;
use midcourse_core::synth::{Pair, Ranking};
use serde::{Deserialize, Serialize};

/// Whose words a row is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RowFormat {
    Trl,
    LlamaFactory,
    Axolotl,
}

impl RowFormat {
    /// Writes a pair as a line; false when the format has no place for it, and nothing was written.
    pub(super) fn write(self, out: &mut Vec<u8>, ranking: &Ranking, pair: Pair) -> serde_json::Result<bool> {
        let Pair { chosen, rejected } = pair;
        match self {
            Self::Trl => serde_json::to_writer(&mut *out, &TrlRow::new(ranking, pair))?,
            Self::LlamaFactory if !alternates(&ranking.prompt) => return Ok(false),
            Self::LlamaFactory => serde_json::to_writer(&mut *out, &LlamaFactoryRow::new(ranking, pair))?,
            Self::Axolotl if is_padded(&chosen.text) || is_padded(&rejected.text) => return Ok(false),
            Self::Axolotl => serde_json::to_writer(&mut *out, &AxolotlRow::new(ranking, pair))?,
        }
        out.push(b'\n');
        Ok(true)
    }
}

/// TRL's conversational preference, and columns that TRL passes by.
#[derive(Serialize)]
struct TrlRow<'a> {
    prompt: &'a [Message],
    chosen: [Said<'a>; 1],
    rejected: [Said<'a>; 1],
    sample_id: &'a str,
    chosen_rank: usize,
    rejected_rank: usize,
    chosen_prefix_chars: usize,
    rejected_prefix_chars: usize,
    set: Set,
}

/// An answer as a message of the model.
#[derive(Serialize)]
struct Said<'a> {
    role: Role,
    content: &'a str,
}

impl<'a> Said<'a> {
    fn new(text: &'a str) -> Self {
        Self { role: Role::Assistant, content: text }
    }
}

impl<'a> TrlRow<'a> {
    fn new(ranking: &'a Ranking, Pair { chosen, rejected }: Pair<'a>) -> Self {
        Self {
            prompt: &ranking.prompt,
            chosen: [Said::new(&chosen.text)],
            rejected: [Said::new(&rejected.text)],
            sample_id: &ranking.sample,
            chosen_rank: chosen.rank,
            rejected_rank: rejected.rank,
            chosen_prefix_chars: chosen.prefix_chars,
            rejected_prefix_chars: rejected.prefix_chars,
            set: ranking.set,
        }
    }
}

/// LLaMA-Factory's ranking row in its format `sharegpt`.
#[derive(Serialize)]
struct LlamaFactoryRow<'a> {
    conversations: Vec<Turn<'a>>,
    chosen: Turn<'a>,
    rejected: Turn<'a>,
}

#[derive(Serialize)]
struct Turn<'a> {
    from: &'static str,
    value: &'a str,
}

impl<'a> Turn<'a> {
    fn new(role: Role, value: &'a str) -> Self {
        Self { from: tag(role), value }
    }
}

impl<'a> LlamaFactoryRow<'a> {
    fn new(ranking: &'a Ranking, Pair { chosen, rejected }: Pair<'a>) -> Self {
        let conversations = ranking.prompt.iter().map(|message| Turn::new(message.role, &message.content));
        Self {
            conversations: conversations.collect(),
            chosen: Turn::new(Role::Assistant, &chosen.text),
            rejected: Turn::new(Role::Assistant, &rejected.text),
        }
    }
}

/// The tags that `dataset_info.json` names.
pub(super) fn tag(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "human",
        Role::Assistant => "gpt",
    }
}

/// Whether user and model take turns after at most one system message, the user last as in every ranking; LLaMA-Factory
/// passes other rows by.
fn alternates(prompt: &[Message]) -> bool {
    let n_system = usize::from(prompt.first().is_some_and(|message| message.role == Role::System));
    let turns = &prompt[n_system..];
    let expected = [Role::User, Role::Assistant].into_iter().cycle();
    turns.iter().zip(expected).all(|(message, role)| message.role == role)
}

/// Axolotl's row for `chat_template.default`.
#[derive(Serialize)]
struct AxolotlRow<'a> {
    messages: &'a [Message],
    chosen: Said<'a>,
    rejected: Said<'a>,
}

impl<'a> AxolotlRow<'a> {
    fn new(ranking: &'a Ranking, Pair { chosen, rejected }: Pair<'a>) -> Self {
        Self {
            messages: &ranking.prompt,
            chosen: Said::new(&chosen.text),
            rejected: Said::new(&rejected.text),
        }
    }
}

/// Whether white space begins or ends a text. Axolotl renders an answer and looks for its text there; many templates
/// trim it, the text is not found, and one character of the answer is all that is left.
fn is_padded(text: &str) -> bool {
    text.trim() != text
}
