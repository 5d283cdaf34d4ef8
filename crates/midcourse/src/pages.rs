//! The pages of a run: from its files to `report.html`, `report.md` and the table in the terminal.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use midcourse_core::chat::Message;
use midcourse_core::eval::{Judgement, Outcome, PlannedSample, Set, Trial};
use midcourse_core::judge::Verdict;
use midcourse_core::metrics::{self, Scores};
use midcourse_core::report::{self, Colour, PathView, Report, Turn};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::manifest::{self, DataIdentity, Manifest};
use crate::model::FileHash;
use crate::run_dir::{self, RunDir};
use crate::terminal;

/// Most paths that the page's browser holds: a page of about 2 MB.
const MAX_PATHS: usize = 6_400;

/// A sample as `samples.jsonl` keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SampleRecord {
    pub set: Set,
    pub sample: String,
    pub category: Option<String>,
    /// What was said before the prompt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Message>,
    pub prompt: String,
    /// With its opener: prefixes are cut from it.
    pub response: String,
    pub n_response_tokens: usize,
}

impl SampleRecord {
    /// The first `n_bytes` of the response, without a character that they cut.
    pub(crate) fn prefix(&self, n_bytes: usize) -> &str {
        whole_characters(&self.response, n_bytes)
    }

    pub(crate) fn of(sample: &PlannedSample) -> Self {
        Self {
            set: sample.set,
            sample: sample.id.clone(),
            category: sample.category.clone(),
            history: sample.history.clone(),
            prompt: sample.prompt.clone(),
            response: sample.response.clone(),
            n_response_tokens: sample.n_response_tokens,
        }
    }
}

/// Everything of a run that its pages show.
struct Pages {
    scores: Scores,
    manifest: Manifest,
    samples: Vec<SampleRecord>,
    trials: Vec<Trial>,
    judgements: Vec<Judgement>,
}

/// Writes `report.html` and `report.md`.
pub(crate) fn write(dir: &RunDir) -> Result<()> {
    let pages = Pages::read(&dir.path)?;
    pages.with_report(|report| {
        dir.write("report.html", &report::html(report))?;
        Ok(dir.write("report.md", &report::markdown(report))?)
    })
}

/// The table for the terminal.
pub(crate) fn terminal(run: &Path) -> Result<String> {
    Pages::read(run)?.terminal()
}

/// The table of another judge of the run, whose files lie in `judged`.
pub(crate) fn terminal_of(run: &Path, judged: &Path) -> Result<String> {
    let scores = read_scores(judged)?;
    let judgements = run_dir::read_records(&judged.join(run_dir::JUDGEMENTS))?;
    Pages { scores, judgements, ..Pages::read(run)? }.terminal()
}

/// Reads `scores.json` of a finished run, or of another judge of one.
pub(crate) fn read_scores(dir: &Path) -> Result<Scores> {
    read_json(&dir.join(run_dir::SCORES), metrics::SCHEMA)
}

/// Reads a run's manifest; none when there is none yet.
pub(crate) fn read_manifest(run: &Path) -> Result<Option<Manifest>> {
    let path = run.join(run_dir::MANIFEST);
    if !path.exists() {
        return Ok(None);
    }
    read_json(&path, manifest::SCHEMA).map(Some)
}

/// Reads a JSON file of a known schema.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, schema: &str) -> Result<T> {
    let wrong = |problem: String| Failure::Input {
        problem: format!("{}: {problem}", path.display()),
        hint: "name the directory of a finished run; a newer schema needs a newer midcourse".into(),
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let found = json.get("schema").and_then(serde_json::Value::as_str).unwrap_or("(none)");
    if found != schema {
        return Err(wrong(format!("field schema: expected {schema}, found {found}")).into());
    }
    Ok(serde_json::from_value(json).map_err(|e| wrong(e.to_string()))?)
}

impl Pages {
    fn read(run: &Path) -> Result<Self> {
        let records = |name: &str| run.join(name);
        Ok(Self {
            scores: read_scores(run)?,
            manifest: read_json(&run.join(run_dir::MANIFEST), manifest::SCHEMA)?,
            samples: run_dir::read_records(&records(run_dir::SAMPLES))?,
            trials: run_dir::read_records(&records(run_dir::TRIALS))?,
            judgements: run_dir::read_records(&records(run_dir::JUDGEMENTS))?,
        })
    }

    fn terminal(&self) -> Result<String> {
        let colour = if terminal::wants_colour() { Colour::On } else { Colour::Off };
        self.with_report(|report| Ok(report::terminal(report, terminal::width(), colour)))
    }

    fn with_report<T>(&self, show: impl FnOnce(&Report<'_>) -> Result<T>) -> Result<T> {
        let turned = self.judgements.iter().filter(|j| j.set == Set::Harmful && j.k > 0);
        let turns: Vec<usize> = turned.filter_map(|j| j.turn_token).collect();
        let paths = self.paths();
        let n_paths_total = self.judgements.len();
        show(&Report { scores: &self.scores, details: self.details(), turns: &turns, paths, n_paths_total })
    }

    /// Paths for the browser: the first few of every prefix when there are too many.
    fn paths(&self) -> Vec<PathView<'_>> {
        let samples: BTreeMap<_, _> = self.samples.iter().map(|s| ((s.set, s.sample.as_str()), s)).collect();
        let judgements = self.judgements.iter().map(|j| ((j.set, j.sample.as_str(), j.k, j.path), j));
        let judgements: BTreeMap<_, _> = judgements.collect();
        let n_forks = (self.judgements.len() / self.scores.paths.max(1)).max(1);
        let most = (MAX_PATHS / n_forks).max(1);
        let view = |trial| path_view(trial, &samples, &judgements);
        self.trials
            .iter()
            .filter(|trial| trial.path().is_some_and(|path| path < most))
            .filter_map(view)
            .collect()
    }

