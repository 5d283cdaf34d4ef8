//! Keys: they go to the servers they belong to and into nothing else.

use std::fmt;

use crate::Error;

/// What stands where a key was.
const REDACTED: &str = "[key]";

/// A server's key. It cannot be printed, and is taken out of whatever a server repeats of it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// A key as it stood in the environment, where `variable` is its name.
    ///
    /// # Errors
    /// If it could not stand in a header.
    pub fn new(text: &str, variable: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Address {
                problem: format!("{variable}: expected letters, digits and signs, found something else"),
                hint: "set the variable to the server's key, or unset it".into(),
            });
        }
        Ok(Self(text.to_owned()))
    }

    /// The value of the header `Authorization`.
    pub(super) fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// `text` without the key, in whichever way its characters are escaped.
    pub fn redact(&self, text: &str) -> String {
        let mut kept = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if let Some(n) = self.len_at(rest.as_bytes()) {
                kept.push_str(REDACTED);
                rest = &rest[n..];
            } else {
                kept.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        kept
    }

    /// Whether the key is so short that a text can hold it by chance, as `EMPTY` and `none` are that local servers are
    /// given. Such a key is left in answers, which would be altered otherwise.
    pub(super) fn is_commonplace(&self) -> bool {
        self.0.len() < 12
    }

    /// Bytes that the key takes at the beginning of `text`, if it stands there. All of them are ASCII.
    fn len_at(&self, text: &[u8]) -> Option<usize> {
        // A character can be read in two ways when the key itself looks escaped.
        let mut ends = vec![0];
        for byte in self.0.bytes() {
            let next = ends.iter().flat_map(|at| lens_of(byte, &text[*at..]).map(move |n| at + n));
            ends = next.collect();
            ends.sort_unstable();
            ends.dedup();
        }
        ends.pop()
    }
}

/// Bytes that one character can take at the beginning of `text`: as it is, or escaped as in URLs and JSON.
fn lens_of(byte: u8, text: &[u8]) -> impl Iterator<Item = usize> {
    let is_hex = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).ok();
        digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) == Some(byte)
    };
    let escaped = match text {
        [b'%', a, b, ..] if is_hex(&[*a, *b]) => Some(3),
        [b'\\', b'u', b'0', b'0', a, b, ..] if is_hex(&[*a, *b]) => Some(6),
        [b'\\', escaped, ..] if *escaped == byte => Some(2),
        _ => None,
    };
    let plain = text.first().filter(|first| **first == byte).map(|_| 1);
    escaped.into_iter().chain(plain)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_form_of_a_key_is_left() {
        let secret = Secret::new(" sk-a/b\"c\\d+e \n", "KEY").unwrap();
        for form in
            ["sk-a/b\"c\\d+e", r#"sk-a\/b\"c\\d+e"#, "sk-a%2Fb%22c%5Cd%2be", r#"sk\u002da/b\u0022c\u005cd+e"#]
        {
            assert_eq!(secret.redact(&format!("»{form}« {form}")), "»[key]« [key]", "{form}");
        }
        assert_eq!(secret.redact("sk-a/b and %2 stay \\"), "sk-a/b and %2 stay \\");
        assert_eq!(format!("{secret:?}"), "[key]");
        assert_eq!(secret.authorization(), r#"Bearer sk-a/b"c\d+e"#);
    }

    #[test]
    fn what_no_header_can_carry_is_refused_and_not_repeated() {
        for text in ["", " \n", "a b", "sésame", "a\r\nHost: b"] {
            let error = Secret::new(text, "KEY").unwrap_err();
            assert!(error.to_string().starts_with("KEY: "), "{error}");
            assert!(!error.to_string().contains("sésame"));
        }
    }

    proptest! {
        #[test]
        fn a_key_is_found_anywhere(key in "[!-~]{6,40}", before in "\\PC{0,20}", after in "\\PC{0,20}") {
            let secret = Secret::new(&key, "KEY").unwrap();
            let json = serde_json::to_string(&format!("{before}{key}{after}")).unwrap();
            let percent = key.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
            for text in [format!("{before}{key}{after}"), json, format!("{before}{percent}{after}")] {
                prop_assert!(!secret.redact(&text).contains(&key), "{text}");
                prop_assert!(secret.redact(&text).contains(REDACTED), "{text}");
            }
        }
    }
}
