//! What a benchmark run was made from and what it cost: `manifest.json`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use midcourse_engine::remote::Survey;
use serde::{Deserialize, Serialize};

use super::Task;
use super::options::BenchPlan;
use crate::judges::JudgeIdentity;
use crate::model::{Identity, MeasurableModel};
use crate::run_dir;
use crate::session::Cost;
use crate::storage::{StorageError, at};

/// The schema this build writes and reads.
pub(crate) const SCHEMA: &str = "midcourse.bench/1";

/// Versions, hashes, and what the sessions cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BenchManifest {
    pub schema: String,
    /// Version of midcourse.
    pub midcourse: String,
    /// Processor family and operating system.
    pub platform: String,
    pub seed: u64,
    pub model: Identity,
    /// Directory of the adapter, as the user named it.
    pub adapter: Option<String>,
    /// Who judges replies.
    pub judge: JudgeIdentity,
    /// What was found out about the model's server; null of an engine in this process.
    pub endpoint: Option<Survey>,
    /// What cannot be promised of this run, in words.
    pub caveats: Vec<String>,
    /// In the order of the plan.
    pub tasks: Vec<TaskIdentity>,
    /// One entry a session: the first, then one a resumption.
    pub sessions: Vec<Cost>,
}

/// What two runs of a task must have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskIdentity {
    pub task: String,
    pub n_items: usize,
    pub identity: BTreeMap<String, String>,
}

impl BenchManifest {
    /// The manifest of a run that begins.
    pub(crate) fn new(
        (plan, judge): (&BenchPlan, &JudgeIdentity),
        model: &MeasurableModel,
        tasks: &[Box<dyn Task>],
        caveats: Vec<String>,
    ) -> Self {
        let identity = |task: &dyn Task| TaskIdentity {
            task: task.name().to_owned(),
            n_items: task.items().len(),
            identity: task.identity(),
        };
        let of_server = model.survey.iter().flat_map(Survey::caveats).map(str::to_owned);
        Self {
            schema: SCHEMA.into(),
            midcourse: env!("CARGO_PKG_VERSION").into(),
            platform: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
            seed: plan.seed,
            model: model.identity.clone(),
            adapter: plan.options.adapter.as_ref().map(|dir| dir.display().to_string()),
            judge: judge.clone(),
            endpoint: model.survey.clone(),
            caveats: caveats.into_iter().chain(of_server).collect(),
            tasks: tasks.iter().map(|task| identity(task.as_ref())).collect(),
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
        if self.judge.fingerprint() != earlier.judge.fingerprint() {
            return Some("another model or prompt under the same name of a judge".into());
        }
        let differing = self.tasks.iter().zip(&earlier.tasks).find(|(now, before)| now != before);
        let differing = differing.map(|(now, before)| before.difference(now));
        differing.or_else(|| (self.tasks.len() != earlier.tasks.len()).then(|| "other tasks".into()))
    }

    /// The cost of all sessions together.
    pub(crate) fn cost(&self) -> Cost {
        self.sessions.iter().copied().sum()
    }
}

impl TaskIdentity {
    fn difference(&self, now: &Self) -> String {
        let keys = self.identity.keys().chain(now.identity.keys());
        let key = keys.into_iter().find(|key| self.identity.get(*key) != now.identity.get(*key));
        let value = |of: &Self, key: &str| of.identity.get(key).map_or("none".into(), String::clone);
        match key {
            Some(key) if self.task == now.task => {
                format!("task {}: {key} = {} (now {})", self.task, value(self, key), value(now, key))
            }
            _ => format!("task {} with {} items", self.task, self.n_items),
        }
    }
}

/// The manifest of a directory, if one is there.
pub(crate) fn read_manifest(dir: &Path) -> Result<Option<BenchManifest>> {
    let path = dir.join(run_dir::MANIFEST);
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = |problem: String| StorageError::Record { path: path.clone(), line: 1, problem };
    let text = std::fs::read_to_string(&path).map_err(at(&path))?;
    let manifest: BenchManifest = serde_json::from_str(&text)
        .map_err(|error| wrong(format!("expected the manifest of a benchmark run: {error}")))?;
    if manifest.schema != SCHEMA {
        return Err(wrong(format!("expected schema {SCHEMA}, found {}", manifest.schema)).into());
    }
    Ok(Some(manifest))
}
