//! What is trained on: rankings or pairs, from a synthesis, a file, a data set or a hub.
//!
//! Which of the two a row is, its columns tell; all rows of the data must be of one kind. Nothing is tokenised here and
//! nothing dropped: a row that cannot be understood is an error with its line.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::data::{PairReader, PlainPair};
use midcourse_core::synth::Ranking;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::input::{Card, DataSource, Located, Place, each_object, hex};
use crate::pairs;
use crate::storage::at;
use crate::synth::RANKINGS;

/// Where a data set has its files.
const DATA: &str = "data";
/// Columns that are read of a table of pairs.
const COLUMNS: [&str; 5] = ["prompt", "chosen", "rejected", "sample_id", "set"];
const HINT: &str = "train on rankings of `midcourse synth`, or on pairs in TRL's format";

/// Preferences as they were read.
#[derive(Debug)]
pub(crate) enum Preferences {
    Rankings(Vec<Ranking>),
    Pairs(Vec<PlainPair>),
}

/// Preferences and where they come from.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub preferences: Preferences,
    pub identity: DataIdentity,
}

/// What a manifest says of the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataIdentity {
    /// As the user named it.
    pub name: String,
    /// The commit, of a hub's data set.
    pub commit: Option<String>,
    /// `rankings` or `pairs`.
    pub format: String,
    /// Of the decompressed files, one after the other.
    pub sha256: String,
    pub n_files: usize,
    pub n_rows: usize,
    /// The licences of the data set's card, by the hub's names for them.
    pub licenses: Vec<String>,
}

impl Preferences {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Rankings(rankings) => rankings.len(),
            Self::Pairs(pairs) => pairs.len(),
        }
    }

    /// What they are called.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Rankings(_) => "rankings",
            Self::Pairs(_) => "pairs",
        }
    }

    fn truncate(&mut self, n: usize) {
        match self {
            Self::Rankings(rankings) => rankings.truncate(n),
            Self::Pairs(pairs) => pairs.truncate(n),
        }
    }
}

/// Reads the data; a hub's at `commit`, where one is recorded. Only the first `limit` rows are kept.
pub(crate) fn read(source: &DataSource, commit: Option<&str>, limit: usize) -> Result<Inputs> {
    let located = locate(source, commit)?;
    let mut hash = Sha256::new();
    let mut reading = Reading::None;
    located.each_file(|file, bytes| {
        hash.update(&bytes);
        let is_wanted = |column: &str| COLUMNS.contains(&column);
        each_object(file, bytes, is_wanted, |place, row| reading.take(place, row))
    })?;
    let mut preferences = reading.finish(source)?;
    let identity = DataIdentity {
        name: source.to_string(),
        commit: located.commit,
        format: preferences.name().into(),
        sha256: hex(&hash.finalize()),
        n_files: located.files.len(),
        n_rows: preferences.len(),
        licenses: located.card.licenses,
    };
    preferences.truncate(limit);
    Ok(Inputs { preferences, identity })
}

/// Rows so far.
enum Reading {
    None,
    Rankings(Vec<Ranking>),
    Pairs(PairReader),
}

impl Reading {
    /// Adds a row to those of its kind.
    fn take(&mut self, place: Place<'_>, row: Map<String, Value>) -> Result<()> {
        let wrong = |problem: String| place.wrong(&problem, HINT);
        let has = |column: &str| row.contains_key(column);
        let (is_ranking, is_pair) = (has("answers"), has("chosen") && has("rejected"));
        if !(is_ranking || is_pair) {
            return Err(wrong(unknown(&row)).into());
        }
        if matches!(self, Self::None) {
            *self = if is_ranking { Self::Rankings(Vec::new()) } else { Self::Pairs(PairReader::default()) };
        }
        match self {
            Self::Rankings(rankings) if is_ranking => rankings.push(ranking(row).map_err(wrong)?),
            Self::Pairs(pairs) if !is_ranking => pairs.row(place.file, place.line, row)?,
            Self::Rankings(_) => return Err(wrong("expected rankings as before, found a pair".into()).into()),
            _ => return Err(wrong("expected pairs as before, found a ranking".into()).into()),
        }
        Ok(())
    }

    fn finish(self, source: &DataSource) -> Result<Preferences> {
        match self {
            Self::Rankings(rankings) => Ok(Preferences::Rankings(rankings)),
            Self::Pairs(pairs) => Ok(Preferences::Pairs(pairs.finish(&source.to_string())?)),
            Self::None => {
                let problem = format!("{source}: expected preferences, found no row");
                Err(Failure::Input { problem, hint: HINT.into() }.into())
            }
        }
    }
}

