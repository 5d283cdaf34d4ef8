//! A progress bar with rate and time left; nothing when standard error is no terminal.

use indicatif::{ProgressBar, ProgressStyle};
use midcourse_core::report::strip_controls;

use crate::terminal::{is_watched, say};

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

/// Progress of a file that is fetched, in bytes; the bar goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Transfer {
    bar: ProgressBar,
}

impl Transfer {
    /// A bar for a file of `n_bytes`, of which `n_there` have come before. A line where nobody watches.
    pub(crate) fn new(file: &str, n_bytes: u64, n_there: u64) -> Self {
        if !is_watched() && n_bytes > 1 << 20 {
            let there =
                if n_there > 0 { format!(", {} MB there", n_there / 1_000_000) } else { String::new() };
            say(&format!("fetching {file} ({} MB{there}) …", n_bytes / 1_000_000));
        }
        let bar = ProgressBar::new(n_bytes).with_position(n_there);
        let line = "{spinner} {msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} · {decimal_bytes_per_sec} · {eta} left ";
        if let Ok(style) = ProgressStyle::with_template(line) {
            bar.set_style(style);
        }
        bar.set_message(strip_controls(file));
        bar.reset_eta();
        Self { bar }
    }

    /// Shows how much has come.
    pub(crate) fn show(&self, n_bytes: u64) {
        self.bar.set_position(n_bytes);
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Progress of judging, in cases.
#[derive(Debug)]
pub(crate) struct Judged {
    bar: ProgressBar,
}

impl Judged {
    /// A bar for `n_cases` that the judge is asked about.
    pub(crate) fn new(n_cases: usize) -> Self {
        let bar = ProgressBar::new(n_cases as u64);
        let line = "{spinner} {wide_bar} {percent:>3} % · {pos}/{len} judged · {eta} left ";
        if let Ok(style) = ProgressStyle::with_template(line) {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Counts cases that were judged.
    pub(crate) fn advance(&self, n_cases: usize) {
        self.bar.inc(n_cases as u64);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Progress of a training, in steps; the bar goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Steps {
    bar: ProgressBar,
    n_all: usize,
    /// Steps between two lines where nobody watches.
    line_every: usize,
}

impl Steps {
    /// A bar for `n_steps`, of which `n_done` are done.
    pub(crate) fn new(n_steps: usize, n_done: usize, line_every: usize) -> Self {
        let bar = ProgressBar::new(n_steps as u64).with_position(n_done as u64);
        let line = "{spinner} {wide_bar} {pos}/{len} steps · {msg} · {eta} left ";
        if let Ok(style) = ProgressStyle::with_template(line) {
            bar.set_style(style);
        }
        bar.reset_eta();
        Self { bar, n_all: n_steps, line_every }
    }

    /// Shows a step that is done, and its figures; where nobody watches, every so often as a line.
    pub(crate) fn show(&self, step: usize, figures: &str) {
        self.bar.set_position(step as u64);
        self.bar.set_message(figures.to_owned());
        if !is_watched() && (step.is_multiple_of(self.line_every) || step == self.n_all) {
            say(&format!("step {step} of {} · {figures}", self.n_all));
        }
    }

    /// Says something without disturbing the bar.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Progress of benchmarks, in items; the bar goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Items {
    bar: ProgressBar,
}

impl Items {
    /// A bar for `n_items`, of which `n_done` are recorded.
    pub(crate) fn new(n_items: usize, n_done: usize) -> Self {
        let bar = ProgressBar::new(n_items as u64).with_position(n_done as u64);
        let line = "{spinner} {msg} {wide_bar} {pos}/{len} items · {eta} left ";
        if let Ok(style) = ProgressStyle::with_template(line) {
            bar.set_style(style);
        }
        bar.reset_eta();
        Self { bar }
    }

    /// Names the task whose items come now; where nobody watches, in a line.
    pub(crate) fn begin(&self, task: &str, n_items: usize, n_done: usize) {
        self.bar.set_message(strip_controls(task));
        if !is_watched() {
            let there = if n_done > 0 { format!(", {n_done} there") } else { String::new() };
            say(&format!("{}: {n_items} items{there} …", strip_controls(task)));
        }
    }

    /// Takes the bar away while another one is shown.
    pub(crate) fn suspended<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bar.suspend(work)
    }

    /// Counts items that were recorded.
    pub(crate) fn advance(&self, n_items: usize) {
        self.bar.inc(n_items as u64);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
