//! Thrift's compact protocol, as far as it takes to look into Parquet's footers and page headers.
//!
//! Nothing is allocated and nothing recurses deeper than [`MAX_DEPTH`]; what ends early is none.
//!
//! Source: Apache Thrift, "Thrift Compact protocol encoding".

/// Parquet's own structures nest far less.
const MAX_DEPTH: usize = 16;

/// Types of fields, as their headers number them.
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// Bytes that are being read.
#[derive(Debug, Clone)]
pub(super) struct Thrift<'a> {
    pub(super) rest: &'a [u8],
}

impl Thrift<'_> {
    /// Reads a structure. `read` is given the number and the type of every field and says whether it has taken its
    /// value; what it leaves is skipped.
    pub(super) fn structure(
        &mut self,
        mut read: impl FnMut(&mut Self, i64, u8) -> Option<bool>,
    ) -> Option<()> {
        self.fields(MAX_DEPTH, &mut read)
    }

    fn fields(
        &mut self,
        depth: usize,
        read: &mut dyn FnMut(&mut Self, i64, u8) -> Option<bool>,
    ) -> Option<()> {
        let mut id = 0_i64;
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Some(());
            }
            id = match header >> 4 {
                0 => self.number()?,
                delta => id.checked_add(i64::from(delta))?,
            };
            let kind = header & 15;
            if !read(self, id, kind)? {
                self.skip(kind, depth)?;
            }
        }
    }

    /// Number and type of a list's elements.
    pub(super) fn list(&mut self) -> Option<(u64, u8)> {
        let header = self.byte()?;
        let n = match header >> 4 {
            15 => self.varint()?,
            n => u64::from(n),
        };
        // Every element takes a byte at least.
        (n <= self.rest.len() as u64).then_some((n, header & 15))
    }

    /// A signed number of any width.
    pub(super) fn number(&mut self) -> Option<i64> {
        let zigzag = self.varint()?;
        Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // The value stands in the header.
            1 | 2 => Some(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.take(8),
            8 => {
                let n = self.varint()?;
                self.take(usize::try_from(n).ok()?)
            }
            LIST | 10 => {
                let (n, kind) = self.list()?;
                (0..n).try_for_each(|_| self.skip_element(kind, depth))
            }
            11 => {
                let n = self.varint()?;
                let kinds = if n == 0 { 0 } else { self.byte()? };
                (0..n).try_for_each(|_| {
                    self.skip_element(kinds >> 4, depth)?;
                    self.skip_element(kinds & 15, depth)
                })
            }
            STRUCT => self.fields(depth, &mut |_, _, _| Some(false)),
            _ => None,
        }
    }

    /// As [`Self::skip`]; a truth value that is no field of its own takes a byte.
    fn skip_element(&mut self, kind: u8, depth: usize) -> Option<()> {
        self.skip(if kind <= 2 { 3 } else { kind }, depth)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    fn take(&mut self, n: usize) -> Option<()> {
        self.rest = self.rest.get(n..)?;
        Some(())
    }
}
