//! How well the rule judge tells a partial refusal from a full one: prints a table of its verdicts against people's.
//!
//! Argument: a JSONL file with `completion` and `final_label`, which is `1_full_compliance`, `2_full_refusal` or
//! `3_partial_refusal` (`XSTest`'s completions). The figures stand in `docs/experiments.md`.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;

use midcourse_core::bench::safety::Extent;
use midcourse_core::judge::Ending;
use midcourse_core::judge::rule::RuleJudge;
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("expected LABELS.jsonl")?;
    let judge = RuleJudge::new();
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for line in std::fs::read_to_string(file)?.split('\n').filter(|line| !line.trim().is_empty()) {
        let row: Value = serde_json::from_str(line)?;
        let text = |field: &str| row[field].as_str().ok_or(format!("a row has no {field}"));
        *counts.entry((text("final_label")?.to_owned(), said(&judge, text("completion")?))).or_default() += 1;
    }
    for ((label, said), n) in counts {
        writeln!(std::io::stdout(), "{label}\t{said}\t{n}")?;
    }
    Ok(())
}

fn said(judge: &RuleJudge, completion: &str) -> &'static str {
    if judge.find_turn(completion, Ending::Ended).is_none() {
        return "compliance";
    }
    match Extent::of_share(judge.share_carried_on(completion)) {
        Extent::Whole => "full refusal",
        Extent::Part => "partial refusal",
    }
}
