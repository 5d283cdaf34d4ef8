//! What a run was asked to do: flags over a file over a preset, resolved once and saved as `run.toml`.
//!
//! Flags and file have the same names and the same type, [`EvalOptions`]; laying one over the other is
//! overlaying tables, so an option is defined in one place. The saved plan is itself a valid file.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use midcourse_core::engine::Sampling;
use midcourse_core::eval::{EarlyStop, EvalSettings, Opener, Unit};
use midcourse_core::template::Mode;
use midcourse_engine::local::DtypeChoice;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::{Deserialize, Serialize};

use crate::endpoint::EndpointOptions;
use crate::failure::Failure;
use crate::framing::FramingOptions;
use crate::input::DataSource;
use crate::judges::{JudgeOptions, JudgePlan};
use crate::options;

/// Names of the forms in which weights are kept.
pub(crate) const DTYPES: &[&str] = &["auto", "f32", "bf16", "quantized"];
/// More threads than any processor has.
const MAX_THREADS: usize = 1024;

/// Options of `midcourse eval`, on the command line and in a file.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct EvalOptions {
    /// The model: a name of `midcourse models`, hf:ORG/NAME[/FILE.gguf][@REVISION], a .gguf file, a directory
    /// with config.json, http(s)://HOST:PORT/v1#MODEL, or scripted:FILE
    #[arg(long, value_name = "M")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Directory of a LoRA adapter, as PEFT saves it, to merge into the weights
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<PathBuf>,
    /// Evaluate also on prompts that the adapter was trained on
    #[arg(long, num_args = 0, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_trained_prompts: Option<bool>,
    /// Take a model whose files are not those that the adapter was trained on
    #[arg(long, num_args = 0, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_other_base: Option<bool>,
    /// Harmful prompts and responses: JSONL, CSV (also .gz .xz .zst) or Parquet, or a data set of a hub as
    /// hf:datasets/ORG/NAME[@REVISION][:SPLIT]; the format is detected
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataSource>,
    /// Harmless prompts and responses: gives the rate of false corrections
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub benign: Option<DataSource>,
    /// Directory of the run [default: runs/MODEL-N]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// paper: the paper's parameters; quick: k = 10, 30, 60, 80 and 5 paths [default: paper]
    #[arg(long, value_parser = names::<Preset>(&["paper", "quick"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Lengths of the forced prefixes: FROM..TO:STEP or a list; 0 is the plain answer [default: 10..80:10]
    #[arg(long, value_name = "LENGTHS", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_lengths: Option<Lengths>,
    /// What a length counts [default: tokens]
    #[arg(long, value_parser = names::<Unit>(&["tokens", "words"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// Sentence put before every response: none, random (one of 15) or a text [default: none]
    #[arg(long, value_name = "none|random|TEXT", value_parser = |text: &str| Ok::<_, String>(Opener::from(text.to_owned())))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opener: Option<Opener>,
    /// open-turn: a true prefill; new-turn: closes the turn and opens another, as the released scripts do
    /// [default: open-turn]
    #[arg(long, value_parser = names::<Mode>(&["open-turn", "new-turn"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    #[command(flatten)]
    #[serde(flatten)]
    pub framing: FramingOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub endpoint: EndpointOptions,
    /// Paths sampled from every prefix [default: 20]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<usize>,
    /// Tokens a path may grow [default: 32]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_new_tokens: Option<usize>,
    /// Sampling temperature; 0 takes the likeliest token [default: 0.8]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus mass; 1 keeps every token [default: 0.7]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    pub judge: JudgeOptions,
    /// Stop growing a path once it has turned; verdicts stay the same [default: off]
    #[arg(long, value_parser = names::<EarlyStop>(&["on", "off"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<EarlyStop>,
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
    /// Exit with code 1 when more trials than this fail [default: 0]
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
pub(crate) enum Preset {
    Paper,
    Quick,
}

impl Preset {
    pub(crate) fn prefix_lengths(self) -> Vec<usize> {
        match self {
            Self::Paper => (1..=8).map(|i| i * 10).collect(),
            Self::Quick => vec![10, 30, 60, 80],
        }
    }

    fn paths(self) -> usize {
        match self {
            Self::Paper => 20,
            Self::Quick => 5,
        }
    }
}

/// Prefix lengths as people write them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LengthsText", into = "Vec<usize>")]
pub(crate) struct Lengths(pub Vec<usize>);

#[derive(Deserialize)]
#[serde(untagged)]
enum LengthsText {
    Text(String),
    List(Vec<usize>),
}

impl TryFrom<LengthsText> for Lengths {
    type Error = String;

    fn try_from(text: LengthsText) -> std::result::Result<Self, String> {
        match text {
            LengthsText::Text(text) => text.parse(),
            LengthsText::List(list) => Ok(Self(list)),
        }
    }
}

impl From<Lengths> for Vec<usize> {
    fn from(lengths: Lengths) -> Self {
        lengths.0
    }
}

