//! What is written, on the rankings that TRL's goldens were made of; and the whole way through Python, where there is one.

use std::fs;
use std::path::PathBuf;

use midcourse_core::synth::Ranking;
use midcourse_core::train::{Example, Objective, ObjectiveSettings, Prepared, Preparing, Schedule};
use midcourse_engine::chat_template::TemplateChoice;
use midcourse_engine::local::ModelHeader;
use serde_json::Value;

use super::*;
use crate::signals::Signals;

/// An interpreter with the packages of requirements.txt; without it the test through Python passes by.
const PYTHON: &str = "MIDCOURSE_TRL_PYTHON";

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

/// The tiny Llama's text, and the golden rankings as examples.
struct Given {
    header: ModelHeader,
    examples: Vec<Example>,
    steps: Vec<Vec<usize>>,
}

impl Given {
    fn new() -> Self {
        let header = ModelHeader::read(&testdata("tiny-llama"), "tiny-llama", &TemplateChoice::Own).unwrap();
        let preparing =
            Preparing { template: &header.template, tokenizer: &header.tokenizer, max_tokens: 512 };
        let mut prepared = Prepared::default();
        for line in fs::read_to_string(testdata("golden/trl/rankings.jsonl")).unwrap().lines() {
            let ranking: Ranking = serde_json::from_str(line).unwrap();
            preparing.ranking(&ranking, &mut prepared).unwrap();
        }
        assert_eq!(prepared.dropped, []);
        Self { header, examples: prepared.examples, steps: vec![vec![0, 1], vec![2, 4], vec![1, 0]] }
    }

    /// Hands over all but two of the rankings, and these as held out.
    fn hand_over<T>(&self, objective: Objective, use_it: impl FnOnce(&HandOver<'_>) -> T) -> T {
        let examples: Vec<&Example> = self.examples.iter().collect();
        let data = Data {
            tokenizer: &self.header.tokenizer,
            examples: &examples,
            steps: &self.steps,
            held_out: &[3, 5],
            n_epochs: 1,
        };
        let base = Base::find(testdata("tiny-llama").to_str().unwrap(), None).unwrap();
        let accelerate = Accelerate::Processes(2, Device::Cpu);
        use_it(&HandOver { base, settings: settings(objective), data, accelerate })
    }

    fn written(&self, objective: Objective) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        self.hand_over(objective, |over| over.write(temp.path())).unwrap();
        temp
    }
}

fn settings(objective: Objective) -> Settings {
    let names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
    Settings {
        objective: ObjectiveSettings { objective, beta: 0.1, anchor: 0.5, anchor_tokens: 4 },
        lora: Lora { rank: 4, alpha: 8.0, target_modules: names.map(str::to_owned).into() },
        learning_rate: 1e-3,
        schedule: Schedule::Cosine,
        n_warmup_steps: 1,
        weight_decay: 0.0,
        adam: Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 },
        clip: 1.0,
        seed: 0,
        save_every: 2,
        keep_checkpoints: 2,
    }
}

