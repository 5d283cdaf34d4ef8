//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use midcourse_core::template::Mode;
use midcourse_engine::local::DtypeChoice;
use midcourse_engine::weights::export::{ModelFormat, Precision};

use crate::bench::BenchArgs;
use crate::compare::CompareArgs;
use crate::endpoint::EndpointOptions;
use crate::framing::FramingOptions;
use crate::input::DataSource;
use crate::judges::JudgeOptions;
use crate::pairs::{RowFormat, SplitChoice, TestShare};
use crate::plan::EvalOptions;
use crate::synth::SynthOptions;
use crate::train::TrainOptions;

/// Measure and teach course-correction: does a language model that has begun a harmful answer steer away?
#[derive(Debug, Parser)]
#[command(name = "midcourse", version, max_term_width = 110, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done · 1 done, but a limit you set was missed · 2 usage · 3 bad input · \
    4 endpoint · 5 storage · 6 not supported · 70 internal error · 130, 143 stopped by a signal, everything finished recorded";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure course-correction: force prefixes of harmful answers, sample, judge, report Corr@k
    Eval(Box<EvalArgs>),
    /// Make preferences that teach it: answers ranked by how early they turn, and the pairs of them
    Synth(Box<SynthArgs>),
    /// Train an adapter on preferences: a model that carries on becomes one that turns back
    Train(Box<TrainArgs>),
    /// Measure what else a model can do, and what it refuses: general ability, over-refusal, jailbreak resistance
    Bench(Box<BenchArgs>),
    /// Show what a model is given for one prefix, prove the prefill, and list the likeliest next tokens
    Probe(Box<ProbeArgs>),
    /// Let another judge judge a finished run, compare judges, and measure a judge against people
    Judge(Box<JudgeArgs>),
    /// Serve a model over HTTP as OpenAI's API does, for other programs to use
    Serve(ServeArgs),
    /// Write what was made in the formats of other tools
    #[command(subcommand)]
    Export(ExportCommand),
    /// The whole story on a harmless sample set: fetch a small model, make preferences, train, measure before and after
    Demo(DemoArgs),
    /// Compare finished runs with the first of them: paired differences with intervals, gates, one page
    Compare(CompareArgs),
    /// Make the pages of a finished run again
    Report {
        /// Directory of the run
        run: PathBuf,
    },
    /// Look at data sets, divide them
    #[command(subcommand)]
    Data(DataCommand),
    /// List the models that can be fetched or are in the caches, fetch one, describe one, remove one
    Models {
        #[command(subcommand)]
        command: Option<ModelsCommand>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a script that completes midcourse's arguments in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Arguments of `midcourse demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// The model: a name of `midcourse models`
    #[arg(long, value_name = "M", default_value = "smollm2")]
    pub model: String,
    /// Directory of all that the demo makes [default: runs/demo-N]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Take every row of the sample set; takes several times as long
    #[arg(long)]
    pub full: bool,
}

/// Arguments of `midcourse eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct EvalArgs {
    #[command(flatten)]
    pub options: EvalOptions,
    /// Options from a TOML file with the same names; flags win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Go on with the run in --out; its settings are taken from there
    #[arg(long)]
    pub resume: bool,
    /// Print how much would be asked and what it would cost at most; nothing is sampled and no server asked
    #[arg(long)]
    pub dry_run: bool,
    /// Print scores.json instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `midcourse synth`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = SYNTHESIS)]
pub(crate) struct SynthArgs {
    #[command(subcommand)]
    pub command: Option<SynthCommand>,
    #[command(flatten)]
    pub options: SynthOptions,
    /// Options from a TOML file with the same names; flags win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Go on with the run in --out; its settings are taken from there
    #[arg(long)]
    pub resume: bool,
    /// Print how much would be asked and what it would cost at most; nothing is sampled and no server asked
    #[arg(long)]
    pub dry_run: bool,
    /// Print summary.json instead of a table
    #[arg(long)]
    pub json: bool,
}

const SYNTHESIS: &str = "Every harmful row becomes a ranking: the refusal, the corrections that leave the response at \
    cuts 1, 2, … and the whole response. With --benign, harmless rows become contrast rankings in the opposite order. \
    Every better answer over every worse one is a pair: rankings.jsonl holds the rankings, data/ the pairs as \
    Parquet in TRL's format, report.html what was lost and why, and whether style alone tells chosen from rejected. \
    `midcourse export pairs DIR` writes the pairs for other trainers.";

