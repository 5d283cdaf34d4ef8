//! Which files of a repository make a split.
//!
//! As `datasets` finds them in the usual cases: the card names files by configuration and split; where it does not,
//! `data/SPLIT-00000-of-00001.*`, else the words for train, validation and test in paths, else every file is of the
//! split `train`. Only files of the most common kind are taken, so that a set that lies there twice is read once.
//! Differs from `datasets` where no configuration is the default: a split that only one of them has is taken.
//!
//! Source: the hub's documentation "Data files configuration", and `data_files.py` of `datasets` for the words.

use crate::failure::Failure;
use crate::input::{Card, Config};

use super::glob;
use super::name::{DataName, is_split};

/// The split that is meant when none is named.
const DEFAULT: &str = "train";
/// Kinds of files of rows.
const KINDS: [&str; 5] = ["parquet", "jsonl", "csv", "json", "ndjson"];
const COMPRESSED: [&str; 4] = [".gz", ".xz", ".zst", ".zstd"];
/// Files of JSON that hold no rows.
const NO_ROWS: [&str; 3] = ["config.json", "dataset_info.json", "dataset_infos.json"];
/// Splits, and the words that stand for them in paths.
const WORDS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];
/// Most splits that a message lists.
const MAX_LISTED: usize = 20;

/// A split: its configuration, its name, and its files in order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    config: String,
    is_default: bool,
    split: String,
    files: Vec<String>,
}

/// The files of the split that `name` means among those of the repository.
pub(super) fn choose(name: &DataName, card: &Card, files: &[String]) -> Result<Vec<String>, Failure> {
    let found = find(card, files);
    let wanted = name.split.as_deref().unwrap_or(DEFAULT);
    let (config, split) =
        wanted.split_once('/').map_or((None, wanted), |(config, split)| (Some(config), split));
    let mut meant: Vec<&Found> = found
        .iter()
        .filter(|found| found.split == split && config.is_none_or(|config| config == found.config))
        .collect();
    if let Some(default) = meant.iter().position(|found| found.is_default) {
        meant.swap(0, default);
        meant.truncate(1);
    }
    match meant[..] {
        [one] => Ok(one.files.clone()),
        [] if found.is_empty() => Err(Failure::Input {
            problem: format!("{name}: the repository holds no file of rows: {}", KINDS.join(", ")),
            hint: "it may hold audio, images, or a script that makes the rows; fetch those by yourself and give a path"
                .into(),
        }),
        [] => Err(Failure::Input {
            problem: format!("{name}: the data set has no split `{wanted}`, found {}", list(&found)),
            hint: format!("name one of them, for instance {}", with_split(name, &found[0])),
        }),
        [first, ..] => {
            let meant: Vec<Found> = meant.iter().copied().cloned().collect();
            Err(Failure::Usage {
                problem: format!("{name}: several configurations have a split `{split}`: {}", list(&meant)),
                hint: format!("name one of them, for instance {}", with_split(name, first)),
            })
        }
    }
}

fn list(found: &[Found]) -> String {
    let mut names: Vec<String> = found.iter().take(MAX_LISTED).map(Found::name).collect();
    if found.len() > MAX_LISTED {
        names.push(format!("and {} more", found.len() - MAX_LISTED));
    }
    names.join(", ")
}

fn with_split(name: &DataName, found: &Found) -> String {
    DataName { split: Some(found.name()), ..name.clone() }.to_string()
}

impl Found {
    /// As it is named after the colon.
    fn name(&self) -> String {
        if self.is_default { self.split.clone() } else { format!("{}/{}", self.config, self.split) }
    }
}

/// Every split of the repository.
fn find(card: &Card, files: &[String]) -> Vec<Found> {
    let files = of_one_kind(files);
    if card.configs.is_empty() {
        return found(&Config { name: "default".into(), is_default: true, ..Config::default() }, &files);
    }
    let has_default = card.configs.iter().any(|config| config.is_default);
    let is_default = |config: &Config| {
        config.is_default || !has_default && (card.configs.len() == 1 || config.name == "default")
    };
    let all = card.configs.iter().filter(|config| is_split(&config.name));
    all.flat_map(|config| found(&Config { is_default: is_default(config), ..config.clone() }, &files))
        .collect()
}

