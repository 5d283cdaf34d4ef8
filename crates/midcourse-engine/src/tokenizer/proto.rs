//! SentencePiece's `tokenizer.model`: a protocol buffer with pieces, scores and a few settings.
//!
//! Only what the BPE of the field needs is read. What would change ids and is not done here (Unigram, rules of
//! normalisation, spaces that are folded) is refused by its name.
//!
//! Source: `sentencepiece_model.proto` in SentencePiece's repository, and the wire format of protocol buffers.

use midcourse_core::engine::TokenId;

use super::sentencepiece::{Kind, Piece, Settings};

/// What a `tokenizer.model` holds.
#[derive(Debug, PartialEq)]
pub(super) struct SentencePieceModel {
    pub pieces: Vec<Piece>,
    pub settings: Settings,
    pub bos: Option<TokenId>,
    pub eos: Option<TokenId>,
}

/// Why a file cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is something else, or cut short.
    Broken(String),
    /// It is sound, and asks for this.
    Unsupported(String),
}

type Result<T> = std::result::Result<T, Refusal>;

pub(super) fn read(bytes: &[u8]) -> Result<SentencePieceModel> {
    let mut pieces = Vec::new();
    let (mut trainer, mut normalizer) = (Spec::default(), Spec::default());
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Bytes(piece)) => pieces.push(read_piece(piece, pieces.len())?),
            (2, Wire::Bytes(spec)) => trainer = Spec::read(spec)?,
            (3, Wire::Bytes(spec)) => normalizer = Spec::read(spec)?,
            _ => {}
        }
    }
    if pieces.is_empty() {
        return Err(Refusal::Broken("it holds no pieces".into()));
    }
    refuse_what_is_not_done(&trainer, &normalizer)?;
    let id = |field, usual| {
        u32::try_from(trainer.number(field, usual)).ok().filter(|id| (*id as usize) < pieces.len())
    };
    let (bos, eos) = (id(41, 1), id(42, 2));
    Ok(SentencePieceModel {
        pieces,
        settings: Settings { prefix_space: normalizer.number(3, 1) != 0 },
        bos,
        eos,
    })
}

/// Numbers of the fields as in `sentencepiece_model.proto`; a field that is not there has its default.
fn refuse_what_is_not_done(trainer: &Spec, normalizer: &Spec) -> Result<()> {
    let model = match trainer.number(3, 1) {
        2 => None,
        1 => Some("a Unigram model".to_owned()),
        other => Some(format!("a model of type {other}")),
    };
    let rules = (normalizer.n_bytes(2) > 0).then(|| "a table of normalisation".to_owned());
    let folded = (normalizer.number(4, 1) != 0).then(|| "remove_extra_whitespaces".to_owned());
    let unescaped = (normalizer.number(5, 1) == 0).then(|| "escape_whitespaces = false".to_owned());
    let suffix = (trainer.number(24, 0) != 0).then(|| "treat_whitespace_as_suffix".to_owned());
    let no_bytes = (trainer.number(35, 0) == 0).then(|| "a model without byte_fallback".to_owned());
    let found = model.or(rules).or(folded).or(unescaped).or(suffix).or(no_bytes);
    found.map_or(Ok(()), |what| Err(Refusal::Unsupported(what)))
}

fn read_piece(bytes: &[u8], at: usize) -> Result<Piece> {
    let wrong = |problem: &str| Refusal::Broken(format!("piece {at}: {problem}"));
    let mut piece = Piece { text: String::new(), score: 0.0, kind: Kind::Normal };
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Bytes(text)) => {
                let text = str::from_utf8(text).map_err(|_| wrong("its text is not UTF-8"))?;
                text.clone_into(&mut piece.text);
            }
            (2, Wire::Fixed32(score)) => piece.score = f32::from_bits(score),
            (3, Wire::Number(kind)) => {
                let kind = i64::try_from(kind).ok().and_then(Kind::of);
                piece.kind = kind.ok_or_else(|| wrong("its type is not one of 1 to 6"))?;
            }
            _ => {}
        }
    }
    if piece.score.is_nan() { Err(wrong("its score is not a number")) } else { Ok(piece) }
}

/// Numbers, and lengths of bytes, of a message by field.
#[derive(Debug, Default)]
struct Spec(Vec<(u64, Value)>);

#[derive(Debug)]
enum Value {
    Number(i64),
    NBytes(usize),
}

