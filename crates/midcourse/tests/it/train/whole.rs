//! Trainings from their first step to their last, and what they leave.

use serde_json::{Value, json};

use super::{assert_same, fixture, json_of, records, run, train};
use crate::fixtures;
use crate::serve::server::tiny_llama;
use crate::synth::names_in;

#[test]
fn a_training_leaves_an_adapter_its_logs_and_its_card() {
    let fixture = fixture();
    let output = run(&fixture, "run", &["--json"]);
    let results: Value = serde_json::from_str(&output.stdout).unwrap();
    let manifest = json_of(&fixture, "run/manifest.json");
    let n_steps = manifest["n_steps"].as_u64().unwrap() as usize;
    let steps = records(&fixture, "run/train.jsonl");
    assert!(n_steps >= 6 && steps.len() == n_steps, "{n_steps}");
    for key in ["loss", "rewards/margins", "logps/chosen", "grad_norm", "learning_rate", "num_tokens"] {
        assert!(steps.iter().all(|step| step[key].is_number()), "{key}: {}", steps[0]);
    }
    // Policy and reference are the same before the first step: what is left of the loss is ln 2 and the anchor.
    let (loss, anchor) = (steps[0]["loss"].as_f64().unwrap(), steps[0]["anchor"].as_f64().unwrap());
    assert!((loss - anchor - std::f64::consts::LN_2).abs() < 1e-6, "{loss} {anchor}");
    let evals = records(&fixture, "run/eval.jsonl");
    assert_eq!(evals[0]["step"], 0);
    let best = evals[1..].iter().map(|eval| eval["eval_loss"].as_f64().unwrap()).fold(f64::MAX, f64::min);
    assert!((manifest["best"]["loss"].as_f64().unwrap() - best).abs() < 1e-5);
    assert!((results["held_out_after"]["eval_loss"].as_f64().unwrap() - best).abs() < 1e-12);
    assert_eq!(names_in(&fixture.path("run/checkpoints")).len(), 2);
    assert_eq!(names_in(&fixture.path("run/tensorboard")).len(), 1);
    let card = fixture.read("run/adapter/README.md");
    assert!(card.starts_with("---\nbase_model: ") && card.contains("library_name: peft"), "{card}");
    assert!(card.contains("| held-out loss | "), "{card}");
}

#[test]
fn the_adapter_is_evaluated_like_any_other() {
    let fixture = fixture();
    run(&fixture, "run", &["--learning-rate", "1e-2"]);
    let (tiny, adapter) =
        (tiny_llama().display().to_string(), fixture.path("run/adapter").display().to_string());
    let data = fixture.path("data.jsonl").display().to_string();
    let eval = |out: &str, more: &[&str]| {
        let out = fixture.path(out).display().to_string();
        let given = [
            "eval",
            "--model",
            &tiny,
            "--data",
            &data,
            "--out",
            &out,
            "--prefix-lengths",
            "5",
            "--paths",
            "3",
        ];
        fixtures::run(&[&given[..], more].concat()).done();
    };
    eval("with", &["--adapter", &adapter]);
    eval("without", &[]);
    assert_ne!(fixture.read("with/trials.jsonl"), fixture.read("without/trials.jsonl"));
}

#[test]
fn neither_threads_nor_what_is_kept_of_a_pass_changes_a_bit() {
    let fixture = fixture();
    run(&fixture, "whole", &[]);
    run(&fixture, "one", &["--threads", "1", "--recompute", "on", "--keep-checkpoints", "1"]);
    assert_same(&fixture, "one", "whole");
    run(&fixture, "off", &["--recompute", "off", "--reference-cache", "off", "--log-every", "3"]);
    assert_same(&fixture, "off", "whole");
}

