//! Conversations for servers that take text: what was said, framed by control tokens of our own.
//!
//! A server that renders conversations itself is given messages, not token ids. To it the framed tokens are what
//! token ids are to other engines: [`template`] puts one control token before what each role says and one at its
//! end, [`FramedTokenizer`] encodes what is said with the model's own tokenizer where that is at hand and as bytes
//! where it is not, and [`Conversation::of`] reads the messages back. So the plan, the seeds, the proof and the
//! records are those of every engine.

use std::ops::Range;

use midcourse_core::chat::{Message, Role};
use midcourse_core::engine::TokenId;
use midcourse_core::template::{ChatTemplate, Encoding, Sent, SpecialTokens, TokenizeError, Tokenizer};

use super::text::SharedTokenizer;

/// The first of four ids above every vocabulary.
const CONTROL: TokenId = 1 << 30;
/// What the control tokens are written as; the first three open a role's message.
const CONTROLS: [&str; 4] = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"];
const ROLES: [Role; 3] = [Role::System, Role::User, Role::Assistant];
const END: TokenId = CONTROL + 3;
const TEMPLATE: &str = "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/// The chat template of every framed conversation.
/// # Errors
/// None: the template is sound.
pub fn template() -> midcourse_core::Result<ChatTemplate> {
    Ok(ChatTemplate::new("endpoint", TEMPLATE, "", "")?.from_origin("the server's own"))
}

/// A tokenizer of framed conversations.
pub struct FramedTokenizer {
    /// The model's own; none where it is not at hand and bytes stand for tokens.
    inner: Option<SharedTokenizer>,
    special: SpecialTokens,
    /// Whether the server is known to keep white space at the end of a forced prefix.
    pub keeps_trailing_space: bool,
}

/// What is said in a row of framed tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Finished turns.
    pub messages: Vec<Message>,
    /// The start of the assistant's turn that is still open; empty where it is about to begin.
    pub open: String,
}

impl FramedTokenizer {
    /// A tokenizer that counts with `inner`, or in bytes without one.
    pub fn new(inner: Option<SharedTokenizer>) -> Self {
        let special = SpecialTokens { bos: None, adds_bos: false, end_of_turn: vec![END] };
        Self { inner, special, keeps_trailing_space: false }
    }

    /// Whether tokens are bytes.
    pub fn counts_bytes(&self) -> bool {
        self.inner.is_none()
    }

    /// The conversation in `ids`.
    ///
    /// # Errors
    /// When they hold half of a character, which no text can, or do not end in an open assistant's turn.
    pub fn conversation(&self, ids: &[TokenId]) -> Result<Conversation, TokenizeError> {
        let wrong = |problem: &str| TokenizeError(format!("framed conversation: {problem}"));
        let mut messages = Vec::new();
        let mut rest = ids;
        loop {
            let (&control, said) = rest.split_first().ok_or_else(|| wrong("no open turn at its end"))?;
            let role = control.checked_sub(CONTROL).and_then(|at| ROLES.get(at as usize).copied());
            let role = role.ok_or_else(|| wrong("no role where a message begins"))?;
            let end = said.iter().position(|&id| id == END);
            let content = self.said(&said[..end.unwrap_or(said.len())])?;
            match end {
                Some(end) => rest = &said[end + 1..],
                None if role == Role::Assistant => return Ok(Conversation { messages, open: content }),
                None => return Err(wrong("the open turn is not the assistant's")),
            }
            messages.push(Message { role, content });
        }
    }

    /// The tokens of a text that a server has added.
    pub fn added(&self, text: &str) -> Result<Vec<TokenId>, TokenizeError> {
        let whole = 0..text.len();
        Ok(self.spoken(text, std::slice::from_ref(&whole))?.ids)
    }

    /// A run without control tokens as text; half a character is an error.
    fn said(&self, ids: &[TokenId]) -> Result<String, TokenizeError> {
        let text = match &self.inner {
            Some(inner) => inner.decode(ids)?,
            None => String::from_utf8(ids.iter().map(|&id| id as u8).collect())
                .map_err(|_| TokenizeError("the text ends within a character".into()))?,
        };
        if self.inner.is_some() && text.ends_with('\u{fffd}') {
            return Err(TokenizeError("the text ends within a character".into()));
        }
        Ok(text)
    }

