//! A disk that fills up during a training: no half checkpoint and no half adapter, and the training can go on.

use std::collections::BTreeSet;
use std::path::Path;

use super::{assert_same, fixture, run, train};
use crate::synth::full_disk::{limited, too_large};
use crate::synth::names_in;

#[test]
fn a_full_disk_stops_a_training_that_goes_on_when_there_is_room() {
    let fixture = fixture();
    run(&fixture, "whole", &["--lora-rank", "8"]);
    let size = |name: &str| {
        let last = names_in(&fixture.path("whole/checkpoints")).pop().unwrap();
        std::fs::metadata(fixture.path(&format!("whole/checkpoints/{last}/{name}"))).unwrap().len() as usize
            / 512
    };
    let (adapter, optimizer) = (size("adapter_model.safetensors"), size("optimizer.safetensors"));
    let mut files = BTreeSet::new();
    for n_blocks in [0, 1, 2, 4, 8, adapter / 2, adapter + 1, optimizer - 1] {
        let out = format!("cut-{n_blocks}");
        let more = ["--lora-rank", "8", "--reference-cache", "off"];
        files.insert(too_large(&limited(&train(&fixture, &out, &more), n_blocks)));
        let run_dir = fixture.path(&out);
        for dir in [run_dir.clone(), run_dir.join("checkpoints")] {
            let names = if dir.is_dir() { names_in(&dir) } else { Vec::new() };
            assert!(
                names.iter().all(|name| Path::new(name).extension().is_none_or(|end| end != "new")),
                "{n_blocks}: {names:?}"
            );
        }
        let is_begun = run_dir.join("run.toml").exists();
        run(&fixture, &out, if is_begun { &["--resume"] } else { &more });
        assert_same(&fixture, &out, "whole");
    }
    for file in ["manifest.json", "adapter_model.safetensors", "optimizer.safetensors"] {
        assert!(files.contains(file), "{file}: {files:?}");
    }
}
