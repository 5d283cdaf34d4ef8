//! Model files with random bytes changed: they may be read or refused, but nothing may panic.

use tempfile::TempDir;

use crate::fixtures::run;
use crate::tiny_gguf::Gguf;
use crate::tiny_model::Noise;
use crate::tiny_safetensors::ModelDir;

/// Variants of each file.
const N_VARIANTS: usize = 60;

fn corrupted(bytes: &[u8], noise: &mut Noise) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=noise.below(4) {
        let at = noise.below(bytes.len());
        bytes[at] = [0, 1, 0x7f, 0xff, bytes[at] ^ 0x10][noise.below(5)];
    }
    bytes
}

fn assert_no_panic(model: &str, variant: usize) {
    let output = run(&["probe", "--model", model, "--prompt", "Hello", "--response", "Sure", "--k", "2"]);
    let is_documented = [0, 2, 3, 6].contains(&output.code);
    assert!(is_documented && !output.stderr.contains("panicked"), "variant {variant}: {output:?}");
}

#[test]
fn gguf_headers() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("model.gguf");
    let whole = Gguf::tiny().write();
    let (header, data) = whole.bytes.split_at(*whole.boundaries.last().unwrap());
    let mut noise = Noise::new(3);
    for variant in 0..N_VARIANTS {
        std::fs::write(&path, [&corrupted(header, &mut noise), data].concat()).unwrap();
        assert_no_panic(path.to_str().unwrap(), variant);
    }
}

#[test]
fn files_of_safetensors_directories() {
    let mut noise = Noise::new(4);
    for name in ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"] {
        let dir = TempDir::new().unwrap();
        ModelDir::tiny().write(dir.path());
        let path = dir.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        let (header, rest) = whole.split_at(whole.len().min(1000));
        for variant in 0..N_VARIANTS / 4 {
            std::fs::write(&path, [&corrupted(header, &mut noise), rest].concat()).unwrap();
            assert_no_panic(dir.path().to_str().unwrap(), variant);
        }
    }
}