/// The splits of a configuration.
fn found(config: &Config, files: &[&String]) -> Vec<Found> {
    let below = config.dir.as_deref().map(|dir| format!("{}/", dir.trim_matches(['.', '/'])));
    let below = below.unwrap_or_default();
    let inside: Vec<&str> = files.iter().filter_map(|file| file.strip_prefix(&below)).collect();
    let splits = if config.splits.is_empty() {
        infer(&inside)
    } else {
        let meant = |patterns: &[String]| -> Vec<&str> {
            let is_meant = |file: &&str| patterns.iter().any(|pattern| glob::matches(pattern, file));
            inside.iter().copied().filter(is_meant).collect()
        };
        config.splits.iter().map(|(split, patterns)| (split.clone(), meant(patterns))).collect()
    };
    let sound = splits.into_iter().filter(|(split, files)| is_split(split) && !files.is_empty());
    sound
        .map(|(split, files)| Found {
            config: config.name.clone(),
            is_default: config.is_default,
            split,
            files: files.into_iter().map(|file| format!("{below}{file}")).collect(),
        })
        .collect()
}

/// Splits by names of files.
fn infer<'a>(files: &[&'a str]) -> Vec<(String, Vec<&'a str>)> {
    let mut sharded: Vec<(String, Vec<&str>)> = Vec::new();
    for (split, file) in files.iter().filter_map(|file| Some((shard_of(file)?, *file))) {
        match sharded.iter_mut().find(|(there, _)| there == split) {
            Some((_, files)) => files.push(file),
            None => sharded.push((split.to_owned(), vec![file])),
        }
    }
    if !sharded.is_empty() {
        return sharded;
    }
    let named = WORDS.map(|(split, words)| {
        let files = files.iter().copied().filter(|file| names(file, words));
        (split.to_owned(), files.collect::<Vec<_>>())
    });
    let named: Vec<_> = named.into_iter().filter(|(_, files)| !files.is_empty()).collect();
    if named.is_empty() { vec![(DEFAULT.to_owned(), files.to_vec())] } else { named }
}

/// The split of which `data/SPLIT-00000-of-00001*` is a part; some writers put a hash after the numbers.
fn shard_of(file: &str) -> Option<&str> {
    let (start, total) = file.strip_prefix("data/")?.rsplit_once("-of-")?;
    let (split, number) = start.rsplit_once('-')?;
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(number) && total.get(..5).is_some_and(is_number) && !split.contains('/')).then_some(split)
}

/// Whether one of the words stands in a path by itself.
fn names(file: &str, words: &[&str]) -> bool {
    let mut parts = file.split(|c: char| !c.is_ascii_alphabetic());
    parts.any(|part| words.contains(&part.to_ascii_lowercase().as_str()))
}

/// The files of rows that are of the most common kind, in order.
fn of_one_kind(files: &[String]) -> Vec<&String> {
    let is_hidden = |file: &str| file.split('/').any(|name| name.starts_with('.') || name.starts_with("__"));
    let mut rows: Vec<(&String, &str)> = files
        .iter()
        .filter(|file| !is_hidden(file) && !NO_ROWS.contains(&file.rsplit('/').next().unwrap_or_default()))
        .filter_map(|file| Some((file, kind(file)?)))
        .collect();
    rows.sort_unstable();
    rows.dedup();
    let count = |kind: &str| rows.iter().filter(|(_, there)| *there == kind).count();
    // Of kinds that are as common the first.
    let most = KINDS.into_iter().rev().max_by_key(|kind| count(kind));
    rows.iter().filter(|(_, kind)| Some(*kind) == most).map(|(file, _)| *file).collect()
}

