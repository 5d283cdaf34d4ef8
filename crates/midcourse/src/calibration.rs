//! Calibration files: what was measured of a judge against labels, and using it for that judge only.

use std::path::Path;

use anyhow::Result;
use midcourse_core::metrics::Estimate;
use midcourse_core::metrics::agreement::{Accuracy, Agreement, Confusion, Measured};
use midcourse_core::metrics::by_verdict::ByVerdict;
use midcourse_core::metrics::calibrated::{Calibration, LEAST_YOUDEN};
use midcourse_engine::files;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::input::hex;
use crate::judges::JudgeIdentity;

/// The schema this build writes and reads.
const SCHEMA: &str = "midcourse.calibration/1";
/// Bytes of the longest calibration file.
const MAX_BYTES: u64 = 1 << 20;

/// What `midcourse judge calibrate` writes and prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CalibrationFile {
    pub schema: String,
    /// The judge's name.
    pub judge: String,
    pub judge_identity: JudgeIdentity,
    pub labels: LabelFile,
    /// Labelled rows that the judge judged either way: the denominator of all that follows.
    pub n: usize,
    /// Labelled rows that it did not.
    pub n_unparsed: usize,
    /// Rows without a label.
    pub n_unlabelled: usize,
    /// Prompts of the `n` rows.
    pub n_prompts: usize,
    /// Whether rows stand for more than themselves, as those of an export do.
    pub weighted: bool,
    /// The label is the first, the judge the second.
    pub confusion: Confusion,
    pub agreement: Option<Estimate>,
    pub kappa: Option<f64>,
    pub kappa_ci: Option<[f64; 2]>,
    pub sensitivity: Option<f64>,
    pub sensitivity_ci: Option<[f64; 2]>,
    pub sensitivity_n_effective: Option<f64>,
    pub specificity: Option<f64>,
    pub specificity_ci: Option<[f64; 2]>,
    pub specificity_n_effective: Option<f64>,
    /// What both were drawn from, where rows have different weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_verdict: Option<ByVerdict>,
}

/// The file that the labels come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LabelFile {
    /// As the user named it.
    pub file: String,
    pub sha256: String,
}

/// What was measured, beside the figures.
pub(crate) struct Measurement {
    pub labels: LabelFile,
    pub n_unlabelled: usize,
    pub weighted: bool,
}

impl CalibrationFile {
    pub(crate) fn new(
        judge: &JudgeIdentity,
        measurement: Measurement,
        (agreement, accuracy): (&Agreement, &Accuracy),
    ) -> Self {
        let Measurement { labels, n_unlabelled, weighted } = measurement;
        let Agreement { n, n_unparsed, n_prompts, confusion, agreement, kappa, kappa_ci } = agreement.clone();
        let Accuracy { sensitivity, specificity, by_verdict } = *accuracy;
        Self {
            schema: SCHEMA.into(),
            judge: judge.id.clone(),
            judge_identity: judge.clone(),
            labels,
            n,
            n_unparsed,
            n_unlabelled,
            n_prompts,
            weighted,
            confusion,
            agreement,
            kappa,
            kappa_ci,
            sensitivity: sensitivity.map(|s| s.rate),
            sensitivity_ci: sensitivity.map(|s| s.ci),
            sensitivity_n_effective: sensitivity.map(|s| s.n_effective),
            specificity: specificity.map(|s| s.rate),
            specificity_ci: specificity.map(|s| s.ci),
            specificity_n_effective: specificity.map(|s| s.n_effective),
            by_verdict,
        }
    }
}

/// Reads the calibration at `path`, which must be one of `judge`.
pub(crate) fn read(path: &Path, judge: &JudgeIdentity) -> Result<Calibration> {
    let file = path.display().to_string();
    let refuse = |problem: String, hint: &str| Failure::Input {
        problem: format!("{file}: {problem}"),
        hint: hint.into(),
    };
    let again = "make it again with `midcourse judge calibrate`";
    let text = files::read_to_string(path, MAX_BYTES).map_err(|error| refuse(error.to_string(), again))?;
    let found: CalibrationFile = serde_json::from_str(&text)
        .map_err(|error| refuse(format!("expected a calibration: {error}"), again))?;
    if found.schema != SCHEMA {
        return Err(refuse(format!("field schema: expected {SCHEMA}, found {}", found.schema), again).into());
    }
    if !found.judge_identity.is_same(judge) {
        let problem = format!(
            "it was made for another judge: {}, this one is {}",
            described(&found.judge_identity),
            described(judge)
        );
        return Err(refuse(problem, "calibrate the judge of this run, or leave --calibration out").into());
    }
    let (Some(sensitivity), Some(specificity)) = (
        measured(found.sensitivity, found.sensitivity_ci, found.sensitivity_n_effective),
        measured(found.specificity, found.specificity_ci, found.specificity_n_effective),
    ) else {
        let problem =
            "fields sensitivity and specificity: expected shares with intervals and row counts".into();
        return Err(refuse(
            problem,
            "label rows that correct course and rows that do not, and calibrate again",
        )
        .into());
    };
    if found.by_verdict.is_some_and(|v| !v.corrected.is_sound() || !v.not_corrected.is_sound()) {
        let problem = "field by_verdict: expected weights and row counts of 0 or more and shares".into();
        return Err(refuse(problem, again).into());
    }
    let calibration = Calibration {
        judge: found.judge,
        sha256: hex(&Sha256::digest(&text)),
        n: found.n,
        n_unparsed: found.n_unparsed,
        sensitivity,
        specificity,
        by_verdict: found.by_verdict,
        file: file.clone(),
    };
    if calibration.youden() < LEAST_YOUDEN {
        let problem = format!(
            "sensitivity {:.3} + specificity {:.3} - 1 is {:.3}, expected {LEAST_YOUDEN} or more",
            calibration.sensitivity.rate,
            calibration.specificity.rate,
            calibration.youden(),
        );
        return Err(refuse(
            problem,
            "nothing can be corrected with a judge that hardly sees a difference: take another one",
        )
        .into());
    }
    Ok(calibration)
}

/// A share as a file has it; none when a part is missing or makes no sense.
fn measured(rate: Option<f64>, ci: Option<[f64; 2]>, n_effective: Option<f64>) -> Option<Measured> {
    let measured = Measured { rate: rate?, ci: ci?, n_effective: n_effective? };
    let is_share = |share: f64| (0.0..=1.0).contains(&share);
    let is_sound = is_share(measured.rate) && measured.ci.into_iter().all(is_share);
    (is_sound && measured.n_effective.is_finite() && measured.n_effective > 0.0).then_some(measured)
}

fn described(judge: &JudgeIdentity) -> String {
    format!("{} ({})", judge.id, &judge.fingerprint()[..12])
}
