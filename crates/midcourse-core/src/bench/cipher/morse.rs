//! International Morse code (Recommendation ITU-R M.1677-1), and the exclamation mark that radio amateurs send.
//!
//! Letters are parted by a space, words by ` / `, lines as they are. A character without a code stands for itself.

use super::tolerated;

/// Every character that has a code.
const CODES: [(char, &str); 54] = [
    ('a', ".-"),
    ('b', "-..."),
    ('c', "-.-."),
    ('d', "-.."),
    ('e', "."),
    ('f', "..-."),
    ('g', "--."),
    ('h', "...."),
    ('i', ".."),
    ('j', ".---"),
    ('k', "-.-"),
    ('l', ".-.."),
    ('m', "--"),
    ('n', "-."),
    ('o', "---"),
    ('p', ".--."),
    ('q', "--.-"),
    ('r', ".-."),
    ('s', "..."),
    ('t', "-"),
    ('u', "..-"),
    ('v', "...-"),
    ('w', ".--"),
    ('x', "-..-"),
    ('y', "-.--"),
    ('z', "--.."),
    ('é', "..-.."),
    ('1', ".----"),
    ('2', "..---"),
    ('3', "...--"),
    ('4', "....-"),
    ('5', "....."),
    ('6', "-...."),
    ('7', "--..."),
    ('8', "---.."),
    ('9', "----."),
    ('0', "-----"),
    ('.', ".-.-.-"),
    (',', "--..--"),
    (':', "---..."),
    ('?', "..--.."),
    ('\'', ".----."),
    ('-', "-....-"),
    ('/', "-..-."),
    ('(', "-.--."),
    (')', "-.--.-"),
    ('"', ".-..-."),
    ('=', "-...-"),
    ('+', ".-.-."),
    ('@', ".--.-."),
    ('!', "-.-.--"),
    ('&', ".-..."),
    (';', "-.-.-."),
    ('_', "..--.-"),
];

/// The text in dots and dashes.
pub(super) fn encode(text: &str) -> String {
    let letter = |c: char| code(lower(c)).map_or_else(|| c.to_string(), str::to_owned);
    let word = |word: &str| word.chars().map(letter).collect::<Vec<_>>().join(" ");
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" / ");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// The text of dots and dashes. Words are parted by `/` or by a second space.
pub(super) fn decode(text: &str) -> Option<String> {
    let (mut lines, mut n_units, mut n_stray) = (Vec::new(), 0, 0);
    for line in text.split('\n') {
        let mut said = String::new();
        for word in line.replace("  ", " / ").split('/').map(str::split_whitespace) {
            let mut letters = word.peekable();
            if letters.peek().is_some() && !said.is_empty() {
                said.push(' ');
            }
            for unit in letters {
                n_units += 1;
                n_stray += usize::from(!read_unit(unit, &mut said));
            }
        }
        lines.push(said);
    }
    let said = lines.join("\n");
    if n_units == 0 { Some(said) } else { tolerated(n_units, n_stray, said) }
}

/// Puts down what a unit stands for; false where it can only stand for itself.
fn read_unit(unit: &str, said: &mut String) -> bool {
    if let Some((letter, _)) = CODES.iter().find(|(_, code)| *code == unit) {
        said.push(*letter);
        return true;
    }
    said.push_str(unit);
    // One character is how encoding leaves what has no code.
    let mut characters = unit.chars();
    characters.next().is_some_and(|c| code(lower(c)).is_none()) && characters.next().is_none()
}

/// What is left of a text: small letters, and single spaces between words.
pub(super) fn carried(text: &str) -> String {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n").chars().map(lower).collect()
}

/// The small letter of one that has a code; any other character as it is.
fn lower(c: char) -> char {
    if c == 'É' { 'é' } else { c.to_ascii_lowercase() }
}

fn code(c: char) -> Option<&'static str> {
    CODES.iter().find(|(letter, _)| *letter == c).map(|(_, code)| *code)
}
