//! What a training was asked to do: flags over a file, resolved once and saved as `run.toml`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::train::{Objective, ObjectiveSettings, Schedule};
use midcourse_engine::train::{LoraOptions, Recompute};
use serde::{Deserialize, Serialize};

use super::settings::{LoraSettings, StepSettings, TrainSettings};
use super::targets::TargetsText;
use crate::failure::Failure;
use crate::framing::FramingOptions;
use crate::input::DataSource;
use crate::options;
use crate::plan::{Preset, check_counts, names};

/// Distinct tokens of a pass where nothing else is said.
const BATCH_TOKENS: usize = 1024;
/// Options of `midcourse train`, on the command line and in a file.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct TrainOptions {
    /// The model to train: a name of `midcourse models`, hf:ORG/NAME[/FILE.gguf][@REVISION], a .gguf file or a
    /// directory with config.json. Its weights stay as they are; an adapter is trained beside them
    #[arg(long, value_name = "M", help_heading = "What")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Preferences: the directory of a synthesis, a rankings.jsonl, pairs in TRL's format (JSONL, also .gz .xz .zst, or
    /// Parquet), the directory of a data set with data/, or hf:datasets/ORG/NAME[@REVISION][:SPLIT]; the format is
    /// detected
    #[arg(long, value_name = "DIR|FILE|hf:datasets/…", help_heading = "What")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataSource>,
    /// Directory of the run; the adapter lies in its adapter/ [default: runs/train-MODEL-N]
    #[arg(long, value_name = "DIR", help_heading = "What")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// Only the first N rankings, or pairs, of the data
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "What")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// fork: turn against carry on, at every point where answers part; dpo-full: whole answers, as the paper; ipo:
    /// the same by a squared loss, divided by lengths; recovery: corrections learnt by heart [default: fork]
    #[arg(long, value_parser = names::<Objective>(&["fork", "dpo-full", "ipo", "recovery"]), help_heading = "Objective")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// How strongly the model is held to what it was [default: 0.1]
    #[arg(long, value_name = "B", allow_negative_numbers = true, help_heading = "Objective")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// Weight of the likelihood of how chosen branches begin; without it pairs are told apart and no path turns
    /// [default: 1]
    #[arg(long, value_name = "W", allow_negative_numbers = true, help_heading = "Objective")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor: Option<f64>,
    /// First tokens of a chosen branch that the anchor counts [default: 16]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Objective")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor_tokens: Option<usize>,
    /// Share of contrast rankings among those trained on, which teach not to turn where nothing is wrong; of the side
    /// that has too many some are left out [default: 0.67]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, help_heading = "Objective")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast_share: Option<f64>,
    /// Rank of the adapter [default: 16]
    #[arg(long, value_name = "R", allow_negative_numbers = true, help_heading = "Adapter")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora_rank: Option<usize>,
    /// The adapter counts ALPHA / R times [default: 32]
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true, help_heading = "Adapter")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora_alpha: Option<f64>,
    /// Projections that it changes: all, or some of q,k,v,o,gate,up,down [default: all]
    #[arg(long, value_name = "all|q,k,…", help_heading = "Adapter")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora_targets: Option<TargetsText>,
    /// Highest learning rate [default: 5e-4]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, help_heading = "Steps")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// How the learning rate falls after the warm-up [default: cosine]
    #[arg(long, value_parser = names::<Schedule>(&["cosine", "linear", "constant"]), help_heading = "Steps")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Share of the steps in which it rises [default: 0.05]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, help_heading = "Steps")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<f64>,
    /// Times that the data is gone through [default: 3]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Steps")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Prompts, with all of their answers, that make a step [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Steps")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts_per_step: Option<usize>,
    /// Tokens of the longest conversation that is trained on; longer ones are dropped and counted [default: 1024]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Steps")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Weight decay of `AdamW` [default: 0]
    #[arg(long, value_name = "W", allow_negative_numbers = true, help_heading = "Steps")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Most that the norm of a step's gradient may be; a larger gradient is shortened to it [default: 1]
    #[arg(long, value_name = "NORM", allow_negative_numbers = true, help_heading = "Steps")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Seed of the order of the data and of the adapter's first values [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Steps",
        value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Share of the prompts that is held out: the adapter with the lowest loss on them is kept [default: 0.1]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, help_heading = "Held out and saved")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_fraction: Option<f64>,
    /// Steps between two checkpoints; what is held out is scored at each [default: 20]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Held out and saved")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_every: Option<usize>,
    /// Checkpoints that are kept [default: 2]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Held out and saved")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_checkpoints: Option<usize>,
    /// Steps between two lines on standard error, where that is no terminal; train.jsonl has a line every step
    /// [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Held out and saved")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_every: Option<usize>,
    /// Harmful prompts and responses that were not trained on: course-correction is measured on them before and after,
    /// into before/ and after/
    #[arg(long, value_name = "FILE|hf:datasets/…", help_heading = "Before and after")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_data: Option<DataSource>,
    /// Harmless prompts and responses, which give the rate of false corrections before and after
    #[arg(
        long,
        value_name = "FILE|hf:datasets/…",
        requires = "eval_data",
        help_heading = "Before and after"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub benign: Option<DataSource>,
    /// Parameters of both measurements, as for `midcourse eval`, and the plain answer besides [default: quick]
    #[arg(long, value_parser = names::<Preset>(&["paper", "quick"]), help_heading = "Before and after")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_preset: Option<Preset>,
    /// What else is measured before and after, as for `midcourse bench`: general, safety, names of tasks, files of tasks,
    /// by commas. Safety tasks take their prompts from --benign and --eval-data, and from files in --bench-data
    #[arg(
        long,
        value_name = "general|safety|NAME|FILE.toml",
        value_delimiter = ',',
        help_heading = "Before and after"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bench: Option<Vec<String>>,
    /// Directory of the rows of these tasks [default: what `midcourse data pull general` has fetched]
    #[arg(long, value_name = "DIR", requires = "bench", help_heading = "Before and after")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bench_data: Option<PathBuf>,
    /// Only the first N items of every task
    #[arg(
        long,
        value_name = "N",
        requires = "bench",
        allow_negative_numbers = true,
        help_heading = "Before and after"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bench_limit: Option<usize>,
    #[command(flatten, next_help_heading = "Framing")]
    #[serde(flatten)]
    pub framing: FramingOptions,
    /// local: this process; trl: a readable script for TRL on accelerate, for more than one machine [default: local]
    #[arg(long, value_parser = names::<Engine>(&["local", "trl"]), help_heading = "Where")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// Processes of --engine trl [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Where")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<usize>,
    /// Configuration of accelerate for --engine trl [default: one is written]
    #[arg(long, value_name = "FILE", help_heading = "Where")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerate_config: Option<PathBuf>,
    /// Interpreter of Python that has the packages of --engine trl [default: python3, or what
    /// `MIDCOURSE_PYTHON` names]
    #[arg(long, value_name = "PATH", help_heading = "Where")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<PathBuf>,
    /// Processor threads [default: all]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Where")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Distinct tokens that are computed in one pass: small trees go together, a larger one alone [default: 1024]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Where")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<usize>,
    /// Compute a layer again on the way back instead of keeping what it computed: less memory for more time
    /// [default: auto]
    #[arg(long, value_parser = names::<RecomputeChoice>(&["auto", "on", "off"]), help_heading = "Where")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recompute: Option<RecomputeChoice>,
    /// Where log-probabilities of the model before training are kept so that none is computed twice: a directory, or
    /// off [default: below the user's cache]
    #[arg(long, value_name = "DIR|off", help_heading = "Where")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_cache: Option<String>,
}

