//! Trainings that are handed over to TRL. The interpreter is a stand-in, a shell script that plays what TRL would leave;
//! `docs/trl.md` says what was run with TRL itself.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{fixture, json_of, records, run, train};
use crate::fixtures::{self, Fixture, MIDCOURSE};
use crate::serve::server::tiny_llama;
use crate::synth::refused;

/// Something that passes for an interpreter with every package; launched in the hand-over, it does what `script` says.
fn pretended(fixture: &Fixture, script: &str) -> String {
    let text = format!("#!/bin/sh\n[ \"$1\" = -c ] && exit 0\necho \"$@\" > arguments\n{script}\n");
    let path = fixture.write("python", text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Plays the training that the local engine has done into `local`, but for the first `done` steps. As the script does,
/// it adds to the log: midcourse reads on from where it was.
fn played(fixture: &Fixture, done: usize) -> String {
    let of = |name: &str| fixture.path("local").join(name).display().to_string();
    format!(
        "cat {} >> log.jsonl; tail -n +{} {} >> log.jsonl; mkdir -p adapter; cp {} {} adapter",
        of("eval.jsonl"),
        done + 1,
        of("train.jsonl"),
        of("adapter/adapter_config.json"),
        of("adapter/adapter_model.safetensors")
    )
}

#[test]
fn a_training_by_trl_leaves_what_a_local_one_leaves() {
    let fixture = fixture();
    let at = |name: &str| fixture.path(name).display().to_string();
    let (data, seen) =
        (at("data.jsonl"), ["step", "epoch", "n_prompts", "num_tokens", "num_tokens_distinct"]);
    run(&fixture, "local", &["--learning-rate", "1e-2"]);
    let python = pretended(&fixture, &played(&fixture, 0));
    let more = ["--engine", "trl", "--python", &python, "--processes", "2", "--eval-data", &data];
    let output = run(&fixture, "run", &more);
    assert!(
        output.stdout.contains("Corr_mean ") && output.stdout.contains("held-out loss: "),
        "{}",
        output.stdout
    );
    assert!(
        output.stderr.contains("step 1 of ") && output.stderr.contains("held out: loss "),
        "{}",
        output.stderr
    );
    // Steps take the same trees, whoever trains.
    let counts = |out: &str| -> Vec<Vec<Value>> {
        let of = |record: &Value| seen.iter().map(|&key| record[key].clone()).collect();
        records(&fixture, &format!("{out}/train.jsonl")).iter().map(of).collect()
    };
    assert_eq!(counts("run"), counts("local"));
    let [local, by_trl] = ["local", "run"].map(|out| json_of(&fixture, &format!("{out}/manifest.json")));
    for key in ["best", "counts", "n_steps", "warnings"] {
        assert_eq!(by_trl[key], local[key], "{key}");
    }
    for key in ["n_steps", "n_tokens_distinct"] {
        assert_eq!(by_trl["sessions"][0][key], local["sessions"][0][key], "{key}");
    }
    let files = ["midcourse.json", "adapter_config.json"].map(|name| format!("adapter/{name}"));
    for name in &files {
        assert_eq!(fixture.read(&format!("run/{name}")), fixture.read(&format!("local/{name}")), "{name}");
    }
    for name in ["report.html", "report.md", "adapter/README.md", "before/scores.json"] {
        assert!(fixture.path("run").join(name).is_file(), "{name}");
    }
    assert_ne!(fixture.read("run/before/trials.jsonl"), fixture.read("run/after/trials.jsonl"));
    // What is done is not done again, and needs no Python.
    run(&fixture, "run", &["--resume", "--python", "/nowhere/python"]);
    assert_eq!(json_of(&fixture, "run/manifest.json"), by_trl);
}

#[test]
fn a_dry_run_by_trl_writes_what_is_gone_on_with() {
    let fixture = fixture();
    let more = ["--engine", "trl", "--processes", "3", "--lora-targets", "q,down", "--dry-run"];
    let output = run(&fixture, "run", &more);
    assert!(
        output.stdout.contains("trees to train on") && !output.stdout.contains("passes"),
        "{}",
        output.stdout
    );
    assert!(
        output.stderr.contains("accelerate launch --config_file accelerate.yaml train.py"),
        "{}",
        output.stderr
    );
    let settings = json_of(&fixture, "run/trl/settings.json");
    let n_steps = json_of(&fixture, "run/manifest.json")["n_steps"].as_u64().unwrap();
    assert_eq!(settings["steps"].as_array().unwrap().len() as u64, n_steps);
    assert_eq!(settings["lora"]["target_modules"], serde_json::json!(["q_proj", "down_proj"]));
    assert_eq!(settings["n_warmup_steps"].as_u64(), Some(n_steps.div_ceil(20)));
    assert_eq!(settings["model"], tiny_llama().canonicalize().unwrap().display().to_string());
    assert!(fixture.read("run/trl/accelerate.yaml").contains("num_processes: 3\n"));
    for name in ["train.py", "README.md", "requirements.txt", "data/train.jsonl", "data/eval.jsonl"] {
        assert!(fixture.path("run/trl").join(name).is_file(), "{name}");
    }
    assert!(!fixture.path("run/adapter").exists() && !fixture.path("run/train.jsonl").exists());
    refused(&train(&fixture, "run", &more), 5, &["a run is already there"]);
    // What was changed by hand counts, and another number of processes too.
    let changed =
        fixture.read("run/trl/settings.json").replace("\"rows_per_device\": 2", "\"rows_per_device\": 7");
    fixture.write("run/trl/settings.json", &changed);
    run(&fixture, "local", &["--lora-targets", "q,down"]);
    let python = pretended(&fixture, &played(&fixture, 0));
    run(&fixture, "run", &["--resume", "--python", &python, "--processes", "1"]);
    assert!(changed.contains("\"rows_per_device\": 7") && fixture.read("run/trl/settings.json") == changed);
    assert!(fixture.read("run/trl/accelerate.yaml").contains("num_processes: 1\n"));
    assert!(fixture.path("run/adapter/adapter_model.safetensors").is_file());
}

#[test]
fn a_python_that_cannot_train_is_named_with_what_to_do() {
    let fixture = fixture();
    let packages = "#!/bin/sh\necho \"ModuleNotFoundError: No module named 'trl'\" >&2; exit 1\n";
    let path = fixture.write("python", packages);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let lacking = train(&fixture, "run", &["--engine", "trl", "--python", &path.display().to_string()]);
    let requirements = fixture.path("run/trl/requirements.txt").display().to_string();
    let named = ["found: ModuleNotFoundError: No module named 'trl'", "pip install -r ", &requirements];
    refused(&lacking, 3, &named);
    assert!(fixture.path("run/trl/requirements.txt").is_file());
    let missing = train(&fixture, "run", &["--resume", "--python", "/nowhere/python"]);
    refused(
        &missing,
        3,
        &["--python /nowhere/python: expected an interpreter", "midcourse train --resume --out "],
    );
    let failing = pretended(&fixture, "echo no room >&2; exit 7");
    let failing = train(&fixture, "run", &["--resume", "--python", &failing]);
    refused(&failing, 3, &["  | no room", "the launcher ended with exit status: 7", "output.log"]);
    assert!(!fixture.path("run/adapter").exists());
}

#[test]
fn signals_end_a_training_by_trl_and_it_goes_on_from_its_checkpoint() {
    let fixture = fixture();
    run(&fixture, "local", &[]);
    let of_two = "mkdir -p checkpoints/checkpoint-2; echo '{}' > checkpoints/checkpoint-2/trainer_state.json
        head -n 2 ../../local/train.jsonl > log.jsonl; sleep 600";
    let python = pretended(&fixture, of_two);
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut command = fixtures::command(MIDCOURSE);
        command.args(train(&fixture, signal, &["--engine", "trl", "--python", &python]));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut session = command.spawn().unwrap();
        let log = fixture.path(&format!("{signal}/train.jsonl"));
        while std::fs::read_to_string(&log).unwrap_or_default().lines().count() < 2 {
            assert!(session.try_wait().unwrap().is_none(), "it ended before it could be stopped");
            std::thread::sleep(Duration::from_millis(5));
        }
        let sent = Command::new("kill").args(["-s", signal, &session.id().to_string()]).status().unwrap();
        assert!(sent.success());
        assert_eq!(session.wait().unwrap().code(), Some(code));
    }
    let python = pretended(&fixture, &played(&fixture, 2));
    let output = run(&fixture, "INT", &["--resume", "--python", &python]);
    assert!(
        output.stderr.contains("step 3 of ") && !output.stderr.contains("step 2 of "),
        "{}",
        output.stderr
    );
    assert!(fixture.read("INT/trl/arguments").ends_with("--resume checkpoints/checkpoint-2\n"));
    let manifest = json_of(&fixture, "INT/manifest.json");
    let of = |key: &str| {
        manifest["sessions"].as_array().unwrap().iter().map(|s| s[key].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(Some(of("n_steps")), manifest["n_steps"].as_u64());
    let local = json_of(&fixture, "local/manifest.json");
    assert_eq!(Some(of("n_tokens_distinct")), local["sessions"][0]["n_tokens_distinct"].as_u64());
}
