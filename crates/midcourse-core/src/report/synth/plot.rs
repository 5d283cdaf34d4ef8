//! Small plots in the rows of tables: bars, histograms and spans. The numbers stand beside them.

use std::fmt::Write;

use super::super::figure::Figure;
use super::super::plot::{interval_marks, strip};
use crate::data::Quantiles;

/// A share as a bar from the left.
pub(super) fn bar(share: f64) -> String {
    stack(&[("bar", share)])
}

/// Shares one after the other, each with its class; together at most 1.
pub(super) fn stack(shares: &[(&str, f64)]) -> String {
    let (mut marks, mut from) = (String::new(), 0.0);
    for (class, share) in shares.iter().filter(|(_, share)| *share > 0.0) {
        let _ = write!(
            marks,
            r#"<rect class="{class}" x="{:.2}%" width="{:.2}%" y="25%" height="50%"/>"#,
            100.0 * from,
            100.0 * share
        );
        from += share;
    }
    strip(&[0, 50, 100], &marks)
}

/// A histogram over 0 to 100 %.
pub(super) fn histogram(counts: &[usize]) -> String {
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let width = 100.0 / counts.len().max(1) as f64;
    let mut marks = String::new();
    for (i, n) in counts.iter().enumerate().filter(|(_, n)| **n > 0) {
        let height = 100.0 * *n as f64 / most;
        let _ = write!(
            marks,
            r#"<rect class="bar" x="{:.2}%" width="{:.2}%" y="{:.1}%" height="{height:.1}%"/>"#,
            width * (i as f64 + 0.06),
            width * 0.88,
            100.0 - height
        );
    }
    strip(&[0, 50, 100], &marks)
}

/// Nine tenths to one tenth as a line and the median as a disc, on a scale from 0 to `end`.
pub(super) fn span(quantiles: &Quantiles, end: usize) -> String {
    let at = |length: usize| length as f64 / end.max(1) as f64;
    let ci = Some([at(quantiles.p10), at(quantiles.p90)]);
    strip(&[0, 50, 100], &interval_marks(Figure { rate: Some(at(quantiles.median)), ci }))
}

/// An accuracy with its interval, between chance, what is called a leak, and certainty.
pub(super) fn accuracy(figure: Figure, leak_above: f64) -> String {
    let above = 100.0 * leak_above;
    let mark = format!(r#"<line class="limit" x1="{above:.0}%" x2="{above:.0}%" y1="0" y2="100%"/>"#);
    strip(&[0, 50, 100], &(mark + &interval_marks(figure)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_shares() {
        let svg = stack(&[("bar", 0.25), ("none", 0.0), ("rest", 0.75)]);
        assert!(svg.contains(r#"class="bar" x="0.00%" width="25.00%""#), "{svg}");
        assert!(svg.contains(r#"class="rest" x="25.00%" width="75.00%""#) && !svg.contains("none"), "{svg}");
    }

    #[test]
    fn the_highest_bar_of_a_histogram_fills_it() {
        let svg = histogram(&[0, 2, 0, 4]);
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(
            svg.contains(r#"y="0.0%" height="100.0%""#) && svg.contains(r#"y="50.0%" height="50.0%""#),
            "{svg}"
        );
        for counts in [&[][..], &[0, 0]] {
            assert!(!histogram(counts).contains("NaN") && !histogram(counts).contains("<rect"));
        }
    }

    #[test]
    fn a_span_is_drawn_on_its_scale() {
        let quantiles = Quantiles { min: 1, p10: 100, median: 200, p90: 400, max: 900 };
        let svg = span(&quantiles, 400);
        assert!(svg.contains(r#"x1="25.0%" x2="100.0%""#) && svg.contains(r#"cx="50.0%""#), "{svg}");
    }
}