/// Who trains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    #[default]
    Local,
    Trl,
}

/// Whether layers are computed again on the way back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RecomputeChoice {
    #[default]
    Auto,
    On,
    Off,
}

impl From<RecomputeChoice> for Recompute {
    fn from(choice: RecomputeChoice) -> Self {
        match choice {
            RecomputeChoice::Auto => Self::Auto,
            RecomputeChoice::On => Self::On,
            RecomputeChoice::Off => Self::Off,
        }
    }
}

/// A training as it was asked for, everything decided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TrainPlan {
    pub model: String,
    pub data: DataSource,
    /// The options with every default named, but without those two, the directory, and what decides nothing.
    pub options: TrainOptions,
    pub settings: TrainSettings,
}

impl options::Planned for TrainOptions {
    type Plan = TrainPlan;

    fn out(&self) -> Option<&Path> {
        self.out.as_deref()
    }

    fn plan(&self) -> Result<TrainPlan> {
        self.resolve()
    }

    fn difference(now: &TrainPlan, earlier: &TrainPlan) -> Result<Option<String>> {
        now.difference(earlier)
    }
}

impl TrainOptions {
    /// The options with every default named.
    fn named(&self) -> Self {
        Self {
            objective: self.objective.or(Some(Objective::Fork)),
            beta: self.beta.or(Some(0.1)),
            anchor: self.anchor.or(Some(1.0)),
            anchor_tokens: self.anchor_tokens.or(Some(16)),
            contrast_share: self.contrast_share.or(Some(0.67)),
            lora_rank: self.lora_rank.or(Some(16)),
            lora_alpha: self.lora_alpha.or(Some(32.0)),
            lora_targets: Some(self.lora_targets.clone().unwrap_or_default()),
            learning_rate: self.learning_rate.or(Some(5e-4)),
            schedule: self.schedule.or(Some(Schedule::Cosine)),
            warmup: self.warmup.or(Some(0.05)),
            epochs: self.epochs.or(Some(3)),
            prompts_per_step: self.prompts_per_step.or(Some(4)),
            max_tokens: self.max_tokens.or(Some(1024)),
            weight_decay: self.weight_decay.or(Some(0.0)),
            clip: self.clip.or(Some(1.0)),
            seed: self.seed.or(Some(0)),
            eval_fraction: self.eval_fraction.or(Some(0.1)),
            save_every: self.save_every.or(Some(20)),
            keep_checkpoints: self.keep_checkpoints.or(Some(2)),
            log_every: self.log_every.or(Some(1)),
            engine: Some(self.engine.unwrap_or_default()),
            batch_tokens: self.batch_tokens.or(Some(BATCH_TOKENS)),
            recompute: Some(self.recompute.unwrap_or_default()),
            framing: FramingOptions::of(&self.framing.framing(), self.framing.chat_template.clone()),
            out: None,
            ..self.clone()
        }
    }

