//! Gates: bounds on differences, for programs that must know whether a change is let through.
//!
//! `corr_mean>=+10,hellaswag>=-1` wants the first ten points above the baseline and the second not more than one below. Of
//! shares bounds are points, of other measures their own unit. `low(hellaswag)>=-2` is about the lower end of the interval:
//! it lets through only what is surely not worse by more.

use super::measure::Measure;
use super::record::{Compared, GateOutcome, GateResult};
use crate::{Error, Result};

/// Figures that differ by less are equal: they come from sums in floating point.
const ROUNDING: f64 = 1e-9;

/// A bound on the difference of one measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// As it was given.
    pub text: String,
    /// The measure's name.
    pub measure: String,
    /// What of the difference is bounded.
    pub end: End,
    /// How.
    pub bound: Bound,
    /// By what, in points or the measure's own unit.
    pub limit: f64,
}

/// What of a difference a gate is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The difference itself.
    Difference,
    /// The lower end of its interval.
    Low,
    /// The upper end of its interval.
    High,
}

/// Which way a gate bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `<`
    Below,
}

/// Longest first, so that `>=` is not read as `>`.
const BOUNDS: [(&str, Bound); 4] =
    [(">=", Bound::AtLeast), ("<=", Bound::AtMost), (">", Bound::Above), ("<", Bound::Below)];

const HINT: &str = "a gate is MEASURE>=NUMBER with >=, <=, > or <, or low(MEASURE)… and high(MEASURE)… for the ends of the \
    interval; several stand between commas: \"corr_mean>=+10,hellaswag>=-1\"";

/// The gates of a comma list.
pub fn gates(text: &str) -> Result<Vec<Gate>> {
    let parts: Vec<&str> = text.split(',').collect();
    let of = |at: usize| {
        if parts.len() == 1 { String::new() } else { format!(" (gate {} of {})", at + 1, parts.len()) }
    };
    let gate = |(at, part): (usize, &&str)| {
        Gate::parse(part.trim()).map_err(|problem| Error::Setting {
            field: "--gate",
            problem: format!("`{}`{}: {problem}", part.trim(), of(at)),
            hint: HINT.into(),
        })
    };
    parts.iter().enumerate().map(gate).collect()
}

impl Gate {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let at = text.find(['>', '<']).ok_or("expected >=, <=, > or <, found none of them")?;
        let (named, rest) = text.split_at(at);
        let bound = BOUNDS.iter().find_map(|(sign, bound)| Some((rest.strip_prefix(sign)?, *bound)));
        let (limit, bound) = bound.ok_or("expected >=, <=, > or <")?;
        let (limit, sign) = (limit.trim(), &rest[..rest.len() - limit.len()]);
        let number = limit.parse::<f64>().ok().filter(|limit| limit.is_finite());
        let limit = number.ok_or_else(|| format!("expected a number after {sign}, found `{limit}`"))?;
        let (end, measure) = end(named.trim())?;
        if measure.is_empty() {
            return Err(format!("expected the name of a measure before {sign}, found nothing"));
        }
        Ok(Self { text: text.to_owned(), measure: measure.to_owned(), end, bound, limit })
    }

    /// Refuses a measure that no run has.
    pub(super) fn must_name(&self, measures: &[Measure]) -> Result<()> {
        if measures.iter().any(|measure| measure.name == self.measure) {
            return Ok(());
        }
        let names: Vec<&str> = measures.iter().map(|measure| measure.name.as_str()).collect();
        Err(Error::Setting {
            field: "--gate",
            problem: format!("`{}`: no run has a measure called `{}`", self.text, self.measure),
            hint: format!("the runs have {}", names.join(", ")),
        })
    }

    /// What it says of a run.
    pub(super) fn check(&self, compared: &Compared, measures: &[Measure]) -> GateResult {
        let left = compared.not_compared.iter().find(|left| left.measure == self.measure);
        let found = self.found(compared, measures);
        let outcome = match found {
            Some(found) if self.holds(found) => GateOutcome::Met,
            Some(_) => GateOutcome::Missed,
            None => GateOutcome::Untold,
        };
        let unknown = || left.map_or("this run does not have it".to_owned(), |left| left.why.to_string());
        let reason = found.is_none().then(unknown);
        GateResult { gate: self.text.clone(), run: compared.run.clone(), outcome, found, reason }
    }

    fn found(&self, compared: &Compared, measures: &[Measure]) -> Option<f64> {
        let difference = compared.change(&self.measure)?.difference;
        let measure = measures.iter().find(|measure| measure.name == self.measure)?;
        Some(measure.told(match self.end {
            End::Difference => difference.difference,
            End::Low => difference.ci[0],
            End::High => difference.ci[1],
        }))
    }

    fn holds(&self, found: f64) -> bool {
        match self.bound {
            Bound::AtLeast => found >= self.limit - ROUNDING,
            Bound::AtMost => found <= self.limit + ROUNDING,
            Bound::Above => found > self.limit + ROUNDING,
            Bound::Below => found < self.limit - ROUNDING,
        }
    }
}

