//! Scripts that are written without spaces between their words.
//!
//! Blocks are named coarsely: a sign of such a script that is no letter counts with it.
//!
//! Source: the blocks of Unicode 16 whose scripts have line-break class SA or ID (UAX 14).

/// Whether `c` is of a script without spaces between words.
pub(super) fn is_unspaced(c: char) -> bool {
    is_wide(c)
        || spaces_end_clauses(c)
        || matches!(c, '\u{f00}'..='\u{fff}' | '\u{1950}'..='\u{19df}' | '\u{1a20}'..='\u{1aaf}')
}

/// Whether `c` is Han, Kana or Bopomofo, of which a word takes one to three characters.
pub(super) fn is_wide(c: char) -> bool {
    matches!(c,
        '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{312f}' | '\u{3190}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}'
        | '\u{1aff0}'..='\u{1b16f}' | '\u{20000}'..='\u{3ffff}')
}

/// Whether `c` is Thai, Lao, Myanmar or Khmer: a space ends a clause there.
pub(super) fn spaces_end_clauses(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{19e0}'..='\u{19ff}'
        | '\u{a9e0}'..='\u{a9ff}' | '\u{aa60}'..='\u{aa7f}')
}

/// Characters at which a line ends.
pub(super) const LINE_BREAKS: [char; 7] = ['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];