/// What a file of rows is written in, by its ending.
fn kind(file: &str) -> Option<&'static str> {
    let name = file.to_ascii_lowercase();
    let name = COMPRESSED.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
    let ending = name.rsplit_once('.')?.1;
    KINDS.into_iter().find(|kind| *kind == ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(card: &str, split: &str, files: &[&str]) -> Result<String, String> {
        let name = DataName { repo: "org/name".into(), revision: None, split: Some(split.to_owned()) };
        let name = DataName { split: name.split.filter(|split| !split.is_empty()), ..name };
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        let chosen = choose(&name, &Card::parse(card), &files);
        chosen.map(|files| files.join(" ")).map_err(|error| error.to_string())
    }

    const SHARDS: [&str; 4] = [
        "data/train-00001-of-00002.parquet",
        "data/train-00000-of-00002.parquet",
        "data/test-00000-of-00001-abc.parquet",
        "README.md",
    ];

    #[test]
    fn without_a_card_paths_tell_the_splits() {
        let train = "data/train-00000-of-00002.parquet data/train-00001-of-00002.parquet";
        assert_eq!(chosen("", "", &SHARDS).unwrap(), train);
        for (files, split, expected) in [
            (&["train-a.parquet", "test-a.parquet"][..], "test", "test-a.parquet"),
            (&["train.jsonl.gz", "dev.jsonl.gz"], "validation", "dev.jsonl.gz"),
            (&["train.csv", "x/train_2.csv", "test.csv"], "", "train.csv x/train_2.csv"),
            (&["train/b.jsonl", "train/a.jsonl", "eval/c.jsonl"], "", "train/a.jsonl train/b.jsonl"),
            (&["harmful.csv"], "", "harmful.csv"),
            (&["b.jsonl", "a.jsonl", "config.json", ".x/c.jsonl"], "train", "a.jsonl b.jsonl"),
            (&["constraint.csv"], "", "constraint.csv"),
            // The same set twice, in two forms.
            (&["train.csv", "train.parquet"], "", "train.parquet"),
            (&["a/train.csv", "b/train.csv", "train.parquet"], "", "a/train.csv b/train.csv"),
        ] {
            assert_eq!(chosen("", split, files).as_deref(), Ok(expected), "{files:?}");
        }
    }

    #[test]
    fn a_split_that_is_not_there_is_refused_with_those_that_are() {
        assert_eq!(
            chosen("", "validation", &SHARDS).unwrap_err(),
            "hf:datasets/org/name:validation: the data set has no split `validation`, found test, train"
        );
        let none = chosen("", "", &["README.md", "a.py", "img/a.png"]).unwrap_err();
        assert!(none.contains("holds no file of rows: parquet, jsonl, csv"), "{none}");
        let many: Vec<String> = (0..50).map(|n| format!("data/s{n}-00000-of-00001.csv")).collect();
        let many = chosen("", "", &many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_err();
        assert!(many.ends_with("and 30 more"), "{many}");
    }

    #[test]
    fn the_card_tells_the_splits_of_every_configuration() {
        let card = "---\nconfigs:\n- config_name: first\n  data_files:\n  - split: train\n    path: data/a/*.jsonl\n\
            - config_name: second\n  data_files:\n  - split: train\n    path: [data/b.jsonl, data/c.jsonl]\n  \
            - split: only_here\n    path: data/d.jsonl\n---\n";
        let files = ["data/a/1.jsonl", "data/b.jsonl", "data/c.jsonl", "data/d.jsonl", "data/e.jsonl"];
        assert_eq!(chosen(card, "second/train", &files).unwrap(), "data/b.jsonl data/c.jsonl");
        assert_eq!(chosen(card, "only_here", &files).unwrap(), "data/d.jsonl");
        assert_eq!(
            chosen(card, "", &files).unwrap_err(),
            "hf:datasets/org/name: several configurations have a split `train`: first/train, second/train"
        );
        let default = card.replace("first\n", "first\n  default: true\n");
        assert_eq!(chosen(&default, "", &files).unwrap(), "data/a/1.jsonl");
        assert_eq!(chosen(&card.replace("first", "default"), "", &files).unwrap(), "data/a/1.jsonl");
        let found = chosen(&default, "nowhere", &files).unwrap_err();
        assert!(found.ends_with("found train, second/train, second/only_here"), "{found}");
        let dir = "---\nconfigs:\n- config_name: x\n  data_dir: data/a\n---\n";
        assert_eq!(chosen(dir, "", &files).unwrap(), "data/a/1.jsonl");
        let short = "---\nconfigs:\n- config_name: x\n  data_files: \"data/[bc].jsonl\"\n---\n";
        assert_eq!(chosen(short, "", &files).unwrap(), "data/b.jsonl data/c.jsonl");
    }

    #[test]
    fn a_card_names_only_files_that_are_listed() {
        let card =
            "---\nconfigs:\n- config_name: x\n  data_files:\n  - split: train\n    path: ../../etc/*\n---\n";
        assert!(chosen(card, "", &["a.csv"]).unwrap_err().contains("holds no file of rows"));
        let card = "---\nconfigs:\n- config_name: \"../x\"\n  data_files: a.csv\n---\n";
        assert!(chosen(card, "", &["a.csv"]).is_err());
    }
}
