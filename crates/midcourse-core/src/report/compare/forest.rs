//! Differences with their intervals, one a row, on an axis that all rows of a group share: 0 in the middle.

use std::fmt::Write;

use super::super::plot::run_class;
use super::{Group, changes};
use crate::compare::{Change, Clarity, Comparison, Measure};

/// The axis of a group: from −`reach` to `reach`, in points or the measure's own unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) reach: f64,
}

impl Axis {
    /// Round, and wide enough for every interval.
    pub(super) fn of(comparison: &Comparison, group: &Group) -> Self {
        let ends = group.measures.iter().flat_map(|measure| {
            let of = |change: &Change| change.difference.ci.map(|end| measure.told(end).abs());
            changes(comparison, measure).flat_map(move |(_, _, change)| of(change))
        });
        Self { reach: round(ends.fold(0.0, f64::max)) }
    }

    /// Its three labels.
    pub(super) fn labels(self) -> [String; 3] {
        let reach = format!("{}", self.reach);
        [format!("−{reach}"), "0".into(), format!("+{reach}")]
    }

    /// The place of a difference, in percent of the axis.
    fn at(self, x: f64) -> f64 {
        50.0 + 50.0 * (x / self.reach).clamp(-1.0, 1.0)
    }

    /// A row: whisker and mark, which is full where the change is clear.
    pub(super) fn row(self, measure: &Measure, run: usize, change: &Change) -> String {
        let difference = change.difference;
        let [low, high] = difference.ci.map(|end| self.at(measure.told(end)));
        let at = self.at(measure.told(difference.difference));
        let unclear = match change.clarity {
            Clarity::Better | Clarity::Worse => "",
            Clarity::Alone | Clarity::No => " unclear",
        };
        let mut svg = format!("<svg class=\"interval {}{unclear}\" aria-hidden=\"true\">", run_class(run));
        svg += r#"<line class="zero" x1="50%" x2="50%" y1="-25%" y2="125%"/>"#;
        let _ = write!(
            svg,
            r#"<line class="whisker" x1="{low:.1}%" x2="{high:.1}%" y1="50%" y2="50%"/><circle class="mark" cx="{at:.1}%" cy="50%" r="5"/></svg>"#
        );
        svg
    }
}

/// The smallest of 1, 2, 5 × 10ⁿ that is not below `most`.
fn round(most: f64) -> f64 {
    if most <= 0.0 || !most.is_finite() {
        return 1.0;
    }
    let power = 10f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    steps.into_iter().find(|step| *step >= most * (1.0 - 1e-9)).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::super::groups;
    use super::*;
    use crate::compare::fixture;

    #[test]
    #[expect(clippy::float_cmp, reason = "these are the very numbers")]
    fn axes_are_round_and_hold_every_interval() {
        assert_eq!([0.0, 0.3, 1.0, 1.2, 7.0, 69.3].map(round), [1.0, 0.5, 1.0, 2.0, 10.0, 100.0]);
        let comparison = fixture::comparison();
        for group in groups(&comparison) {
            let axis = Axis::of(&comparison, &group);
            for measure in &group.measures {
                for (_, _, change) in changes(&comparison, measure) {
                    let told = change.difference.ci.map(|end| measure.told(end));
                    assert!(told.iter().all(|end| end.abs() <= axis.reach), "{}: {told:?}", measure.name);
                }
            }
        }
    }

    #[test]
    fn a_clear_change_is_full_and_others_are_not() {
        let comparison = fixture::comparison();
        let row = |name: &str| {
            let change = comparison.comparisons[0].change(name).unwrap();
            Axis { reach: 100.0 }.row(comparison.measure(name).unwrap(), 1, change)
        };
        assert!(row("corr_mean").contains(r#"cx="79.5%""#) && !row("corr_mean").contains("unclear"));
        assert!(row("piqa").contains(r#"cx="50.0%""#) && row("piqa").contains("unclear"));
    }
}
