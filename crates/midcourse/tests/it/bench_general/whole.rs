//! A run as a whole: its files, pages, resumption, tasks of one's own, endpoints.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json as object;

use super::{json, records, testdata};
use crate::fixtures::{self, Fixture, MIDCOURSE, Output, run};
use crate::kill::moments;
use crate::serve::server::Server;

/// Arguments of a run of `tasks` on the rows of testdata with a tiny model.
fn arguments(fixture: &Fixture, out: &str, more: &[&str]) -> Vec<String> {
    let path = |name: &str| testdata(name).to_str().unwrap().to_owned();
    let mut args = vec!["bench".into(), "--model".into(), path("tiny-llama"), "--data".into(), path("bench")];
    args.extend(["--out".into(), fixture.path(out).to_str().unwrap().to_owned()]);
    args.extend(more.iter().map(|more| (*more).to_owned()));
    args
}

#[test]
fn a_run_leaves_records_a_summary_pages_and_the_files_of_the_reference() {
    let fixture = Fixture::new();
    let output = run(&arguments(&fixture, "run", &["--tasks", "mmlu,lambada,gsm8k", "--shots", "1"])).done();
    for shown in ["General ability", "mmlu acc", "lambada perplexity", "gsm8k exact_match/strict-match"] {
        assert!(output.stdout.contains(shown), "{shown}: {}", output.stdout);
    }
    let items = records(&fixture, "run/items.jsonl");
    let tasks: Vec<&str> = items.iter().map(|item| item["task"].as_str().unwrap()).collect();
    assert_eq!(tasks, [vec!["mmlu"; 6], vec!["lambada"; 4], vec!["gsm8k"; 3]].concat());
    let results = json(&fixture, "run/lm-eval/results_midcourse.json");
    assert_eq!(results["results"]["mmlu_anatomy"]["sample_len"], 3);
    assert!(
        results["groups"]["mmlu"]["acc,none"].is_number()
            && results["results"]["lambada_openai"]["acc_stderr,none"].is_number()
    );
    assert_eq!(records(&fixture, "run/lm-eval/samples_gsm8k_midcourse.jsonl").len(), 6);
    let sample = &records(&fixture, "run/lm-eval/samples_mmlu_astronomy_midcourse.jsonl")[0];
    assert_eq!(sample["resps"].as_array().unwrap().len(), 4);
    assert!(sample["arguments"]["gen_args_0"]["arg_0"].as_str().unwrap().ends_with("Answer:"));
    let pages = [fixture.read("run/report.html"), fixture.read("run/report.md")];
    std::fs::remove_file(fixture.path("run/report.html")).unwrap();
    run(&["report", fixture.path("run").to_str().unwrap()]).done();
    assert_eq!([fixture.read("run/report.html"), fixture.read("run/report.md")], pages);
}

#[test]
fn what_a_dry_run_foretells_and_a_list_names() {
    let fixture = Fixture::new();
    let output =
        run(&arguments(&fixture, "run", &["--tasks", "mmlu", "--shots", "1", "--dry-run", "--json"])).done();
    let foretold: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((&foretold[0]["n_items"], &foretold[0]["n_requests"]), (&object!(6), &object!(24)));
    let tokens = |name: &str| foretold[0][name].as_u64().unwrap();
    assert!(4 * tokens("n_tokens") < tokens("n_tokens_alone"), "{foretold}");
    assert!(!fixture.path("run").exists());
    let list = run(&["bench", "--list", "--data", testdata("bench").to_str().unwrap()]).done();
    assert!(list.stdout.contains("hellaswag") && list.stdout.contains("CC-BY-SA-4.0"), "{}", list.stdout);
}

#[test]
fn limits_are_of_every_group() {
    let fixture = Fixture::new();
    run(&arguments(&fixture, "run", &["--tasks", "mmlu,piqa", "--shots", "0", "--limit", "1"])).done();
    let items = records(&fixture, "run/items.jsonl");
    let groups: Vec<Option<&str>> = items.iter().map(|item| item["group"].as_str()).collect();
    assert_eq!(groups, [Some("anatomy"), Some("astronomy"), None]);
}

#[test]
fn equal_rows_are_items_of_their_own() {
    let fixture = Fixture::new();
    run(&arguments(&fixture, "run", &["--tasks", "mmlu", "--shots", "0"])).done();
    let mut ids: Vec<String> =
        records(&fixture, "run/items.jsonl").iter().map(|item| item["item"].to_string()).collect();
    ids.sort();
    ids.dedup();
    // Two rows of the fixture are equal.
    assert_eq!(ids.len(), 6);
}

#[test]
fn threads_and_batches_change_no_byte() {
    let fixture = Fixture::new();
    let tasks = ["--tasks", "mmlu,hellaswag,truthfulqa_mc2,gsm8k,perplexity"];
    let args = |out: &str, more: &[&str]| arguments(&fixture, out, &[&tasks, more].concat());
    run(&args("one", &["--shots", "0", "--threads", "1"])).done();
    run(&args("two", &["--shots", "0", "--threads", "2", "--batch-paths", "1"])).done();
    assert_eq!(fixture.read("one/items.jsonl"), fixture.read("two/items.jsonl"));
}

