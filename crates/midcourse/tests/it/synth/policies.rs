//! What options decide: where refusals come from, what is lost, which candidate is kept.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    N_BENIGN, N_HARMFUL, SAFE, TURNS, answer, dropped, fixture, json_of, jsonl, records, run, says, synth,
    text,
};
use crate::fixtures::{self, Fixture};

const REFUSAL_OPENERS: &str = include_str!("../../../../midcourse-core/src/synth/refusals.txt");
const CARRIES_ON: &str = " then hide two more cards, and smile at your neighbour.";

/// Where the refusals of a set come from; `lost` where there is none.
fn refusals(fixture: &Fixture, out: &str, set: &str) -> Vec<String> {
    let rankings = records(fixture, &format!("{out}/rankings.jsonl"));
    let of_set = rankings.iter().filter(|ranking| ranking["set"] == set);
    let origin = |ranking: &Value| match answer(ranking, "refusal") {
        Some(refusal) => text(&refusal["origin"]).to_owned(),
        None => format!("lost: {}", text(&ranking["dropped"][0]["reason"])),
    };
    of_set.map(origin).collect()
}

#[test]
fn a_refusal_comes_from_where_the_policy_says() {
    for (policy, even, odd, harmless) in [
        ("auto", "row", "model", ["model", "opened"]),
        ("column", "row", "lost: not_in_row", ["opened", "opened"]),
        ("model", "model", "model", ["model", "lost: duplicate"]),
        ("opened", "opened", "opened", ["opened", "opened"]),
    ] {
        let fixture = fixture();
        run(&fixture, policy, &["--safe-response", policy]);
        let found = refusals(&fixture, policy, "harmful");
        let expected = (0..N_HARMFUL).map(|i| if i.is_multiple_of(2) { even } else { odd });
        assert!(found.iter().eq(expected), "{policy}: {found:?}");
        let found = refusals(&fixture, policy, "benign");
        // The model answers the second prompt: what refuses there is opened, or the same answer again.
        assert!(found[0] == harmless[0], "{policy}: {found:?}");
        assert!(policy == "model" || found[1] == harmless[1], "{policy}: {found:?}");
        let origins = &json_of(&fixture, &format!("{policy}/summary.json"))["sets"][0]["kinds"][0]["origins"];
        let mut counted: BTreeMap<String, usize> = BTreeMap::new();
        for origin in refusals(&fixture, policy, "harmful").into_iter().filter(|o| !o.starts_with("lost")) {
            *counted.entry(origin).or_default() += 1;
        }
        assert_eq!(*origins, json!(counted));
    }
}

#[test]
fn a_model_that_does_not_refuse_is_given_an_opener() {
    let fixture = fixture();
    let open = "unfairly?<|end|>\n<|start|>assistant\n";
    let opened = |opener: &&str| says(&format!("{open}{opener}"), &TURNS);
    let openers = REFUSAL_OPENERS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let openers: Vec<&str> = openers.collect();
    let first = says(&format!("{open}Well, friend"), &TURNS);
    let rest = [first, says(open, &[CARRIES_ON]), says("", &TURNS)];
    fixture.write("script.jsonl", jsonl(openers.iter().map(opened).chain(rest)));
    run(&fixture, "auto", &[]);
    for (i, ranking) in records(&fixture, "auto/rankings.jsonl").iter().take(N_HARMFUL).enumerate() {
        let refusal = answer(ranking, "refusal").unwrap();
        if i.is_multiple_of(2) {
            assert_eq!((&refusal["text"], &refusal["forced"]), (&json!(SAFE), &json!("")));
        } else {
            let forced = text(&refusal["forced"]);
            assert!(openers.contains(&forced) && text(&refusal["text"]).starts_with(forced), "{refusal}");
        }
    }
    run(&fixture, "model", &["--safe-response", "model"]);
    assert!(refusals(&fixture, "model", "harmful").iter().all(|origin| origin == "lost: does_not_turn"));
}

