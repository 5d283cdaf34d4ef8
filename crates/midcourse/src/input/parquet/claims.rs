//! What a Parquet file claims, checked before the library believes it.
//!
//! The library follows the tree of a schema as deep as it goes, and reserves memory for as many children, and for pages
//! as large, as a file says. All that is said in a few bytes each, so it is read here first.
//!
//! Source: `parquet.thrift` of Apache Parquet for the numbers of the fields.

use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::MAGIC;
use super::thrift::{LIST, STRUCT, Thrift};

/// Columns of a file and groups of columns.
const MAX_NODES: usize = 1 << 14;
/// Groups within groups: lists of structures take three a level.
const MAX_NESTING: usize = 24;
/// Bytes of a column's pages in one row group, decompressed.
const MAX_COLUMN: u64 = 4 << 30;
/// Values of a column in one row group.
const MAX_VALUES: i64 = 1 << 24;
/// Bytes of the pages that are held at once, more or less.
const AT_ONCE: u64 = 64 << 20;
/// Rows that are decoded at once, at most.
const MAX_BATCH: u64 = 256;
/// Lengths of shared beginnings: a value of this encoding may be as long as all before it in its page.
const DELTA_BYTE_ARRAY: i64 = 7;
/// Bytes of a page in which values may share beginnings.
const MAX_DELTA_PAGE: i64 = 2 << 20;

/// Refuses a footer with a schema that no table has.
pub(super) fn check_footer(bytes: &[u8]) -> Result<(), String> {
    let cut = || "the file ends before its footer does".to_owned();
    let rest = bytes.strip_suffix(MAGIC).ok_or_else(cut)?;
    let (rest, length) = rest.split_last_chunk().ok_or_else(cut)?;
    let length = u32::from_le_bytes(*length) as usize;
    let start = rest.len().checked_sub(length).ok_or_else(cut)?;
    let mut footer = Thrift { rest: &rest[start..] };
    let mut children = Vec::new();
    let read = footer.structure(|footer, id, kind| match (id, kind) {
        (2, LIST) => {
            let (n, kind) = footer.list()?;
            if kind != STRUCT || n > MAX_NODES as u64 {
                return None;
            }
            for _ in 0..n {
                children.push(n_children(footer)?);
            }
            Some(true)
        }
        _ => Some(false),
    });
    read.filter(|()| is_tree(&children)).ok_or_else(|| "the footer holds no schema of a table".to_owned())
}

/// The number of children of an element of the schema.
fn n_children(footer: &mut Thrift) -> Option<usize> {
    let mut children = 0;
    footer.structure(|element, id, kind| match (id, kind) {
        (5, 5) => {
            children = usize::try_from(element.number()?).ok()?;
            Some(true)
        }
        _ => Some(false),
    })?;
    Some(children)
}

/// Whether numbers of children, depth first, are those of one tree that is not too deep.
fn is_tree(children: &[usize]) -> bool {
    // Children that are still to come, of each group around the present element.
    let mut open = vec![1_usize];
    for &n in children {
        while open.last() == Some(&0) {
            open.pop();
        }
        let Some(last) = open.last_mut() else { return false };
        *last -= 1;
        if n > children.len() || open.len() > MAX_NESTING {
            return false;
        }
        open.push(n);
    }
    !children.is_empty() && open.iter().all(|&n| n == 0)
}

/// Refuses pages of a row group that would take too much, and says how many rows to decode at once.
///
/// `is_read` says of a column's number whether it is read.
pub(super) fn check_group(
    bytes: &[u8],
    group: &RowGroupMetaData,
    is_read: impl Fn(usize) -> bool,
) -> Result<usize, String> {
    let columns = group.columns().iter().enumerate().filter(|(at, _)| is_read(*at));
    let largest = columns.map(|(_, column)| largest_page(bytes, column)).sum::<Result<u64, String>>()?;
    Ok((AT_ONCE / largest.max(1)).clamp(1, MAX_BATCH) as usize)
}

/// The size of the largest page of a column, decompressed.
fn largest_page(bytes: &[u8], column: &ColumnChunkMetaData) -> Result<u64, String> {
    let of_column = |problem: &str| format!("column {}: {problem}", column.column_path());
    let (start, length) = column.byte_range();
    let end = start.checked_add(length).and_then(|end| usize::try_from(end).ok());
    let pages = usize::try_from(start).ok().zip(end).and_then(|(start, end)| bytes.get(start..end));
    let mut pages = Thrift { rest: pages.ok_or_else(|| of_column("its pages lie outside of the file"))? };
    let (mut n_bytes, mut n_values, mut largest) = (0, 0, 0);
    // Some writers count the header of a page that is not there.
    while n_values < column.num_values() && !pages.rest.is_empty() {
        let page = Page::read(&mut pages).ok_or_else(|| of_column("a page is broken off or no page"))?;
        n_bytes += page.n_bytes;
        n_values = n_values.saturating_add(page.n_values);
        largest = page.n_bytes.max(largest);
        if n_bytes > MAX_COLUMN || n_values > MAX_VALUES {
            return Err(of_column("a row group holds more than 4 GiB or 16,777,216 values of it"));
        }
    }
    Ok(largest)
}

/// What the header of a page says.
#[derive(Default)]
struct Page {
    n_bytes: u64,
    /// None of a dictionary.
    n_values: i64,
}

impl Page {
    /// Reads a header and passes over the page.
    fn read(pages: &mut Thrift) -> Option<Self> {
        let (mut n_bytes, mut n_compressed, mut data) = (0, 0, (0, 0));
        pages.structure(|page, id, kind| match (id, kind) {
            (2, 5) => Some(set(&mut n_bytes, page.number()?)),
            (3, 5) => Some(set(&mut n_compressed, page.number()?)),
            // A page of data, of the first kind or of the second.
            (5, STRUCT) => Some(set(&mut data, data_page(page, 2)?)),
            (8, STRUCT) => Some(set(&mut data, data_page(page, 4)?)),
            _ => Some(false),
        })?;
        pages.rest = pages.rest.get(usize::try_from(n_compressed).ok()?..)?;
        let (n_values, encoding) = data;
        let is_sound = n_values >= 0 && (encoding != DELTA_BYTE_ARRAY || n_bytes <= MAX_DELTA_PAGE);
        let n_bytes = u64::try_from(n_bytes).ok().filter(|_| is_sound)?;
        Some(Self { n_bytes, n_values })
    }
}

/// Values of a page and how they are encoded, which field `encoding` says.
fn data_page(page: &mut Thrift, encoding: i64) -> Option<(i64, i64)> {
    let (mut n_values, mut encoded) = (0, 0);
    page.structure(|header, id, kind| match (id, kind) {
        (1, 5) => Some(set(&mut n_values, header.number()?)),
        (id, 5) if id == encoding => Some(set(&mut encoded, header.number()?)),
        _ => Some(false),
    })?;
    Some((n_values, encoded))
}

/// Notes a value that was read.
fn set<T>(to: &mut T, value: T) -> bool {
    *to = value;
    true
}
