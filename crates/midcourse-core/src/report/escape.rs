//! Hostile text made safe for the place where it is shown.
//!
//! Each wrapper writes its text so that it cannot leave that place: [`Html`] inside an element or a quoted
//! attribute, [`Markdown`] inside a paragraph or a table cell, [`script_json`] inside a `<script>` data block.
//! None of them is enough for any other place (an unquoted attribute, a URL, a script that runs).

use std::fmt::{self, Display, Write};

/// `text` as one line without control characters and without marks that reorder what is read.
///
/// Line breaks and tabs become spaces; C0, C1 and the bidirectional controls of Unicode are dropped, so that
/// nothing in it can move a cursor, set a colour or pass for other text.
pub fn strip_controls(text: &str) -> String {
    text.chars().filter_map(printable).collect()
}

fn printable(c: char) -> Option<char> {
    match c {
        '\n' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
        c if c.is_control() => None,
        c => Some(c),
    }
}

/// Text inside an HTML or SVG element or a quoted attribute, on one line.
pub(super) struct Html<'a>(pub(super) &'a str);

impl Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars().filter_map(printable) {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Text inside a paragraph or a table cell of GitHub's Markdown, on one line.
pub struct Markdown<'a>(pub &'a str);

impl Display for Markdown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars().filter_map(printable) {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '$' => write!(f, "\\{c}")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// JSON that cannot end the `<script>` block it stands in, nor begin a comment there.
pub(super) fn script_json(value: &serde_json::Value) -> String {
    let json = value.to_string();
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => safe.push_str("\\u003c"),
            '>' => safe.push_str("\\u003e"),
            '&' => safe.push_str("\\u0026"),
            '\u{2028}' => safe.push_str("\\u2028"),
            '\u{2029}' => safe.push_str("\\u2029"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn controls_are_stripped_and_breaks_become_spaces() {
        assert_eq!(strip_controls("a\x1b[31mb\nc\td\u{9b}e\u{202e}f\u{2066}g\u{2028}h\r"), "a[31mb c defg h");
    }

    #[test]
    fn markdown_cannot_leave_its_cell() {
        let hostile = "a|b `c` <i>\n[x](y) \\| **z**";
        assert_eq!(Markdown(hostile).to_string(), "a\\|b \\`c\\` &lt;i&gt; \\[x\\](y) \\\\\\| \\*\\*z\\*\\*");
    }

    proptest! {
        #[test]
        fn html_holds_no_markup_and_reads_back(text in any::<String>()) {
            let escaped = Html(&text).to_string();
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            let back = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
            prop_assert_eq!(back.replace("&#39;", "'").replace("&amp;", "&"), strip_controls(&text));
        }

        #[test]
        fn script_json_holds_no_markup_and_reads_back(text in any::<String>()) {
            let value = serde_json::Value::from(text);
            let json = script_json(&value);
            let leaves = json.contains(['<', '>', '&', '\n', '\u{2028}', '\u{2029}']);
            prop_assert!(!leaves, "{}", json);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
        }
    }
}
