//! Characters as their numbers: decimal digits with a space between them. Beyond ASCII the number is Unicode's.

use super::tolerated;

/// The number of every character.
pub(super) fn encode(text: &str) -> String {
    let codes: Vec<String> = text.chars().map(|c| u32::from(c).to_string()).collect();
    codes.join(" ")
}

/// The characters of numbers that are parted by white space or commas, on however many lines.
pub(super) fn decode(text: &str) -> Option<String> {
    let (mut said, mut n_units, mut n_stray) = (String::new(), 0, 0);
    for unit in text.split(|c: char| c.is_whitespace() || c == ',').filter(|unit| !unit.is_empty()) {
        n_units += 1;
        if let Some(c) = character(unit) {
            said.push(c);
        } else {
            n_stray += 1;
            said.push_str(unit);
        }
    }
    if n_units == 0 { Some(said) } else { tolerated(n_units, n_stray, said) }
}

fn character(unit: &str) -> Option<char> {
    // Longer ones are no number of a character; a sign is none either.
    let is_number = unit.len() <= 7 && unit.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| unit.parse().ok().and_then(char::from_u32)).flatten()
}
