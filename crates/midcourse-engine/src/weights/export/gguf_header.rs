//! The header of a GGUF file as it stands there: keys in their order with their bytes, tensors in their order.
//!
//! Candle reads headers into maps, which keep no order, and a file that is written anew must say what the old one
//! said. Values are not understood here, only measured.
//!
//! Source: the GGUF specification in ggml's repository, versions 2 and 3.

use std::io::Read;
use std::path::Path;

use super::super::gguf::GgufFile;
use super::super::index::broken;
use crate::files;
use crate::{Error, Result};

/// Deepest lists of lists; candle reads no deeper ones.
const MAX_DEPTH: usize = 8;

/// A key and what it says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) name: String,
    /// The number that stands for the value's type.
    pub(super) kind: u32,
    /// The value, as it is written.
    pub(super) value: Vec<u8>,
}

/// What a header says.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) keys: Vec<Key>,
    pub(super) tensors: Vec<Entry>,
}

/// A tensor's entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// The number that stands for the tensor's type.
    pub(super) kind: u32,
}

impl Header {
    /// Reads the header of a file that candle has read before.
    pub(super) fn read(file: &GgufFile) -> Result<Self> {
        let path = &file.path;
        let read = |source| Error::Read { path: path.clone(), source };
        let mut bytes = Vec::new();
        let opened = files::open(path).map_err(read)?;
        opened.take(file.content.tensor_data_offset).read_to_end(&mut bytes).map_err(read)?;
        Self::parse(path, &bytes)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let mut at = Cursor { rest: bytes };
        let version = at.number::<4>().and_then(|_| at.number::<4>()).unwrap_or(0);
        if version < 2 {
            return Err(Error::Unsupported {
                path: path.to_owned(),
                what: format!("writing a GGUF file of version {version} anew"),
                hint: "convert the model again with a llama.cpp of this decade".into(),
            });
        }
        let wrong = || broken(path, "expected a GGUF header, found one that ends too early".into());
        at.header().ok_or_else(wrong)
    }
}

/// What is left of a header.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn header(&mut self) -> Option<Header> {
        let (n_tensors, n_keys) = (self.number::<8>()?, self.number::<8>()?);
        let mut header = Header::default();
        for _ in 0..n_keys {
            let name = self.text()?;
            let kind = self.number::<4>()? as u32;
            let before = self.rest;
            self.skip(kind, 0)?;
            header.keys.push(Key { name, kind, value: before[..before.len() - self.rest.len()].to_vec() });
        }
        for _ in 0..n_tensors {
            let name = self.text()?;
            let n_dims = self.number::<4>()?;
            self.take(n_dims.checked_mul(8)?)?;
            let kind = self.number::<4>()? as u32;
            self.number::<8>()?;
            header.tensors.push(Entry { name, kind });
        }
        Some(header)
    }

    /// Passes over a value.
    fn skip(&mut self, kind: u32, depth: usize) -> Option<()> {
        match kind {
            0 | 1 | 7 => self.take(1).map(drop),
            2 | 3 => self.take(2).map(drop),
            4..=6 => self.take(4).map(drop),
            10..=12 => self.take(8).map(drop),
            8 => self.text().map(drop),
            9 if depth < MAX_DEPTH => {
                let (kind, n) = (self.number::<4>()? as u32, self.number::<8>()?);
                (0..n).try_for_each(|_| self.skip(kind, depth + 1))
            }
            _ => None,
        }
    }

    /// A text, without the zeros that some writers end it with.
    fn text(&mut self) -> Option<String> {
        let n = self.number::<8>()?;
        let text = String::from_utf8_lossy(self.take(n)?);
        Some(text.trim_end_matches('\0').to_owned())
    }

    /// A number of N bytes, the lowest first.
    fn number<const N: usize>(&mut self) -> Option<u64> {
        let bytes = self.take(N as u64)?;
        Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn take(&mut self, n: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(n).ok()?)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn tiny() -> (GgufFile, Vec<u8>) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-llama.gguf");
        (GgufFile::open(&path).unwrap(), std::fs::read(path).unwrap())
    }

    #[test]
    fn keys_and_tensors_are_those_that_candle_finds() {
        let (file, _) = tiny();
        let header = Header::read(&file).unwrap();
        let mut names: Vec<&String> = header.keys.iter().map(|key| &key.name).collect();
        assert_eq!(names[0], "general.architecture");
        names.sort();
        let mut expected: Vec<&String> = file.content.metadata.keys().collect();
        expected.sort();
        assert_eq!(names, expected);
        let mut names: Vec<&String> = header.tensors.iter().map(|tensor| &tensor.name).collect();
        names.sort();
        assert_eq!(names, file.index.names().collect::<Vec<_>>());
    }

    #[test]
    fn a_header_that_is_cut_short_is_refused() {
        let (file, bytes) = tiny();
        let end = file.content.tensor_data_offset as usize;
        // What stands behind the last entry is padding.
        for n in 0..end - 32 {
            assert!(Header::parse(&file.path, &bytes[..n]).is_err(), "{n} of {end} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Header::parse(Path::new("x"), &[b"GGUF\x03\0\0\0", &bytes[..]].concat());
        }
    }
}
