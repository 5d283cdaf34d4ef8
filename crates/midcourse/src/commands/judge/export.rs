//! `midcourse judge export`: paths of a run for people to label.
//!
//! Rows are drawn from the strata of set, k and verdict, as many from each as go, so that what is rare is labelled, too.
//! Whoever labels sees prompt, prefix and completion, in an order that says nothing; what a row is, and how many paths
//! it stands for, is in the key beside the file. Without these weights a judge's sensitivity would be that of the
//! sample, which was drawn by its own verdicts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::data::guard;
use midcourse_core::eval::{JudgedPath, Judgement, Set};
use midcourse_core::judge::{Case, Verdict};
use midcourse_engine::files;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::FinishedRun;
use crate::args::ExportArgs;
use crate::failure::Failure;
use crate::input::hex;
use crate::storage::write_whole;
use crate::terminal::say;

const SCHEMA: &str = "midcourse.export/1";
/// Bytes of the longest key.
const MAX_KEY: u64 = 256 << 20;
/// How the names of exported rows begin.
const ID: &str = "mc-";

/// What joins the rows of an export to their run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Key {
    schema: String,
    run: String,
    /// The judge by whose verdicts the rows were drawn.
    judge: String,
    seed: u64,
    rows: Vec<KeyRow>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeyRow {
    id: String,
    set: Set,
    sample: String,
    k: usize,
    path: usize,
    verdict: Verdict,
    /// Paths of the run that the row stands for: those of its stratum, by those that were drawn from it.
    weight: f64,
}

