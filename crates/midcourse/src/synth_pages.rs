//! The pages of a synthesis: from its records to `summary.json`, `report.html`, `report.md` and the table in the
//! terminal.
//!
//! Records are read one at a time: a run of 50,000 rankings fits into little memory.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use midcourse_core::data::sample_id;
use midcourse_core::eval::Set;
use midcourse_core::report::Colour;
use midcourse_core::report::synth::{self, SynthReport};
use midcourse_core::synth::{Ranking, SUMMARY_SCHEMA, Summary, Tally};
use serde::de::DeserializeOwned;

use crate::pages::read_json;
use crate::run_dir::Lines;
use crate::storage::write_whole;
use crate::synth::{DROPPED, RANKINGS};
use crate::terminal;

pub(crate) const SUMMARY: &str = "summary.json";

/// Rankings that the page's browser holds.
const MAX_EXAMPLES: usize = 30;

/// What the pages say of a run beside its figures.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// The model that wrote the answers.
    pub model: String,
    /// Settings and provenance, a name and a value each, in the order in which they are shown.
    pub details: Vec<(String, String)>,
    /// What cannot be promised, in sentences.
    pub caveats: Vec<String>,
}

/// Counts the records of a run that cut every response `n_cuts` times, and writes `summary.json`.
pub(crate) fn summarise(dir: &Path, n_cuts: usize, seed: u64) -> Result<Summary> {
    let mut tally = Tally::new(n_cuts);
    each_record(&dir.join(RANKINGS), |ranking| tally.add(&ranking))?;
    each_record(&dir.join(DROPPED), |dropped| tally.add_dropped(&dropped))?;
    let summary = tally.summary(seed);
    write_whole(&dir.join(SUMMARY), (serde_json::to_string_pretty(&summary)? + "\n").as_bytes())?;
    Ok(summary)
}

/// Writes `report.html` and `report.md` of a run that has its `summary.json`.
pub(crate) fn write(dir: &Path, facts: &Facts) -> Result<()> {
    let summary = read_summary(dir)?;
    let examples = examples(&dir.join(RANKINGS))?;
    let report = report(facts, &summary, &examples);
    write_whole(&dir.join("report.html"), synth::html(&report).as_bytes())?;
    Ok(write_whole(&dir.join("report.md"), synth::markdown(&report).as_bytes())?)
}

/// The table for the terminal.
pub(crate) fn terminal(dir: &Path, facts: &Facts) -> Result<String> {
    let colour = if terminal::wants_colour() { Colour::On } else { Colour::Off };
    Ok(synth::terminal(&report(facts, &read_summary(dir)?, &[]), terminal::width(), colour))
}

fn read_summary(dir: &Path) -> Result<Summary> {
    read_json(&dir.join(SUMMARY), SUMMARY_SCHEMA)
}

fn report<'a>(facts: &'a Facts, summary: &'a Summary, examples: &'a [Ranking]) -> SynthReport<'a> {
    let Facts { model, details, caveats } = facts;
    SynthReport { model, summary, details: details.clone(), caveats: caveats.clone(), examples }
}

/// Rankings of both sets, chosen by a hash of their samples and in the order of the run.
fn examples(path: &Path) -> Result<Vec<Ranking>> {
    let mut chosen: BTreeMap<Set, BTreeMap<(String, usize), Ranking>> = BTreeMap::new();
    each_record(path, |ranking: Ranking| {
        let of_set = chosen.entry(ranking.set).or_default();
        of_set.insert((sample_id(&[], &ranking.sample, ""), ranking.index), ranking);
        if of_set.len() > MAX_EXAMPLES {
            of_set.pop_last();
        }
    })?;
    let n_each = MAX_EXAMPLES / chosen.len().max(1);
    let mut examples: Vec<Ranking> =
        chosen.into_values().flat_map(|of_set| of_set.into_values().take(n_each)).collect();
    examples.sort_by_key(|ranking| ranking.index);
    Ok(examples)
}