fn ranking(row: Map<String, Value>) -> Result<Ranking, String> {
    let ranking: Ranking =
        serde_json::from_value(row.into()).map_err(|error| format!("expected a ranking: {error}"))?;
    pairs::check(&ranking)?;
    Ok(ranking)
}

/// Says that a row is neither.
fn unknown(row: &Map<String, Value>) -> String {
    let columns: Vec<String> = row.keys().take(12).map(|name| format!("{name:?}")).collect();
    let columns = if columns.is_empty() { "none".into() } else { columns.join(", ") };
    format!(
        "expected a ranking (columns prompt, answers) or a pair (prompt, chosen, rejected), found the columns {columns}"
    )
}

/// The files of a source: of a directory its rankings, else the training files of its data set.
fn locate(source: &DataSource, commit: Option<&str>) -> Result<Located> {
    let DataSource::File(path) = source else { return source.locate(commit) };
    if !path.is_dir() {
        return source.locate(commit);
    }
    let card = Card::read(&path.join("README.md"));
    let rankings = path.join(RANKINGS);
    let files = if rankings.is_file() { vec![rankings] } else { files_of_data_set(path)? };
    let named = |path: PathBuf| (path.display().to_string(), path);
    Ok(Located { files: files.into_iter().map(named).collect(), commit: None, card })
}

/// The files of a data set's directory that are for training; those for tests are left alone.
fn files_of_data_set(dir: &Path) -> Result<Vec<PathBuf>> {
    let data = dir.join(DATA);
    let entries = if data.is_dir() { &data } else { dir };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(entries).map_err(at(entries))? {
        let path = entry.map_err(at(entries))?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if name.starts_with("train") && is_rows(name) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::Input {
            problem: format!(
                "{}: expected {RANKINGS}, or {DATA}/train-*.parquet or .jsonl, found neither there",
                dir.display()
            ),
            hint: HINT.into(),
        }
        .into());
    }
    Ok(files)
}

fn is_rows(name: &str) -> bool {
    let stem = [".gz", ".xz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    [".jsonl", ".parquet"].iter().any(|end| stem.ends_with(end))
}

impl DataIdentity {
    /// What was found, as people read it.
    pub(crate) fn summary(&self) -> String {
        format!("{}: {} rows ({})", self.name, self.n_rows, self.format)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANKING: &str = include_str!("../../../../testdata/rankings.jsonl");
    const PAIR: &str = r#"{"prompt":"Chores?","chosen":"No.","rejected":"Yes."}"#;

    fn of(files: &[(&str, &str)], name: &str) -> Result<Inputs> {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        read(&DataSource::File(dir.path().join(name)), None, usize::MAX)
    }

    #[test]
    fn columns_tell_what_a_file_holds() {
        let found = of(&[("r.jsonl", RANKING)], "r.jsonl").unwrap();
        assert!(matches!(&found.preferences, Preferences::Rankings(all) if all.len() == 12));
        let found = of(&[("p.jsonl", PAIR)], "p.jsonl").unwrap();
        assert!(matches!(&found.preferences, Preferences::Pairs(all) if all.len() == 1));
    }

    #[test]
    fn of_a_directory_the_rankings_are_taken_and_else_what_is_for_training() {
        let card = "---\nlicense: cc-by-nc-4.0\n---\n";
        let files = [("rankings.jsonl", RANKING), ("data/train.jsonl", PAIR), ("README.md", card)];
        let found = of(&files, "").unwrap();
        assert_eq!(
            (found.preferences.name(), found.identity.licenses),
            ("rankings", vec!["cc-by-nc-4.0".into()])
        );
        let files = [("data/train-0.jsonl", PAIR), ("data/test-0.jsonl", "{}"), ("data/train-1.jsonl", PAIR)];
        let found = of(&files, "").unwrap();
        assert_eq!(
            (found.preferences.name(), found.identity.n_rows, found.identity.n_files),
            ("pairs", 2, 2)
        );
    }

    #[test]
    fn other_rows_are_refused_with_their_line() {
        let first = RANKING.lines().next().unwrap();
        let mixed = format!("{PAIR}\n{first}\n");
        for (text, expected) in [
            (mixed.as_str(), ":2: expected pairs as before, found a ranking"),
            (
                "{\"prompt\":\"a\"}",
                ":1: expected a ranking (columns prompt, answers) or a pair (prompt, chosen, rejected)",
            ),
            ("\n", ": expected preferences, found no row"),
            ("{\"answers\":1}", ":1: expected a ranking: "),
        ] {
            let error = of(&[("f.jsonl", text)], "f.jsonl").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = of(&[("x/f.txt", "")], "x").unwrap_err().to_string();
        assert!(error.contains("found neither there"), "{error}");
    }
}