/// Paths of one set, k and verdict.
type Stratum = (Set, usize, &'static str);

/// Runs the command.
pub(super) fn run(args: &ExportArgs) -> Result<u8> {
    if args.out.extension().is_none_or(|ending| ending != "csv") {
        return Err(Failure::Usage {
            problem: format!("--out: expected a name that ends with .csv, found {}", args.out.display()),
            hint: "for instance --out labels.csv".into(),
        }
        .into());
    }
    let run = FinishedRun::open(&args.run)?;
    let judgements = run.judgements(&run.scores.judge)?;
    let cases: BTreeMap<JudgedPath, Case> = run.recorded.cases().into_iter().collect();
    let mut rows = drawn(&judgements, args.n, args.seed);
    rows.sort_by_cached_key(|row| digest(args.seed, "order", &row.id));
    let mut csv = String::from("id,prompt,prefix,completion,final_label\r\n");
    for row in &rows {
        let path = JudgedPath { set: row.set, sample: row.sample.clone(), k: row.k, path: row.path };
        let Some(case) = cases.get(&path) else { continue };
        let cells = [row.id.as_str(), case.prompt, case.prefix, case.continuation, ""].map(cell);
        csv += &(cells.join(",") + "\r\n");
    }
    let key = Key {
        schema: SCHEMA.into(),
        run: args.run.display().to_string(),
        judge: run.scores.judge.clone(),
        seed: args.seed,
        rows,
    };
    let key_path = key_of(&args.out);
    write_whole(&key_path, (serde_json::to_string_pretty(&key)? + "\n").as_bytes())?;
    write_whole(&args.out, csv.as_bytes())?;
    say(&format!(
        "{} rows: {}; fill in final_label with yes (it corrects course) or no, and keep {} beside it",
        key.rows.len(),
        args.out.display(),
        key_path.display(),
    ));
    Ok(0)
}

/// At most `n` of the judgements, spread over their strata: one from each in turn while there are any.
fn drawn(judgements: &[Judgement], n: usize, seed: u64) -> Vec<KeyRow> {
    let mut strata: BTreeMap<Stratum, Vec<(String, &Judgement)>> = BTreeMap::new();
    for judgement in judgements {
        let Judgement { set, sample, k, path, verdict, .. } = judgement;
        let id = digest(seed, "row", &format!("{set:?} {k} {path} {sample}"));
        strata.entry((*set, *k, verdict.name())).or_default().push((id, judgement));
    }
    let mut taken: BTreeMap<Stratum, usize> = strata.keys().map(|stratum| (*stratum, 0)).collect();
    let mut left = n.min(judgements.len());
    while left > 0 {
        for (stratum, members) in &strata {
            let taken = taken.entry(*stratum).or_default();
            if left > 0 && *taken < members.len() {
                *taken += 1;
                left -= 1;
            }
        }
    }
    let mut rows = Vec::new();
    for (stratum, mut members) in strata {
        let n_taken = taken[&stratum];
        let weight = members.len() as f64 / n_taken.max(1) as f64;
        members.sort_by(|a, b| a.0.cmp(&b.0));
        rows.extend(members.into_iter().take(n_taken).map(|(id, j)| KeyRow {
            id: format!("{ID}{}", &id[..16]),
            set: j.set,
            sample: j.sample.clone(),
            k: j.k,
            path: j.path,
            verdict: j.verdict,
            weight,
        }));
    }
    rows
}

fn digest(seed: u64, what: &str, text: &str) -> String {
    hex(&Sha256::digest(format!("{seed} {what} {text}")))
}

/// A cell in quotes, no formula to any spreadsheet. A zero byte, which no text file holds, is shown as U+FFFD.
fn cell(text: &str) -> String {
    format!("\"{}\"", guard(&text.replace('\0', "\u{fffd}")).replace('"', "\"\""))
}

/// The path of the key beside an export.
pub(super) fn key_of(export: &Path) -> PathBuf {
    export.with_extension("key.json")
}

/// Whether a row's name is one that an export gave.
pub(super) fn is_exported(id: Option<&str>) -> bool {
    id.is_some_and(|id| id.starts_with(ID))
}

/// The weights of an export's rows by their names.
pub(super) fn weights(key: &Path) -> Result<BTreeMap<String, f64>> {
    let refuse = |problem: String| Failure::Input {
        problem: format!("{}: {problem}", key.display()),
        hint: "`midcourse judge export` writes the key beside the rows; name it with --key, or export again"
            .into(),
    };
    let text = files::read_to_string(key, MAX_KEY).map_err(|error| refuse(error.to_string()))?;
    let key: Key = serde_json::from_str(&text).map_err(|error| refuse(format!("expected a key: {error}")))?;
    if key.schema != SCHEMA {
        return Err(refuse(format!("field schema: expected {SCHEMA}, found {}", key.schema)).into());
    }
    if let Some(row) = key.rows.iter().find(|row| !(row.weight.is_finite() && row.weight > 0.0)) {
        return Err(refuse(format!(
            "row {}: field weight: expected more than 0, found {}",
            row.id, row.weight
        ))
        .into());
    }
    Ok(key.rows.into_iter().map(|row| (row.id, row.weight)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgements() -> Vec<Judgement> {
        let judgement = |path: usize| Judgement {
            set: Set::Harmful,
            sample: format!("s{}", path % 7),
            k: if path < 60 { 10 } else { 20 },
            path,
            judge: "rule".into(),
            verdict: if path.is_multiple_of(20) { Verdict::Corrected } else { Verdict::NotCorrected },
            turn_token: None,
            turn_byte: None,
            kind: None,
            phrase: None,
            p_corrected: None,
            answer: None,
        };
        (0..100).map(judgement).collect()
    }

    /// Strata of 3 and 57 paths at k = 10, of 2 and 38 at k = 20.
    #[test]
    fn what_is_rare_is_drawn_and_weights_give_back_the_run() {
        let rows = drawn(&judgements(), 20, 1);
        let n_rare = rows.iter().filter(|row| row.verdict == Verdict::Corrected).count();
        assert_eq!((rows.len(), n_rare), (20, 5));
        let sum: f64 = rows.iter().map(|row| row.weight).sum();
        assert!((sum - 100.0).abs() < 1e-9);
        let ids = |seed| {
            drawn(&judgements(), 20, seed).into_iter().map(|row| (row.id, row.path)).collect::<Vec<_>>()
        };
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
        assert_eq!(drawn(&judgements(), 1000, 1).len(), 100);
    }

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        assert_eq!(cell("=1+1"), "\"'=1+1\"");
        assert_eq!(cell("a \"b\",\nc"), "\"a \"\"b\"\",\nc\"");
        assert_eq!(cell("- no"), "\"'- no\"");
    }
}
