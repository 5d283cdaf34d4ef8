//! What a synthesis was asked to do: flags over a file over a preset, resolved once and saved as `run.toml`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Result;
use midcourse_core::engine::Sampling;
use midcourse_core::synth::{Completeness, CutRule, OpenerPolicy, SafeResponse, SynthSettings, Triggers};
use midcourse_engine::files;
use midcourse_engine::local::DtypeChoice;
use serde::{Deserialize, Serialize};

use crate::endpoint::EndpointOptions;
use crate::failure::Failure;
use crate::framing::FramingOptions;
use crate::input::DataSource;
use crate::judges::{JudgeOptions, JudgePlan};
use crate::options;
use crate::pairs::TestShare;
use crate::plan::{DTYPES, check_counts, names};

/// Bytes of the longest file of triggers.
const MAX_TEXTS: u64 = 1 << 20;
/// What `--decoding sample` draws with where nothing else is said.
const TEMPERATURE: f64 = 0.8;
const TOP_P: f64 = 0.95;

/// Options of `midcourse synth`, on the command line and in a file.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct SynthOptions {
    /// The aligned model that answers: a name of `midcourse models`, hf:ORG/NAME[/FILE.gguf][@REVISION], a .gguf
    /// file, a directory with config.json, http(s)://HOST:PORT/v1#MODEL, or scripted:FILE. Best is the model that is
    /// to be trained: preferences in another model's words can be told by their style
    #[arg(long, value_name = "M")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Directory of a LoRA adapter, as PEFT saves it, to merge into the weights
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<PathBuf>,
    /// Harmful prompts and full harmful responses: JSONL (also .gz .xz .zst), CSV or Parquet, or
    /// hf:datasets/ORG/NAME[@REVISION][:SPLIT]; the format is detected
    #[arg(long, value_name = "FILE|hf:datasets/…")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataSource>,
    /// Harmless prompts, with helpful responses or without (then the model answers): they become contrast rankings,
    /// which teach to turn when it is wrong and not always
    #[arg(long, value_name = "FILE|hf:datasets/…")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub benign: Option<DataSource>,
    /// Drop prompts that stand in these files, exactly or nearly, so that what is trained on is never evaluated on
    #[arg(long, value_name = "FILE|hf:datasets/…", num_args = 1..)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<DataSource>,
    /// Directory of the data set [default: runs/synth-MODEL-N]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// paper: cuts and openers of the released scripts, for comparison; quick: 64 new tokens
    #[arg(long, value_parser = names::<SynthPreset>(&["paper", "quick"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<SynthPreset>,
    /// Places at which a response is cut; a ranking has two answers more [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuts: Option<usize>,
    /// How they are chosen: at the ends of clauses, or at any punctuation as in the released scripts
    /// [default: clauses]
    #[arg(long, value_parser = names::<CutRule>(&["clauses", "released"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_rule: Option<CutRule>,
    /// Tokens that an answer may grow; what is longer ends after its last whole sentence [default: 128]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_new_tokens: Option<usize>,
    /// Texts that begin a correction, one a line [default: 15 of midcourse]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub triggers: Option<PathBuf>,
    /// Texts that begin an opened refusal, one a line [default: 15 of midcourse]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal_openers: Option<PathBuf>,
    /// Sentence that answers begin with: none, shared (one of 15 for all answers of a ranking), released (for
    /// corrections only, which gives them away) or a text for all [default: none]
    #[arg(long, value_name = "none|shared|released|TEXT", value_parser = |text: &str| Ok::<_, String>(OpenerPolicy::from(text.to_owned())))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opener: Option<OpenerPolicy>,
    /// Paths grown for every answer; the first that the judge accepts is kept [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
    /// greedy takes the likeliest tokens, sample draws [default: greedy; sample with several candidates]
    #[arg(long, value_parser = names::<Decoding>(&["greedy", "sample"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoding: Option<Decoding>,
    /// Temperature of --decoding sample [default: 0.8]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus mass of --decoding sample [default: 0.95]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Where refusals come from: the row, the model's own answer, the model after a refusal opener, or auto (these in
    /// turn until one passes) [default: auto]
    #[arg(long, value_parser = names::<SafeResponse>(&["auto", "column", "model", "opened"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_response: Option<SafeResponse>,
    /// Drop a ranking that lost a rank, instead of keeping the pairs that remain
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_all: bool,
    /// Share of the prompts whose pairs are kept apart for testing [default: 0.1]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_share: Option<TestShare>,
    /// Licence of the sources, as the Hugging Face hub names it [default: what their README.md or format says]
    #[arg(long, value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Only every Nth prompt, from the Ith on: N machines make one data set, `midcourse synth merge` joins it
    #[arg(long, value_name = "I/N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    #[command(flatten)]
    #[serde(flatten)]
    pub framing: FramingOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub endpoint: EndpointOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub judge: JudgeOptions,
    /// How weights are kept in memory: auto (f32 where it fits, else as the file stores them), f32, bf16 (rounds), or
    /// quantized (the file's own blocks); all but bf16 give the same results [default: auto]
    #[arg(long, value_parser = names::<DtypeChoice>(DTYPES))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<DtypeChoice>,
    /// Processor threads [default: all]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Most paths growing at once [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_paths: Option<usize>,
    /// Exit with code 1 when more paths than this fail [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_failed: Option<usize>,
    /// Only the first N samples of each file
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Seed of the run [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// A named set of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SynthPreset {
    Paper,
    Quick,
}

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Decoding {
    Greedy,
    Sample,
}