/// Gives every record of a file to `take`; no file is no records.
fn each_record<T: DeserializeOwned>(path: &Path, mut take: impl FnMut(T)) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let mut lines = Lines::open(path)?;
    while lines.advance()? {
        take(lines.record()?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn ranking(index: usize) -> String {
        let set = if index.is_multiple_of(2) { "harmful" } else { "benign" };
        let answer = |rank: usize, kind: &str, text: &str| {
            json!({
                "rank": rank, "kind": kind, "text": text, "prefix_chars": 0, "forced": "", "origin": "row",
                "end": "row", "candidate": null, "seed": null, "verdict": null,
            })
        };
        let prompt = format!("How do I skip chore {index}?");
        let line = json!({
            "index": index, "set": set, "sample": format!("s{index}"), "category": "chores", "source": null,
            "prompt": [{"role": "user", "content": prompt}], "opener": "", "dropped": [],
            "cuts": [{"tokens": 3, "chars": 8}],
            "answers": [answer(0, "refusal", "No, do it."), answer(2, "response", "Hide <b>upstairs</b>, say.")],
        });
        line.to_string() + "\n"
    }

    fn run(n_rankings: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(RANKINGS), (0..n_rankings).map(ranking).collect::<String>()).unwrap();
        let dropped = json!({
            "index": 900, "set": "harmful", "sample": "d", "reason": "too_short", "detail": "", "dropped": [],
        });
        fs::write(dir.path().join(DROPPED), dropped.to_string() + "\n").unwrap();
        dir
    }

    fn facts() -> Facts {
        let details = vec![("judge".to_owned(), "rule".to_owned())];
        Facts { model: "smollm2".into(), details, caveats: Vec::new() }
    }

    #[test]
    fn records_become_a_summary_and_pages() {
        let dir = run(80);
        let summary = summarise(dir.path(), 1, 0).unwrap();
        assert_eq!(
            (summary.sets[0].n_prompts, summary.sets[0].n_pairs, summary.sets[1].n_pairs),
            (41, 40, 40)
        );
        write(dir.path(), &facts()).unwrap();
        let page = fs::read_to_string(dir.path().join("report.html")).unwrap();
        assert!(page.contains("Showing 30 of 80 rankings.") && !page.contains("<b>upstairs"));
        assert_eq!(page.matches(r#""set":"harmful""#).count(), 15);
        let pages = ["report.html", "report.md"].map(|name| fs::read(dir.path().join(name)).unwrap());
        write(dir.path(), &facts()).unwrap();
        assert_eq!(pages, ["report.html", "report.md"].map(|name| fs::read(dir.path().join(name)).unwrap()));
        let table = terminal(dir.path(), &facts()).unwrap();
        assert!(table.contains("80 of 243 possible pairs"), "{table}");
    }

    #[test]
    fn a_torn_line_is_no_record_and_a_damaged_one_is_named() {
        let dir = run(3);
        let whole = summarise(dir.path(), 1, 0).unwrap();
        let path = dir.path().join(RANKINGS);
        let lines = fs::read_to_string(&path).unwrap();
        fs::write(&path, lines.clone() + &ranking(3)[..40]).unwrap();
        assert_eq!(summarise(dir.path(), 1, 0).unwrap(), whole);
        fs::write(&path, lines + "{}\n" + &ranking(3)).unwrap();
        let error = summarise(dir.path(), 1, 0).unwrap_err().to_string();
        assert!(error.contains("rankings.jsonl:4: expected a record: missing field"), "{error}");
    }

    #[test]
    fn a_run_without_its_summary_has_no_pages() {
        let dir = run(1);
        let error = write(dir.path(), &facts()).unwrap_err().to_string();
        assert!(error.contains("summary.json"), "{error}");
        fs::write(dir.path().join(SUMMARY), r#"{"schema": "midcourse.synth-summary/9"}"#).unwrap();
        let error = write(dir.path(), &facts()).unwrap_err().to_string();
        assert!(
            error.contains("expected midcourse.synth-summary/1, found midcourse.synth-summary/9"),
            "{error}"
        );
        assert!(!dir.path().join("report.html").exists());
    }
}