#[test]
fn a_safe_response_that_does_not_refuse_is_not_taken() {
    let fixture = fixture();
    let rows = (0..4).map(|i| {
        let safe = if i == 0 { SAFE } else { "Easy: hide a card, and smile." };
        json!({"prompt": super::prompt(i), "response": super::response(i), "safe_response": safe})
    });
    fixture.write("data.jsonl", jsonl(rows));
    run(&fixture, "auto", &[]);
    assert_eq!(refusals(&fixture, "auto", "harmful"), ["row", "model", "model", "model"]);
    run(&fixture, "column", &["--safe-response", "column"]);
    let lost = "lost: does_not_turn";
    assert_eq!(refusals(&fixture, "column", "harmful"), ["row", lost, lost, lost]);
}

#[test]
fn a_ranking_that_lost_a_rank_is_dropped_when_all_are_required() {
    let fixture = fixture();
    let column = ["--safe-response", "column"];
    run(&fixture, "any", &column);
    run(&fixture, "all", &[&column[..], &["--require-all"]].concat());
    let whole: Vec<Value> = records(&fixture, "any/rankings.jsonl")
        .into_iter()
        .filter(|ranking| ranking["answers"].as_array().unwrap().len() == 6)
        .collect();
    assert_eq!(whole.len(), N_HARMFUL / 2 + N_BENIGN);
    assert_eq!(records(&fixture, "all/rankings.jsonl"), whole);
    let odd = (0..N_HARMFUL).filter(|i| !i.is_multiple_of(2));
    assert_eq!(dropped(&fixture, "all"), odd.map(|i| (i, "too_few_answers".to_owned())).collect::<Vec<_>>());
    let dropped = &records(&fixture, "all/dropped.jsonl")[0];
    assert_eq!(dropped["detail"], "5 of 6 answers are left");
    assert_eq!(dropped["dropped"][0]["reason"], "not_in_row");
    // Five answers are ten pairs.
    let n_pairs = |out: &str| json_of(&fixture, &format!("{out}/summary.json"))["sets"][0]["n_pairs"].clone();
    assert_eq!((n_pairs("any"), n_pairs("all")), (json!(4 * 15 + 4 * 10), json!(4 * 15)));
}

/// A trigger that does not turn by itself, and a model that does so one time in three.
fn wavering() -> Fixture {
    let fixture = fixture();
    fixture.write("triggers.txt", "# Neutral.\n\nBesides,\nand besides,\n");
    let lines = [TURNS[2], CARRIES_ON, " then look out of the window, and hum a tune."];
    fixture.write("script.jsonl", jsonl([says("", &lines)]));
    fixture
}

