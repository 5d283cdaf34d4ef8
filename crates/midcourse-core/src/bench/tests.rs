//! Tasks from file to question to record.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn row(columns: &Value) -> TaskRow {
    TaskRow { place: "rows.jsonl:3".into(), columns: columns.as_object().unwrap().clone() }
}

fn task(name: &str) -> TaskSpec {
    builtin::task(name).unwrap().unwrap()
}

/// The pairs of a row after the shots: a context, and behind bars the continuations that follow it.
fn check(name: &str, shots: &[Value], columns: &Value, expected: &Expect) {
    let task = task(name);
    let shots: Vec<Question> = shots.iter().map(|shot| task.question(&row(shot)).unwrap()).collect();
    let question = task.question(&row(columns)).unwrap();
    let pairs = task.pairs(&question, &task.shots_text(&shots));
    let by_context = pairs.chunk_by(|one, other| one.0 == other.0).map(|pairs| {
        let rest: Vec<&str> = pairs.iter().map(|(_, rest)| rest.as_str()).collect();
        format!("{}|{}|", pairs[0].0, rest.join("|"))
    });
    expected.assert_eq(&by_context.collect::<Vec<_>>().join("\n---\n"));
}

#[test]
fn every_built_in_task_is_well_formed() {
    for name in builtin::names() {
        let task = task(name);
        assert_eq!(task.name, name);
        assert!(!task.metrics().is_empty());
        assert!(!task.columns.is_empty(), "{name}");
    }
}

