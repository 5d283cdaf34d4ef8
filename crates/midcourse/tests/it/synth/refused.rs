//! Command lines, files and directories that are refused, each with its exit code and its message.

use serde_json::json;

use super::{fixture, jsonl, names_in, prompt, refused, response, run, synth};
use crate::fixtures::{self, Fixture};

#[test]
fn options_that_make_no_sense_are_refused() {
    let fixture = fixture();
    for (options, named) in [
        (&["--shard", "0/3"][..], &["--shard", "expected I/N with I from 1 to N, found \"0/3\""][..]),
        (&["--shard", "4/3"], &["--shard", "found \"4/3\""]),
        (&["--shard", "x"], &["--shard", "found \"x\""]),
        (&["--shard", "1/0"], &["--shard", "found \"1/0\""]),
        (&["--shard", "1/3/3"], &["--shard"]),
        (&["--cuts", "0"], &["cuts: expected 1 to 32, found 0"]),
        (&["--cuts", "33"], &["cuts: expected 1 to 32, found 33"]),
        (&["--cuts", "-1"], &["--cuts"]),
        (&["--candidates", "0"], &["candidates: expected 1 to 1024, found 0"]),
        (&["--candidates", "1025"], &["candidates: expected 1 to 1024, found 1025"]),
        (
            &["--candidates", "4", "--decoding", "greedy"],
            &["candidates: 4 greedy candidates are all the same"],
        ),
        (&["--candidates", "4", "--temperature", "0"], &["candidates: 4 greedy candidates are all the same"]),
        (&["--temperature", "0.5"], &["--temperature: greedy decoding draws nothing", "--decoding sample"]),
        (
            &["--temperature", "0.5", "--decoding", "greedy"],
            &["--temperature: greedy decoding draws nothing"],
        ),
        (&["--top-p", "0.5"], &["--top-p: greedy decoding draws nothing"]),
        (&["--decoding", "sample", "--temperature", "nan"], &["temperature"]),
        (&["--decoding", "sample", "--top-p", "0"], &["top-p"]),
        (&["--decoding", "beam"], &["--decoding"]),
        (&["--max-new-tokens", "0"], &["max-new-tokens: expected 1 to 100000, found 0"]),
        (&["--safe-response", "none"], &["--safe-response"]),
        (&["--cut-rule", "words"], &["--cut-rule"]),
        (&["--preset", "huge"], &["--preset"]),
        (&["--test-share", "1"], &["--test-share", "expected a number from 0 to less than 1, found 1"]),
        (&["--test-share", "-0.1"], &["--test-share"]),
        (&["--limit", "0"], &["--limit: expected 1 or more, found 0"]),
        (&["--batch-paths", "0"], &["--batch-paths: expected 1 or more, found 0"]),
        (&["--threads", "0"], &["--threads: expected 1 or more, found 0"]),
        (&["--seed", "-1"], &["--seed"]),
        (&["--exclude"], &["--exclude"]),
        (&["--bengin", "x"], &["--bengin"]),
        (&["merge"], &["merge"]),
    ] {
        refused(&synth(&fixture, "out", options), 2, named);
        assert!(!fixture.path("out").exists(), "{options:?}");
    }
    for (args, named) in [
        (&["synth"][..], "--model is missing"),
        (&["synth", "--model", "smollm2"], "--data is missing"),
        (&["synth", "--resume"], "--resume: --out is missing"),
    ] {
        refused(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>(), 2, &[named]);
    }
}

#[test]
fn files_of_texts_that_hold_none_are_refused() {
    let fixture = fixture();
    for (name, bytes, named) in [
        ("empty.txt", &b""[..], "empty.txt: expected a text on a line of its own, found an empty file"),
        (
            "blank.txt",
            b"\xef\xbb\xbf \n\n",
            "blank.txt: expected a text on a line of its own, found an empty file",
        ),
        (
            "comments.txt",
            b"# one\n  # two\n",
            "comments.txt: expected a text on a line of its own, found comments only",
        ),
        ("binary.txt", b"\xff\xfe\x00", "binary.txt"),
        ("missing.txt", b"", "missing.txt: No such file or directory"),
        (".", b"", "expected a regular file, found a directory"),
    ] {
        if !["missing.txt", "."].contains(&name) {
            fixture.write(name, bytes);
        }
        let path = fixture.path(name).display().to_string();
        for flag in ["--triggers", "--refusal-openers"] {
            refused(&synth(&fixture, "out", &[flag, &path]), 3, &[named]);
        }
    }
    assert!(!fixture.path("out").exists());
}