/// What a gate is about: `low(…)`, `high(…)`, or a measure's name alone.
fn end(named: &str) -> std::result::Result<(End, &str), String> {
    for (name, end) in [("low(", End::Low), ("high(", End::High)] {
        if let Some(rest) = named.strip_prefix(name) {
            let measure = rest.strip_suffix(')').ok_or_else(|| format!("expected ) after `{rest}`"))?;
            return Ok((end, measure.trim()));
        }
    }
    Ok((End::Difference, named))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Gate {
        gates(text).unwrap().remove(0)
    }

    #[test]
    fn gates_are_read_as_they_are_meant() {
        let all = gates(" corr_mean >= +10, hellaswag>=-1,low(mmlu)> -2.5 ,high(perplexity)<.5").unwrap();
        let read: Vec<_> =
            all.iter().map(|gate| (gate.measure.as_str(), gate.end, gate.bound, gate.limit)).collect();
        assert_eq!(
            read,
            [
                ("corr_mean", End::Difference, Bound::AtLeast, 10.0),
                ("hellaswag", End::Difference, Bound::AtLeast, -1.0),
                ("mmlu", End::Low, Bound::Above, -2.5),
                ("perplexity", End::High, Bound::Below, 0.5),
            ]
        );
        assert_eq!(one("gsm8k:exact_match/strict-match<=1").measure, "gsm8k:exact_match/strict-match");
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        for (text, problem) in [
            ("corr_mean", "`corr_mean`: expected >=, <=, > or <, found none"),
            (
                "corr_mean>=1,hellaswag>-x",
                "`hellaswag>-x` (gate 2 of 2): expected a number after >, found `-x`",
            ),
            ("corr_mean>=", "expected a number after >=, found ``"),
            ("corr_mean>=inf", "expected a number after >=, found `inf`"),
            ("corr_mean>=1,", "`` (gate 2 of 2)"),
            (">=1", "expected the name of a measure before >="),
            ("low(mmlu>=1", "expected ) after `mmlu`"),
            ("low()>=1", "expected the name of a measure"),
            ("", "``: expected"),
        ] {
            let said = gates(text).unwrap_err().to_string();
            assert!(said.starts_with("--gate: ") && said.contains(problem), "{text}: {said}");
        }
    }

    #[test]
    fn a_bound_holds_what_it_names() {
        let holds = |text: &str, found: f64| one(text).holds(found);
        assert!(holds("m>=10", 10.0) && holds("m>=10", 100.0 * 0.1) && !holds("m>=10", 9.99));
        assert!(holds("m<=-1", -1.0) && !holds("m<=-1", -0.9));
        assert!(!holds("m>10", 10.0) && holds("m>10", 10.1));
        assert!(!holds("m<0", 0.0) && holds("m<0", -0.1));
        // Nineteen of a hundred less: −0.19 × 100 is not −19 in floating point.
        assert!(holds("m>=-19", 100.0 * (0.31 - 0.5)));
    }
}
