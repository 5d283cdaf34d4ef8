//! `midcourse export pairs`: preference pairs for trainers.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::args::PairsArgs;
use crate::failure::Failure;
use crate::pairs::{
    self, DatasetInfo, Lines, PairCounts, ParquetFile, Place, RowFormat, Sink, Split, TestShare,
};
use crate::signals::Signals;
use crate::storage::{StorageError, at};
use crate::synth::{self, Made, PARTS, RANKINGS};
use crate::terminal::{print, say};

/// Runs the command.
pub(crate) fn run(args: &PairsArgs) -> Result<u8> {
    let signals = Signals::listen().context("listening for signals")?;
    let rankings = rankings_of(&args.rankings)?;
    let target = Target::of(args)?;
    let splits = (args.split, test_share(args)?);
    let stopping = (&signals, "no file was made; run the command again");
    let counts = match &target {
        Target::Dataset(dir) => pairs::write_dataset(&rankings, dir, splits, stopping)?,
        Target::Parquet(path) => {
            pairs::export(&rankings, Box::new(ParquetFile::create(path)?), splits, stopping)?
        }
        Target::Lines(place) => pairs::export(&rankings, lines(place, args.format)?, splits, stopping)?,
    };
    say_what_is_missing(&rankings, &counts);
    if args.json {
        print(&serde_json::to_string_pretty(&counts)?);
    } else {
        print(&table(&counts));
        say(&target.next(args, &counts)?);
    }
    Ok(0)
}

/// The share that was asked for, else that of the synthesis that made the rankings.
fn test_share(args: &PairsArgs) -> Result<TestShare> {
    let beside = args.rankings.parent().unwrap_or(Path::new(""));
    let dir = if args.rankings.is_dir() { args.rankings.as_path() } else { beside };
    match args.test_share {
        Some(share) => Ok(share),
        None if synth::is_there(dir) => Ok(Made::read(dir)?.test_share()),
        None => Ok(TestShare::default()),
    }
}

fn rankings_of(path: &Path) -> Result<PathBuf, Failure> {
    let file = path.join(RANKINGS);
    match (path.is_dir(), file.exists()) {
        (false, _) => Ok(path.to_owned()),
        (true, true) => Ok(file),
        (true, false) => {
            let is_under_way = path.join(PARTS).is_dir();
            let hint = if is_under_way { "finish it with --resume" } else { "it makes one" };
            Err(Failure::Input {
                problem: format!("{}: expected rankings, found no {RANKINGS} there", path.display()),
                hint: format!("`midcourse synth --out DIR`: {hint}"),
            })
        }
    }
}

/// What is written.
enum Target {
    Lines(Place),
    Parquet(PathBuf),
    Dataset(PathBuf),
}

impl Target {
    /// What `--out` names, by its ending; nothing of it may be there.
    fn of(args: &PairsArgs) -> Result<Self> {
        let (out, is_trl) = (&args.out, args.format == RowFormat::Trl);
        let ending = out.extension().map(|ending| ending.to_string_lossy().into_owned());
        let is_dir = out.is_dir() || out.as_os_str().to_string_lossy().ends_with('/');
        let target = match ending.as_deref() {
            _ if is_dir && is_trl => Self::Dataset(out.clone()),
            None if is_trl => Self::Dataset(out.clone()),
            _ if is_dir => Self::Lines(Place::Directory(out.clone())),
            None => Self::Lines(Place::Directory(out.clone())),
            Some("parquet") if is_trl => Self::Parquet(out.clone()),
            Some("jsonl") => Self::Lines(Place::File(out.clone())),
            Some(_) => return Err(unknown_ending(args).into()),
        };
        match target.paths().into_iter().find(|path| path.exists()) {
            Some(path) => Err(StorageError::Occupied { path }.into()),
            None => Ok(target),
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        match self {
            Self::Lines(place) => Split::ALL.map(|split| place.file(split)).to_vec(),
            Self::Parquet(path) => vec![path.clone()],
            Self::Dataset(dir) => vec![dir.join("data")],
        }
    }

    /// How the trainer is told of the files.
    fn next(&self, args: &PairsArgs, counts: &PairCounts) -> Result<String> {
        let splits = || counts.splits.keys().copied();
        Ok(match self {
            Self::Dataset(dir) => {
                format!("read it with datasets.load_dataset({:?})", dir.display().to_string())
            }
            Self::Parquet(path) => reading("parquet", path),
            Self::Lines(Place::File(path)) if args.format == RowFormat::Trl => reading("json", path),
            Self::Lines(place) if args.format == RowFormat::LlamaFactory => {
                let names = DatasetInfo::entry_names(place, splits())?;
                let (dataset, eval) = (names[0].as_str(), names.get(1).filter(|name| **name != names[0]));
                let eval = eval.map(|name| format!(", eval_dataset: {name}")).unwrap_or_default();
                format!("in the settings of LLaMA-Factory: stage: dpo, dataset: {dataset}{eval}")
            }
            Self::Lines(place) => {
                let mut files: Vec<PathBuf> = splits().map(|split| place.file(split)).collect();
                files.dedup();
                let entry = |path: &PathBuf| {
                    let path = serde_json::Value::from(path.display().to_string());
                    format!("[{{path: {path}, ds_type: json, split: train, type: chat_template.default}}]")
                };
                let named = ["datasets", "test_datasets"].into_iter().zip(&files);
                let named = named.map(|(name, file)| format!(", {name}: {}", entry(file)));
                format!("in the settings of axolotl: rl: dpo{}", named.collect::<String>())
            }
        })
    }
}

fn lines(place: &Place, format: RowFormat) -> Result<Box<dyn Sink>> {
    if let Place::Directory(dir) = place {
        std::fs::create_dir_all(dir).map_err(at(dir))?;
    }
    Ok(match format {
        RowFormat::LlamaFactory => Box::new(DatasetInfo::create(place.clone())?),
        RowFormat::Trl | RowFormat::Axolotl => Box::new(Lines::new(format, place.clone())),
    })
}

fn reading(builder: &str, path: &Path) -> String {
    format!("read it with datasets.load_dataset({builder:?}, data_files={:?})", path.display().to_string())
}

fn unknown_ending(args: &PairsArgs) -> Failure {
    let endings = if args.format == RowFormat::Trl { ".jsonl or .parquet" } else { ".jsonl" };
    Failure::Usage {
        problem: format!(
            "--out: expected a name that ends with {endings}, or a directory, found {}",
            args.out.display()
        ),
        hint: "for instance --out pairs.jsonl; a name without an ending is a directory".into(),
    }
}

fn say_what_is_missing(rankings: &Path, counts: &PairCounts) {
    if let Some(line) = counts.torn_line {
        say(&format!("{}:{line}: the last line is unfinished and was left out", rankings.display()));
    }
    if counts.n_left_out > 0 {
        say(&format!(
            "{} pairs were left out: the format has no place for them (see --help)",
            counts.n_left_out
        ));
    }
}

/// A row a split and set, and one for all.
fn table(counts: &PairCounts) -> String {
    let row = |name: &str, set: &str, n_rankings: usize, n_pairs: usize| {
        format!("{name:<7}{set:<9}{n_rankings:>9}{n_pairs:>9}\n")
    };
    let mut text = format!("{:<7}{:<9}{:>9}{:>9}\n", "split", "set", "rankings", "pairs");
    for (split, sets) in &counts.splits {
        for (set, of_set) in sets {
            text += &row(split.name(), pairs::set_name(*set), of_set.n_rankings, of_set.n_pairs);
        }
    }
    text + &row("all", "", counts.n_rankings, counts.n_pairs)
}