#[test]
fn the_reference_is_kept_and_used_by_another_objective() {
    let fixture = fixture();
    run(&fixture, "first", &[]);
    run(&fixture, "second", &["--objective", "dpo-full"]);
    let counts = |out: &str| json_of(&fixture, &format!("{out}/manifest.json"))["reference"].clone();
    assert_eq!(counts("first")["n_known"], 0);
    assert_eq!(counts("second")["n_computed"], 0, "{}", counts("second"));
    run(&fixture, "third", &["--objective", "recovery"]);
    assert!(counts("third").is_null());
}

#[test]
fn before_and_after_are_measured_on_the_same_prompts() {
    let fixture = fixture();
    let at = |name: &str| fixture.path(name).display().to_string();
    let (data, benign) = (at("data.jsonl"), at("benign.jsonl"));
    let output = run(&fixture, "run", &["--eval-data", &data, "--benign", &benign, "--epochs", "1"]);
    assert!(
        output.stdout.contains("Corr_mean ") && output.stdout.contains("Plain refusals of harmless prompts"),
        "{}",
        output.stdout
    );
    for moment in ["before", "after"] {
        let scores = json_of(&fixture, &format!("run/{moment}/scores.json"));
        assert_eq!(scores["settings"]["prefix_lengths"][0], 0);
        assert!(scores["plain"]["n_judged"].as_u64().unwrap() > 0 && scores["benign"]["plain"].is_object());
    }
    // What is done is not done again.
    std::fs::remove_file(fixture.path("run/after/report.html")).unwrap();
    run(&fixture, "run", &["--resume"]);
    assert!(!fixture.path("run/after/report.html").exists());
}

#[test]
fn benchmarks_stand_in_the_report_beside_course_correction() {
    let fixture = fixture();
    let at = |name: &str| fixture.path(name).display().to_string();
    let rows = json!({"goal": "Tidy", "sol1": "with a broom", "sol2": "with a spoon", "label": 0});
    std::fs::create_dir(fixture.path("rows")).unwrap();
    fixture.write("rows/piqa.validation.jsonl", format!("{rows}\n").repeat(3));
    let bench = [
        "--bench",
        "piqa,over_refusal,jailbreak_prefills",
        "--bench-data",
        &at("rows"),
        "--bench-limit",
        "2",
    ];
    let data = ["--eval-data", &at("data.jsonl"), "--benign", &at("benign.jsonl"), "--epochs", "1"];
    let output = run(&fixture, "run", &[&bench[..], &data].concat());
    for moment in ["bench-before", "bench-after"] {
        let summary = json_of(&fixture, &format!("run/{moment}/summary.json"));
        let tasks: Vec<&str> =
            summary["tasks"].as_array().unwrap().iter().map(|task| task["task"].as_str().unwrap()).collect();
        assert_eq!(tasks, ["piqa", "over_refusal", "jailbreak_prefills"]);
    }
    assert!(output.stdout.contains("piqa ") && output.stdout.contains("clear among"), "{}", output.stdout);
    for page in ["run/report.html", "run/report.md", "run/adapter/README.md"] {
        let text = fixture.read(page);
        assert!(text.contains("piqa") && text.contains("prefills"), "{page}");
    }
    std::fs::remove_file(fixture.path("run/bench-after/report.html")).unwrap();
    run(&fixture, "run", &["--resume"]);
    assert!(!fixture.path("run/bench-after/report.html").exists());
}

#[test]
fn a_dry_run_counts_and_leaves_nothing() {
    let fixture = fixture();
    let output = fixtures::run(&train(&fixture, "run", &["--dry-run", "--json"])).done();
    let counted: Value = serde_json::from_str(&output.stdout).unwrap();
    let counts = &counted["counts"];
    let (distinct, pairs) = (counts["n_tokens_distinct"].as_u64(), counts["n_tokens_pairs"].as_u64());
    assert!(pairs > distinct && distinct > Some(0), "{counted}");
    assert!(!fixture.path("run").exists() && !fixture.path("reference").exists());
    run(&fixture, "run", &[]);
    assert_eq!(json_of(&fixture, "run/manifest.json")["counts"], *counts);
}