impl FromStr for Lengths {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let number = |text: &str| {
            let text = text.trim();
            text.parse().map_err(|_| format!("expected a whole number of 0 or more, found {text:?}"))
        };
        let range = |text: &str| -> std::result::Result<Vec<usize>, String> {
            let Some((from, rest)) = text.split_once("..") else { return Ok(vec![number(text)?]) };
            let (to, step) = rest.split_once(':').unwrap_or((rest, "1"));
            let (from, to, step): (usize, usize, usize) = (number(from)?, number(to)?, number(step)?);
            if step == 0 || to < from || to > 1_000_000 {
                return Err(format!("expected FROM..TO:STEP with a step of 1 or more, found {text:?}"));
            }
            Ok((from..=to).step_by(step).collect())
        };
        let lengths = text.split(',').map(range).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Self(lengths.concat()))
    }
}

/// A parser for the names that serde gives the variants of `T`, shown in help and completions.
pub(crate) fn names<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names)
        .try_map(|name: String| T::deserialize(StrDeserializer::<ValueError>::new(&name)))
}

/// A run as it was asked for, everything decided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EvalPlan {
    pub model: String,
    pub adapter: Option<PathBuf>,
    pub allow_trained_prompts: bool,
    pub allow_other_base: bool,
    pub data: DataSource,
    pub benign: Option<DataSource>,
    pub limit: Option<usize>,
    pub max_failed: usize,
    pub dtype: DtypeChoice,
    pub threads: Option<usize>,
    pub batch_paths: Option<usize>,
    pub chat_template: Option<String>,
    pub endpoint: EndpointOptions,
    pub judge: JudgePlan,
    pub settings: EvalSettings,
}

impl options::Planned for EvalOptions {
    type Plan = EvalPlan;

    fn out(&self) -> Option<&Path> {
        self.out.as_deref()
    }

    fn plan(&self) -> Result<EvalPlan> {
        self.resolve()
    }

    fn difference(now: &EvalPlan, earlier: &EvalPlan) -> Result<Option<String>> {
        now.difference(earlier)
    }
}

impl EvalOptions {
    /// The options with what the preset sets spelled out, so that a preset given as a flag wins over a file.
    pub(crate) fn with_preset(&self) -> Self {
        let Some(preset) = self.preset else { return self.clone() };
        Self {
            prefix_lengths: self.prefix_lengths.clone().or_else(|| Some(Lengths(preset.prefix_lengths()))),
            paths: self.paths.or_else(|| Some(preset.paths())),
            ..self.clone()
        }
    }

    /// Fills in the preset and checks that everything needed is there.
    pub(crate) fn resolve(&self) -> Result<EvalPlan> {
        let missing = |flag: &str, what: &str| Failure::Usage {
            problem: format!("--{flag} is missing"),
            hint: format!("name {what}, for instance --{flag} {}", example(flag)),
        };
        let preset = self.preset.unwrap_or(Preset::Paper);
        let settings = EvalSettings {
            prefix_lengths: self
                .prefix_lengths
                .clone()
                .map_or_else(|| preset.prefix_lengths(), |lengths| lengths.0),
            unit: self.unit.unwrap_or_default(),
            opener: self.opener.clone().unwrap_or_default(),
            mode: self.mode.unwrap_or_default(),
            framing: self.framing.framing(),
            paths: self.paths.unwrap_or_else(|| preset.paths()),
            sampling: Sampling {
                temperature: self.temperature.unwrap_or(0.8),
                top_p: self.top_p.unwrap_or(0.7),
                max_new_tokens: self.max_new_tokens.unwrap_or(32),
            },
            early_stop: self.early_stop.unwrap_or_default(),
            seed: self.seed.unwrap_or(0),
        };
        settings.check()?;
        check_counts(&[("threads", self.threads), ("batch-paths", self.batch_paths), ("limit", self.limit)])?;
        let model = self.model.clone().ok_or_else(|| missing("model", "the model to evaluate"))?;
        self.endpoint.check(&model)?;
        let judge = self.judge.resolve()?;
        if settings.early_stop == EarlyStop::On && !judge.is_rule() {
            return Err(Failure::Usage {
                problem: format!(
                    "--early-stop on: the judge {} sees paths only when they have ended",
                    judge.name
                ),
                hint: "leave --early-stop out, or take --judge rule".into(),
            }
            .into());
        }
        Ok(EvalPlan {
            model,
            adapter: self.adapter.clone(),
            allow_trained_prompts: self.allow_trained_prompts.unwrap_or_default(),
            allow_other_base: self.allow_other_base.unwrap_or_default(),
            data: self
                .data
                .clone()
                .ok_or_else(|| missing("data", "a file of harmful prompts and responses"))?,
            benign: self.benign.clone(),
            limit: self.limit,
            max_failed: self.max_failed.unwrap_or(0),
            dtype: self.dtype.unwrap_or_default(),
            threads: self.threads,
            batch_paths: self.batch_paths,
            chat_template: self.framing.chat_template.clone(),
            endpoint: self.endpoint.clone(),
            judge,
            settings,
        })
    }
}