impl Spec {
    fn read(bytes: &[u8]) -> Result<Self> {
        let value = |field: Result<(u64, Wire<'_>)>| match field? {
            (number, Wire::Number(value)) => Ok((number, Value::Number(value.cast_signed()))),
            (number, Wire::Bytes(bytes)) => Ok((number, Value::NBytes(bytes.len()))),
            (number, Wire::Fixed32(_) | Wire::Fixed64) => Ok((number, Value::NBytes(0))),
        };
        Fields(bytes).map(value).collect::<Result<_>>().map(Self)
    }

    fn number(&self, field: u64, usual: i64) -> i64 {
        let value = |(number, value): &(u64, Value)| match value {
            Value::Number(value) if *number == field => Some(*value),
            _ => None,
        };
        self.0.iter().rev().find_map(value).unwrap_or(usual)
    }

    fn n_bytes(&self, field: u64) -> usize {
        let value = |(number, value): &(u64, Value)| match value {
            Value::NBytes(n) if *number == field => Some(*n),
            _ => None,
        };
        self.0.iter().rev().find_map(value).unwrap_or(0)
    }
}

/// A value as it lies in a message.
enum Wire<'a> {
    Number(u64),
    Fixed32(u32),
    Fixed64,
    Bytes(&'a [u8]),
}

/// The fields of a message. The first that cannot be read is the last.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| Refusal::Broken("it is no protocol buffer, or is cut short".into())))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Wire::Number(self.number()?),
            1 => {
                self.take(8)?;
                Wire::Fixed64
            }
            2 => {
                let n_bytes = usize::try_from(self.number()?).ok()?;
                Wire::Bytes(self.take(n_bytes)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, n_bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n_bytes)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
        let field = |(number, bytes): &(u8, &[u8])| {
            [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
        };
        fields.iter().flat_map(field).collect()
    }

    /// A BPE model of two pieces; `trainer` and `normalizer` are further fields.
    fn model(trainer: &[u8], normalizer: &[u8]) -> Vec<u8> {
        let trainer = [&[3 << 3, 2, 0x98, 0x02, 1][..], trainer].concat();
        let normalizer = [&[4 << 3, 0][..], normalizer].concat();
        let unknown = [&message(&[(1, b"<unk>")])[..], &[3 << 3, 2]].concat();
        let score = [&message(&[(1, b"a")])[..], &[2 << 3 | 5], &(-3.0_f32).to_le_bytes()].concat();
        message(&[(1, &unknown), (1, &score), (2, &trainer), (3, &normalizer)])
    }

    #[test]
    fn pieces_and_settings_are_read() {
        let found = read(&model(&[], &[])).unwrap();
        let unknown = Piece { text: "<unk>".into(), score: 0.0, kind: Kind::Unknown };
        let a = Piece { text: "a".into(), score: -3.0, kind: Kind::Normal };
        assert_eq!(found.pieces, [unknown, a]);
        assert_eq!((found.settings, found.bos, found.eos), (Settings { prefix_space: true }, Some(1), None));
        let found = read(&model(&[0xc8, 0x02, 0], &[3 << 3, 0])).unwrap();
        assert_eq!((found.settings, found.bos), (Settings { prefix_space: false }, Some(0)));
    }

    #[test]
    fn what_would_change_ids_is_refused() {
        for (trainer, normalizer, named) in [
            (&[3 << 3, 1][..], &[][..], "Unigram"),
            (&[3 << 3, 4], &[], "type 4"),
            (&[0x98, 0x02, 0], &[], "byte_fallback"),
            (&[0xc0, 0x01, 1], &[], "treat_whitespace_as_suffix"),
            (&[], &[2 << 3 | 2, 1, 0], "normalisation"),
            (&[], &[4 << 3, 1], "remove_extra_whitespaces"),
            (&[], &[5 << 3, 0], "escape_whitespaces"),
        ] {
            let found = read(&model(trainer, normalizer)).unwrap_err();
            assert!(
                matches!(&found, Refusal::Unsupported(what) if what.contains(named)),
                "{named}: {found:?}"
            );
        }
    }

    #[test]
    fn a_file_cut_anywhere_or_changed_anywhere_never_panics() {
        let good = model(&[], &[]);
        for at in 0..good.len() {
            let _ = read(&good[..at]);
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = good.clone();
                changed[at] = byte;
                let _ = read(&changed);
            }
        }
        assert!(matches!(read(&good[..good.len() - 1]), Err(Refusal::Broken(_))));
        assert!(matches!(read(&[0xff; 12]), Err(Refusal::Broken(_))));
        assert_eq!(read(&[]), Err(Refusal::Broken("it holds no pieces".into())));
    }
}