/// Which part of the samples: every `n`th from number `i` on, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Shard {
    pub i: usize,
    pub n: usize,
}

impl Shard {
    /// All samples.
    pub(crate) const WHOLE: Self = Self { i: 1, n: 1 };

    /// Whether the sample with this place is of the shard.
    pub(crate) fn holds(self, index: usize) -> bool {
        index % self.n == self.i - 1
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected I/N with I from 1 to N, found {text:?}");
        let (i, n) = text.split_once('/').ok_or_else(wrong)?;
        let (i, n) = (i.trim().parse().map_err(|_| wrong())?, n.trim().parse().map_err(|_| wrong())?);
        if i == 0 || i > n { Err(wrong()) } else { Ok(Self { i, n }) }
    }
}

impl TryFrom<String> for Shard {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.i, self.n)
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

/// A synthesis as it was asked for, everything decided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SynthPlan {
    pub model: String,
    pub adapter: Option<PathBuf>,
    pub data: DataSource,
    pub benign: Option<DataSource>,
    pub exclude: Vec<DataSource>,
    pub triggers: Option<PathBuf>,
    pub refusal_openers: Option<PathBuf>,
    pub test_share: TestShare,
    pub license: Option<String>,
    pub shard: Option<Shard>,
    pub limit: Option<usize>,
    pub max_failed: usize,
    pub dtype: DtypeChoice,
    pub threads: Option<usize>,
    pub batch_paths: Option<usize>,
    pub chat_template: Option<String>,
    pub endpoint: EndpointOptions,
    pub judge: JudgePlan,
    pub settings: SynthSettings,
}

impl options::Planned for SynthOptions {
    type Plan = SynthPlan;

    fn out(&self) -> Option<&Path> {
        self.out.as_deref()
    }

    fn plan(&self) -> Result<SynthPlan> {
        self.resolve()
    }

    fn difference(now: &SynthPlan, earlier: &SynthPlan) -> Result<Option<String>> {
        now.difference(earlier)
    }
}

impl SynthOptions {
    /// The options with what the preset sets spelled out, so that a preset given as a flag wins over a file.
    pub(crate) fn with_preset(&self) -> Self {
        let mut options = self.clone();
        match self.preset {
            Some(SynthPreset::Paper) => {
                options.cut_rule = options.cut_rule.or(Some(CutRule::Released));
                options.opener = options.opener.or(Some(OpenerPolicy::Released));
            }
            Some(SynthPreset::Quick) => {
                options.max_new_tokens = options.max_new_tokens.or(Some(64));
            }
            None => {}
        }
        options
    }

    /// Checks that everything needed is there, and reads the texts that are named.
    pub(crate) fn resolve(&self) -> Result<SynthPlan> {
        let missing = |flag: &str, hint: &str| Failure::Usage {
            problem: format!("--{flag} is missing"),
            hint: hint.into(),
        };
        let options = self.with_preset();
        let settings = SynthSettings {
            n_cuts: options.cuts.unwrap_or(4),
            cut_rule: options.cut_rule.unwrap_or_default(),
            opener: options.opener.clone().unwrap_or_default(),
            safe_response: options.safe_response.unwrap_or_default(),
            candidates: options.candidates.unwrap_or(1),
            sampling: options.sampling()?,
            completeness: if options.require_all { Completeness::All } else { Completeness::Any },
            framing: options.framing.framing(),
            triggers: texts(options.triggers.as_deref(), "triggers", Triggers::builtin)?,
            refusals: texts(
                options.refusal_openers.as_deref(),
                "refusal-openers",
                Triggers::builtin_refusals,
            )?,
            seed: options.seed.unwrap_or(0),
        };
        settings.check()?;
        check_counts(&[("threads", self.threads), ("batch-paths", self.batch_paths), ("limit", self.limit)])?;
        if self.judge.calibration.is_some() {
            let problem = "--calibration: a synthesis has no rates to correct".into();
            let hint = "leave the flag out; `midcourse eval` takes it".into();
            return Err(Failure::Usage { problem, hint }.into());
        }
        let hint = "name the aligned model that answers, for instance --model smollm2";
        let model = self.model.clone().ok_or_else(|| missing("model", hint))?;
        self.endpoint.check(&model)?;
        let hint =
            "name a file of harmful prompts and responses, for instance --data data/sandbox/train.jsonl";
        Ok(SynthPlan {
            model,
            adapter: self.adapter.clone(),
            data: self.data.clone().ok_or_else(|| missing("data", hint))?,
            benign: self.benign.clone(),
            exclude: self.exclude.clone(),
            triggers: self.triggers.clone(),
            refusal_openers: self.refusal_openers.clone(),
            test_share: self.test_share.unwrap_or_default(),
            license: self.license.clone(),
            shard: self.shard,
            limit: self.limit,
            max_failed: self.max_failed.unwrap_or(0),
            dtype: self.dtype.unwrap_or_default(),
            threads: self.threads,
            batch_paths: self.batch_paths,
            chat_template: self.framing.chat_template.clone(),
            endpoint: self.endpoint.clone(),
            judge: self.judge.resolve()?,
            settings,
        })
    }

