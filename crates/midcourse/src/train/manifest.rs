//! What a training was made from, what was left out, and what it cost: `manifest.json`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use midcourse_core::train::Prepared;
use serde::{Deserialize, Serialize};

use super::TrainPlan;
use super::checkpoint::Best;
use super::inputs::DataIdentity;
use super::reference::ReferenceCounts;
use crate::model::{Base, Identity};
use crate::run_dir;
use crate::storage::StorageError;

/// The schema this build writes and reads.
pub(crate) const SCHEMA: &str = "midcourse.train/1";

/// Versions, hashes, counts, and what the sessions cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainManifest {
    pub schema: String,
    /// Version of midcourse.
    pub midcourse: String,
    /// Processor family and operating system: the same bits are promised for one binary on one of them.
    pub platform: String,
    pub seed: u64,
    /// The base.
    pub model: Identity,
    /// Where the chat template comes from.
    pub chat_template: String,
    /// `default`, `none` or the system prompt's text.
    pub system: String,
    /// `off`, `empty` or the text of the thought before every answer.
    pub thinking: String,
    /// The day that the template takes for today.
    pub date: String,
    pub data: DataIdentity,
    pub counts: Counts,
    /// Optimiser's steps of the whole training.
    pub n_steps: usize,
    /// What was known of the base's log-probabilities and what was computed, in the session that began; null where
    /// nothing is compared with them.
    pub reference: Option<ReferenceCounts>,
    /// The step whose adapter is kept and its held-out loss; null before the first, or where nothing is held out.
    pub best: Option<Best>,
    /// What was warned of.
    pub warnings: Vec<String>,
    /// One entry a session: the first, then one a resumption.
    pub sessions: Vec<SessionCost>,
}

/// What there is to learn from, and what is not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Trees that are trained on: rankings, or prompts with their pairs.
    pub n_train: usize,
    /// Of these, contrast rankings.
    pub n_contrast: usize,
    /// Trees that are held out.
    pub n_held_out: usize,
    /// Trees that `--contrast-share` left out.
    pub n_left_out: usize,
    /// Trees in which the objective finds nothing to learn.
    pub n_without_terms: usize,
    /// Pairs of the trees that are trained on.
    pub n_pairs: usize,
    /// Tokens of these trees, each once; and of all of their pairs, both conversations whole.
    pub n_tokens_distinct: usize,
    pub n_tokens_pairs: usize,
    /// Answers whose conversation does not begin with all tokens of their prompt.
    pub n_mismatched: usize,
    /// What was dropped, by what and why.
    pub dropped: Vec<DropCount>,
}

/// How much was dropped for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DropCount {
    /// `pair`, `answer` or `prompt`.
    pub what: String,
    pub reason: String,
    pub n: usize,
    /// Pairs that were lost by it.
    pub n_pairs: usize,
}

impl DropCount {
    /// What was dropped of the data.
    pub(crate) fn of(prepared: &Prepared) -> Vec<Self> {
        let counted: BTreeMap<_, _> = prepared.drop_counts();
        let count = |((what, reason), (n, n_pairs)): (
            (midcourse_core::train::Lost, midcourse_core::train::DropReason),
            (usize, usize),
        )| Self { what: what.name().into(), reason: reason.name().into(), n, n_pairs };
        counted.into_iter().map(count).collect()
    }

    /// As people read it.
    pub(crate) fn text(&self) -> String {
        let Self { what, reason, n, n_pairs } = self;
        let s = |n: usize| if n == 1 { "" } else { "s" };
        let reason = reason.replace('_', " ");
        format!("{n} {what}{} dropped ({reason}), {n_pairs} pair{} lost by it", s(*n), s(*n_pairs))
    }
}

/// What a session cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionCost {
    /// Time spent training, the reference and what is held out included.
    pub wall_secs: f64,
    pub n_steps: usize,
    /// Tokens of the trees of these steps.
    pub n_tokens_distinct: u64,
}

impl TrainManifest {
    /// The manifest of a training that begins.
    pub(crate) fn new(plan: &TrainPlan, base: &Base, data: &DataIdentity, counts: Counts) -> Self {
        let framing = base.template.framing();
        Self {
            schema: SCHEMA.into(),
            midcourse: env!("CARGO_PKG_VERSION").into(),
            platform: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
            seed: plan.settings.seed,
            model: base.identity.clone(),
            chat_template: base.template.origin().to_owned(),
            system: framing.system.clone().into(),
            thinking: framing.thinking.clone().into(),
            date: framing.date.to_string(),
            data: data.clone(),
            counts,
            n_steps: 0,
            reference: None,
            best: None,
            warnings: Vec::new(),
            sessions: Vec::new(),
        }
    }

    /// In what the inputs of this run differ from those of `earlier`, if they do.
    pub(crate) fn difference(&self, earlier: &Self) -> Option<String> {
        if (&self.midcourse, &self.platform) != (&earlier.midcourse, &earlier.platform) {
            return Some(format!("midcourse {} on {}", earlier.midcourse, earlier.platform));
        }
        if self.model.files != earlier.model.files
            || self.model.template_sha256 != earlier.model.template_sha256
        {
            return Some("another model file or chat template under the same name".into());
        }
        (self.data.sha256 != earlier.data.sha256).then(|| "other rows in the data of the same name".into())
    }

    /// Time spent training, all sessions.
    pub(crate) fn wall_secs(&self) -> f64 {
        self.sessions.iter().map(|session| session.wall_secs).sum()
    }
}

/// The manifest of a directory, if one is there.
pub(crate) fn read_manifest(dir: &Path) -> Result<Option<TrainManifest>> {
    let path = dir.join(run_dir::MANIFEST);
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = |problem: String| StorageError::Record { path: path.clone(), line: 1, problem };
    let text = std::fs::read_to_string(&path).map_err(crate::storage::at(&path))?;
    let manifest: TrainManifest = serde_json::from_str(&text)
        .map_err(|error| wrong(format!("expected the manifest of a training: {error}")))?;
    if manifest.schema != SCHEMA {
        return Err(wrong(format!("expected schema {SCHEMA}, found {}", manifest.schema)).into());
    }
    Ok(Some(manifest))
}
