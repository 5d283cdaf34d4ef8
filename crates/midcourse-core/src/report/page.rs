//! The frame of every page: one HTML file that opens from disk and loads nothing.
//!
//! `page.html` is a format string, as are the bodies that stand in it: what they name is checked when this crate is
//! compiled. The content security policy allows exactly the style sheet and the script of this build, by their hashes;
//! what the browser of rows shows is data that the script reads. Without the script all but that browser works.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::each;
use super::escape::{Html, script_json};
use super::figure::Figure;

/// What a page is made of.
pub(super) struct Page<'a> {
    /// Plain text.
    pub(super) title: &'a str,
    /// Markup, with everything hostile escaped.
    pub(super) body: &'a str,
    /// What the browser of rows shows.
    pub(super) rows: &'a Value,
    /// How it shows them; runs after `browser.js`.
    pub(super) script: &'a str,
}

/// The whole file.
pub(super) fn page(page: &Page) -> String {
    let style = inline(include_str!("page.css"));
    let script = inline(&[include_str!("browser.js"), page.script].concat());
    format!(
        include_str!("page.html"),
        policy = policy(&style, &script),
        style = style,
        script = script,
        title = Html(page.title),
        body = page.body,
        rows = script_json(page.rows),
    )
}

/// A figure at the head of a page; what it is `of` stands below it.
pub(super) fn card(name: &str, figure: Figure, of: &str) -> String {
    let interval = format!("<p class=\"interval\">{}</p>", figure.interval());
    headed(name, &figure.percent(), &interval, of)
}

/// A count at the head of a page.
pub(super) fn counted(name: &str, count: &str, of: &str) -> String {
    headed(name, count, "", of)
}

fn headed(name: &str, value: &str, interval: &str, of: &str) -> String {
    format!(
        "<div class=\"card\"><h2>{name}</h2><p class=\"value\">{value}</p>{interval}<p class=\"of\">{of}</p></div>\n"
    )
}

/// A warning.
pub(super) fn note(line: &str) -> String {
    format!("<p class=\"note\">{}</p>\n", Html(line))
}

/// Rows of a table of names and values.
pub(super) fn details(details: &[(String, String)]) -> String {
    each(details, |(name, value)| {
        format!("<tr><th scope=\"row\">{}</th><td><bdi>{}</bdi></td></tr>\n", Html(name), Html(value))
    })
}

/// A block's text as the browser will hash it.
fn inline(text: &str) -> String {
    format!("\n{}", text.replace("\r\n", "\n"))
}

fn policy(style: &str, script: &str) -> String {
    let hash = |text: &str| format!("'sha256-{}'", base64(&Sha256::digest(text.as_bytes())));
    format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'; \
         require-trusted-types-for 'script'",
        hash(style),
        hash(script)
    )
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
pub(super) mod markup {
    pub(in crate::report) const ELEMENTS: &str = " !doctype b bdi body button caption circle desc div figcaption figure form g h1 h2 head \
        header html input label line main meta nav noscript p polygon polyline rect script section select span \
        style svg table tbody td text th thead title tr ";

    /// The page without the text of its style sheet and its script, which are this build's own.
    pub(in crate::report) fn frame(page: &str) -> String {
        let own = [
            include_str!("page.css"),
            include_str!("browser.js"),
            include_str!("evaluation.js"),
            include_str!("synth/page.js"),
            include_str!("compare/page.js"),
        ];
        own.iter().fold(page.to_owned(), |page, own| page.replace(own, ""))
    }

    /// Every `<…>` of a page as a name and what follows it.
    pub(in crate::report) fn tags(page: &str) -> Vec<(String, String)> {
        let parts = page.split('<').skip(1);
        let inside =
            parts.map(|part| part.split_once('>').map_or(part, |(tag, _)| tag).trim_start_matches('/'));
        inside.map(|tag| tag.split_once(char::is_whitespace).unwrap_or((tag, ""))).map(owned).collect()
    }

    fn owned((name, rest): (&str, &str)) -> (String, String) {
        (name.to_owned(), rest.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{fixture, html};
    use super::*;

    #[test]
    fn the_policy_allows_the_inline_blocks_and_nothing_else() {
        let page = html(&fixture::report(&fixture::scores()));
        for (name, open) in [("style", "<style>"), ("script", "<script>")] {
            let block = page.split(open).nth(1).unwrap().split(&format!("</{name}>")).next().unwrap();
            let hash = base64(&Sha256::digest(block.as_bytes()));
            assert!(page.contains(&format!("{name}-src 'sha256-{hash}';")));
        }
        assert!(page.contains(r#"content="default-src 'none'; style-src"#));
        assert!(!page.contains(" style=") && !page.contains("http:") && !page.contains("https:"));
    }

    #[test]
    fn base64_as_in_the_rfc() {
        let encoded = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(encoded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