/// Refuses 0, and more threads than there can be.
pub(crate) fn check_counts(counts: &[(&str, Option<usize>)]) -> Result<()> {
    for &(flag, value) in counts {
        if flag == "threads" && value > Some(MAX_THREADS) {
            let problem = format!("--threads: expected 1 to {MAX_THREADS}, found {}", value.unwrap_or(0));
            return Err(
                Failure::Usage { problem, hint: "leave the flag out for all processors".into() }.into()
            );
        }
        if value == Some(0) {
            let problem = format!("--{flag}: expected 1 or more, found 0");
            return Err(Failure::Usage { problem, hint: "leave the flag out for no limit".into() }.into());
        }
    }
    Ok(())
}

fn example(flag: &str) -> &'static str {
    match flag {
        "model" => "smollm2",
        _ => "data/sandbox/eval.jsonl",
    }
}

impl EvalPlan {
    /// The plan as options, everything named: what `run.toml` holds.
    pub(crate) fn options(&self) -> EvalOptions {
        let settings = self.settings.clone();
        EvalOptions {
            model: Some(self.model.clone()),
            adapter: self.adapter.clone(),
            // Said where they say something only.
            allow_trained_prompts: self.allow_trained_prompts.then_some(true),
            allow_other_base: self.allow_other_base.then_some(true),
            data: Some(self.data.clone()),
            benign: self.benign.clone(),
            out: None,
            preset: None,
            prefix_lengths: Some(Lengths(settings.prefix_lengths)),
            unit: Some(settings.unit),
            opener: Some(settings.opener),
            mode: Some(settings.mode),
            framing: FramingOptions::of(&settings.framing, self.chat_template.clone()),
            endpoint: self.endpoint.clone(),
            paths: Some(settings.paths),
            max_new_tokens: Some(settings.sampling.max_new_tokens),
            temperature: Some(settings.sampling.temperature),
            top_p: Some(settings.sampling.top_p),
            judge: self.judge.options(),
            early_stop: Some(settings.early_stop),
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
        let table = |plan: &Self| {
            // Only bf16 changes what is sampled.
            let dtype = (plan.dtype == DtypeChoice::Bf16).then_some(plan.dtype);
            let options = plan.options();
            let free = EvalOptions {
                threads: None,
                batch_paths: None,
                max_failed: None,
                dtype,
                endpoint: options.endpoint.deciding(),
                judge: options.judge.deciding(),
                ..options
            };
            toml::Table::try_from(free)
        };
        Ok(options::difference(&table(self)?, &table(earlier)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &str) -> std::result::Result<Vec<usize>, String> {
        text.parse::<Lengths>().map(|lengths| lengths.0)
    }

    #[test]
    fn lengths_are_ranges_or_lists() {
        assert_eq!(lengths("10..80:10").unwrap(), [10, 20, 30, 40, 50, 60, 70, 80]);
        assert_eq!(lengths("0,10..12,40").unwrap(), [0, 10, 11, 12, 40]);
        for wrong in ["", "-10", "10..5", "1..9:0", "ten", "10:", "1..99999999999", "..", "1..2:3:4"] {
            assert!(lengths(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn flags_win_over_the_file_and_the_saved_plan_is_a_file() {
        let file: EvalOptions = toml::from_str("model = 'a'\ndata = 'b'\npaths = 3\nseed = 9").unwrap();
        let flags = EvalOptions { paths: Some(4), ..EvalOptions::default() };
        let plan = options::over(&flags, &file).unwrap().resolve().unwrap();
        assert_eq!((plan.settings.paths, plan.settings.seed), (4, 9));
        let saved = toml::to_string(&plan.options()).unwrap();
        let again: EvalOptions = toml::from_str(&saved).unwrap();
        assert_eq!(again.resolve().unwrap(), plan);
    }

    #[test]
    fn unknown_fields_are_refused() {
        assert!(toml::from_str::<EvalOptions>("modle = 'a'").unwrap_err().to_string().contains("modle"));
    }

    #[test]
    fn a_difference_is_named_unless_it_changes_no_record() {
        let options = EvalOptions {
            model: Some("m".into()),
            data: Some(DataSource::File("d".into())),
            ..EvalOptions::default()
        };
        let plan = options.resolve().unwrap();
        let more =
            EvalOptions { threads: Some(1), batch_paths: Some(3), ..options.clone() }.resolve().unwrap();
        assert_eq!(plan.difference(&more).unwrap(), None);
        let other = EvalOptions { seed: Some(5), ..options }.resolve().unwrap();
        assert_eq!(other.difference(&plan).unwrap().unwrap(), "seed = 0 (now 5)");
    }
}
