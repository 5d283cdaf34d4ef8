//! Options of the safety tasks, and the files that they name.

use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::bench::cipher::Cipher;
use midcourse_core::bench::safety::SafetyTask;
use midcourse_core::engine::Sampling;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::input::DataSource;
use crate::plan::Lengths;
use crate::storage::at;

/// Tokens of a reply, as JailbreakBench asks for.
const REPLY_TOKENS: usize = 150;
/// Lengths of forced prefixes.
const LENGTHS: [usize; 5] = [0, 5, 10, 20, 40];

/// Options of the safety tasks, on the command line and in a file.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SafetyOptions {
    /// Prompts with the columns of XSTest (prompt, type, label) for `over_refusal` and `over_refusal_contrast`
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xstest: Option<PathBuf>,
    /// Harmless rows in any format that eval reads, for `over_refusal`
    #[arg(long, value_name = "FILE|hf:…")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub benign: Option<DataSource>,
    /// Attack prompts in the artifact format of JailbreakBench, for `jailbreak_artifacts`; several by commas
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attacks: Option<Vec<PathBuf>>,
    /// Goals in any format that eval reads, such as goal,target, for `jailbreak_ciphers`
    #[arg(long, value_name = "FILE|hf:…")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goals: Option<DataSource>,
    /// Ciphers in which goals are asked, by commas: plain, caesar, caesar:SHIFT, morse, ascii, base64 [default: plain,
    /// caesar, morse, ascii, base64]
    #[arg(long, value_name = "CIPHER", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ciphers: Option<Vec<Cipher>>,
    /// Harmful rows with responses, whose starts are forced, for `jailbreak_prefills`
    #[arg(long, value_name = "FILE|hf:…")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefills: Option<DataSource>,
    /// Tokens of the response that are forced, 0 for none: 5,10 or 10..80:10 [default: 0,5,10,20,40]
    #[arg(long, value_name = "K,…")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill_lengths: Option<Lengths>,
    /// Tokens that a reply may have [default: 150]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_new_tokens: Option<usize>,
    /// Temperature of replies; 0 takes the likeliest token [default: 0]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus mass of replies [default: 1]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
}

impl SafetyOptions {
    /// Fills in what was not named.
    pub(crate) fn with_defaults(&self) -> Self {
        let Self { ciphers, prefill_lengths, max_new_tokens, temperature, top_p, .. } = self.clone();
        Self {
            ciphers: ciphers.or_else(|| Some(Cipher::USUAL.to_vec())),
            prefill_lengths: prefill_lengths.or_else(|| Some(Lengths(LENGTHS.to_vec()))),
            max_new_tokens: max_new_tokens.or(Some(REPLY_TOKENS)),
            temperature: temperature.or(Some(0.0)),
            top_p: top_p.or(Some(1.0)),
            ..self.clone()
        }
    }

    /// How replies are sampled.
    pub(super) fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature.unwrap_or(0.0),
            top_p: self.top_p.unwrap_or(1.0),
            max_new_tokens: self.max_new_tokens.unwrap_or(REPLY_TOKENS),
        }
    }

    /// Lengths of the prefixes that a task forces.
    pub(super) fn lengths(&self, task: SafetyTask) -> Vec<usize> {
        match task {
            SafetyTask::Prefills => {
                self.prefill_lengths.clone().map_or_else(|| LENGTHS.to_vec(), |lengths| lengths.0)
            }
            _ => vec![0],
        }
    }

    /// The ciphers that goals are asked in.
    pub(super) fn ciphers(&self) -> Vec<Cipher> {
        self.ciphers.clone().unwrap_or_else(|| Cipher::USUAL.to_vec())
    }
}

/// The files that the options name, else those that lie in the directory of data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a> {
    pub options: &'a SafetyOptions,
    /// `--data`.
    pub dir: Option<&'a Path>,
}

impl Files<'_> {
    /// Prompts with labels.
    pub(super) fn xstest(self) -> Result<Option<PathBuf>> {
        self.options.xstest.clone().map_or_else(|| self.found("over_refusal"), |file| Ok(Some(file)))
    }

    /// Harmless rows.
    pub(super) fn benign(self) -> Result<Option<DataSource>> {
        self.source(self.options.benign.as_ref(), "benign")
    }

    /// Artifacts, in the order in which they are named, or of their names.
    pub(super) fn attacks(self) -> Result<Vec<PathBuf>> {
        if let Some(files) = &self.options.attacks {
            return Ok(files.clone());
        }
        let Some(dir) = self.dir.map(|dir| dir.join(SafetyTask::Artifacts.name())).filter(|dir| dir.is_dir())
        else {
            return Ok(self.found(SafetyTask::Artifacts.name())?.into_iter().collect());
        };
        let entries = std::fs::read_dir(&dir).map_err(at(&dir))?.flatten();
        let mut files: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        files.sort();
        Ok(files)
    }

    /// Goals.
    pub(super) fn goals(self) -> Result<Option<DataSource>> {
        self.source(self.options.goals.as_ref(), SafetyTask::Ciphers.name())
    }

    /// Rows with responses.
    pub(super) fn prefills(self) -> Result<Option<DataSource>> {
        self.source(self.options.prefills.as_ref(), SafetyTask::Prefills.name())
    }

    fn source(self, named: Option<&DataSource>, stem: &str) -> Result<Option<DataSource>> {
        match named {
            Some(source) => Ok(Some(source.clone())),
            None => Ok(self.found(stem)?.map(DataSource::File)),
        }
    }

    /// The first file of the directory that is called `stem` but for its endings.
    fn found(self, stem: &str) -> Result<Option<PathBuf>> {
        let Some(dir) = self.dir else { return Ok(None) };
        let entries = std::fs::read_dir(dir).map_err(|error| Failure::Input {
            problem: format!("--data: {}: {error}", dir.display()),
            hint: "name a directory of files that are called as the tasks are".into(),
        })?;
        let is_called = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.is_file() && name.split_once('.').is_some_and(|(before, _)| before == stem)
        };
        Ok(entries.flatten().map(|entry| entry.path()).filter(|path| is_called(path)).min())
    }
}