    /// The same with a mark in place of half a character.
    fn said_lossy(&self, ids: &[TokenId]) -> Result<String, TokenizeError> {
        if let Some(inner) = &self.inner {
            return inner.decode(ids);
        }
        let bytes: Vec<u8> = ids.iter().map(|&id| id as u8).collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn spoken(&self, text: &str, plain: &[Range<usize>]) -> Result<Encoding, TokenizeError> {
        match &self.inner {
            Some(inner) => inner.encode(text, plain),
            None => Ok(Encoding {
                ids: text.bytes().map(TokenId::from).collect(),
                offsets: (0..text.len()).map(|at| at..at + 1).collect(),
            }),
        }
    }
}

impl Tokenizer for FramedTokenizer {
    fn encode(&self, text: &str, plain: &[Range<usize>]) -> Result<Encoding, TokenizeError> {
        let mut encoding = Encoding::default();
        let mut at = 0;
        while at < text.len() {
            let outside = !plain.iter().any(|range| range.contains(&at));
            let control = CONTROLS.iter().position(|control| outside && text[at..].starts_with(control));
            if let Some(control) = control {
                let end = at + CONTROLS[control].len();
                encoding.ids.push(CONTROL + control as TokenId);
                encoding.offsets.push(at..end);
                at = end;
                continue;
            }
            // What somebody says is encoded as a whole, whatever it holds.
            let end = plain.iter().find(|range| range.contains(&at)).map_or(at + 1, |range| range.end);
            let whole = 0..end - at;
            let said = self.spoken(&text[at..end], std::slice::from_ref(&whole))?;
            encoding.ids.extend(said.ids);
            encoding.offsets.extend(said.offsets.into_iter().map(|range| range.start + at..range.end + at));
            at = end;
        }
        Ok(encoding)
    }

    fn decode(&self, ids: &[TokenId]) -> Result<String, TokenizeError> {
        let mut text = String::new();
        let is_control = |id: TokenId| id >= CONTROL;
        for run in ids.chunk_by(|&a, &b| !is_control(a) && !is_control(b)) {
            match run {
                [control] if is_control(*control) => {
                    text.push_str(CONTROLS.get((control - CONTROL) as usize).unwrap_or(&""));
                }
                said => text.push_str(&self.said_lossy(said)?),
            }
        }
        Ok(text)
    }

    fn count_special(&self, text: &str) -> usize {
        self.inner.as_ref().map_or(0, |inner| inner.count_special(text))
    }

    fn special(&self) -> &SpecialTokens {
        &self.special
    }

    fn counts_tokens(&self) -> bool {
        self.inner.is_some()
    }

    fn sent(&self, ids: &[TokenId]) -> Sent {
        let conversation = match self.conversation(ids) {
            Ok(conversation) => conversation,
            Err(TokenizeError(problem)) => return Sent::Impossible(problem),
        };
        let said = conversation.messages.iter().map(|message| message.content.as_str());
        let n_special: usize = said.chain([conversation.open.as_str()]).map(|t| self.count_special(t)).sum();
        if n_special > 0 {
            let reason = "holds special-token strings, which a server that takes text would read as such";
            return Sent::Impossible(reason.into());
        }
        if !self.keeps_trailing_space && conversation.open.ends_with(char::is_whitespace) {
            let reason = "the prefix ends in white space, which this server is not known to keep";
            return Sent::Impossible(reason.into());
        }
        let forced = ids.iter().rposition(|&id| id >= CONTROL).map_or(ids, |at| &ids[at + 1..]);
        match self.added(&conversation.open) {
            Ok(again) if again == forced => Sent::AsPlanned,
            Ok(_) => Sent::Retokenised,
            Err(TokenizeError(problem)) => Sent::Impossible(problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use midcourse_core::template::{Mode, prefill};

    use super::*;

    fn framed(response: &str, k: usize, mode: Mode) -> Result<Conversation, TokenizeError> {
        let tokenizer = FramedTokenizer::new(None);
        let rendered = prefill(&template().unwrap(), &tokenizer, ("May I <|end|> peek?", response), mode);
        tokenizer.conversation(&rendered.unwrap().input(k))
    }

    #[test]
    fn messages_come_back_as_they_were_said() {
        let asked = vec![Message::user("May I <|end|> peek?")];
        let open = |text: &str| Conversation { messages: asked.clone(), open: text.into() };
        assert_eq!(framed("Sure <|assistant|> yes", 4, Mode::OpenTurn).unwrap(), open("Sure"));
        assert_eq!(framed("Sure <|assistant|> yes", 18, Mode::OpenTurn).unwrap(), open("Sure <|assistant|>"));
        assert_eq!(framed("Sure", 0, Mode::OpenTurn).unwrap(), open(""));
        let closed = framed("Sure, go on", 4, Mode::NewTurn).unwrap();
        assert_eq!(closed.messages[1..], [Message::assistant("Sure")]);
        assert_eq!(closed.open, "");
    }

    #[test]
    fn half_a_character_cannot_be_sent() {
        assert!(framed("né", 2, Mode::OpenTurn).is_err());
        assert_eq!(framed("né", 3, Mode::OpenTurn).unwrap().open, "né");
    }

    #[test]
    fn a_prefix_that_the_server_may_change_is_told() {
        let tokenizer = FramedTokenizer::new(None);
        let rendered =
            prefill(&template().unwrap(), &tokenizer, ("May I?", "Yes you"), Mode::OpenTurn).unwrap();
        assert_eq!(tokenizer.sent(&rendered.input(3)), Sent::AsPlanned);
        assert!(matches!(tokenizer.sent(&rendered.input(4)), Sent::Impossible(_)));
        let keeping = FramedTokenizer { keeps_trailing_space: true, ..FramedTokenizer::new(None) };
        assert_eq!(keeping.sent(&rendered.input(4)), Sent::AsPlanned);
    }
}
