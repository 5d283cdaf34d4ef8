//! A whole synthesis: every file is there, and they say the same.

use std::collections::BTreeMap;
use std::fs::File;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Value, json};

use super::{
    ANSWER, N_BENIGN, N_HARMFUL, RECORDS, UNANSWERED, answer, dropped, fixture, json_of, made, names_in,
    records, response, run, text,
};
use crate::fixtures::{self, Fixture, Output};
use crate::serve::server::tiny_llama;

const FILES: [&str; 12] = [
    ".lock",
    "README.md",
    "candidates.jsonl",
    "data",
    "dropped.jsonl",
    "judgements.jsonl",
    "manifest.json",
    "rankings.jsonl",
    "report.html",
    "report.md",
    "run.toml",
    "summary.json",
];
const TINY: [&str; 8] =
    ["--candidates", "4", "--max-new-tokens", "48", "--temperature", "1.5", "--top-p", "1"];

/// A pair: sample, set, ranks of chosen and rejected, prompt, answers and their prefixes.
type Pair = (String, String, [u64; 2], Value, [String; 2], [u64; 2]);

/// The pairs that rankings make, by hand.
fn pairs_of_rankings(fixture: &Fixture, out: &str) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for ranking in records(fixture, &format!("{out}/rankings.jsonl")) {
        let answers = ranking["answers"].as_array().unwrap();
        for (i, chosen) in answers.iter().enumerate() {
            for rejected in &answers[i + 1..] {
                let both = [chosen, rejected];
                let number = |field: &str| both.map(|answer| answer[field].as_u64().unwrap());
                pairs.push((
                    text(&ranking["sample"]).to_owned(),
                    text(&ranking["set"]).to_owned(),
                    number("rank"),
                    ranking["prompt"].clone(),
                    both.map(|answer| text(&answer["text"]).to_owned()),
                    number("prefix_chars"),
                ));
            }
        }
    }
    pairs.sort_by_key(|pair| (pair.0.clone(), pair.2));
    pairs
}

/// The pairs of the Parquet files, and how many each split has.
fn pairs_of_parquet(fixture: &Fixture, out: &str) -> (Vec<Pair>, BTreeMap<String, usize>) {
    let (mut pairs, mut counts) = (Vec::new(), BTreeMap::new());
    for name in names_in(&fixture.path(out).join("data")) {
        let file = File::open(fixture.path(out).join("data").join(&name)).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let read: Vec<Pair> = reader.get_row_iter(None).unwrap().map(|row| pair(&row.unwrap())).collect();
        *counts.entry(name.split('-').next().unwrap().to_owned()).or_default() += read.len();
        pairs.extend(read);
    }
    pairs.sort_by_key(|pair| (pair.0.clone(), pair.2));
    (pairs, counts)
}

fn pair(row: &Row) -> Pair {
    let fields: BTreeMap<&str, Value> =
        row.get_column_iter().map(|(name, field)| (name.as_str(), value(field))).collect();
    let both = ["chosen", "rejected"];
    let number = |field: &str| both.map(|side| fields[&*format!("{side}_{field}")].as_u64().unwrap());
    let said = |side: &str| {
        assert_eq!(fields[side][0]["role"], "assistant");
        text(&fields[side][0]["content"]).to_owned()
    };
    let (sample, set) = (text(&fields["sample_id"]).to_owned(), text(&fields["set"]).to_owned());
    (sample, set, number("rank"), fields["prompt"].clone(), both.map(said), number("prefix_chars"))
}

fn value(field: &Field) -> Value {
    match field {
        Field::Str(text) => json!(text),
        Field::Long(number) => json!(number),
        Field::Group(row) => {
            row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
        }
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        other => panic!("{other:?}"),
    }
}

/// The tokens that were paid for are those that are recorded.
fn assert_tokens_agree(manifest: &Value, candidates: &[Value]) {
    let n_sampled: usize = candidates.iter().map(|grown| grown["token_ids"].as_array().unwrap().len()).sum();
    let finished = |how: &str| candidates.iter().filter(|grown| grown["finish"] == how).count();
    // An end of turn is sampled too; a path whose text was cut at a control token may have had one.
    let least = n_sampled + finished("end_of_turn");
    let counted = manifest["sessions"][0]["n_tokens_sampled"].as_u64().unwrap() as usize;
    assert!((least..=least + finished("stopped")).contains(&counted), "{counted}, at least {least}");
}