    /// Checks that everything needed is there, and names every default.
    pub(crate) fn resolve(&self) -> Result<TrainPlan> {
        let missing = |flag: &str, hint: &str| Failure::Usage {
            problem: format!("--{flag} is missing"),
            hint: hint.into(),
        };
        let options = self.named();
        let settings = options.settings();
        settings.check()?;
        check_counts(&[
            ("threads", self.threads),
            ("limit", self.limit),
            ("keep-checkpoints", self.keep_checkpoints),
            ("log-every", self.log_every),
            ("processes", self.processes),
        ])?;
        self.check_engine()?;
        let hint = "name the model to train, for instance --model smollm2";
        let model = self.model.clone().ok_or_else(|| missing("model", hint))?;
        let hint =
            "name the directory of a synthesis or a file of pairs, for instance --data runs/synth-smollm2-1";
        let data = self.data.clone().ok_or_else(|| missing("data", hint))?;
        Ok(TrainPlan { model, data, options, settings })
    }

    /// The settings of options that are all named.
    fn settings(&self) -> TrainSettings {
        let objective = ObjectiveSettings {
            objective: self.objective.unwrap_or_default(),
            beta: self.beta.unwrap_or_default(),
            anchor: self.anchor.unwrap_or_default(),
            anchor_tokens: self.anchor_tokens.unwrap_or_default(),
        };
        TrainSettings {
            objective,
            contrast_share: self.contrast_share.unwrap_or_default(),
            lora: LoraSettings {
                rank: self.lora_rank.unwrap_or_default(),
                alpha: self.lora_alpha.unwrap_or_default(),
                targets: self.lora_targets.clone().unwrap_or_default(),
            },
            steps: StepSettings {
                learning_rate: self.learning_rate.unwrap_or_default(),
                schedule: self.schedule.unwrap_or_default(),
                warmup: self.warmup.unwrap_or_default(),
                epochs: self.epochs.unwrap_or_default(),
                prompts_per_step: self.prompts_per_step.unwrap_or_default(),
                max_tokens: self.max_tokens.unwrap_or_default(),
                weight_decay: self.weight_decay.unwrap_or_default(),
                clip: self.clip.unwrap_or_default(),
                batch_tokens: self.batch_tokens.unwrap_or_default(),
                save_every: self.save_every.unwrap_or_default(),
            },
            eval_fraction: self.eval_fraction.unwrap_or_default(),
            seed: self.seed.unwrap_or_default(),
        }
    }

    /// Refuses options of the other engine.
    fn check_engine(&self) -> Result<(), Failure> {
        let given = [
            ("processes", self.processes.is_some()),
            ("accelerate-config", self.accelerate_config.is_some()),
            ("python", self.python.is_some()),
        ];
        let is_local = self.engine.unwrap_or_default() == Engine::Local;
        match given.iter().find(|(_, is_given)| *is_given && is_local) {
            None => Ok(()),
            Some((flag, _)) => Err(Failure::Usage {
                problem: format!("--{flag}: the local engine is one process"),
                hint: "leave the flag out, or take --engine trl".into(),
            }),
        }
    }

