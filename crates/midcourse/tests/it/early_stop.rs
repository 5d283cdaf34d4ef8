//! Early stop: paths are shorter, verdicts are the same.

use crate::fixtures::{Fixture, Output, run};

#[test]
fn early_stop_changes_no_judgement() {
    let fixture = Fixture::new();
    let common = ["--prefix-lengths", "0,5,10", "--paths", "40", "--max-new-tokens", "90", "--seed", "4"];
    for (out, early_stop) in [("whole", "off"), ("early", "on")] {
        let more: Vec<&str> = common.iter().copied().chain(["--early-stop", early_stop]).collect();
        run(&fixture.eval(out, &more)).done();
    }
    assert_eq!(fixture.read("whole/judgements.jsonl"), fixture.read("early/judgements.jsonl"));
    let trials = |out: &str| -> Vec<serde_json::Value> {
        let text = fixture.read(&format!("{out}/trials.jsonl"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let mut n_shorter = 0;
    for (whole, early) in trials("whole").iter().zip(trials("early")) {
        let (text, begun) = (whole["text"].as_str().unwrap(), early["text"].as_str().unwrap());
        assert!(text.starts_with(begun), "{begun:?} does not begin {text:?}");
        assert_eq!(early["stopped_early"], early["finish"] == "stopped");
        n_shorter += usize::from(begun.len() < text.len());
    }
    assert!(n_shorter > 20, "only {n_shorter} paths stopped early");
}

#[test]
fn the_scores_say_that_paths_stopped_early() {
    let fixture = Fixture::new();
    let Output { stdout, .. } =
        run(&fixture.eval("early", &["--prefix-lengths", "5", "--early-stop", "on", "--json"])).done();
    let scores: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(scores["settings"]["early_stop"], true);
}
