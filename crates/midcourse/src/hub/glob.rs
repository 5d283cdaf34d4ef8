//! Patterns of paths: `*` and `?` within a segment, `[a-z]` for one character, `**` for any number of segments.
//!
//! Source: the patterns that `datasets` takes in `data_files`; braces are not among what is read here.

/// Whether `path` is one of those that `pattern` means.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let segments: Vec<Vec<Piece>> = pattern.trim_start_matches("./").split('/').map(pieces).collect();
    let names: Vec<&str> = path.split('/').collect();
    wild(
        &segments,
        &names,
        |segment| segment.len() > 1 && segment.iter().all(|piece| *piece == Piece::Many),
        |segment, name| {
            let chars: Vec<char> = name.chars().collect();
            wild(segment, &chars, |piece| *piece == Piece::Many, |piece, c| piece.is(*c))
        },
    )
}

/// A part of a segment's pattern.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// Any number of characters.
    Many,
    /// One character of any of the ranges; of none of them where the flag is set.
    One(Vec<(char, char)>, bool),
}

impl Piece {
    fn is(&self, c: char) -> bool {
        match self {
            Self::Many => false,
            Self::One(ranges, outside) => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *outside
            }
        }
    }
}

fn pieces(segment: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = segment;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        // A bracket stands for itself where none closes it.
        let class = (c == '[').then(|| rest.find(']').filter(|end| *end > 0)).flatten();
        pieces.push(match (c, class) {
            ('*', _) => Piece::Many,
            ('?', _) => Piece::One(Vec::new(), true),
            (_, Some(end)) => {
                let class = &rest[..end];
                rest = &rest[end + 1..];
                let inside = class.trim_start_matches(['!', '^']);
                Piece::One(ranges(inside), inside.len() < class.len())
            }
            (c, None) => Piece::One(vec![(c, c)], false),
        });
    }
    pieces
}

fn ranges(class: &str) -> Vec<(char, char)> {
    let chars: Vec<char> = class.chars().collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let to = if chars.get(at + 1) == Some(&'-') { chars.get(at + 2).copied() } else { None };
        ranges.push((chars[at], to.unwrap_or(chars[at])));
        at += if to.is_some() { 3 } else { 1 };
    }
    ranges
}

/// Whether items are those of a pattern in which some parts stand for any number of them.
///
/// Only the last such part is tried again, so that the time is at most the product of both lengths.
fn wild<P, T>(
    pattern: &[P],
    items: &[T],
    is_many: impl Fn(&P) -> bool,
    is_one: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut item) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while item < items.len() {
        match pattern.get(at) {
            Some(part) if is_many(part) => {
                retry = Some((at, item));
                at += 1;
            }
            Some(part) if is_one(part, &items[item]) => (at, item) = (at + 1, item + 1),
            _ => {
                let Some((many, from)) = retry else { return false };
                retry = Some((many, from + 1));
                (at, item) = (many + 1, from + 1);
            }
        }
    }
    pattern[at..].iter().all(is_many)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_to_datasets() {
        for (pattern, path) in [
            ("data/train-*", "data/train-00000-of-00001.parquet"),
            ("data/train.jsonl", "data/train.jsonl"),
            ("./data/train.jsonl", "data/train.jsonl"),
            ("*.csv", "a.csv"),
            ("**/*.csv", "a.csv"),
            ("**/*.csv", "x/y/a.csv"),
            ("data/**", "data/x/a.csv"),
            ("a?c[0-9][!x].*", "abc1y.json"),
            ("[a", "[a"),
            ("a*b*c", "axbxbc"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*.csv", "x/a.csv"),
            ("data/train-*", "data/train.parquet"),
            ("data/*", "data/x/a.csv"),
            ("a[0-9]", "ax"),
            ("a?", "a"),
            ("", "a"),
            ("train", "train.csv"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let started = std::time::Instant::now();
        assert!(!matches(&"*a".repeat(2000), &"a".repeat(1999)));
        assert!(!matches(&"**/x/".repeat(500), &"x/".repeat(499)));
        assert!(started.elapsed().as_secs() < 5);
    }
}
