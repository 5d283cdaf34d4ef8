//! From a template's source to tokens, with the white space that tags take away.
//!
//! Source: `jinja2.lexer` with `trim_blocks` and `lstrip_blocks`, as transformers sets it up.

use super::Fault;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Text outside tags.
    Data(String),
    /// `{{`.
    ExprStart,
    /// `}}`.
    ExprEnd,
    /// `{%`.
    TagStart,
    /// `%}`.
    TagEnd,
    Name(String),
    Text(String),
    Int(i64),
    Float(f64),
    /// An operator or a bracket.
    Op(&'static str),
    /// The end of the source.
    End,
}

/// A token and its line, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub kind: Kind,
    pub line: usize,
}

/// Longest first, so that the first that fits is the one.
const OPERATORS: [&str; 25] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<",
    "=", ".", ":", "|", ",",
];

/// Splits a source into tokens.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, Fault> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    // Jinja leaves out one line end at the end of a template.
    let source = source.strip_suffix('\n').unwrap_or(&source);
    let mut lexer = Lexer { source, at: 0, line: 1, line_starts: true, tokens: Vec::new() };
    lexer.run()?;
    lexer.push(Kind::End);
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: usize,
    /// Whether the text after the last tag begins a line.
    line_starts: bool,
    tokens: Vec<Token>,
}

/// How a tag ends: what it is closed by, and whether it takes the line end after it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    Expr,
    Block,
    Comment,
}

impl Tag {
    fn closed_by(self) -> &'static str {
        match self {
            Self::Expr => "}}",
            Self::Block => "%}",
            Self::Comment => "#}",
        }
    }
}

impl<'s> Lexer<'s> {
    fn run(&mut self) -> Result<(), Fault> {
        while self.at < self.source.len() {
            let rest = &self.source[self.at..];
            let Some((to, tag)) = next_tag(rest) else {
                self.data(rest);
                break;
            };
            let sign = rest[to + 2..].chars().next();
            self.data_before(&rest[..to], tag, sign);
            self.skip(to + 2);
            match tag {
                Tag::Comment => self.comment()?,
                Tag::Expr => self.tag(tag, sign)?,
                Tag::Block => self.block(sign)?,
            }
        }
        Ok(())
    }

    /// The text before a tag, without what the tag takes.
    fn data_before(&mut self, text: &'s str, tag: Tag, sign: Option<char>) {
        let kept = if sign == Some('-') {
            text.trim_end()
        } else if tag != Tag::Expr && sign != Some('+') {
            let line_at = text.rfind('\n').map_or(0, |at| at + 1);
            let begins_line = line_at > 0 || self.line_starts;
            if begins_line && text[line_at..].trim().is_empty() { &text[..line_at] } else { text }
        } else {
            text
        };
        self.data(kept);
        self.skip(text.len());
        // `skip` counts from the place before the text; the caller goes on from the tag.
        self.at -= text.len();
        self.line -= text.matches('\n').count();
    }

    fn data(&mut self, text: &str) {
        if !text.is_empty() {
            self.push(Kind::Data(text.to_owned()));
        }
    }

    fn push(&mut self, kind: Kind) {
        self.tokens.push(Token { kind, line: self.line });
    }

    fn skip(&mut self, n_bytes: usize) {
        self.line += self.source[self.at..self.at + n_bytes].matches('\n').count();
        self.at += n_bytes;
    }

    fn fault(&self, problem: impl Into<String>) -> Fault {
        Fault::syntax(self.line, problem)
    }

    fn comment(&mut self) -> Result<(), Fault> {
        let end = self.source[self.at..].find("#}").ok_or_else(|| self.fault("the comment has no end"))?;
        let sign = self.source[self.at..self.at + end].chars().next_back();
        self.skip(end);
        self.close(Tag::Comment, sign);
        Ok(())
    }

    /// A block tag; what stands between `raw` and `endraw` is text.
    fn block(&mut self, sign: Option<char>) -> Result<(), Fault> {
        if let Some(after) = self.bare_tag(self.at, "raw") {
            let trimmed = self.source[..after].ends_with("-%}");
            self.skip(after - self.at - 2);
            self.close(Tag::Block, trimmed.then_some('-'));
            return self.raw();
        }
        self.tag(Tag::Block, sign)
    }

