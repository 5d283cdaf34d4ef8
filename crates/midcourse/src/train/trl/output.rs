//! What a launched program has printed, as it may be shown on a terminal.

use console::strip_ansi_codes;
use midcourse_core::report::strip_controls;

/// The last lines that say something.
pub(super) fn last_lines(output: &[u8], n: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    // Progress bars write over themselves: what counts is what was written last.
    let lines =
        text.lines().map(|line| line.rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or_default());
    let lines: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(n)..]
        .iter()
        .map(|line| strip_controls(&strip_ansi_codes(line)))
        .collect()
}

/// Lines of another program, told apart from our own.
pub(super) fn said(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| format!("  | {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_shown_without_what_moves_a_cursor() {
        let output = b"first\n\n 10%\r 20%\r 30%\n\x1b[31mRuntimeError\x1b[0m: no\n  \n";
        assert_eq!(last_lines(output, 2), [" 30%", "RuntimeError: no"]);
        assert_eq!(last_lines(b"", 2), Vec::<String>::new());
        assert_eq!(said(&last_lines(output, 9))[0], "  | first");
    }
}