#[test]
fn mmlu_asks_with_its_subject_and_its_shots() {
    let shot = json!({"subject": "board_games", "question": " Who moves first? ", "choices": ["White", "Black", "Both", "Nobody"], "answer": 0});
    let asked = json!({"subject": "board_games", "question": "How many squares?", "choices": ["8", "16", "32", "64"], "answer": 3});
    check(
        "mmlu",
        &[shot],
        &asked,
        &expect![[r#"
        The following are multiple choice questions (with answers) about board games.

        Who moves first?
        A. White
        B. Black
        C. Both
        D. Nobody
        Answer: A

        How many squares?
        A. 8
        B. 16
        C. 32
        D. 64
        Answer:| A| B| C| D|"#]],
    );
}

#[test]
fn hellaswag_is_cleaned_as_the_reference_cleans_it() {
    let asked = json!({
        "activity_label": "Baking", "ctx_a": "How to bake [title] Mix [step] the flour.", "ctx_b": "a Baker",
        "endings": ["[substeps] stirs.", " waits  long."], "label": "1",
    });
    check(
        "hellaswag",
        &[],
        &asked,
        &expect!["Baking: How to bake. Mix the flour. A baker|  stirs.| waits long.|"],
    );
}

#[test]
fn winogrande_scores_the_rest_of_the_sentence() {
    let asked = json!({"sentence": "Ann helped Bo because _ was tired.", "option1": "Ann", "option2": "Bo", "answer": "2"});
    check(
        "winogrande",
        std::slice::from_ref(&asked),
        &asked,
        &expect![[r#"
        Ann helped Bo because Bo was tired.

        Ann helped Bo because Ann| was tired.|
        ---
        Ann helped Bo because Bo was tired.

        Ann helped Bo because Bo| was tired.|"#]],
    );
}

#[test]
fn the_last_word_and_a_written_answer() {
    check(
        "lambada",
        &[],
        &json!({"text": "She put the kettle on the stove"}),
        &expect!["She put the kettle on the| stove|"],
    );
    let asked = json!({"question": "who wrote it", "answer": ["Ann", "Bo"]});
    check(
        "nq_open",
        std::slice::from_ref(&asked),
        &asked,
        &expect![[r#"
        Answer these questions:

        Q: who wrote it?
        A: Ann
        Q: who wrote it?
        A:||"#]],
    );
}

#[test]
fn rows_that_cannot_be_asked_are_refused_with_their_place() {
    let arc =
        json!({"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"});
    let piqa = |label: Value| json!({"goal": "g", "sol1": "a", "sol2": "b", "label": label});
    let without = |mut row: Value, column: &str| {
        row.as_object_mut().unwrap().remove(column);
        row
    };
    for (name, columns, expected) in [
        (
            "piqa",
            without(piqa(json!(0)), "sol2"),
            "rows.jsonl:3: task piqa: the column `sol2` is missing, found goal, sol1, label",
        ),
        (
            "piqa",
            piqa(json!(2)),
            "rows.jsonl:3: task piqa: expected the right answer among 2 choices, counted from 0, found 2",
        ),
        (
            "piqa",
            piqa(json!("")),
            "rows.jsonl:3: task piqa: expected the right answer among 2 choices, counted from 0, found \"\"",
        ),
        (
            "arc_easy",
            json!({"question": "q", "choices": {"text": ["a"], "label": ["A"]}, "answerKey": "A"}),
            "rows.jsonl:3: task arc_easy: expected two choices or more, found 1",
        ),
        (
            "arc_easy",
            json!({"question": "q", "choices": 7, "answerKey": "A"}),
            "rows.jsonl:3: arc_easy:10: `choices`: ",
        ),
        (
            "truthfulqa_mc2",
            json!({"question": "q", "mc2_targets": {"choices": ["a", "b"], "labels": [0, 0]}}),
            "rows.jsonl:3: task truthfulqa_mc2: expected 2 labels of 0 and 1, at least one of them 1, found 0, 0",
        ),
    ] {
        let error = task(name).question(&row(&columns)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(task("arc_easy").question(&row(&arc)).is_ok());
}

#[test]
fn task_files_that_are_wrong_are_refused_with_their_line() {
    let file = |lines: &str| format!("name = \"own\"\nversion = \"1\"\nkind = \"choices\"\n{lines}");
    let rest = "prompt = \"{{q}}\"\nchoices = \"{{c}}\"\ncorrect = \"{{a}}\"\n";
    for (source, expected) in [
        (file("promt = \"x\""), "own.toml:4: unknown field `promt`"),
        (file("prompt = \"{{q\"\nchoices = [\"a\", \"b\"]\ncorrect = \"0\""), "own.toml:4: `prompt`: "),
        (file("choices = [\"a\", \"b\"]\ncorrect = \"0\"\nprompt = \"\"\"\nline\n{{ 1 + }}\"\"\""), "own.toml:8: `prompt`: "),
        (file("prompt = \"x\"\nchoices = [\"a\"]\ncorrect = \"0\""), "own.toml:5: `choices`: expected two or more, found 1"),
        (file("prompt = \"x\"\ncorrect = \"0\""), "own.toml:3: `choices` is missing, which tasks of this kind have"),
        (file(&format!("{rest}text = \"x\"")), "own.toml:7: `text`: tasks of this kind do not read it"),
        (file(&format!("{rest}metrics = [\"bleu\"]")), "own.toml:7: unknown variant `bleu`"),
        ("name = \"a b\"\nversion = \"1\"\nkind = \"rolling\"\ntext = \"x\"".into(), "own.toml:1: `name`: expected letters"),
        ("kind = 3".into(), "own.toml:1: "),
        ("name = \"w\"\nversion = \"1\"\nkind = \"written\"\nprompt = \"x\"\ntarget = \"y\"\n[[filter]]\nname = \"f\"\npattern = \"(\"".into(), "own.toml:6: `pattern`: "),
    ] {
        let error = TaskSpec::parse("own.toml", &source).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(TaskSpec::parse("own.toml", &file(rest)).is_ok());
}

fn scored(task: &TaskSpec, columns: &Value, logps: &[f64]) -> ItemRecord {
    let question = task.question(&row(columns)).unwrap();
    let found = logps.iter().map(|&logp| Likelihood { logp, is_greedy: logp > -1.0 }).collect();
    task.record(&question, &Findings::Likelihoods(found), false)
}

#[test]
fn choices_are_scored_plain_and_by_their_length() {
    let piqa = task("piqa");
    let columns = json!({"goal": "g", "sol1": "long way", "sol2": "way", "label": 0});
    let values = scored(&piqa, &columns, &[-4.0, -3.0]).values;
    assert_eq!(values, BTreeMap::from([("acc".into(), 0.0), ("acc_norm".into(), 1.0)]));
    let columns = json!({"question": "q", "mc2_targets": {"choices": ["a", "b", "c"], "labels": [1, 0, 1]}});
    let values =
        scored(&task("truthfulqa_mc2"), &columns, &[0.25_f64.ln(), 0.5_f64.ln(), 0.25_f64.ln()]).values;
    assert!((values["acc"] - 0.5).abs() < 1e-12);
}

#[test]
fn summaries_have_closed_standard_errors() {
    let piqa = task("piqa");
    let of = |label: usize, sol1: &str| {
        let columns = json!({"goal": "g", "sol1": sol1, "sol2": "way", "label": label});
        scored(&piqa, &columns, &[-1.0, -2.0])
    };
    let summary = piqa.summary(BTreeMap::new(), &[of(0, "a"), of(0, "b"), of(1, "c"), of(0, "d")]);
    let acc = &summary.metrics[0];
    assert_eq!((acc.metric.as_str(), acc.n, summary.n_items), ("acc", 4, 4));
    assert!((acc.value - 0.75).abs() < 1e-12);
    // sqrt(3 · 0.25² + 0.75²) / sqrt(3) / sqrt(4)
    assert!((acc.stderr.unwrap() - 0.25).abs() < 1e-12);
    assert!(acc.ci[0] < 0.75 && acc.ci[1] > 0.75 && acc.ci[0] >= 0.0 && acc.ci[1] <= 1.0);
}

#[test]
fn perplexities_are_of_weighted_nats() {
    let perplexity = task("perplexity");
    let one = scored(&perplexity, &json!({"text": "two words"}), &[-3.0, -1.0]);
    let two = scored(&perplexity, &json!({"text": "and three words"}), &[-1.0]);
    let summary = perplexity.summary(BTreeMap::new(), &[one, two]);
    let value = |at: usize| summary.metrics[at].value;
    assert!((value(0) - (5.0_f64 / 5.0).exp()).abs() < 1e-12);
    assert!((value(1) - (5.0_f64 / 24.0).exp()).abs() < 1e-12);
    assert!((value(2) - 5.0 / 24.0 / std::f64::consts::LN_2).abs() < 1e-12);
    assert!(summary.metrics.iter().all(|metric| metric.stderr.is_none()));
}

#[test]
fn equal_items_are_told_apart_by_their_number() {
    let piqa = task("piqa");
    let columns = json!({"goal": "g", "sol1": "a", "sol2": "b", "label": 0});
    let mut questions: Vec<Question> = (0..3).map(|_| piqa.question(&row(&columns)).unwrap()).collect();
    let first = questions[0].id.clone();
    apart(&mut questions);
    assert_eq!(questions[0].id, first);
    assert!(questions[1].id != first && questions[2].id != first && questions[1].id != questions[2].id);
}