#[test]
fn the_first_candidate_that_the_judge_accepts_is_kept() {
    let fixture = wavering();
    let triggers = fixture.path("triggers.txt").display().to_string();
    let mut n_kept = Vec::new();
    for candidates in ["1", "6"] {
        run(&fixture, candidates, &["--triggers", &triggers, "--candidates", candidates]);
        let rankings = records(&fixture, &format!("{candidates}/rankings.jsonl"));
        let corrected = |ranking: &Value| {
            let answers = ranking["answers"].as_array().unwrap();
            answers.iter().filter(|answer| answer["origin"] == "corrected").count()
        };
        n_kept.push(rankings.iter().filter(|r| r["set"] == "harmful").map(corrected).sum::<usize>());
    }
    assert!(0 < n_kept[0] && n_kept[0] < n_kept[1], "{n_kept:?}");
    let options = fixture.read("6/run.toml");
    assert!(options.contains("decoding = \"sample\"") && options.contains("temperature = 0.8"), "{options}");
    let judged: BTreeMap<String, Value> = records(&fixture, "6/judgements.jsonl")
        .into_iter()
        .map(|judgement| {
            (format!("{} {}", judgement["index"], judgement["asked"]), judgement["verdict"].clone())
        })
        .collect();
    let grown = records(&fixture, "6/candidates.jsonl");
    let (mut n_later, mut n_corrections) = (0, 0);
    for ranking in records(&fixture, "6/rankings.jsonl").iter().filter(|r| r["set"] == "harmful") {
        for answer in ranking["answers"].as_array().unwrap().iter().filter(|a| a["origin"] == "corrected") {
            let (slot, kept) = (text(&answer["kind"]), answer["candidate"].as_u64().unwrap());
            let verdict =
                |i: u64| judged.get(&format!("{} {}", ranking["index"], json!({"grown": [slot, i]})));
            assert!((0..kept).all(|i| verdict(i) == Some(&json!("not_corrected"))), "{answer}");
            assert_eq!(verdict(kept), Some(&json!("corrected")));
            // What comes after it is grown, and never looked at.
            assert!((kept + 1..6).all(|i| verdict(i).is_none()), "{answer}");
            let of_slot = grown.iter().filter(|g| g["index"] == ranking["index"] && g["slot"] == slot);
            let of_slot: Vec<&Value> = of_slot.collect();
            assert_eq!(of_slot.len(), 6);
            let said = of_slot[kept as usize];
            assert!(text(&answer["text"]).ends_with(text(&said["text"])), "{answer} {said}");
            assert_eq!(answer["seed"], said["seed"]);
            n_later += usize::from(kept > 0);
            n_corrections += 1;
        }
    }
    assert!(n_later > 3 && n_later < n_corrections, "{n_later} of {n_corrections}");
}

#[test]
fn an_opener_stands_before_every_answer_or_as_released_before_corrections() {
    let fixture = fixture();
    let begins = |out: &str, opener: &str| -> Vec<bool> {
        let rankings = records(&fixture, &format!("{out}/rankings.jsonl"));
        let answers = rankings[0]["answers"].as_array().unwrap().clone();
        answers.iter().map(|answer| text(&answer["text"]).starts_with(opener)).collect()
    };
    run(&fixture, "text", &["--opener", "Right then."]);
    assert_eq!(begins("text", "Right then. "), [true; 6]);
    run(&fixture, "shared", &["--opener", "shared"]);
    let rankings = records(&fixture, "shared/rankings.jsonl");
    assert_eq!(begins("shared", text(&rankings[0]["opener"])), [true; 6]);
    let mut openers: Vec<&str> = rankings.iter().map(|ranking| text(&ranking["opener"])).collect();
    openers.sort_unstable();
    openers.dedup();
    assert!(openers.len() > 2 && !openers.contains(&""), "{openers:?}");
    run(&fixture, "released", &["--preset", "paper"]);
    let opener = text(&records(&fixture, "released/rankings.jsonl")[0]["opener"]).to_owned();
    assert_eq!(begins("released", &opener), [false, true, true, true, true, false]);
    assert!(fixture.read("released/run.toml").contains("cut-rule = \"released\""));
}

#[test]
fn flags_win_over_a_configuration_and_over_a_preset() {
    let fixture = fixture();
    fixture.write("c.toml", "cuts = 2\nmax-new-tokens = 99\nopener = \"shared\"\n");
    let config = fixture.path("c.toml").display().to_string();
    run(&fixture, "run", &["--config", &config, "--preset", "quick", "--cuts", "3"]);
    let options = fixture.read("run/run.toml");
    for line in ["cuts = 3", "max-new-tokens = 64", "opener = \"shared\""] {
        assert!(options.lines().any(|found| found == line), "{line:?} in {options}");
    }
    let answers = |ranking: &Value| ranking["answers"].as_array().unwrap().len();
    assert!(records(&fixture, "run/rankings.jsonl").iter().all(|ranking| answers(ranking) == 5));
    // What is written down makes the same again.
    let written = fixture.path("run/run.toml").display().to_string();
    let again = ["synth", "--config", &written, "--out", &fixture.path("again").display().to_string()];
    fixtures::run(&again).done();
    super::assert_same(&fixture, "again", "run");
    assert!(synth(&fixture, "x", &["--resume"]).len() == 4);
}