/// Every number that stands in several files, held against the records.
fn assert_counts_agree(fixture: &Fixture, out: &str, shown: &Output) {
    let [rankings, dropped, candidates, judgements] =
        RECORDS.map(|name| records(fixture, &format!("{out}/{name}")));
    assert_eq!(names_in(&fixture.path(out)), FILES);
    let summary = json_of(fixture, &format!("{out}/summary.json"));
    assert_eq!(serde_json::from_str::<Value>(&shown.stdout).unwrap(), summary);
    let expected = pairs_of_rankings(fixture, out);
    let (pairs, splits) = pairs_of_parquet(fixture, out);
    assert_eq!(pairs, expected);
    assert!(pairs.iter().all(|pair| pair.2[0] < pair.2[1]));
    let mut n_prompts = 0;
    for set in summary["sets"].as_array().unwrap() {
        let of = |records: &[Value]| records.iter().filter(|record| record["set"] == set["set"]).count();
        let n_pairs = pairs.iter().filter(|pair| json!(pair.1) == set["set"]).count();
        assert_eq!(set["n_rankings"], of(&rankings));
        assert_eq!(set["n_prompts"], of(&rankings) + of(&dropped));
        assert_eq!(set["n_pairs"], n_pairs);
        let n_dropped: u64 = set["dropped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(n_dropped, of(&dropped) as u64);
        n_prompts += of(&rankings) + of(&dropped);
    }
    let manifest = json_of(fixture, &format!("{out}/manifest.json"));
    assert_eq!(manifest["n_samples"], n_prompts);
    assert_tokens_agree(&manifest, &candidates);
    let mut asked: Vec<String> =
        judgements.iter().map(|j| format!("{} {}", j["index"], j["asked"])).collect();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), judgements.len(), "a text was judged twice");
    let card = fixture.read(&format!("{out}/README.md"));
    let title = format!("{} preference pairs from {} rankings", pairs.len(), rankings.len());
    assert!(card.contains(&title), "{title}: {card}");
    for split in splits.keys() {
        let lines = card.lines().filter(|line| line.starts_with(&format!("| {split} | ")));
        let n = lines
            .map(|line| line.split(" | ").nth(3).unwrap().trim_end_matches(" |").parse::<usize>().unwrap());
        assert_eq!(n.sum::<usize>(), splits[split], "{split}: {card}");
    }
    let dir = fixture.path(out).display().to_string();
    let at = fixture.path(&format!("{out}.jsonl")).display().to_string();
    let exported =
        fixtures::run(&["export", "pairs", &dir, "--format", "trl", "--out", &at, "--json"]).done();
    let exported: Value = serde_json::from_str(&exported.stdout).unwrap();
    assert_eq!(
        (&exported["n_pairs"], &exported["n_rankings"]),
        (&json!(pairs.len()), &json!(rankings.len()))
    );
    let page = fixture.read(&format!("{out}/report.html"));
    for said in
        [format!("<p class=\"value\">{}</p>", pairs.len()), format!("of the {} possible", 15 * n_prompts)]
    {
        assert!(page.contains(&said), "{said}");
    }
    for set in summary["sets"].as_array().unwrap() {
        let counts =
            ["n_prompts", "n_left_out", "n_rankings", "n_pairs", "n_pairs_possible"].map(|n| &set[n]);
        let row = counts.map(|n| format!(" {n} |")).concat();
        assert!(fixture.read(&format!("{out}/report.md")).contains(&row), "{row}");
    }
}

#[test]
fn every_file_is_there_and_their_counts_agree() {
    let fixture = fixture();
    let shown = run(&fixture, "all", &["--json"]);
    assert_counts_agree(&fixture, "all", &shown);
    assert_eq!(records(&fixture, "all/rankings.jsonl").len(), N_HARMFUL + N_BENIGN);
    assert_eq!(pairs_of_parquet(&fixture, "all").0.len(), 15 * (N_HARMFUL + N_BENIGN));
    let tiny = tiny_llama().display().to_string();
    let shown = run(&fixture, "tiny", &[&["--model", &tiny, "--json"], &TINY[..]].concat());
    assert_counts_agree(&fixture, "tiny", &shown);
    let n_lost = dropped(&fixture, "tiny").len();
    assert!(n_lost > 0 && n_lost < N_HARMFUL, "a model of noise loses some prompts: {n_lost}");
}