    /// Where the tag that holds nothing but `name` ends, when it is the one whose inside begins at `at`.
    fn bare_tag(&self, at: usize, name: &str) -> Option<usize> {
        let inside = self.source[at..].trim_start_matches(['-', '+']).trim_start();
        let rest = inside.strip_prefix(name)?.trim_start();
        let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest).strip_prefix("%}")?;
        Some(self.source.len() - rest.len())
    }

    fn raw(&mut self) -> Result<(), Fault> {
        let from = self.at;
        let mut searched = from;
        loop {
            let Some(open) = self.source[searched..].find("{%") else {
                return Err(self.fault("`raw` has no `endraw`"));
            };
            let inside = searched + open + 2;
            let Some(after) = self.bare_tag(inside, "endraw") else {
                searched = inside;
                continue;
            };
            let text = &self.source[from..inside - 2];
            self.data_before(text, Tag::Block, self.source[inside..].chars().next());
            let trimmed = self.source[..after].ends_with("-%}");
            self.skip(after - 2 - from);
            self.close(Tag::Block, trimmed.then_some('-'));
            return Ok(());
        }
    }

    /// The tokens of a tag up to its end.
    fn tag(&mut self, tag: Tag, sign: Option<char>) -> Result<(), Fault> {
        self.push(if tag == Tag::Expr { Kind::ExprStart } else { Kind::TagStart });
        if sign == Some('-') || (sign == Some('+') && tag == Tag::Block) {
            self.skip(1);
        }
        let mut brackets = 0_usize;
        loop {
            let blank = self.source[self.at..].len() - self.source[self.at..].trim_start().len();
            self.skip(blank);
            let rest = &self.source[self.at..];
            let signed =
                rest.strip_prefix('-').or_else(|| rest.strip_prefix('+').filter(|_| tag == Tag::Block));
            let ended = signed.unwrap_or(rest).starts_with(tag.closed_by());
            if brackets == 0 && ended {
                self.push(if tag == Tag::Expr { Kind::ExprEnd } else { Kind::TagEnd });
                let sign = signed.and(rest.chars().next());
                self.skip(usize::from(sign.is_some()));
                self.close(tag, sign);
                return Ok(());
            }
            match self.token()? {
                Kind::Op("[" | "(" | "{") => brackets += 1,
                Kind::Op("]" | ")" | "}") => {
                    brackets = brackets.checked_sub(1).ok_or_else(|| self.fault("a bracket closes none"))?;
                }
                _ => {}
            }
        }
    }

    /// Leaves a tag whose end is next.
    fn close(&mut self, tag: Tag, sign: Option<char>) {
        self.skip(2);
        let rest = &self.source[self.at..];
        let taken = match sign {
            Some('-') => rest.len() - rest.trim_start().len(),
            Some('+') => 0,
            _ => usize::from(tag != Tag::Expr && rest.starts_with('\n')),
        };
        self.line_starts = rest[..taken].ends_with('\n');
        self.skip(taken);
    }

    fn token(&mut self) -> Result<Kind, Fault> {
        let rest = &self.source[self.at..];
        let first = rest.chars().next().ok_or_else(|| self.fault("a tag has no end"))?;
        let (kind, n_bytes) = if first == '_' || first.is_alphabetic() {
            let n = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
            (Kind::Name(rest[..n].to_owned()), n)
        } else if first.is_ascii_digit() {
            self.number(rest)?
        } else if first == '"' || first == '\'' {
            let (text, n) = self.text(rest, first)?;
            (Kind::Text(text), n)
        } else {
            let op = OPERATORS.iter().find(|op| rest.starts_with(**op));
            let op = op.ok_or_else(|| self.fault(format!("unexpected {first:?}")))?;
            (Kind::Op(op), op.len())
        };
        self.push(kind.clone());
        self.skip(n_bytes);
        Ok(kind)
    }

    fn number(&self, rest: &str) -> Result<(Kind, usize), Fault> {
        let digits = |text: &str| text.find(|c: char| c != '_' && !c.is_ascii_digit()).unwrap_or(text.len());
        let mut n = digits(rest);
        let fraction = rest[n..].strip_prefix('.').map_or(0, digits);
        if fraction > 0 {
            n += 1 + fraction;
        }
        let exponent = rest[n..].strip_prefix(['e', 'E']).map_or(0, |tail| {
            let signed = tail.strip_prefix(['+', '-']).unwrap_or(tail);
            match digits(signed) {
                0 => 0,
                n_digits => 1 + tail.len() - signed.len() + n_digits,
            }
        });
        n += exponent;
        let spelt = rest[..n].replace('_', "");
        let is_float = fraction > 0 || exponent > 0;
        let number =
            if is_float { spelt.parse().ok().map(Kind::Float) } else { spelt.parse().ok().map(Kind::Int) };
        let number =
            number.ok_or_else(|| self.fault(format!("expected a number of 64 bits, found {spelt}")))?;
        Ok((number, n))
    }

    /// A quoted text and the bytes it takes with its quotes.
    fn text(&self, rest: &str, quote: char) -> Result<(String, usize), Fault> {
        let mut text = String::new();
        let mut chars = rest[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => return Ok((text, at + 2)),
                '\\' => {
                    let escaped = &rest[1 + at + 1..];
                    let (c, n_bytes) = escape(escaped).ok_or_else(|| self.fault("a text has no end"))?;
                    text.push_str(&c);
                    while chars.as_str().len() > escaped.len() - n_bytes {
                        chars.next();
                    }
                }
                c => text.push(c),
            }
        }
        Err(self.fault("a text has no end"))
    }
}

/// Where the next tag opens, and of what kind it is.
fn next_tag(text: &str) -> Option<(usize, Tag)> {
    text.match_indices('{').find_map(|(at, _)| match text.as_bytes().get(at + 1)? {
        b'{' => Some((at, Tag::Expr)),
        b'%' => Some((at, Tag::Block)),
        b'#' => Some((at, Tag::Comment)),
        _ => None,
    })
}

/// What the escape after a backslash stands for, and its bytes; Python leaves unknown ones as they are.
fn escape(rest: &str) -> Option<(String, usize)> {
    let first = rest.chars().next()?;
    let hex = |n_digits: usize| {
        let digits = rest.get(1..=n_digits)?;
        let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
        Some((c.to_string(), 1 + n_digits))
    };
    let simple = |c: char| Some((c.to_string(), 1));
    let known = match first {
        'n' => simple('\n'),
        't' => simple('\t'),
        'r' => simple('\r'),
        'a' => simple('\u{7}'),
        'b' => simple('\u{8}'),
        'f' => simple('\u{c}'),
        'v' => simple('\u{b}'),
        '\\' | '\'' | '"' => simple(first),
        '\n' => Some((String::new(), 1)),
        'x' => hex(2),
        'u' => hex(4),
        'U' => hex(8),
        '0'..='7' => {
            let n = rest.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
            let code = u32::from_str_radix(&rest[..n], 8).ok()?;
            Some((char::from_u32(code)?.to_string(), n))
        }
        _ => None,
    };
    Some(known.unwrap_or_else(|| (format!("\\{first}"), first.len_utf8())))
}
