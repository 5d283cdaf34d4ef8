//! Saying things to the person at the terminal. Results go to standard output, all else to standard error.

use std::io::{IsTerminal, Write};

/// Writes a line to standard error; a closed pipe is no error.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes a result to standard output; a closed pipe is no error.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { out.flush() } else { out.write_all(b"\n") });
}

/// Columns of the terminal on standard output; 80 when it is none.
pub(crate) fn width() -> usize {
    let term = console::Term::stdout();
    term.size_checked().map_or(80, |(_, columns)| usize::from(columns)).clamp(40, 200)
}

/// Whether to use colours on standard output.
pub(crate) fn wants_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether standard error is a terminal.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}
