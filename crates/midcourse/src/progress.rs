//! A progress bar with rate and time left; nothing when standard error is no terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// Progress of sampling, in tokens.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar for `n_tokens`, the most that the paths still to grow can take.
    pub(crate) fn new(n_tokens: usize) -> Self {
        let bar = ProgressBar::new(n_tokens as u64);
        let line = "{spinner} {wide_bar} {percent:>3} % · {msg} · {per_sec} · {eta} left ";
        if let Ok(style) = ProgressStyle::with_template(line) {
            bar.set_style(style.with_key("per_sec", Self::per_sec));
        }
        Self { bar }
    }

    fn per_sec(state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write) {
        let _ = write!(out, "{:.0} tokens/s", state.per_sec());
    }

    /// Shows how far the work is.
    pub(crate) fn show(&self, n_tokens: usize, n_paths: usize, n_paths_total: usize) {
        self.bar.set_position(n_tokens as u64);
        self.bar.set_message(format!("{n_paths}/{n_paths_total} paths"));
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
