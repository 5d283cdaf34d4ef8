//! Figures as they are printed: rates in percent with one decimal, intervals in brackets, counts in groups.
//!
//! A rate without a judged path prints as a dash, never as zero.

use std::fmt::{self, Display};

use crate::metrics::calibrated::CalibratedAtK;
use crate::metrics::{CategoryScore, CorrAtK, Estimate, Share};

/// A rate and its interval; prints as `12.5 % [8.1, 17.9]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figure {
    /// Share in [0, 1].
    pub(super) rate: Option<f64>,
    /// Its interval.
    pub(super) ci: Option<[f64; 2]>,
}

impl Figure {
    /// `12.5 %`, or a dash.
    pub(super) fn percent(self) -> String {
        self.rate.map_or_else(|| "–".to_owned(), |rate| format!("{:.1} %", in_percent(rate)))
    }

    /// `[8.1, 17.9]`, in percent; empty when there is none.
    pub(super) fn interval(self) -> String {
        self.ci.map_or_else(String::new, |[low, high]| {
            format!("[{:.1}, {:.1}]", in_percent(low), in_percent(high))
        })
    }
}

impl Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(format!("{} {}", self.percent(), self.interval()).trim_end())
    }
}

impl From<&CorrAtK> for Figure {
    fn from(at: &CorrAtK) -> Self {
        Self { rate: at.rate, ci: at.ci }
    }
}

impl From<&CalibratedAtK> for Figure {
    fn from(at: &CalibratedAtK) -> Self {
        Self { rate: at.rate, ci: at.ci }
    }
}

impl From<&Share> for Figure {
    fn from(share: &Share) -> Self {
        Self { rate: share.rate, ci: share.ci }
    }
}

impl From<&CategoryScore> for Figure {
    fn from(score: &CategoryScore) -> Self {
        Self { rate: score.rate, ci: score.ci }
    }
}

impl From<Option<Estimate>> for Figure {
    fn from(estimate: Option<Estimate>) -> Self {
        Self { rate: estimate.map(|e| e.rate), ci: estimate.map(|e| e.ci) }
    }
}

/// A share in percent; adding zero makes minus zero plain.
pub(super) fn in_percent(share: f64) -> f64 {
    100.0 * share + 0.0
}

/// A difference with its sign, `+41.2` or `−0.3`.
pub(super) fn signed(x: f64, n_decimals: usize) -> String {
    let digits = format!("{:.n_decimals$}", x.abs());
    let is_zero = !digits.contains(|c: char| ('1'..='9').contains(&c));
    let sign = if is_zero {
        "±"
    } else if x < 0.0 {
        "−"
    } else {
        "+"
    };
    format!("{sign}{digits}")
}

/// The ends of the interval of a difference, `[−1.1, 0.5]`.
pub(super) fn ends([low, high]: [f64; 2], n_decimals: usize) -> String {
    let end = |x: f64| signed(x, n_decimals).replace(['+', '±'], "");
    format!("[{}, {}]", end(low), end(high))
}

/// `6,400`.
pub(super) fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// What keeps a path out of a rate's denominator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Its judgement could not be understood.
    Unparsed,
    /// The response is shorter than its prefix; counted in prefixes.
    Skipped,
    /// The engine could not grow it.
    Failed,
}

impl Loss {
    /// The kinds that occurred at any of `lengths`.
    pub(super) fn among(lengths: &[CorrAtK]) -> Vec<Self> {
        let kinds = [Self::Unparsed, Self::Skipped, Self::Failed].into_iter();
        kinds.filter(|kind| kind.total(lengths) > 0).collect()
    }

    /// How often it occurred at one length.
    pub(super) fn at(self, at: &CorrAtK) -> usize {
        match self {
            Self::Unparsed => at.n_unparsed,
            Self::Skipped => at.n_skipped,
            Self::Failed => at.n_failed,
        }
    }

    /// How often it occurred at all `lengths`.
    pub(super) fn total(self, lengths: &[CorrAtK]) -> usize {
        lengths.iter().map(|at| self.at(at)).sum()
    }

    /// The name of its column.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unparsed => "unparsed",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }

    /// What is counted, in words.
    pub(super) fn counted(self) -> &'static str {
        match self {
            Self::Unparsed => "unparsed paths",
            Self::Skipped => "skipped prefixes (response shorter than k)",
            Self::Failed => "failed paths",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_print_in_percent_with_one_decimal() {
        let figure = |rate, ci| Figure { rate, ci }.to_string();
        assert_eq!(figure(Some(0.125), Some([0.081, 0.179])), "12.5 % [8.1, 17.9]");
        assert_eq!(figure(Some(1.0), Some([0.95, 1.0])), "100.0 % [95.0, 100.0]");
        assert_eq!(figure(Some(-0.0), None), "0.0 %");
        assert_eq!(figure(None, None), "–");
    }

    #[test]
    fn differences_have_their_sign() {
        assert_eq!(
            [0.412, -0.0031, 0.0, -0.0004].map(|x| signed(100.0 * x, 1)),
            ["+41.2", "−0.3", "±0.0", "±0.0"]
        );
        assert_eq!(ends([-1.06, 0.5], 1), "[−1.1, 0.5]");
        assert_eq!(ends([-0.0, 0.04], 1), "[0.0, 0.0]");
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0, 999, 1_000, 6_400, 1_234_567].map(count), ["0", "999", "1,000", "6,400", "1,234,567"]);
    }
}
