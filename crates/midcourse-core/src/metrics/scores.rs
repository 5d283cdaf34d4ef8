//! `scores.json`: every figure of an evaluation, as other programs read it.
//!
//! Field names and nesting are a contract (`docs/schemas.md`); a change of meaning raises the number in
//! [`SCHEMA`].

use serde::{Deserialize, Serialize};

use super::calibrated::Calibrated;

/// The schema this build writes and reads.
pub const SCHEMA: &str = "midcourse.scores/1";

/// A share with its 95 % interval over prompts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Share in [0, 1].
    pub rate: f64,
    /// Lower and upper bound of the interval.
    pub ci: [f64; 2],
}

/// Corr@k: the share of paths from prefixes of length `k` that correct course.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CorrAtK {
    /// Length of the prefix, in the run's unit.
    pub k: usize,
    /// Share in [0, 1]; null when nothing was judged.
    pub rate: Option<f64>,
    /// Its 95 % interval over prompts.
    pub ci: Option<[f64; 2]>,
    /// Paths judged `corrected`.
    pub n_corrected: usize,
    /// Paths judged either way: the denominator.
    pub n_judged: usize,
    /// Paths whose judgement could not be understood.
    pub n_unparsed: usize,
    /// Samples whose response is shorter than `k`.
    pub n_skipped: usize,
    /// Paths the engine could not grow.
    pub n_failed: usize,
}

/// A share, its interval and its denominator.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Share in [0, 1]; null when nothing was judged.
    pub rate: Option<f64>,
    /// Its 95 % interval over prompts.
    pub ci: Option<[f64; 2]>,
    /// Paths judged: the denominator.
    pub n_judged: usize,
}

/// False corrections on harmless rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Benign {
    /// Mean over the lengths above 0.
    #[serde(flatten)]
    pub overall: Share,
    /// The false-correction rate by length.
    pub at_k: Vec<CorrAtK>,
    /// The same at k = 0: outright refusals of harmless prompts.
    pub plain: Option<Share>,
}

/// `Corr_mean` of the samples of one category.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CategoryScore {
    /// The category's name as the data gives it.
    pub category: String,
    /// Share in [0, 1]; null when nothing was judged.
    pub rate: Option<f64>,
    /// Its 95 % interval over prompts.
    pub ci: Option<[f64; 2]>,
    /// Samples of this category.
    pub n_samples: usize,
}

/// Where corrected paths turn, in tokens after the cut.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TokensToCorrection {
    /// Half of the corrected paths have turned by this token.
    pub median: Option<usize>,
    /// Nine tenths have.
    pub p90: Option<usize>,
}

/// The settings that decide what the figures mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Prefix lengths, ascending; 0 is the plain answer.
    pub prefix_lengths: Vec<usize>,
    /// Sampling temperature.
    pub temperature: f64,
    /// Nucleus mass.
    pub top_p: f64,
    /// `none`, `random` or the opener's text.
    pub opener: String,
    /// Whether paths stopped growing once they had turned.
    pub early_stop: bool,
    /// `default`, `none` or the system prompt's text.
    pub system: String,
    /// `off`, `empty` or the text of the thought before every answer.
    pub thinking: String,
    /// Seed of the run.
    pub seed: u64,
}

/// What the run cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Seconds of sampling, summed over resumed sessions.
    pub wall_secs: f64,
    /// Tokens whose keys and values were computed.
    pub n_tokens_computed: usize,
    /// Distinct tokens of the trees; equal to the former in an uninterrupted run.
    pub n_tokens_distinct: usize,
    /// Tokens drawn.
    pub n_tokens_sampled: usize,
    /// `n_tokens_sampled / wall_secs`.
    pub sampled_tokens_per_sec: f64,
}

/// Everything `scores.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// [`SCHEMA`].
    pub schema: String,
    /// The model as the user named it.
    pub model: String,
    /// `open-turn` or `new-turn`; figures of the two never share a table.
    pub mode: String,
    /// `tokens` or `words`.
    pub unit: String,
    /// The judge's name.
    pub judge: String,
    /// Harmful samples evaluated.
    pub n_samples: usize,
    /// Paths a prefix.
    pub paths: usize,
    /// Limit of new tokens a path.
    pub max_new_tokens: usize,
    /// The settings that decide what the figures mean.
    pub settings: Settings,
    /// Corr@k for every k > 0.
    pub corr_at_k: Vec<CorrAtK>,
    /// Mean of Corr@k over k > 0; null when nothing was judged.
    pub corr_mean: Option<Estimate>,
    /// Where corrected paths turn.
    pub tokens_to_correction: TokensToCorrection,
    /// Corr at k = 0; null when not asked for.
    pub plain: Option<Share>,
    /// False corrections; null without benign rows.
    pub benign: Option<Benign>,
    /// `Corr_mean` by category, largest category first.
    pub by_category: Vec<CategoryScore>,
    /// The rates corrected for the judge's error; null without a calibration.
    #[serde(default)]
    pub calibrated: Option<Calibrated>,
    /// What the run cost.
    pub timing: Timing,
}
