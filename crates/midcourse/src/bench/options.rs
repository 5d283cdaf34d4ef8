//! What a benchmark run was asked to do: flags over a file, resolved once and saved as `run.toml`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_engine::local::{BatchLimits, DtypeChoice, LoadOptions};
use serde::{Deserialize, Serialize};

use super::safety::SafetyOptions;
use crate::endpoint::EndpointOptions;
use crate::failure::Failure;
use crate::framing::{self, FramingOptions};
use crate::judges::{JudgeOptions, JudgePlan};
use crate::model::Loading;
use crate::options;
use crate::plan::{DTYPES, check_counts, names};

/// Options of `midcourse bench`, on the command line and in a file.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct BenchOptions {
    /// The model: a name of `midcourse models`, hf:ORG/NAME[/FILE.gguf][@REVISION], a .gguf file, a directory
    /// with config.json, http(s)://HOST:PORT/v1#MODEL, or scripted:FILE
    #[arg(long, value_name = "M", help_heading = "What")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Directory of a LoRA adapter, as PEFT saves it, to merge into the weights
    #[arg(long, value_name = "DIR", help_heading = "What")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<PathBuf>,
    /// Tasks: general, safety, names of tasks and files of tasks (FILE.toml), by commas; `midcourse bench --list`
    /// lists the names [default: general]
    #[arg(long, value_name = "general|safety|NAME|FILE.toml", value_delimiter = ',', help_heading = "What")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<String>>,
    /// Directory of the rows of the general tasks, files named by the task: JSONL, CSV (also .gz .xz .zst) or Parquet
    /// [default: what `midcourse data pull general` has fetched]
    #[arg(long, value_name = "DIR", help_heading = "What")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Directory of the run [default: runs/bench-MODEL-N]
    #[arg(long, value_name = "DIR", help_heading = "What")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// Only the first N items of every task, of a task with subjects of every subject
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "What")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Answered questions before every question [default: as the task says]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "What")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shots: Option<usize>,
    /// Seed of what is sampled [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "What",
        value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    #[command(flatten, next_help_heading = "Safety")]
    #[serde(flatten)]
    pub safety: SafetyOptions,
    #[command(flatten, next_help_heading = "Who judges replies")]
    #[serde(flatten)]
    pub judge: JudgeOptions,
    #[command(flatten, next_help_heading = "Framing of conversations")]
    #[serde(flatten)]
    pub framing: FramingOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub endpoint: EndpointOptions,
    /// How weights are kept in memory, as for eval [default: auto]
    #[arg(long, value_parser = names::<DtypeChoice>(DTYPES), help_heading = "Where")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<DtypeChoice>,
    /// Processor threads [default: all]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Where")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Most paths growing at once [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Where")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_paths: Option<usize>,
}

/// A run as it was asked for, everything decided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BenchPlan {
    pub model: String,
    pub tasks: Vec<String>,
    pub judge: JudgePlan,
    pub seed: u64,
    /// The options with every default named, but without the directory.
    pub options: BenchOptions,
}

impl options::Planned for BenchOptions {
    type Plan = BenchPlan;

    fn out(&self) -> Option<&Path> {
        self.out.as_deref()
    }

    fn plan(&self) -> Result<BenchPlan> {
        self.resolve()
    }

    fn difference(now: &BenchPlan, earlier: &BenchPlan) -> Result<Option<String>> {
        let table = |plan: &BenchPlan| toml::Table::try_from(plan.options.clone().deciding());
        Ok(options::difference(&table(now)?, &table(earlier)?))
    }
}

impl BenchOptions {
    /// Checks that everything needed is there, and names every default.
    pub(crate) fn resolve(&self) -> Result<BenchPlan> {
        check_counts(&[("threads", self.threads), ("batch-paths", self.batch_paths), ("limit", self.limit)])?;
        let model = self.model.clone().ok_or_else(|| Failure::Usage {
            problem: "--model is missing".into(),
            hint: "name the model to measure, for instance --model smollm2".into(),
        })?;
        self.endpoint.check(&model)?;
        let judge = self.judge.resolve()?;
        let tasks = self.tasks.clone().unwrap_or_else(|| vec!["general".into()]);
        let seed = self.seed.unwrap_or(0);
        let framing = FramingOptions::of(&self.framing.framing(), self.framing.chat_template.clone());
        let options = Self {
            tasks: Some(tasks.clone()),
            seed: Some(seed),
            safety: self.safety.with_defaults(),
            judge: judge.options(),
            framing,
            out: None,
            ..self.clone()
        };
        Ok(BenchPlan { model, tasks, judge, seed, options })
    }

    /// Those that decide what is recorded.
    fn deciding(self) -> Self {
        // Only bf16 changes a number.
        let dtype = self.dtype.filter(|dtype| *dtype == DtypeChoice::Bf16);
        Self {
            dtype,
            threads: None,
            batch_paths: None,
            endpoint: self.endpoint.deciding(),
            judge: self.judge.deciding(),
            ..self
        }
    }
}

impl BenchPlan {
    /// How the model is loaded, or reached.
    pub(crate) fn loading(&self) -> Loading {
        let BenchOptions { framing, endpoint, adapter, dtype, batch_paths, .. } = self.options.clone();
        let limits = BatchLimits { paths: batch_paths.unwrap_or(usize::MAX), ..BatchLimits::default() };
        let template = framing::choice(framing.chat_template.as_deref());
        let local = LoadOptions { limits, template, dtype: dtype.unwrap_or_default(), adapter };
        Loading { local, endpoint, seed: self.seed }
    }
}