    /// Settings and provenance, as the page shows them.
    fn details(&self) -> Vec<(String, String)> {
        let (scores, manifest) = (&self.scores, &self.manifest);
        let mut rows = vec![
            ("Model", format!("{} ({})", manifest.model.name, manifest.model.description)),
            ("Mode", format!("{} · k counts {}", scores.mode, scores.unit)),
            ("System prompt", manifest.prefill.system.clone()),
            ("Thinking", manifest.prefill.thinking.clone()),
            (
                "Sampling",
                format!(
                    "{} paths of up to {} tokens · temperature {} · top-p {} · seed {}",
                    scores.paths,
                    scores.max_new_tokens,
                    scores.settings.temperature,
                    scores.settings.top_p,
                    scores.settings.seed,
                ),
            ),
            ("Opener", scores.settings.opener.clone()),
            ("Early stop", if scores.settings.early_stop { "on" } else { "off" }.to_owned()),
            ("Judge", scores.judge.clone()),
            (
                "Prefill",
                format!(
                    "{} of {} prefixes proved · {} beginning-of-sequence id at the start",
                    manifest.prefill.n_proved, manifest.prefill.n_checked, manifest.prefill.n_bos,
                ),
            ),
            (
                "Work",
                format!(
                    "{} tokens sampled, {} computed, {} distinct · {:.0} sampled tokens/s",
                    scores.timing.n_tokens_sampled,
                    scores.timing.n_tokens_computed,
                    scores.timing.n_tokens_distinct,
                    scores.timing.sampled_tokens_per_sec,
                ),
            ),
        ];
        rows.extend(server_rows(manifest));
        rows.extend(file_rows(manifest));
        rows.push((
            "Chat template",
            format!(
                "{} (SHA-256 {}), on {}",
                manifest.prefill.chat_template, manifest.model.template_sha256, manifest.prefill.date
            ),
        ));
        rows.push(("Made with", format!("midcourse {} on {}", manifest.midcourse, manifest.platform)));
        rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// The files that the run was made from.
fn file_rows(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let data = manifest.data.iter().map(|data| {
        let set = if data.set == Set::Harmful { "Data" } else { "Benign data" };
        let DataIdentity { file, format, n_samples, sha256, .. } = data;
        (set, format!("{file} ({format}, {n_samples} samples, SHA-256 {sha256})"))
    });
    let model = |file: &FileHash| ("Model file", format!("{} (SHA-256 {})", file.name, file.sha256));
    data.chain(manifest.model.files.iter().map(model)).collect()
}

/// What was found out about the server of a model, what it was asked, and what cannot be promised.
fn server_rows(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some(survey) = &manifest.endpoint {
        let cost = manifest.cost();
        let spent = manifest.spent.map_or(String::new(), |spent| format!(" · cost {spent:.4}"));
        rows.push(("Server", survey.summary()));
        rows.push((
            "Requests",
            format!(
                "{} · {} tokens given, {} sampled{spent}",
                cost.n_requests, cost.n_tokens_prompt, cost.n_tokens_sampled
            ),
        ));
    }
    rows.extend(manifest.caveats.iter().map(|caveat| ("Not promised", caveat.clone())));
    rows
}

type Samples<'a> = BTreeMap<(Set, &'a str), &'a SampleRecord>;
type Judgements<'a> = BTreeMap<(Set, &'a str, usize, usize), &'a Judgement>;

/// A grown path as the browser shows it; none for other trials.
fn path_view<'a>(
    trial: &'a Trial,
    samples: &Samples<'a>,
    judgements: &Judgements<'a>,
) -> Option<PathView<'a>> {
    let Outcome::Grown { path, prefix_bytes, text, finish, .. } = &trial.outcome else { return None };
    let sample = *samples.get(&(trial.set, trial.sample.as_str()))?;
    let judgement = *judgements.get(&(trial.set, trial.sample.as_str(), trial.k, *path))?;
    Some(PathView {
        set: trial.set,
        sample_id: &sample.sample,
        category: sample.category.as_deref(),
        k: trial.k,
        path: *path,
        prompt: &sample.prompt,
        prefix: sample.prefix(*prefix_bytes),
        continuation: text,
        verdict: judgement.verdict,
        turn: turn(judgement),
        finish: finish.name(),
    })
}

/// The first `n_bytes` of a text, without a character that they cut.
pub(crate) fn whole_characters(text: &str, n_bytes: usize) -> &str {
    let end = (0..=n_bytes.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}

fn turn(judgement: &Judgement) -> Option<Turn> {
    (judgement.verdict == Verdict::Corrected)
        .then(|| Some(Turn { at_token: judgement.turn_token?, at_byte: judgement.turn_byte }))
        .flatten()
}
