//! Caesar's cipher: the 26 letters move along the alphabet, everything else stays.

/// The text with its letters moved on by `shift` places.
pub(super) fn moved(text: &str, shift: u8) -> String {
    text.chars().map(|c| moved_letter(c, shift)).collect()
}

fn moved_letter(c: char, shift: u8) -> char {
    let first = match c {
        'a'..='z' => b'a',
        'A'..='Z' => b'A',
        _ => return c,
    };
    char::from(first + (c as u8 - first + shift % 26) % 26)
}
