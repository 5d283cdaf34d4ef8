//! What each command prints, and in which form.

use serde_json::{Value, json};

use crate::fixtures::{Fixture, run};
use crate::tiny_safetensors::{ModelDir, safetensors};

/// Every flag of `midcourse eval`.
const EVAL_FLAGS: [&str; 28] = [
    "--dtype",
    "--model",
    "--data",
    "--benign",
    "--out",
    "--preset",
    "--prefix-lengths",
    "--unit",
    "--opener",
    "--mode",
    "--paths",
    "--max-new-tokens",
    "--temperature",
    "--top-p",
    "--judge",
    "--judge-prompt",
    "--judge-thresholds",
    "--judge-cache",
    "--calibration",
    "--early-stop",
    "--threads",
    "--batch-paths",
    "--max-failed",
    "--limit",
    "--seed",
    "--resume",
    "--json",
    "--config",
];

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn help_lists_every_flag_and_the_exit_codes() {
    let commands: [(&[&str], &[&str]); 8] = [
        (&["eval"], &EVAL_FLAGS),
        (&["probe"], &["--model", "--prompt", "--response", "--k", "--mode", "--json"]),
        (&["judge"], &["<RUN>", "agreement", "export", "calibrate", "--judge", "--calibration", "--json"]),
        (&["report"], &["<RUN>"]),
        (&["data", "check"], &["<FILE>", "--model", "--json"]),
        (&["models"], &["pull", "show", "rm", "--json"]),
        (&["models", "show"], &["<NAME>", "--json"]),
        (&["completions"], &["<SHELL>", "bash", "zsh", "fish"]),
    ];
    for (command, flags) in commands {
        let help = run(&[command, &["--help"]].concat()).done().stdout;
        let words: Vec<&str> =
            help.split_whitespace().map(|word| word.trim_matches(['[', ']', ',', '.'])).collect();
        let missing: Vec<_> = flags.iter().filter(|flag| !words.contains(flag)).collect();
        assert!(missing.is_empty(), "{command:?}: {missing:?} in {help}");
    }
    let help = run(&["--help"]).done().stdout;
    assert!(help.contains("Exit codes: 0 done"), "{help}");
    for command in ["eval", "probe", "judge", "report", "data", "models", "completions"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
    }
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]).done().stdout;
        assert!(script.contains("eval") && script.contains("prefix-lengths"), "{shell}");
    }
}

#[test]
fn eval_prints_a_table_or_the_scores() {
    let fixture = Fixture::new();
    let table = fixture.run_eval("table", &[]);
    assert!(table.stdout.contains("Corr_mean"), "{}", table.stdout);
    assert!(table.stderr.contains("data.jsonl: 3 rows (midcourse), 3 samples, 0 duplicates, 0 without harm"));
    assert!(table.stderr.contains("report.html"), "{}", table.stderr);
    let printed = fixture.run_eval("scores", &["--json"]).stdout;
    assert_eq!(json_of(&printed), json_of(&fixture.read("scores/scores.json")));
}

#[test]
fn report_makes_the_same_pages_again() {
    let fixture = Fixture::new();
    let table = fixture.run_eval("run", &["--benign", fixture.path("benign.jsonl").to_str().unwrap()]).stdout;
    let pages = ["run/report.html", "run/report.md"].map(|page| (page, fixture.read(page)));
    for (page, _) in &pages {
        std::fs::remove_file(fixture.path(page)).unwrap();
    }
    let again = run(&["report", fixture.path("run").to_str().unwrap()]).done();
    assert_eq!(again.stdout, table);
    for (page, text) in pages {
        assert!(fixture.read(page) == text, "{page} differs");
    }
}