fn rows(run: &Path, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(run.join(DIR).join("data").join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn golden(name: &str) -> Value {
    serde_json::from_slice(&fs::read(testdata("golden/trl").join(name)).unwrap()).unwrap()
}

#[test]
fn decisions_of_fork_are_those_of_the_goldens() {
    let given = Given::new();
    let run = given.written(Objective::Fork);
    let rows: Vec<Value> =
        ["train.jsonl", "eval.jsonl"].into_iter().flat_map(|name| rows(run.path(), name)).collect();
    let golden = golden("forks.json");
    for (tree, ranking) in golden["rankings"].as_array().unwrap().iter().enumerate() {
        let of_tree: Vec<&Value> = rows.iter().filter(|row| row["tree"] == tree).collect();
        let decisions = ranking["decisions"].as_array().unwrap();
        assert_eq!(of_tree.len(), decisions.len(), "tree {tree}");
        let share = ranking["n_pairs"].as_f64().unwrap() / ranking["n_chosen_branches"].as_f64().unwrap();
        for (row, decision) in of_tree.iter().zip(decisions) {
            assert_eq!(row["prompt_ids"].as_array().unwrap().len(), ranking["n_prompt_tokens"]);
            assert_eq!(row["weight"].as_f64(), decision["weight"].as_f64());
            assert_eq!(row["chosen_span"], decision["chosen_span"]);
            assert_eq!(row["rejected_span"], decision["rejected_span"]);
            let span: Vec<u64> = serde_json::from_value(decision["chosen_span"].clone()).unwrap();
            let anchor: Vec<(u64, u64, f64)> = serde_json::from_value(row["anchors"].clone()).unwrap();
            assert_eq!(anchor, [(span[0], span[1].min(span[0] + 4), share)]);
        }
    }
}

#[test]
fn rows_of_whole_answers_are_the_pairs_of_the_goldens_and_hold_their_text() {
    let given = Given::new();
    let golden = golden("pairs.json");
    let of_first = &golden["pairs"].as_array().unwrap()[..15];
    for objective in [Objective::DpoFull, Objective::Ipo] {
        let run = given.written(objective);
        let rows = rows(run.path(), "train.jsonl");
        for (row, pair) in rows.iter().zip(of_first) {
            for side in ["chosen", "rejected"] {
                let n_tokens = &pair[format!("n_{side}_tokens")];
                assert_eq!(row[format!("{side}_span")], serde_json::json!([0, n_tokens]));
                assert_eq!(row[format!("{side}_ids")].as_array().unwrap().len(), *n_tokens);
            }
        }
        let lines = fs::read_to_string(testdata("golden/trl/pairs.jsonl")).unwrap();
        let pair: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!(
            rows[0]["chosen"],
            format!("{}<|im_end|>\n", pair["chosen"][0]["content"].as_str().unwrap())
        );
        assert!(rows[0]["prompt"].as_str().unwrap().ends_with("<|im_start|>assistant\n"));
    }
}

#[test]
fn what_is_imitated_has_nothing_rejected() {
    let given = Given::new();
    let run = given.written(Objective::Recovery);
    let rows = rows(run.path(), "train.jsonl");
    let n_rows = |tree: usize| rows.iter().filter(|row| row["tree"] == tree).count();
    // A refusal and four corrections; of the contrast ranking its response; the third has no response to turn from.
    assert_eq!((n_rows(0), n_rows(1)), (5, 1));
    assert!(
        rows.iter().all(|row| row["rejected_span"] == serde_json::json!([0, 0]) && row["rejected"] == "")
    );
}

#[test]
fn the_directory_is_whole_and_the_same_each_time() {
    let given = Given::new();
    let run = given.written(Objective::Fork);
    let dir = run.path().join(DIR);
    let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    let expected = ["README.md", "accelerate.yaml", "data", "requirements.txt", "settings.json", "train.py"];
    assert_eq!(names, expected);
    let settings: Value = serde_json::from_slice(&fs::read(dir.join(SETTINGS)).unwrap()).unwrap();
    assert_eq!((&settings["objective"], &settings["beta"]), (&"fork".into(), &0.1.into()));
    assert_eq!(settings["steps"], serde_json::json!([[0, 1], [2, 4], [1, 0]]));
    assert!(Path::new(settings["model"].as_str().unwrap()).join("config.json").exists());
    let yaml = fs::read_to_string(dir.join(ACCELERATE)).unwrap();
    assert!(yaml.contains("num_processes: 2\n") && yaml.contains("use_cpu: true\n") && !yaml.contains("{{"));
    let again = given.written(Objective::Fork);
    for name in ["data/train.jsonl", "data/eval.jsonl", SETTINGS] {
        let other = again.path().join(DIR).join(name);
        assert_eq!(fs::read(dir.join(name)).unwrap(), fs::read(other).unwrap(), "{name}");
    }
}

#[test]
fn a_configuration_of_the_user_is_taken_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("own.yaml");
    fs::write(&file, "num_processes: 8\n").unwrap();
    assert_eq!(Accelerate::Given(file.clone()).yaml().unwrap(), "num_processes: 8\n");
    fs::remove_file(&file).unwrap();
    let error = Accelerate::Given(file).yaml().unwrap_err().to_string();
    assert!(error.starts_with("--accelerate-config ") && error.contains("own.yaml"), "{error}");
    assert!(Accelerate::Processes(1, Device::Gpu).yaml().unwrap().contains("distributed_type: 'NO'"));
    assert!(Accelerate::Processes(8, Device::Gpu).yaml().unwrap().contains("distributed_type: FSDP"));
    let found = Accelerate::Processes(8, Device::found()).yaml().unwrap();
    assert!(found.contains("num_processes: 8\n") && !found.contains("{{"));
}

#[test]
fn a_gguf_file_is_not_handed_over() {
    let gguf = testdata("tiny-llama.gguf");
    for name in [gguf.to_str().unwrap(), "smollm2", "hf:org/name/file.gguf"] {
        let error = Base::find(name, None).unwrap_err();
        assert_eq!(crate::failure::exit_code(&error), 6, "{error}");
    }
    let hub = Base::find("hf:org/name@main", Some("0123456789012345678901234567890123456789")).unwrap();
    let revision = Some("0123456789012345678901234567890123456789".to_owned());
    assert_eq!(hub, Base { name: "org/name".into(), revision });
    assert_eq!(crate::failure::exit_code(&Base::find("/nowhere", None).unwrap_err()), 3);
}

#[test]
fn a_python_that_is_missing_or_lacks_packages_is_named() {
    let signals = Signals::listen().unwrap();
    let missing =
        Launch { python: "/nowhere/python".into(), signals: &signals }.check(Path::new("run")).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/python"), "{missing}");
    // Anything that fails without a word.
    let lacking = Launch { python: "false".into(), signals: &signals }.check(Path::new("run")).unwrap_err();
    assert!(lacking.to_string().contains("expected the packages accelerate"), "{lacking}");
}

/// Something that passes for an interpreter with every package; launched, it does what `script` says.
fn pretended(dir: &Path, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("python");
    fs::write(&path, format!("#!/bin/sh\n[ \"$1\" = -c ] && exit 0\necho \"$@\" > arguments\n{script}\n"))
        .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_launch_goes_on_from_the_newest_checkpoint_and_brings_logs_and_adapter_back() {
    let given = Given::new();
    let run = given.written(Objective::Fork);
    let dir = run.path().join(DIR);
    fs::create_dir_all(dir.join("checkpoints/checkpoint-2")).unwrap();
    fs::write(dir.join("checkpoints/checkpoint-2/trainer_state.json"), "{}").unwrap();
    let line =
        |step: usize| format!("{{\"step\":{step},\"loss\":0.5,\"grad_norm\":1.0,\"learning_rate\":0.1}}\n");
    fs::write(dir.join("log.jsonl"), format!("{}{}{}", line(1), line(2), line(3))).unwrap();
    let script = "echo '{\"step\":3,\"loss\":0.25,\"grad_norm\":1,\"learning_rate\":0.1}' >> log.jsonl
        echo '{\"step\":3,\"eval_loss\":0.75,\"eval_runtime\":1.5}' >> log.jsonl
        mkdir adapter && echo '{}' > adapter/adapter_config.json && echo w > adapter/adapter_model.safetensors";
    let signals = Signals::listen().unwrap();
    let launch = Launch { python: pretended(run.path(), script), signals: &signals };
    let mut seen = 0;
    let launched =
        given.hand_over(Objective::Fork, |over| over.launch(run.path(), &launch, &mut |_| seen += 1));
    assert_eq!(launched.unwrap(), Exported { config: "{}\n".into(), weights: b"w\n".to_vec() });
    let arguments = fs::read_to_string(dir.join("arguments")).unwrap();
    assert!(
        arguments.ends_with("accelerate.yaml train.py --resume checkpoints/checkpoint-2\n"),
        "{arguments}"
    );
    let train = fs::read_to_string(run.path().join("train.jsonl")).unwrap();
    let steps: Vec<Value> = train.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let losses: Vec<_> = steps.iter().map(|step| step["loss"].as_f64().unwrap()).collect();
    assert_eq!((losses, seen), (vec![0.5, 0.5, 0.25], 4));
    let n_tokens = |trees: &[usize]| trees.iter().map(|&tree| given.examples[tree].n_tokens()).sum::<usize>();
    assert_eq!(steps[1]["num_tokens_distinct"], n_tokens(&[0, 1, 2, 4]));
    let held_out = fs::read_to_string(run.path().join("eval.jsonl")).unwrap();
    assert_eq!(held_out, "{\"step\":3,\"epoch\":1.0,\"eval_loss\":0.75,\"eval_n_prompts\":2}\n");
}

#[test]
fn a_launch_that_fails_says_so_and_keeps_what_was_printed() {
    let given = Given::new();
    let run = given.written(Objective::Fork);
    let signals = Signals::listen().unwrap();
    let launch = Launch { python: pretended(run.path(), "echo no room >&2; exit 7"), signals: &signals };
    let failed = given.hand_over(Objective::Fork, |over| over.launch(run.path(), &launch, &mut |_| ()));
    let error = failed.unwrap_err();
    assert_eq!(error.to_string(), "TRL did not train: the launcher ended with exit status: 7");
    assert_eq!(crate::failure::exit_code(&error), 3);
    assert_eq!(fs::read_to_string(run.path().join(DIR).join("output.log")).unwrap(), "no room\n");
}

/// The whole way: two processes train, the logs and the adapter come back.
#[test]
fn two_processes_train_and_bring_an_adapter_back() {
    let Some(python) = std::env::var_os(PYTHON) else { return };
    let given = Given::new();
    let signals = Signals::listen().unwrap();
    for objective in Objective::ALL {
        let temp = tempfile::tempdir().unwrap();
        let mut seen = Vec::new();
        let trained = given.hand_over(objective, |over| {
            over.write(temp.path()).unwrap();
            let launch = Launch { python: PathBuf::from(&python), signals: &signals };
            over.launch(temp.path(), &launch, &mut |line| seen.push(line.clone())).unwrap()
        });
        assert!(trained.config.contains("\"r\": 4") && trained.weights.len() > 1000);
        let lines = |name: &str| fs::read_to_string(temp.path().join(name)).unwrap().lines().count();
        // Held out before the first step and at the second.
        assert!(
            lines("train.jsonl") == 3 && lines("eval.jsonl") >= 2 && seen.len() == 3 + lines("eval.jsonl")
        );
        let text = fs::read_to_string(temp.path().join("train.jsonl")).unwrap();
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        // Where the adapter is empty every pair costs ln 2, by the squares of IPO 25.
        let preference = match objective {
            Objective::Fork | Objective::DpoFull => std::f64::consts::LN_2,
            Objective::Ipo => 25.0,
            Objective::Recovery => continue,
        };
        let expected = preference + 0.5 * first["anchor"].as_f64().unwrap();
        assert!((first["loss"].as_f64().unwrap() - expected).abs() < 1e-5 * expected, "{first}");
    }
}