#[test]
fn rankings_are_in_order_and_share_the_response_up_to_their_cuts() {
    let fixture = fixture();
    run(&fixture, "all", &[]);
    let mut best_first =
        ["refusal", "correction_1", "correction_2", "correction_3", "correction_4", "response"];
    for (i, ranking) in records(&fixture, "all/rankings.jsonl").iter().enumerate() {
        assert_eq!(ranking["index"], i);
        if i == N_HARMFUL {
            best_first.reverse();
        }
        let answers = ranking["answers"].as_array().unwrap();
        assert!(answers.iter().map(|answer| &answer["kind"]).eq(&best_first));
        assert!(answers.iter().enumerate().all(|(rank, answer)| answer["rank"] == rank));
        let whole = text(&answer(ranking, "response").unwrap()["text"]);
        if i < N_HARMFUL {
            assert_eq!(whole, response(i));
        }
        let cuts: Vec<usize> = ranking["cuts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|cut| cut["chars"].as_u64().unwrap() as usize)
            .collect();
        assert!(cuts.is_sorted_by(|a, b| a < b) && cuts.len() == 4 && 5 * cuts[3] <= 4 * whole.len());
        for (number, &cut) in (1..).zip(&cuts) {
            let correction = answer(ranking, &format!("correction_{number}")).unwrap();
            let said = text(&correction["text"]);
            assert_eq!((&correction["prefix_chars"], &said[..cut]), (&json!(cut), &whole[..cut]));
            assert!(said[cut..].trim_start().starts_with(text(&correction["forced"])), "{said}");
            // Harmful corrections are judged, false ones only need their trigger.
            assert_eq!(correction["verdict"].is_null(), i >= N_HARMFUL);
        }
    }
}

#[test]
fn a_harmless_prompt_without_a_response_is_answered_by_the_model() {
    let fixture = fixture();
    run(&fixture, "all", &[]);
    let rankings = records(&fixture, "all/rankings.jsonl");
    let origin = |ranking: &Value| text(&answer(ranking, "response").unwrap()["origin"]).to_owned();
    assert_eq!(origin(&rankings[N_HARMFUL]), "row");
    let answered = &rankings[N_HARMFUL + 1];
    assert_eq!(
        (answered["prompt"][0]["content"].as_str(), origin(answered).as_str()),
        (Some(UNANSWERED), "model")
    );
    assert_eq!(answered["answers"][0]["text"], ANSWER);
    assert_eq!(answered["answers"][0]["verdict"]["verdict"], "not_corrected");
    // It has answered, so it has not refused: the refusal is an opened one.
    assert_eq!(answer(answered, "refusal").unwrap()["origin"], "opened");
}

#[test]
fn a_helpful_response_that_turns_makes_no_contrast_ranking() {
    let fixture = fixture();
    let turns = format!("{} But I can't help you cheat, so I stop here.", response(0));
    fixture.write("benign.jsonl", super::jsonl([json!({"prompt": "May I look?", "response": turns})]));
    run(&fixture, "turned", &[]);
    assert_eq!(dropped(&fixture, "turned"), [(N_HARMFUL, "not_helpful".to_owned())]);
}

#[test]
fn without_harmless_prompts_the_command_says_what_that_costs() {
    let fixture = fixture();
    let at = |name: &str| fixture.path(name).display().to_string();
    let model = format!("scripted:{}", at("script.jsonl"));
    let alone = ["synth", "--model", &model, "--data", &at("data.jsonl"), "--out", &at("alone")];
    let said = "without --benign there are no contrast rankings";
    assert!(fixtures::run(&alone).done().stderr.contains(said));
    assert!(fixture.read("alone/report.md").contains(said));
    assert!(!run(&fixture, "both", &[]).stderr.contains(said));
    assert_eq!(
        records(&fixture, "alone/rankings.jsonl"),
        records(&fixture, "both/rankings.jsonl")[..N_HARMFUL]
    );
}

#[test]
fn a_dry_run_touches_nothing_and_foretells_at_most() {
    let fixture = fixture();
    let before = names_in(&fixture.path(""));
    let shown = run(&fixture, "dry", &["--dry-run"]).stdout;
    let foretold: Value =
        serde_json::from_str(&run(&fixture, "dry", &["--dry-run", "--json"]).stdout).unwrap();
    assert_eq!(names_in(&fixture.path("")), before);
    run(&fixture, "all", &[]);
    assert_eq!((&foretold["n_prompts"], &foretold["n_dropped"]), (&json!(N_HARMFUL + N_BENIGN), &json!({})));
    assert_eq!(foretold["n_pairs_at_most"], pairs_of_parquet(&fixture, "all").0.len());
    let n_paths = records(&fixture, "all/candidates.jsonl").len();
    let at_most = foretold["n_paths_at_most"].as_u64().unwrap() as usize;
    assert!(at_most >= n_paths && at_most == 6 * (N_HARMFUL + N_BENIGN), "{at_most} of {n_paths}");
    for line in ["prompts         10", "pairs           at most 150", "paths           at most 60"] {
        assert!(shown.contains(line), "{line:?} in {shown}");
    }
    // A directory that is there is left as it is.
    let there = made(&fixture, "all");
    run(&fixture, "all", &["--resume", "--dry-run"]);
    assert_eq!(made(&fixture, "all"), there);
}