#[test]
fn killed_and_resumed_equals_uninterrupted() {
    let fixture = Fixture::new();
    let row = |i: usize| {
        format!(
            "{{\"goal\":\"carry {i} cups over the yard\",\"sol1\":\"Take a tray.\",\"sol2\":\"Throw all {i}.\",\"label\":{}}}\n",
            i % 2
        )
    };
    std::fs::create_dir(fixture.path("rows")).unwrap();
    fixture.write("rows/piqa.validation.jsonl", (0..1200).map(row).collect::<String>());
    let data = fixture.path("rows");
    let args = |out: &str| {
        let mut args = arguments(&fixture, out, &["--tasks", "piqa", "--threads", "1"]);
        args[4] = data.to_str().unwrap().to_owned();
        args
    };
    let started = Instant::now();
    run(&args("whole")).done();
    let longest = started.elapsed();
    let mut n_kills = 0;
    for (at, wait) in moments(longest.mul_f64(0.7)).take(5).enumerate() {
        let mut command = fixtures::command(MIDCOURSE);
        command.args(args("killed")).args(if at > 0 { &["--resume"][..] } else { &[] });
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(wait.max(Duration::from_millis(50)));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            n_kills += 1;
        }
        child.wait().unwrap();
        if !fixture.path("killed/run.toml").exists() {
            let _ = std::fs::remove_dir_all(fixture.path("killed"));
            run(&args("killed")).done();
        }
    }
    assert!(n_kills > 0);
    Output::of(fixtures::command(MIDCOURSE).args(args("killed")).arg("--resume")).done();
    for file in ["items.jsonl", "summary.json", "lm-eval/samples_piqa_midcourse.jsonl"] {
        assert_eq!(fixture.read(&format!("killed/{file}")), fixture.read(&format!("whole/{file}")), "{file}");
    }
}

#[test]
fn a_task_of_ones_own_is_a_file() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path("rows")).unwrap();
    fixture.write("rows/chores.csv", "chore,who,others,first\ndishes,Ann,\"[\"\"Bo\"\", \"\"Cem\"\"]\",0\n");
    fixture.write(
        "chores.toml",
        "name = \"chores\"\nversion = \"1\"\nkind = \"choices\"\ncolumns = [\"chore\", \"who\"]\n\
         prompt = \"Who does the {{chore}}?\"\nchoices = \"{{[who] + others}}\"\ncorrect = \"{{first}}\"\nmetrics = [\"acc\"]\n",
    );
    let script = format!("scripted:{}", fixture.path("script.jsonl").display());
    fixture
        .write("script.jsonl", "{\"match\":\"dishes\",\"continuations\":[\" Ann\",\" Ann, of course\"]}\n");
    let path = |name: &str| fixture.path(name).to_str().unwrap().to_owned();
    let (task, rows, out) = (path("chores.toml"), path("rows"), path("run"));
    run(&["bench", "--model", &script, "--tasks", &task, "--data", &rows, "--out", &out]).done();
    let item = &records(&fixture, "run/items.jsonl")[0];
    assert_eq!(item["values"], object!({"acc": 1.0}));
    assert_eq!(item["detail"]["greedy"], object!([true, false, false]));
}

/// What `midcourse serve` tells of a text is what the embedded engine finds.
#[test]
fn an_endpoint_that_scores_gives_the_same_figures() {
    let fixture = Fixture::new();
    let tasks = ["--tasks", "piqa,mmlu,lambada,gsm8k", "--shots", "0"];
    run(&arguments(&fixture, "here", &tasks)).done();
    let model = testdata("tiny-llama");
    let server = Server::tiny(&[]);
    let mut args = arguments(&fixture, "there", &tasks);
    args[2] = format!("http://{}/v1#{}", server.address, server.model);
    args.extend(["--tokenizer".into(), model.to_str().unwrap().into()]);
    Output::of(fixtures::command(MIDCOURSE).args(args)).done();
    let (here, there) = (records(&fixture, "here/items.jsonl"), records(&fixture, "there/items.jsonl"));
    assert_eq!(here.len(), there.len());
    for (here, there) in here.iter().zip(&there) {
        assert_eq!(
            (&here["item"], &here["values"].as_object().unwrap().len()),
            (&there["item"], &there["values"].as_object().unwrap().len())
        );
        let logps = |item: &serde_json::Value| -> Vec<f64> {
            item["detail"]["logps"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|logp| logp.as_f64().unwrap())
                .collect()
        };
        for (here, there) in logps(here).iter().zip(logps(there)) {
            assert!((here - there).abs() < 1e-3, "{here} {there}");
        }
    }
}