/// What else to do with syntheses.
#[derive(Debug, Subcommand)]
pub(crate) enum SynthCommand {
    /// Join the directories of all shards to one data set
    Merge(MergeArgs),
}

/// Arguments of `midcourse synth merge`.
#[derive(Debug, clap::Args)]
pub(crate) struct MergeArgs {
    /// Directories that `midcourse synth --shard I/N` made, all of them
    #[arg(required = true)]
    pub shards: Vec<PathBuf>,
    /// Directory of the joined data set
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Print summary.json instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `midcourse train`.
#[derive(Debug, clap::Args)]
#[command(after_help = TRAINING)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub options: TrainOptions,
    /// Options from a TOML file with the same names; flags win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Go on with the run in --out from its last checkpoint; its settings are taken from there
    #[arg(long)]
    pub resume: bool,
    /// Print what would be trained on, and how much of it; nothing is trained. With --engine trl what would be handed over
    /// is written into --out
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

const TRAINING: &str = "The prompt of a ranking, the response that its answers share and their endings are one tree, of \
    which each token is computed once. OUT/adapter is an adapter as PEFT saves it: `midcourse eval --adapter OUT/adapter` \
    evaluates it. train.jsonl has the figures of every step, eval.jsonl those of what is held out, tensorboard/ both. \
    Look at the probability of the first token of a turn: it decides whether paths turn.";

/// Arguments of `midcourse judge`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = JUDGING)]
pub(crate) struct JudgeArgs {
    #[command(subcommand)]
    pub command: Option<JudgeCommand>,
    /// Directory of a finished run: its paths are judged again, nothing is sampled
    #[arg(required = true)]
    pub run: Option<PathBuf>,
    #[command(flatten)]
    pub options: JudgeOptions,
    /// Print how much the judge would be asked and what it would cost at most; nobody is asked
    #[arg(long)]
    pub dry_run: bool,
    /// Print scores.json of the judge instead of a table
    #[arg(long)]
    pub json: bool,
}

const JUDGING: &str = "A figure is worth what its judge is worth. To know the judge's error: `judge export RUN` writes a \
    file for people to label, `judge calibrate --judge J --labels FILE` measures the judge against it, and \
    `--calibration FILE` corrects the rates of `eval` and `judge RUN` for what was measured. What another judge says \
    of a run lies in RUN/judges/NAME.";

/// What to do with judges.
#[derive(Debug, Subcommand)]
pub(crate) enum JudgeCommand {
    /// Print how far two judges of a run agree, Cohen's kappa, and where they differ
    Agreement(AgreementArgs),
    /// Write paths of a run as a CSV file for people to label, without what the judge said
    Export(ExportArgs),
    /// Measure a judge against labels: agreement, Cohen's kappa, sensitivity and specificity
    Calibrate(Box<CalibrateArgs>),
}

/// Arguments of `midcourse judge agreement`.
#[derive(Debug, clap::Args)]
pub(crate) struct AgreementArgs {
    /// Directory of the run
    pub run: PathBuf,
    /// A judge of the run, by the name in its scores
    pub first: String,
    /// Another one
    pub second: String,
    /// Print the texts of the first N paths on which they differ
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub show: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `midcourse judge export`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Directory of the run
    pub run: PathBuf,
    /// Paths to write, as evenly as they go over set, k and verdict
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub n: usize,
    /// Decides which paths are drawn, and their order
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// The CSV file; what joins its rows to the run is written beside it as .key.json
    #[arg(long, value_name = "FILE.csv")]
    pub out: PathBuf,
}

/// Arguments of `midcourse judge calibrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct CalibrateArgs {
    #[command(flatten)]
    pub options: JudgeOptions,
    /// Labelled rows, JSONL or CSV: a filled-in export, or columns `prompt`, `completion`, `final_label` and, as
    /// wanted, `prefix`
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,
    /// The key that was written beside an export [default: the labels' name with .key.json]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Only the first N rows
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// The calibration file [default: calibration-JUDGE.json]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print how much the judge would be asked and what it would cost at most; nobody is asked
    #[arg(long)]
    pub dry_run: bool,
    /// Print the calibration file instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `midcourse probe`.
#[derive(Debug, clap::Args)]
pub(crate) struct ProbeArgs {
    /// The model
    #[arg(long, value_name = "M")]
    pub model: String,
    /// The user's text
    #[arg(long, value_name = "TEXT")]
    pub prompt: String,
    /// The response whose first tokens are forced
    #[arg(long, value_name = "TEXT")]
    pub response: String,
    /// Tokens of the response to force
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub k: usize,
    /// open-turn: a true prefill; new-turn: closes the turn and opens another
    #[arg(long, default_value = "open-turn", value_parser = crate::plan::names::<Mode>(&["open-turn", "new-turn"]))]
    pub mode: Mode,
    #[command(flatten)]
    pub framing: FramingOptions,
    #[command(flatten)]
    pub endpoint: EndpointOptions,
    /// Directory of a LoRA adapter, as PEFT saves it, to merge into the weights
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// How weights are kept in memory, as for eval [default: auto]
    #[arg(long, value_parser = crate::plan::names::<DtypeChoice>(crate::plan::DTYPES))]
    pub dtype: Option<DtypeChoice>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `midcourse serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// The model, as for eval
    #[arg(long, value_name = "M")]
    pub model: String,
    /// Address to listen on; others than this machine can reach 0.0.0.0
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Port to listen on; 0 takes any that is free, which is printed
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub port: u16,
    /// Most requests that wait; more are told to come back later
    #[arg(long, value_name = "N", default_value_t = 256, allow_negative_numbers = true)]
    pub max_queue: usize,
    #[command(flatten)]
    pub framing: FramingOptions,
    /// Directory of a LoRA adapter, as PEFT saves it, to merge into the weights
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// How weights are kept in memory, as for eval [default: auto]
    #[arg(long, value_parser = crate::plan::names::<DtypeChoice>(crate::plan::DTYPES))]
    pub dtype: Option<DtypeChoice>,
    /// Processor threads [default: all]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<usize>,
    /// Most paths growing at once [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub batch_paths: Option<usize>,
}

/// What to export.
#[derive(Debug, Subcommand)]
pub(crate) enum ExportCommand {
    /// Write preference pairs for a trainer
    Pairs(PairsArgs),
    /// Merge a LoRA adapter into its model and write the model, in the format of its files
    Merged(MergedArgs),
    /// Write a LoRA adapter as a GGUF file, for llama.cpp
    Adapter(AdapterArgs),
}

/// An adapter, its model, and where to write.
#[derive(Debug, clap::Args)]
pub(crate) struct BaseArgs {
    /// The model that the adapter was trained on: a name of `midcourse models`, hf:ORG/NAME[/FILE.gguf][@REVISION], a
    /// .gguf file or a directory with config.json
    #[arg(long, value_name = "M")]
    pub model: String,
    /// Directory of the LoRA adapter, as `midcourse train` or PEFT saves it
    #[arg(long, value_name = "DIR")]
    pub adapter: PathBuf,
    /// Where to write; nothing may be there
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Take a model whose files are not those that the adapter was trained on
    #[arg(long)]
    pub allow_other_base: bool,
    /// Print what was written as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `midcourse export merged`.
#[derive(Debug, clap::Args)]
#[command(after_help = MERGED)]
pub(crate) struct MergedArgs {
    #[command(flatten)]
    pub base: BaseArgs,
    /// Format of the merged model, which must be the base's [default: the base's]
    #[arg(long, value_parser = crate::plan::names::<ModelFormat>(&["safetensors", "gguf"]))]
    pub format: Option<ModelFormat>,
    /// How weights are written: stored, f32, f16 or bf16 [default: stored for safetensors, f32 for gguf]
    #[arg(long, value_parser = crate::plan::names::<Precision>(&["stored", "f32", "f16", "bf16"]))]
    pub dtype: Option<Precision>,
}

const MERGED: &str = "safetensors: a directory with weights, configuration, tokenizer and chat template, which \
    transformers and vLLM load; stored rounds adapted matrices to the type of the base. gguf: one file that ends with \
    .gguf, which says what its base said; f32 makes all of a quantised base f32, and stored leaves what is not adapted \
    quantised and writes adapted matrices as f32, since rounding them to blocks could undo what was learned. To have it \
    smaller, quantise the f32 file with llama-quantize.";

/// Arguments of `midcourse export adapter`.
#[derive(Debug, clap::Args)]
#[command(after_help = ADAPTER)]
pub(crate) struct AdapterArgs {
    #[command(flatten)]
    pub base: BaseArgs,
    /// Format of the adapter; as PEFT saves it, it is there already
    #[arg(long, default_value = "gguf", value_parser = crate::plan::names::<ModelFormat>(&["gguf"]))]
    pub format: ModelFormat,
    /// How its values are written
    #[arg(long, default_value = "f32", value_parser = crate::plan::names::<Precision>(&["f32", "f16"]))]
    pub dtype: Precision,
}

const ADAPTER: &str = "llama.cpp takes the file with --lora beside the model in any quantisation; Ollama by ADAPTER in a \
    Modelfile.";

/// Arguments of `midcourse export pairs`.
#[derive(Debug, clap::Args)]
#[command(after_help = PAIRS)]
pub(crate) struct PairsArgs {
    /// A directory that `midcourse synth` made, or a rankings.jsonl
    pub rankings: PathBuf,
    /// Whose words the pairs are written in
    #[arg(long, value_parser = crate::plan::names::<RowFormat>(&["trl", "llama-factory", "axolotl"]))]
    pub format: RowFormat,
    /// A file, named .jsonl or, for trl, .parquet; or a directory, which gets a file a split
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Pairs to write: train, test or all; one file holds those of both splits when they are all
    #[arg(long, value_name = "SPLIT", default_value = "all", value_parser = crate::plan::names::<SplitChoice>(&["train", "test", "all"]))]
    pub split: SplitChoice,
    /// Share of the prompts that are the test split; every prompt is in one split, with all its pairs [default: that of
    /// the synthesis, else 0.1]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub test_share: Option<TestShare>,
    /// Print counts as JSON
    #[arg(long)]
    pub json: bool,
}

const PAIRS: &str = "trl: TRL's conversational preferences; a directory becomes a data set for \
    datasets.load_dataset. llama-factory: ShareGPT rows, and an entry in the dataset_info.json beside them, whose other \
    entries stay; only prompts in which user and model take turns. axolotl: rows for chat_template.default; only answers \
    that no white space begins or ends, since templates trim it and axolotl then loses the answer. Pairs that a format \
    has no place for are left out and counted. Nothing that is there is written over.";

/// What to do with data.
#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Print format, rows, duplicates, categories and lengths of a data set
    Check {
        /// The file, or hf:datasets/ORG/NAME[@REVISION][:SPLIT]
        #[arg(value_name = "FILE")]
        source: DataSource,
        /// The model whose tokens are counted [default: smollm2 when it is there, else words only]
        #[arg(long, value_name = "M")]
        model: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch the rows of general benchmark tasks into the user's cache, once
    Pull {
        /// What to fetch
        #[arg(value_parser = ["general"])]
        what: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Divide rows into train.jsonl and eval.jsonl by a hash of what they ask
    #[command(after_help = SPLITTING)]
    Split(SplitArgs),
}

const SPLITTING: &str = "Rows with the same prompt go the same way, also where prompts differ in case, white space or \
    punctuation only, and so does a row when others are added: what is trained on is never evaluated on. Rows of \
    JSONL stay as they are, byte for byte; others are written as midcourse's own.";

/// Arguments of `midcourse data split`.
#[derive(Debug, clap::Args)]
pub(crate) struct SplitArgs {
    /// The file, or hf:datasets/ORG/NAME[@REVISION][:SPLIT]
    #[arg(value_name = "FILE")]
    pub source: DataSource,
    /// Directory for train.jsonl and eval.jsonl, which must not be there yet
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Share of the prompts that go to eval.jsonl, about
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, allow_negative_numbers = true)]
    pub eval_share: f64,
    /// Decides which prompts they are
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What to do with models.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Fetch a model into its cache and check it
    Pull {
        /// A name of `midcourse models`, or hf:ORG/NAME[/FILE.gguf][@REVISION]
        name: String,
    },
    /// Describe a model without loading its weights: sizes, memory, template, special tokens, prefill proof
    Show {
        /// A name of `midcourse models`, hf:ORG/NAME[/FILE.gguf][@REVISION], or the path of a model
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a model from its cache
    Rm {
        /// A name of `midcourse models`, or hf:ORG/NAME for everything that the cache has of the repository
        name: String,
    },
}