    /// Those options that decide what is recorded.
    fn deciding(self) -> Self {
        Self {
            // Learning goes the same way wherever it is interrupted, watched and kept.
            keep_checkpoints: None,
            log_every: None,
            threads: None,
            recompute: None,
            reference_cache: None,
            processes: None,
            accelerate_config: None,
            python: None,
            // Measured before and after, whatever the training.
            eval_data: None,
            benign: None,
            eval_preset: None,
            bench: None,
            bench_data: None,
            bench_limit: None,
            ..self
        }
    }
}

impl TrainPlan {
    /// Who trains.
    pub(crate) fn engine(&self) -> Engine {
        self.options.engine.unwrap_or_default()
    }

    /// The adapter to begin with.
    pub(crate) fn lora(&self) -> LoraOptions {
        let LoraSettings { rank, alpha, targets } = self.settings.lora.clone();
        LoraOptions { rank, alpha, targets: targets.into(), seed: self.settings.seed }
    }

    /// The first option in which a resumed run would differ from the one it resumes; options that change no record may
    /// differ.
    pub(crate) fn difference(&self, earlier: &Self) -> Result<Option<String>> {
        let table = |plan: &Self| toml::Table::try_from(plan.options.clone().deciding());
        Ok(options::difference(&table(self)?, &table(earlier)?))
    }

    /// Of checkpoints: how often they are made is decided, how many are kept is not.
    pub(crate) fn keep_checkpoints(&self) -> usize {
        self.options.keep_checkpoints.unwrap_or(2)
    }

    /// Steps between two lines where nobody watches.
    pub(crate) fn log_every(&self) -> usize {
        self.options.log_every.unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> TrainOptions {
        TrainOptions {
            model: Some("m".into()),
            data: Some(DataSource::File("d".into())),
            ..TrainOptions::default()
        }
    }

    #[test]
    fn the_saved_plan_is_a_file_that_asks_for_the_same() {
        let given = TrainOptions {
            learning_rate: Some(3e-4),
            lora_targets: Some("down, q".parse().unwrap()),
            ..options()
        };
        let plan = given.resolve().unwrap();
        assert_eq!(plan.settings.lora.targets.to_string(), "q,down");
        let saved: TrainOptions = toml::from_str(&toml::to_string(&plan.options).unwrap()).unwrap();
        assert_eq!(saved.resolve().unwrap(), plan);
    }

    #[test]
    fn a_difference_is_named_unless_it_changes_no_record() {
        let plan = options().resolve().unwrap();
        let free = TrainOptions {
            threads: Some(1),
            keep_checkpoints: Some(9),
            log_every: Some(5),
            recompute: Some(RecomputeChoice::On),
            eval_data: Some(DataSource::File("e".into())),
            ..options()
        };
        assert_eq!(plan.difference(&free.resolve().unwrap()).unwrap(), None);
        let other = TrainOptions { beta: Some(0.2), ..options() }.resolve().unwrap();
        assert_eq!(other.difference(&plan).unwrap().unwrap(), "beta = 0.1 (now 0.2)");
        let other = TrainOptions { save_every: Some(7), ..options() }.resolve().unwrap();
        assert_eq!(other.difference(&plan).unwrap().unwrap(), "save-every = 20 (now 7)");
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_flag() {
        type Fault = fn(&mut TrainOptions);
        let faults: [(&str, Fault); 10] = [
            ("--beta: expected a number above 0, found 0", |o| o.beta = Some(0.0)),
            ("--learning-rate: expected a number above 0, found NaN", |o| o.learning_rate = Some(f64::NAN)),
            ("--warmup: expected 0 to 1, found 2", |o| o.warmup = Some(2.0)),
            ("--eval-fraction: expected 0 to less than 1, found 1", |o| o.eval_fraction = Some(1.0)),
            ("--lora-rank: expected 1 to 4096, found 0", |o| o.lora_rank = Some(0)),
            ("--save-every: expected 1 or more, found 0", |o| o.save_every = Some(0)),
            ("--processes: the local engine is one process", |o| o.processes = Some(2)),
            ("--python: the local engine is one process", |o| o.python = Some("python".into())),
            ("--threads: expected 1 or more, found 0", |o| o.threads = Some(0)),
            ("--model is missing", |o| o.model = None),
        ];
        for (expected, fault) in faults {
            let mut options = options();
            fault(&mut options);
            assert_eq!(options.resolve().unwrap_err().to_string(), expected);
        }
    }
}