#[test]
fn a_directory_that_holds_something_is_left_as_it_is() {
    let fixture = fixture();
    run(&fixture, "run", &[]);
    let there = names_in(&fixture.path("run"));
    refused(&synth(&fixture, "run", &[]), 5, &["/run: a run is already there", "--resume"]);
    assert_eq!(names_in(&fixture.path("run")), there);
    std::fs::create_dir(fixture.path("mine")).unwrap();
    fixture.write("mine/notes.txt", "mine");
    refused(&synth(&fixture, "mine", &[]), 5, &["/mine: a run is already there"]);
    assert_eq!(names_in(&fixture.path("mine")), ["notes.txt"]);
    refused(&synth(&fixture, "data.jsonl", &[]), 5, &["data.jsonl"]);
    let lock = std::fs::File::open(fixture.path("run/.lock")).unwrap();
    lock.lock().unwrap();
    refused(&synth(&fixture, "run", &["--resume"]), 5, &["/run: another process (pid "]);
}

#[test]
fn there_must_be_a_synthesis_to_go_on_with() {
    let fixture = fixture();
    refused(&synth(&fixture, "nothing", &["--resume"]), 5, &["/nothing: nothing to resume there"]);
    assert!(!fixture.path("nothing").exists());
    fixture.run_eval("eval", &[]);
    refused(&synth(&fixture, "eval", &["--resume"]), 3, &["run.toml"]);
    run(&fixture, "run", &[]);
    let at = fixture.path("run").display().to_string();
    refused(&["eval".into(), "--resume".into(), "--out".into(), at], 3, &["run.toml"]);
}

/// Takes the end of a run away, so that there is something to go on with.
fn halve(fixture: &Fixture, out: &str) {
    let grown = fixture.read(&format!("{out}/candidates.jsonl"));
    for name in super::RECORDS {
        std::fs::remove_file(fixture.path(out).join(name)).unwrap();
    }
    std::fs::create_dir(fixture.path(out).join("parts")).unwrap();
    let half: String = grown.split_inclusive('\n').take(9).collect();
    fixture.write(&format!("{out}/parts/00000.candidates.jsonl"), half);
}

#[test]
fn a_run_goes_on_with_its_own_settings_only() {
    let fixture = fixture();
    run(&fixture, "run", &[]);
    run(&fixture, "whole", &[]);
    halve(&fixture, "run");
    for (options, named) in [
        (&["--cuts", "3"][..], "cuts = 4 (now 3)"),
        (&["--seed", "4"], "seed = 0 (now 4)"),
        (&["--max-new-tokens", "20"], "max-new-tokens = 128 (now 20)"),
        (&["--opener", "shared"], "opener = "),
        (&["--safe-response", "model"], "safe-response = "),
        (&["--require-all"], "require-all"),
        (&["--decoding", "sample"], "decoding = "),
        (&["--shard", "1/2"], "shard"),
        (&["--limit", "3"], "limit"),
        (&["--preset", "paper"], "cut-rule = "),
        (&["--judge", "strings"], "judge = "),
        (&["--system", "none"], "system = "),
    ] {
        let options = [&["--resume"], options].concat();
        refused(
            &synth(&fixture, "run", &options),
            5,
            &["/run/run.toml: the run there was made with ", named],
        );
    }
    // What changes no record may be another.
    run(&fixture, "run", &["--resume", "--threads", "1", "--batch-paths", "3", "--max-failed", "9"]);
    super::assert_same(&fixture, "run", "whole");
}

