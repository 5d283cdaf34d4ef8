//! From conversations to model input: the only place where text becomes tokens.
//!
//! [`ChatTemplate`] renders a conversation as the model's own Jinja template does, in a sandbox with a step
//! limit; [`prefill`] leaves the assistant's turn open after a forced prefix and proves that it did. The
//! template is split into its literal parts by rendering unique markers in place of the contents, so that a
//! special-token string inside a row stays text.
//!
//! Source: transformers' `apply_chat_template` (Jinja options, `raise_exception`, `tojson`), and
//! `continue_final_message` for the open turn.

mod jinja;
mod prefill;
mod tokens;

pub use jinja::ChatTemplate;
pub use prefill::{Mode, Prefill, Proof, prefill};
pub use tokens::{Encoding, SpecialTokens, TokenizeError, Tokenizer};
