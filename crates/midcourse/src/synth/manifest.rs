//! What a synthesis was made from: `manifest.json`.

use std::path::Path;

use anyhow::Result;
use midcourse_core::synth::{SynthSettings, Triggers};
use midcourse_engine::remote::Survey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::SynthPlan;
use super::options::Shard;
use crate::input::hex;
use crate::judges::JudgeIdentity;
use crate::judging::JudgingCost;
use crate::manifest::DataIdentity;
use crate::model::{Identity, Model};
use crate::run_dir;
use crate::session::Cost;
use crate::storage::StorageError;

/// The schema this build writes and reads.
pub(crate) const SCHEMA: &str = "midcourse.synth/1";

/// Versions, hashes, and what the sessions cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SynthManifest {
    pub schema: String,
    /// Version of midcourse.
    pub midcourse: String,
    /// Processor family and operating system: the same bits are promised for one binary on one of them.
    pub platform: String,
    pub seed: u64,
    pub judge: JudgeIdentity,
    pub model: Identity,
    pub data: Vec<DataIdentity>,
    /// Files whose prompts were left out.
    pub exclude: Vec<TextIdentity>,
    /// The triggers, and the refusal openers.
    pub texts: Vec<TextIdentity>,
    /// Licences of every file of `data`, as far as they are known.
    pub licenses: Vec<Vec<String>>,
    /// What was found out about the model's server, and proved; null of an engine in this process.
    pub endpoint: Option<Survey>,
    /// What cannot be promised of this run, in words.
    pub caveats: Vec<String>,
    /// Samples of all shards.
    pub n_samples: usize,
    pub shard: Shard,
    /// What the tokens of all sessions cost at the prices that the user gave.
    pub spent: Option<f64>,
    /// What the requests to a judge's server cost, over all sessions; null of other judges.
    pub judging: Option<JudgingCost>,
    /// One entry a session: the first, then one a resumption; of all shards where they were joined.
    pub sessions: Vec<Cost>,
}

/// A file of texts and its hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TextIdentity {
    /// As the user named it, or `builtin`.
    pub file: String,
    pub sha256: String,
    /// The commit, of a hub's data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

impl TextIdentity {
    fn of(file: Option<&Path>, texts: &Triggers) -> Self {
        let mut hash = Sha256::new();
        texts.texts().iter().for_each(|text| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        });
        let file = file.map_or("builtin".into(), |file| file.display().to_string());
        Self { file, sha256: hex(&hash.finalize()), commit: None }
    }
}

impl SynthManifest {
    /// The manifest of a run that begins.
    pub(crate) fn new(
        plan: &SynthPlan,
        judge: &JudgeIdentity,
        model: &Model,
        (outset, n_samples): (&super::outset::Sources, usize),
    ) -> Self {
        let SynthSettings { triggers, refusals, seed, .. } = &plan.settings;
        Self {
            schema: SCHEMA.into(),
            midcourse: env!("CARGO_PKG_VERSION").into(),
            platform: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
            seed: *seed,
            judge: judge.clone(),
            model: model.identity.clone(),
            data: outset.data.clone(),
            exclude: outset.exclude.clone(),
            texts: vec![
                TextIdentity::of(plan.triggers.as_deref(), triggers),
                TextIdentity::of(plan.refusal_openers.as_deref(), refusals),
            ],
            licenses: outset.licenses.clone(),
            endpoint: model.survey.clone(),
            caveats: model.survey.iter().flat_map(Survey::caveats).map(str::to_owned).collect(),
            n_samples,
            shard: plan.shard.unwrap_or(Shard::WHOLE),
            spent: None,
            judging: None,
            sessions: Vec::new(),
        }
    }

    /// The cost of all sessions together.
    pub(crate) fn cost(&self) -> Cost {
        self.sessions.iter().copied().sum()
    }

    /// In what the inputs of this run differ from those of `other`, if they do; which shard it is apart.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        if (&self.midcourse, &self.platform) != (&other.midcourse, &other.platform) {
            return Some(format!("midcourse {} on {}", other.midcourse, other.platform));
        }
        if self.model.files != other.model.files || self.model.template_sha256 != other.model.template_sha256
        {
            return Some("another model file or chat template under the same name".into());
        }
        let server = |m: &Self| {
            m.endpoint.as_ref().map(|e| (e.server, e.protocol, e.served_as.clone(), e.tells_token_ids))
        };
        if server(self) != server(other) {
            return Some("another server, or another way to go on there, at the same address".into());
        }
        if !self.judge.is_same(&other.judge) {
            return Some("another model or prompt under the same name of a judge".into());
        }
        let texts = |m: &Self| m.texts.iter().map(|text| text.sha256.clone()).collect::<Vec<_>>();
        if texts(self) != texts(other) {
            return Some("other texts in a file of triggers or refusal openers".into());
        }
        self.difference_of_rows(&other.data, &other.exclude)
    }

    /// Whether its rows were others than those of these files, in words.
    pub(crate) fn difference_of_rows(
        &self,
        data: &[DataIdentity],
        exclude: &[TextIdentity],
    ) -> Option<String> {
        let rows = |data: &[DataIdentity]| data.iter().map(|d| d.sha256.clone()).collect::<Vec<_>>();
        if rows(&self.data) != rows(data) {
            return Some("other rows in a data file of the same name".into());
        }
        let prompts = |files: &[TextIdentity]| files.iter().map(|f| f.sha256.clone()).collect::<Vec<_>>();
        (prompts(&self.exclude) != prompts(exclude))
            .then(|| "other prompts in an excluded file of the same name".into())
    }
}

/// Whether a directory holds a synthesis.
pub(crate) fn is_there(dir: &Path) -> bool {
    let schema = std::fs::read_to_string(dir.join(run_dir::MANIFEST)).ok();
    let schema = schema.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    schema.is_some_and(|manifest| manifest["schema"] == SCHEMA)
}

/// The manifest of a directory, if one is there.
pub(crate) fn read_manifest(dir: &Path) -> Result<Option<SynthManifest>> {
    let path = dir.join(run_dir::MANIFEST);
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = |problem: String| StorageError::Record { path: path.clone(), line: 1, problem };
    let text = std::fs::read_to_string(&path).map_err(crate::storage::at(&path))?;
    let manifest: SynthManifest = serde_json::from_str(&text)
        .map_err(|error| wrong(format!("expected the manifest of a synthesis: {error}")))?;
    if manifest.schema != SCHEMA {
        return Err(wrong(format!("expected schema {SCHEMA}, found {}", manifest.schema)).into());
    }
    Ok(Some(manifest))
}
