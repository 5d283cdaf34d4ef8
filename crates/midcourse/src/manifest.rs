//! `manifest.json`: what a run was made from, so that it can be trusted and repeated.

use midcourse_core::data::DataSet;
use midcourse_core::eval::{PlannedSample, Prefixes, Set};
use midcourse_core::template::{ChatTemplate, Mode};
use midcourse_engine::remote::Survey;
use serde::{Deserialize, Serialize};

use crate::input::{DataFile, DataSource};
use crate::judges::JudgeIdentity;
use crate::judging::JudgingCost;
use crate::model::Identity;
use crate::session::Cost;

/// The schema this build writes and reads.
pub(crate) const SCHEMA: &str = "midcourse.manifest/1";

/// Versions, hashes, the prefill proof, and what the sessions cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub schema: String,
    /// Version of midcourse.
    pub midcourse: String,
    /// Processor family and operating system: the same bits are promised for one binary on one of them.
    pub platform: String,
    pub seed: u64,
    /// The judge's name.
    pub judge: String,
    /// What the judge is; none in files of the first version.
    #[serde(default)]
    pub judge_identity: Option<JudgeIdentity>,
    pub model: Identity,
    pub data: Vec<DataIdentity>,
    pub prefill: PrefillSummary,
    /// What was found out about the model's server, and proved; null of an engine in this process.
    #[serde(default)]
    pub endpoint: Option<Survey>,
    /// What cannot be promised of this run, in words.
    #[serde(default)]
    pub caveats: Vec<String>,
    /// What the tokens of all sessions cost at the prices that the user gave.
    #[serde(default)]
    pub spent: Option<f64>,
    /// What the requests to a judge's server cost, over all sessions; null of other judges.
    #[serde(default)]
    pub judging: Option<JudgingCost>,
    /// One entry a session: the first, then one a resumption.
    pub sessions: Vec<Cost>,
}

/// What a manifest says of a data file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DataIdentity {
    pub set: Set,
    /// As the user named it.
    pub file: String,
    /// Of a data set of a hub; null of a file.
    #[serde(default)]
    pub commit: Option<String>,
    pub format: String,
    /// Of the decompressed bytes; of several files one after the other.
    pub sha256: String,
    pub n_rows: usize,
    pub n_samples: usize,
    pub n_duplicates: usize,
    pub n_without_harm: usize,
}

/// What was proved of the model input, over all prefixes of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PrefillSummary {
    pub mode: String,
    /// Where the chat template comes from.
    pub chat_template: String,
    /// `default`, `none` or the system prompt's text.
    pub system: String,
    /// `off`, `empty` or the text of the thought before every answer.
    pub thinking: String,
    /// The day that the template takes for today.
    pub date: String,
    /// Prefixes that were decoded again and compared.
    pub n_checked: usize,
    /// Prefixes that the model input ends with, byte for byte, in an open turn.
    pub n_proved: usize,
    /// Beginning-of-sequence ids at the start of the inputs.
    pub n_bos: usize,
    /// Special-token strings in rows, given to the model as text.
    pub n_special_as_text: usize,
    /// Samples whose response the template rewrote, which was allowed.
    pub n_rewritten: usize,
    /// Prefixes that were sent as text, which divides into other tokens than were planned.
    #[serde(default)]
    pub n_retokenised: usize,
}

impl PrefillSummary {
    pub(crate) fn of(plan: &[PlannedSample], mode: Mode, template: &ChatTemplate) -> Self {
        let forks = plan.iter().flat_map(|sample| &sample.forks).filter_map(|(_, prefixes)| match prefixes {
            Prefixes::Planned(fork) => Some(fork),
            _ => None,
        });
        let forks: Vec<_> = forks.collect();
        let proofs: Vec<_> = forks.iter().filter_map(|fork| fork.proof).collect();
        let framing = template.framing();
        Self {
            mode: mode.name().to_owned(),
            chat_template: template.origin().to_owned(),
            system: framing.system.clone().into(),
            thinking: framing.thinking.clone().into(),
            date: framing.date.to_string(),
            n_checked: proofs.len(),
            n_proved: proofs.iter().filter(|proof| proof.holds()).count(),
            n_bos: proofs.iter().map(|proof| proof.n_bos).max().unwrap_or(0),
            n_special_as_text: plan.iter().map(|sample| sample.n_special_as_text).sum(),
            n_rewritten: plan.iter().filter(|sample| sample.rewritten).count(),
            n_retokenised: forks.iter().filter(|fork| fork.retokenised && fork.proof.is_some()).count(),
        }
    }
}

impl DataIdentity {
    pub(crate) fn of(set: Set, source: &DataSource, data: &DataFile) -> Self {
        let DataSet { format, samples, n_rows, n_duplicates, n_without_harm, .. } = &data.set;
        Self {
            set,
            file: source.to_string(),
            commit: data.commit.clone(),
            format: format.to_string(),
            sha256: data.sha256.clone(),
            n_rows: *n_rows,
            n_samples: samples.len(),
            n_duplicates: *n_duplicates,
            n_without_harm: *n_without_harm,
        }
    }
}

impl DataIdentity {
    /// What was found in the file, as people read it.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{}: {} rows ({}), {} samples, {} duplicates, {} without harm",
            self.file, self.n_rows, self.format, self.n_samples, self.n_duplicates, self.n_without_harm,
        )
    }
}

impl Manifest {
    /// The cost of all sessions together.
    pub(crate) fn cost(&self) -> Cost {
        self.sessions.iter().copied().sum()
    }

    /// In what the inputs of this run differ from those of `earlier`, if they do.
    pub(crate) fn difference(&self, earlier: &Self) -> Option<String> {
        if (&self.midcourse, &self.platform) != (&earlier.midcourse, &earlier.platform) {
            return Some(format!("midcourse {} on {}", earlier.midcourse, earlier.platform));
        }
        let files = |m: &Self| m.data.iter().map(|d| d.sha256.clone()).collect::<Vec<_>>();
        if self.model.files != earlier.model.files
            || self.model.template_sha256 != earlier.model.template_sha256
        {
            return Some("another model file or chat template under the same name".into());
        }
        let server = |m: &Self| {
            m.endpoint.as_ref().map(|e| (e.server, e.protocol, e.served_as.clone(), e.tells_token_ids))
        };
        if server(self) != server(earlier) {
            return Some("another server, or another way to go on there, at the same address".into());
        }
        let judge = |m: &Self| m.judge_identity.as_ref().map(JudgeIdentity::fingerprint);
        if judge(earlier).is_some_and(|earlier| Some(earlier) != judge(self)) {
            return Some("another model or prompt under the same name of a judge".into());
        }
        (files(self) != files(earlier)).then(|| "other rows in a data file of the same name".into())
    }
}
