//! A disk that fills up while rankings, pairs or pages are written: no half file stands under its name, and the run
//! can go on.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use super::{assert_same, fixture, jsonl, made, names_in, prompt, response, run, synth};
use crate::fixtures::{Fixture, Output};
use crate::full_disk::in_shell;
use crate::tiny_model::Noise;

/// Runs with no more than so many blocks of 512 bytes a file.
pub(crate) fn limited(args: &[String], n_blocks: usize) -> Output {
    Output::of(&mut in_shell(&format!("trap '' XFSZ; ulimit -f {n_blocks}; exec \"$0\" \"$@\""), args))
}

/// The file that the disk had no room for.
pub(crate) fn too_large(output: &Output) -> String {
    assert_eq!(output.code, 5, "{output:?}");
    let error = output.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
    let (path, why) = error["error: ".len()..].split_once(": ").unwrap();
    assert!(why.contains("File too large"), "{error}");
    let hint = "hint: check that the disk has room and that the directory may be written to\n";
    assert!(output.stderr.ends_with(hint), "{}", output.stderr);
    Path::new(path).file_name().unwrap().to_str().unwrap().to_owned()
}

/// Whatever stands under a final name is what a whole run has there.
fn assert_no_half_file(fixture: &Fixture, out: &str, whole: &str) {
    for (name, bytes) in made(fixture, whole) {
        let found = std::fs::read(fixture.path(out).join(&name));
        assert!(found.is_err() || found.unwrap() == bytes, "{out}/{name} is a half file");
    }
    if let Ok(page) = std::fs::read_to_string(fixture.path(out).join("report.html")) {
        assert!(page.ends_with("</html>\n"));
    }
    let new: Vec<String> = names_in(&fixture.path(out))
        .into_iter()
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "new"))
        .collect();
    assert!(new.is_empty(), "{out}: {new:?}");
}

/// Rows whose responses cannot be made small.
fn large_fixture() -> Fixture {
    let fixture = fixture();
    let row = |i: usize| {
        let mut noise = Noise::new(i as u64);
        let letter = |at: usize| match at % 64 {
            62 => ',',
            63 => ' ',
            at if at % 8 == 7 => ' ',
            _ => char::from(b'a' + noise.below(26) as u8),
        };
        let noise: String = (0..6_400).map(letter).collect();
        json!({"prompt": prompt(i), "response": format!("{noise}and so on. {}", response(i))})
    };
    fixture.write("data.jsonl", jsonl((0..6).map(row)));
    fixture
}

#[test]
fn a_full_disk_stops_a_run_that_goes_on_when_there_is_room() {
    let fixture = fixture();
    run(&fixture, "whole", &[]);
    let mut files = BTreeSet::new();
    for n_blocks in [0, 1, 2, 4, 8, 12, 24, 38, 44, 64, 100] {
        let out = format!("cut-{n_blocks}");
        let output = limited(&synth(&fixture, &out, &[]), n_blocks);
        files.insert(too_large(&output));
        assert_no_half_file(&fixture, &out, "whole");
        let is_begun = fixture.path(&out).join("run.toml").exists();
        run(&fixture, &out, if is_begun { &["--resume"] } else { &[] });
        assert_same(&fixture, &out, "whole");
    }
    for file in ["manifest.json", "00000.candidates.jsonl", "00000.rankings.jsonl", "report.html"] {
        assert!(files.contains(file), "{file}: {files:?}");
    }
}

#[test]
fn a_disk_that_is_full_when_pairs_are_written_leaves_the_old_ones_whole() {
    let fixture = large_fixture();
    run(&fixture, "whole", &[]);
    run(&fixture, "again", &[]);
    let mut files = BTreeSet::new();
    for (n_blocks, is_there) in [(4, true), (46, true), (46, false), (80, false)] {
        if !is_there && fixture.path("again/data").exists() {
            std::fs::remove_dir_all(fixture.path("again/data")).unwrap();
        }
        files.insert(too_large(&limited(&synth(&fixture, "again", &["--resume"]), n_blocks)));
        assert_no_half_file(&fixture, "again", "whole");
        let data = fixture.path("again/data");
        assert!(data.is_dir() == is_there || n_blocks == 80, "{n_blocks}");
    }
    assert!(files.iter().any(|file| file.starts_with("train-")), "{files:?}");
    run(&fixture, "again", &["--resume"]);
    assert_same(&fixture, "again", "whole");
}