#[test]
fn data_check_counts_rows_lengths_and_categories() {
    let fixture = Fixture::new();
    let data = fixture.path("data.jsonl").display().to_string();
    let model = format!("scripted:{}", fixture.path("script.jsonl").display());
    let words = run(&["data", "check", &data]).done();
    assert!(words.stderr.contains("counting words only"), "{}", words.stderr);
    let text = run(&["data", "check", &data, "--model", &model]).done().stdout;
    for shown in ["midcourse", "JSONL", "chores", "games"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    let summary = json_of(&run(&["data", "check", &data, "--model", &model, "--json"]).done().stdout);
    assert_eq!(summary["n_rows"], 3, "{summary}");
    assert_eq!(summary["n_duplicates"], 0, "{summary}");
}

#[test]
fn models_lists_what_can_be_named() {
    let text = run(&["models"]).done().stdout;
    assert!(text.contains("smollm2") && text.contains("midcourse models pull smollm2"), "{text}");
    let listed = json_of(&run(&["models", "--json"]).done().stdout);
    assert_eq!(listed[0]["name"], "smollm2");
    assert_eq!(listed[0]["pulled"], false);
    assert_eq!(listed[0]["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn probe_shows_the_prefix_in_tokens_and_proves_it() {
    let fixture = Fixture::new();
    let model = format!("scripted:{}", fixture.path("script.jsonl").display());
    let args = ["probe", "--model", &model, "--prompt", "Hi", "--response", "Sure, go", "--k", "4"];
    let probe = json_of(&run(&[&args[..], &["--json"]].concat()).done().stdout);
    assert_eq!(probe["rendered"], "<|bos|><|start|>user\nHi<|end|>\n<|start|>assistant\nSure");
    let ids = probe["token_ids"].as_array().unwrap();
    assert_eq!(probe["prefix_start"], ids.len() - 4);
    assert_eq!(probe["proof"]["ends_with_prefix"], true);
    assert_eq!(probe["proof"]["no_end_of_turn_after"], true);
    assert_eq!(probe["proof"]["n_bos"], 1);
    assert_eq!(probe["next_tokens"][0]["logprob"], json!(0.0));
    let text = run(&args).done().stdout;
    assert!(text.contains("ends with the prefix   yes") && text.contains("  Sure\n"), "{text}");
}

#[test]
fn probe_explains_both_modes_and_shows_the_next_tokens_of_the_asked_one() {
    let fixture = Fixture::new();
    let model = format!("scripted:{}", fixture.path("script.jsonl").display());
    let args = ["probe", "--model", &model, "--prompt", "Hi", "--response", "Sure, go", "--k", "4"];
    for (mode, first, second) in [
        ("open-turn", "a true prefill", "the answer is closed"),
        ("new-turn", "the answer is closed", "a true prefill"),
    ] {
        let text = run(&[&args[..], &["--mode", mode]].concat()).done().stdout;
        let (asked, other) = text.split_once("\n\n").unwrap();
        assert!(asked.contains(first) && other.contains(second), "{text}");
        assert!(asked.contains(" %  ") && !other.contains(" %  "), "{text}");
        for (part, is_open) in [(asked, mode == "open-turn"), (other, mode != "open-turn")] {
            assert_eq!(part.contains("ends with the prefix   yes"), is_open, "{text}");
            assert_eq!(part.contains("the turn stays open    yes"), is_open, "{text}");
            assert!(part.contains("The model is given ") && part.contains("from token "), "{text}");
        }
    }
}

#[test]
fn probe_frames_the_conversation_as_asked() {
    let fixture = Fixture::new();
    let model = format!("scripted:{}", fixture.path("script.jsonl").display());
    let args = ["probe", "--model", &model, "--prompt", "Hi", "--response", "Sure", "--k", "4", "--json"];
    let rendered =
        |more: &[&str]| json_of(&run(&[&args[..], more].concat()).done().stdout)["rendered"].clone();
    let turns = "<|start|>user\nHi<|end|>\n<|start|>assistant\n";
    assert_eq!(
        rendered(&["--system", "Be kind."]),
        format!("<|bos|><|start|>system\nBe kind.<|end|>\n{turns}Sure")
    );
    assert_eq!(rendered(&["--system", "none"]), format!("<|bos|>{turns}Sure"));
    assert_eq!(rendered(&["--thinking", "empty"]), format!("<|bos|>{turns}<think>\n\n</think>\n\nSure"));
    assert_eq!(
        rendered(&["--thinking", "It is a game."]),
        format!("<|bos|>{turns}<think>\nIt is a game.\n</think>\n\nSure")
    );
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let fixture = Fixture::new();
    let data = fixture.path("data.jsonl").display().to_string();
    for model in ["http://127.0.0.1:1/v1#name", "https://127.0.0.1:1/v1#name"] {
        let output = run(&["eval", "--model", model, "--data", &data]);
        assert_eq!(output.code, 4, "{output:?}");
        let address = model.trim_end_matches("#name");
        assert!(output.stderr.contains(address) && output.stderr.contains("hint: "), "{output:?}");
    }
}

/// A model of 72 billion weights, of which the file has nothing but the sizes.
#[test]
fn a_model_that_does_not_fit_into_memory_is_refused_before_it_is_read() {
    let mut model = ModelDir::tiny();
    let (width, vocab) = (8192_u64, 151_936_u64);
    for (field, value) in [
        ("hidden_size", width),
        ("intermediate_size", 29_568),
        ("num_hidden_layers", 80),
        ("num_attention_heads", 64),
        ("num_key_value_heads", 8),
        ("head_dim", 128),
        ("vocab_size", vocab),
    ] {
        model.config[field] = json!(value);
    }
    let dir = tempfile::tempdir().unwrap();
    model.write(dir.path());
    let bytes = 2 * width * vocab;
    let embedding = json!({"dtype": "BF16", "shape": [vocab, width], "data_offsets": [0, bytes]});
    let file = safetensors(&json!({ "model.embed_tokens.weight": embedding }), &[]);
    let path = dir.path().join("model.safetensors");
    std::fs::write(&path, &file).unwrap();
    // A hole in the file: it takes no room on the disk.
    std::fs::File::options().write(true).open(&path).unwrap().set_len(file.len() as u64 + bytes).unwrap();
    let name = dir.path().to_str().unwrap();
    let probe = ["probe", "--model", name, "--prompt", "Hello", "--response", "Sure", "--k", "2"];
    let output = run(&[&probe[..], &["--dtype", "f32"]].concat());
    assert_eq!(output.code, 6, "{output:?}");
    assert!(
        output.stderr.contains("it takes 286.9 GB") && output.stderr.contains(" GB are free"),
        "{output:?}"
    );
    assert!(output.stderr.contains("a more quantised GGUF file"), "{output:?}");
    let output = run(&[&probe[..], &["--dtype", "quantized"]].concat());
    assert!(output.code == 6 && output.stderr.contains("--dtype bf16"), "{output:?}");
    let shown = json_of(&run(&["models", "show", name, "--json"]).done().stdout);
    assert_eq!(shown["decoder"]["memory"]["bf16"], 2 * shown["decoder"]["n_parameters"].as_u64().unwrap());
}