#[test]
fn a_run_goes_on_with_its_own_files_only() {
    let fixture = fixture();
    let at = |name: &str| fixture.path(name).display().to_string();
    fixture.write("triggers.txt", "But no, that is not fair.\n");
    fixture.write("openers.txt", "I would rather not help.\n");
    fixture.write("exclude.jsonl", "{\"prompt\":\"May I borrow a pen?\"}\n");
    let (triggers, openers, exclude) = (at("triggers.txt"), at("openers.txt"), at("exclude.jsonl"));
    let texts = ["--triggers", &triggers, "--refusal-openers", &openers, "--exclude", &exclude];
    run(&fixture, "whole", &texts);
    run(&fixture, "run", &texts);
    halve(&fixture, "run");
    let row = jsonl([json!({"prompt": prompt(0), "response": response(3)})]);
    let texts = "other texts in a file of triggers or refusal openers";
    for (name, bytes, named) in [
        ("data.jsonl", row.as_str(), "other rows in a data file of the same name"),
        ("benign.jsonl", &row, "other rows in a data file of the same name"),
        ("triggers.txt", "But no, it would be unfair.\n", texts),
        ("openers.txt", "I will not help.\n", texts),
        (
            "exclude.jsonl",
            "{\"prompt\":\"May I borrow a cup?\"}\n",
            "other prompts in an excluded file of the same name",
        ),
        ("script.jsonl", "{\"match\":\"\",\"continuations\":[\" no.\"]}\n", "another model file"),
    ] {
        let earlier = fixture.read(name);
        fixture.write(name, bytes);
        let said = "/run: the run there was made with ";
        refused(&synth(&fixture, "run", &["--resume"]), 5, &[said, named]);
        fixture.write(name, earlier);
    }
    // Comments and order of lines that stay the same texts are no other texts.
    fixture.write("triggers.txt", "# Mine.\nBut no, that is not fair.\n\n");
    run(&fixture, "run", &["--resume"]);
    super::assert_same(&fixture, "run", "whole");
}

#[test]
fn records_that_are_damaged_are_refused() {
    let fixture = fixture();
    run(&fixture, "run", &[]);
    halve(&fixture, "run");
    let path = "run/parts/00000.candidates.jsonl";
    let grown = fixture.read(path);
    let second = grown.lines().nth(1).unwrap();
    let sample: serde_json::Value = serde_json::from_str(second).unwrap();
    let sample = sample["sample"].as_str().unwrap();
    for (what, damaged, named) in [
        ("no JSON", "gossip".to_owned(), "00000.candidates.jsonl:2: expected a record"),
        ("half", second[..40].to_owned(), "00000.candidates.jsonl:2: expected a record"),
        ("a slot that is none", second.replace("\"slot\":\"", "\"slot\":\"no"), "00000.candidates.jsonl:2"),
        ("a sample of another run", second.replace(sample, "ffffffffffffffff"), "is not in this window"),
    ] {
        let lines: Vec<&str> = grown
            .lines()
            .enumerate()
            .map(|(at, line)| if at == 1 { damaged.as_str() } else { line })
            .collect();
        fixture.write(path, lines.join("\n") + "\n");
        refused(&synth(&fixture, "run", &["--resume"]), 5, &[named]);
        assert!(!fixture.path("run/rankings.jsonl").exists(), "{what}");
    }
    fixture.write(path, grown);
    let manifest = fixture.read("run/manifest.json");
    for (text, named) in [
        ("{}".to_owned(), "manifest.json:1: expected the manifest of a synthesis"),
        ("gossip".to_owned(), "manifest.json:1"),
        (
            manifest.replace("midcourse.synth/1", "midcourse.synth/9"),
            "expected schema midcourse.synth/1, found midcourse.synth/9",
        ),
    ] {
        fixture.write("run/manifest.json", text);
        refused(&synth(&fixture, "run", &["--resume"]), 5, &[named]);
    }
}

#[test]
fn the_pages_of_a_synthesis_can_be_made_again() {
    let fixture = fixture();
    run(&fixture, "run", &[]);
    let pages = ["report.html", "report.md"].map(|name| (name, fixture.read(&format!("run/{name}"))));
    for (name, _) in &pages {
        std::fs::remove_file(fixture.path("run").join(name)).unwrap();
    }
    fixtures::run(&["report".to_owned(), fixture.path("run").display().to_string()]).done();
    for (name, page) in pages {
        assert!(fixture.read(&format!("run/{name}")) == page, "{name}");
    }
}
