//! `midcourse export merged` and `midcourse export adapter`: what is written, and what is refused.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fixtures::{Fixture, Output, run};
use crate::full_disk::{in_shell, unshared};

fn testdata(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name).display().to_string()
}

/// An export of `model` with `adapter` to `out` in the fixture.
fn export(fixture: &Fixture, what: &str, [model, adapter, out]: [&str; 3], more: &[&str]) -> Vec<String> {
    let (model, adapter) = (testdata(model), testdata(adapter));
    let out = fixture.path(out).display().to_string();
    let given = ["export", what, "--model", &model, "--adapter", &adapter, "--out", &out];
    given.into_iter().chain(more.iter().copied()).map(str::to_owned).collect()
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const TINY: &str = "tiny-llama-adapter";

#[test]
fn both_exports_say_what_they_wrote() {
    let fixture = Fixture::new();
    for (what, model, out, format, n_files) in [
        ("merged", "tiny-llama", "merged", "safetensors", 4),
        ("merged", "tiny-llama-q4.gguf", "deep/merged.gguf", "gguf", 1),
        ("adapter", "tiny-llama-q4.gguf", "adapter.gguf", "gguf", 1),
    ] {
        let output = run(&export(&fixture, what, [model, TINY, out], &["--json"])).done();
        let written: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!((written["format"].as_str(), written["n_files"].as_u64()), (Some(format), Some(n_files)));
        let path = fixture.path(out);
        let n_bytes: u64 = if path.is_dir() {
            names_in(&path).iter().map(|name| path.join(name).metadata().unwrap().len()).sum()
        } else {
            path.metadata().unwrap().len()
        };
        assert_eq!(written["n_bytes"], n_bytes, "{out}");
    }
    assert_eq!(
        names_in(&fixture.path("merged")),
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    );
}

/// The likeliest next tokens of a probe, with their log-probabilities.
fn probed(model: &Path, more: &[&str]) -> Vec<(u64, f64)> {
    let model = model.display().to_string();
    let given = ["probe", "--model", &model, "--prompt", "Why?", "--response", "Well", "--k", "1", "--json"];
    let probe: Value = serde_json::from_str(&run(&[&given, more].concat()).done().stdout).unwrap();
    let next = probe["next_tokens"].as_array().unwrap();
    next.iter().map(|next| (next["id"].as_u64().unwrap(), next["logprob"].as_f64().unwrap())).collect()
}

#[test]
fn a_merged_model_is_the_adapted_one() {
    let fixture = Fixture::new();
    for (model, out) in [("tiny-llama", "merged"), ("tiny-llama-q4.gguf", "merged.gguf")] {
        run(&export(&fixture, "merged", [model, TINY, out], &["--dtype", "f32"])).done();
        let adapted = probed(&PathBuf::from(testdata(model)), &["--adapter", &testdata(TINY)]);
        assert_eq!(probed(&fixture.path(out), &[]), adapted, "{model}");
        assert_ne!(probed(&PathBuf::from(testdata(model)), &[]), adapted);
    }
}

/// Runs an export that must be refused with this code and a message that holds all of `named`; nothing is made.
fn assert_refused(fixture: &Fixture, args: &[String], (code, named): (i32, &[&str])) {
    let before = names_in(&fixture.path(""));
    let output = run(args);
    assert_eq!((output.code, output.stdout.as_str()), (code, ""), "{args:?}: {}", output.stderr);
    let all = named.iter().all(|named| output.stderr.contains(named));
    assert!(all && output.stderr.contains("\nhint: "), "{}", output.stderr);
    assert_eq!(names_in(&fixture.path("")), before, "{args:?}");
}

#[test]
fn another_format_than_the_bases_is_not_supported() {
    let fixture = Fixture::new();
    for (model, out, format, named) in [
        ("tiny-llama", "a.gguf", "gguf", ["--format gguf: ", "is safetensors, which is not supported"]),
        (
            "tiny-llama.gguf",
            "a",
            "safetensors",
            ["--format safetensors: ", "is gguf, which is not supported"],
        ),
    ] {
        let args = export(&fixture, "merged", [model, TINY, out], &["--format", format]);
        assert_refused(&fixture, &args, (6, &named));
    }
}

#[test]
fn nothing_is_written_over_and_files_are_named_for_what_they_are() {
    let fixture = Fixture::new();
    fixture.write("there.gguf", "something");
    std::fs::create_dir(fixture.path("there")).unwrap();
    let (occupied, ending) = ("there: something is already there", "expected a name that ends with .gguf");
    for (what, model, out, code, named) in [
        ("merged", "tiny-llama.gguf", "there.gguf", 5, "there.gguf: something is already there"),
        ("merged", "tiny-llama", "there", 5, occupied),
        ("adapter", "tiny-llama.gguf", "there.gguf", 5, "there.gguf: something is already there"),
        ("merged", "tiny-llama.gguf", "a.bin", 2, ending),
        ("adapter", "tiny-llama.gguf", "a", 2, ending),
    ] {
        assert_refused(&fixture, &export(&fixture, what, [model, TINY, out], &[]), (code, &[named]));
    }
    assert_eq!(fixture.read("there.gguf"), "something");
}

#[test]
fn an_adapter_or_model_that_cannot_be_used_is_refused() {
    let fixture = Fixture::new();
    for (what, paths, named) in [
        (
            "merged",
            ["families/llama3.1", TINY, "a"],
            ["was made for tiny-llama and does not fit", "llama3.1: "],
        ),
        (
            "adapter",
            ["families/qwen2.gguf", "adapters/phi3", "a.gguf"],
            ["was made for phi3", "qwen2.gguf: "],
        ),
        (
            "merged",
            ["tiny-llama", "no-such", "a"],
            ["expected adapter_config.json in the directory", "no-such"],
        ),
        ("merged", ["no-such.gguf", TINY, "a.gguf"], ["found nothing there", "no-such.gguf"]),
    ] {
        assert_refused(&fixture, &export(&fixture, what, paths, &[]), (3, &named));
    }
    let script = format!("scripted:{}", fixture.path("script.jsonl").display());
    let out = fixture.path("a").display().to_string();
    let args = ["export", "merged", "--model", &script, "--adapter", &testdata(TINY), "--out", &out];
    assert_refused(&fixture, &args.map(str::to_owned), (2, &["a script has no weights"]));
}

#[test]
fn an_adapter_without_scale_has_no_gguf_file() {
    let fixture = Fixture::new();
    let adapter = fixture.path("adapter");
    std::fs::create_dir(&adapter).unwrap();
    let config = std::fs::read_to_string(testdata("tiny-llama-adapter/adapter_config.json")).unwrap();
    fixture.write("adapter/adapter_config.json", config.replace("\"lora_alpha\": 6", "\"lora_alpha\": 0"));
    let weights = "adapter_model.safetensors";
    std::fs::copy(testdata(&format!("{TINY}/{weights}")), adapter.join(weights)).unwrap();
    let adapter = adapter.display().to_string();
    let output = run(&export(&fixture, "adapter", ["tiny-llama.gguf", &adapter, "a.gguf"], &[]));
    assert_eq!(output.code, 3, "{}", output.stderr);
    assert!(output.stderr.contains("lora_alpha: expected another number than 0"), "{}", output.stderr);
}

const EXPORTS: [(&str, [&str; 3]); 3] = [
    ("merged", ["tiny-llama", TINY, "disk/merged"]),
    ("merged", ["tiny-llama.gguf", TINY, "disk/merged.gguf"]),
    ("adapter", ["tiny-llama.gguf", TINY, "disk/adapter.gguf"]),
];

fn assert_disk_full(output: &Output, system: &str) {
    assert_eq!(output.code, 5, "{output:?}");
    let error = output.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(error.contains(system), "{error}");
    assert!(output.stderr.contains("hint: check that the disk has room"), "{}", output.stderr);
}

#[test]
fn a_limit_of_the_file_size_leaves_nothing_of_an_export() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path("disk")).unwrap();
    for (what, paths) in EXPORTS {
        // Blocks of 512 bytes: 16 KB.
        let script = "trap '' XFSZ; ulimit -f 32; exec \"$0\" \"$@\"";
        let output = Output::of(&mut in_shell(script, &export(&fixture, what, paths, &[])));
        assert_disk_full(&output, "File too large");
        assert_eq!(names_in(&fixture.path("disk")), Vec::<String>::new(), "{paths:?}");
    }
}

/// Needs a kernel that lets this user mount a file system in a namespace of its own.
#[test]
fn a_full_file_system_leaves_nothing_of_an_export() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path("disk")).unwrap();
    let mounted = "mount -t tmpfs -o size=24k tmpfs \"$DISK\"";
    let may_mount = unshared(&fixture, mounted, &[]);
    if may_mount.code != 0 {
        eprintln!("skipped: {}", may_mount.stderr);
        return;
    }
    for (what, paths) in EXPORTS {
        // What is left on the disk is listed before its namespace goes.
        let script = format!("{mounted}; \"$0\" \"$@\"; code=$?; find \"$DISK\" -mindepth 1; exit $code");
        let output = unshared(&fixture, &script, &export(&fixture, what, paths, &[]));
        assert_disk_full(&output, "No space left on device");
        assert_eq!(output.stdout, "", "{paths:?}");
    }
}