    /// How tokens are drawn: several candidates are sampled unless something else is said.
    fn sampling(&self) -> Result<Sampling> {
        let several = self.candidates.is_some_and(|n| n > 1);
        let default = if several { Decoding::Sample } else { Decoding::Greedy };
        let decoding = self.decoding.unwrap_or(default);
        let given = [("temperature", self.temperature), ("top-p", self.top_p)];
        if let (Decoding::Greedy, Some((flag, _))) =
            (decoding, given.iter().find(|(_, value)| value.is_some()))
        {
            return Err(Failure::Usage {
                problem: format!("--{flag}: greedy decoding draws nothing"),
                hint: "give --decoding sample with it, or leave it out".into(),
            }
            .into());
        }
        let max_new_tokens = self.max_new_tokens.unwrap_or(128);
        Ok(match decoding {
            Decoding::Greedy => Sampling { temperature: 0.0, top_p: 1.0, max_new_tokens },
            Decoding::Sample => Sampling {
                temperature: self.temperature.unwrap_or(TEMPERATURE),
                top_p: self.top_p.unwrap_or(TOP_P),
                max_new_tokens,
            },
        })
    }
}

/// The texts of a file, or those that are built in.
fn texts(path: Option<&Path>, flag: &str, builtin: fn() -> Triggers) -> Result<Triggers> {
    let Some(path) = path else { return Ok(builtin()) };
    let text = files::read_to_string(path, MAX_TEXTS).map_err(|error| Failure::Input {
        problem: format!("--{flag}: {}: {error}", path.display()),
        hint: "name a text file with one text a line".into(),
    })?;
    Ok(Triggers::parse(&path.display().to_string(), &text)?)
}

impl SynthPlan {
    /// The plan as options, everything named: what `run.toml` holds.
    pub(crate) fn options(&self) -> SynthOptions {
        let settings = &self.settings;
        let Sampling { temperature, top_p, max_new_tokens } = settings.sampling;
        let is_sampled = temperature > 0.0;
        SynthOptions {
            model: Some(self.model.clone()),
            adapter: self.adapter.clone(),
            data: Some(self.data.clone()),
            benign: self.benign.clone(),
            exclude: self.exclude.clone(),
            out: None,
            preset: None,
            cuts: Some(settings.n_cuts),
            cut_rule: Some(settings.cut_rule),
            max_new_tokens: Some(max_new_tokens),
            triggers: self.triggers.clone(),
            refusal_openers: self.refusal_openers.clone(),
            opener: Some(settings.opener.clone()),
            candidates: Some(settings.candidates),
            decoding: Some(if is_sampled { Decoding::Sample } else { Decoding::Greedy }),
            temperature: is_sampled.then_some(temperature),
            top_p: is_sampled.then_some(top_p),
            safe_response: Some(settings.safe_response),
            require_all: settings.completeness == Completeness::All,
            test_share: Some(self.test_share),
            license: self.license.clone(),
            shard: self.shard,
            framing: FramingOptions::of(&settings.framing, self.chat_template.clone()),
            endpoint: self.endpoint.clone(),
            judge: self.judge.options(),
            dtype: Some(self.dtype),
            threads: self.threads,
            batch_paths: self.batch_paths,
            max_failed: Some(self.max_failed),
            limit: self.limit,
            seed: Some(settings.seed),
        }
    }

    /// The first option in which a resumed run would differ from the one it resumes; options that change no
    /// record may differ.
    pub(crate) fn difference(&self, earlier: &Self) -> Result<Option<String>> {
        let table = |plan: &Self| toml::Table::try_from(plan.options().deciding());
        Ok(options::difference(&table(self)?, &table(earlier)?))
    }
}

impl SynthOptions {
    /// How tokens were drawn, as people read it.
    pub(crate) fn decoding_text(&self) -> String {
        let n = self.max_new_tokens.unwrap_or_default();
        match (self.temperature, self.top_p) {
            (Some(temperature), Some(top_p)) => {
                format!("temperature {temperature}, top-p {top_p}, {n} new tokens")
            }
            _ => format!("greedy, {n} new tokens"),
        }
    }

    /// Those options that decide what is recorded.
    pub(crate) fn deciding(self) -> Self {
        Self {
            threads: None,
            batch_paths: None,
            max_failed: None,
            // Pairs and card are made anew of the rankings.
            test_share: None,
            license: None,
            // Only bf16 changes what is sampled.
            dtype: self.dtype.filter(|dtype| *dtype == DtypeChoice::Bf16),
            endpoint: self.endpoint.deciding(),
            judge: self.judge.deciding(),
            ..self
        }
    }
}
