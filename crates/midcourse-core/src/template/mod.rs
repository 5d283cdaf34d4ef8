//! From conversations to model input: the only place where text becomes tokens.
//!
//! [`ChatTemplate`] renders a conversation as the model's own Jinja template does, on a budget; [`prefill`] leaves
//! the assistant's turn open after a forced prefix and proves that it did. The template is split into its literal
//! parts by rendering unique markers in place of what people say, so that a special-token string inside a row
//! stays text. [`builtin`] holds templates for models that come without one.
//!
//! Source: transformers' `apply_chat_template`, and `continue_final_message` for the open turn
//! (`docs/adr/0010-chat-templates.md` says where this differs).

pub mod builtin;

mod chat_template;
mod date;
mod framing;
mod jinja;
mod prefill;
mod question;
mod row;
mod tokens;
mod turn;

pub use chat_template::ChatTemplate;
pub use date::Date;
pub use framing::{Framing, Rewriting, System, Thinking};
pub(crate) use jinja::is_space;
pub use prefill::{
    Mode, Prefill, Proof, encode_conversation, encode_plain, encode_text, prefill, prefill_after,
};
pub use question::{Question, question};
pub use row::{RowTemplate, TemplateFault};
pub use tokens::{Encoding, Sent, SpecialTokens, TokenizeError, Tokenizer};
pub use turn::{Next, Thought};
