//! The rows of testdata/bench on tiny models: log-likelihoods, values, figures and standard errors are those of
//! lm-evaluation-harness, which `testdata/lm_eval_goldens.py` ran with transformers.
//!
//! Tolerances: 1e-3 in a log-likelihood, which is a sum over up to some hundred tokens in 32 bits; 1e-6 in standard
//! errors; accuracies are equal. The tiny context cuts the shots of some items off.

use serde_json::Value;

use super::{json, records, testdata};
use crate::fixtures::{Fixture, run};

/// A metric of midcourse as lm-evaluation-harness calls it.
fn called_there(metric: &str, task: &str) -> String {
    match (metric.split_once('/'), task) {
        (Some((metric, filter)), _) => format!("{metric},{filter}"),
        (None, "nq_open") => format!("{metric},remove_whitespace"),
        (None, _) => format!("{metric},none"),
    }
}

/// The task there whose figures are those of the whole.
fn whole_there(task: &str) -> &str {
    if task == "lambada" { "lambada_openai" } else { task }
}

fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_bool().map(f64::from)).unwrap_or_else(|| panic!("no number: {value}"))
}

fn assert_near(ours: f64, theirs: f64, tolerance: f64, of: &str) {
    assert!((ours - theirs).abs() <= tolerance, "{of}: {ours}, expected {theirs}");
}

/// Log-likelihoods and replies.
fn compare_findings(item: &Value, golden: &Value, of: &str) {
    let resps = golden["resps"].as_array().unwrap();
    let detail = &item["detail"];
    if let Some(reply) = detail["reply"].as_str() {
        assert_eq!(reply, resps[0].as_str().unwrap(), "{of}");
        for (filter, found) in detail["filtered"].as_object().unwrap() {
            assert_eq!(found, &golden["filtered"][filter], "{of}: {filter}");
        }
        return;
    }
    let (logps, greedy) = match detail["logps"].as_array() {
        Some(logps) => (logps.clone(), detail["greedy"].as_array().unwrap().clone()),
        None => (vec![detail["logp"].clone()], vec![detail["greedy"].clone()]),
    };
    assert_eq!(logps.len(), resps.len(), "{of}");
    for (at, ((logp, greedy), resp)) in logps.iter().zip(&greedy).zip(resps).enumerate() {
        let theirs = resp.as_array().map_or(resp, |pair| &pair[0]);
        assert_near(number(logp), number(theirs), 1e-3, &format!("{of}, text {at}"));
        if let Some(pair) = resp.as_array() {
            assert_eq!(greedy, &pair[1], "{of}, text {at}");
        }
    }
}

fn compare_values(item: &Value, golden: &Value, (task, of): (&str, &str)) {
    for (metric, value) in item["values"].as_object().unwrap() {
        let theirs = &golden["values"][called_there(metric, task)];
        let (value, of) = (number(value), format!("{of}, {metric}"));
        match (metric.as_str(), theirs) {
            // There a log-likelihood and what it is divided by.
            (_, Value::Array(pair)) => {
                assert_near(number(&item["weights"][metric]), number(&pair[1]), 0.0, &of);
                let nats = if metric == "bits_per_byte" { value * std::f64::consts::LN_2 } else { value };
                assert_near(-nats * number(&pair[1]), number(&pair[0]), 1e-3, &of);
            }
            ("perplexity", theirs) => assert_near(-value, number(theirs), 1e-3, &of),
            (_, theirs) => {
                assert_near(value, number(theirs), if task == "truthfulqa_mc2" { 1e-4 } else { 0.0 }, &of);
            }
        }
    }
}

fn compare_figures(summary: &Value, golden: &Value, task: &str) {
    let theirs = &golden["figures"][whole_there(task)];
    for metric in summary["tasks"][0]["metrics"].as_array().unwrap() {
        let name = called_there(metric["metric"].as_str().unwrap(), task);
        let (of, value) = (format!("{task}, {name}"), number(&metric["value"]));
        let expected = number(&theirs[&name]);
        let is_rate = metric.get("scale").is_none();
        assert_near(value, expected, if is_rate { 1e-4 } else { 1e-3 * expected }, &of);
        let (metric_name, filter) = name.split_once(',').unwrap();
        let stderr = &theirs[format!("{metric_name}_stderr,{filter}")];
        if is_rate && !stderr.is_null() {
            // Of shares of a probability the error moves with them.
            let tolerance = if task == "truthfulqa_mc2" { 1e-4 } else { 1e-6 };
            assert_near(number(&metric["stderr"]), number(stderr), tolerance, &of);
        }
    }
}

fn compare(model: &str) {
    let golden: Value =
        serde_json::from_slice(&std::fs::read(testdata(&format!("golden/lm_eval/{model}.json"))).unwrap())
            .unwrap();
    let runs = golden["runs"].as_array().unwrap();
    assert!(runs.len() > 15);
    for (number, golden) in runs.iter().enumerate() {
        let fixture = Fixture::new();
        let task = golden["task"].as_str().unwrap();
        let (model, data) = (testdata(model), testdata("bench"));
        let (out, shots) = (fixture.path("run"), golden["shots"].to_string());
        run(&[
            "bench",
            "--model",
            model.to_str().unwrap(),
            "--data",
            data.to_str().unwrap(),
            "--tasks",
            task,
            "--shots",
            &shots,
            "--out",
            out.to_str().unwrap(),
            "--threads",
            "1",
        ])
        .done();
        let (items, theirs) = (records(&fixture, "run/items.jsonl"), golden["items"].as_array().unwrap());
        assert_eq!(items.len(), theirs.len(), "{task}");
        for (at, (item, golden)) in items.iter().zip(theirs).enumerate() {
            let of = format!("run {number}, {task} with {shots} shots, item {at}");
            compare_findings(item, golden, &of);
            compare_values(item, golden, (task, &of));
        }
        compare_figures(&json(&fixture, "run/summary.json"), golden, task);
    }
}

#[test]
fn figures_are_those_of_the_reference_without_a_beginning_of_sequence() {
    compare("tiny-llama");
}

#[test]
fn figures_are_those_of_the_reference_with_a_beginning_of_sequence() {
    compare("tiny-llama-bos");
}
