//! From bytes to text, and text that may be shown.
//!
//! A data file is UTF-8 with or without a byte order mark. What is plainly another kind of file gets its own
//! message; anything else that is no text is an error with line and offset. This module decompresses nothing.

use super::row::At;
use crate::Result;
use crate::error::{Error, FileProblem, RowProblem};

/// How files begin that are no text.
const FOREIGN: [(&[u8], FileProblem); 5] = [
    (b"\x1f\x8b", FileProblem::Compressed { by: "gzip" }),
    (b"\xfd7zXZ\0", FileProblem::Compressed { by: "xz" }),
    (b"\x28\xb5\x2f\xfd", FileProblem::Compressed { by: "zstd" }),
    (b"PK\x03\x04", FileProblem::Compressed { by: "zip" }),
    (b"PAR1", FileProblem::Parquet),
];

/// The text of a data file, without its byte order mark.
pub(super) fn decode<'a>(file: &'a str, bytes: &'a [u8]) -> Result<&'a str> {
    if let Some((_, problem)) = FOREIGN.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(Error::DataFile { file: file.to_owned(), problem: problem.clone() });
    }
    let fail = |offset: usize, problem| {
        let line = bytes[..offset].split(|&byte| byte == b'\n').count();
        At { file, line }.error(problem)
    };
    if let Some(offset) = bytes.iter().position(|&byte| byte == 0) {
        return Err(fail(offset, RowProblem::NulByte { offset }));
    }
    let text = str::from_utf8(bytes).map_err(|e| {
        let offset = e.valid_up_to();
        fail(offset, RowProblem::NotUtf8 { byte: bytes[offset], offset })
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The longest name from a file that is shown, in characters.
const MAX_SHOWN: usize = 60;

/// A name from a file as it may stand in a message or on a terminal: files are hostile.
///
/// Control characters, and those that break lines or turn the direction of writing, are left out; what is
/// longer than a name ought to be is cut.
pub(super) fn plain(name: &str) -> String {
    let mut shown = name.chars().filter(|&c| !c.is_control() && !is_layout(c));
    let mut plain: String = shown.by_ref().take(MAX_SHOWN).collect();
    if shown.next().is_some() {
        plain.push('…');
    }
    plain
}

fn is_layout(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
