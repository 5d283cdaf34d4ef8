//! GGUF files: cut short, foreign, or with a header that lies about what follows.

use super::{Cases, INPUT, UNSUPPORTED};
use crate::tiny_gguf::{Gguf, Tensor};
use crate::tiny_model::Noise;

pub(super) fn cases() -> Cases {
    let mut cases = Cases::new();
    cut_short(&mut cases);
    foreign(&mut cases);
    lying_counts(&mut cases);
    lying_tensors(&mut cases);
    not_finite(&mut cases);
    cases
}

/// The arguments that read the case's model whole.
pub(super) const PROBE: [&str; 9] =
    ["probe", "--model", "@/model.gguf", "--prompt", "Hello", "--response", "Sure", "--k", "2"];

fn add(cases: &mut Cases, what: &str, bytes: impl AsRef<[u8]>, named: &[&str]) {
    cases.write("model.gguf", bytes);
    cases.add(what, &PROBE, INPUT, named);
}

/// At every border between fields of the header, and somewhere in fields and data.
fn cut_short(cases: &mut Cases) {
    let written = Gguf::tiny().write();
    let header = *written.boundaries.last().unwrap();
    let mut noise = Noise::new(1);
    let inside = (0..20).map(|_| 1 + noise.below(header - 1)).filter(|at| !written.boundaries.contains(at));
    for at in written.boundaries.iter().copied().chain(inside).filter(|&at| at < header) {
        let named = ["@/model.gguf: expected a GGUF header, but at byte "];
        add(cases, &format!("cut at byte {at} of the header"), &written.bytes[..at], &named);
    }
    for share in [0, 1, 3, 7] {
        let at = header + (written.bytes.len() - header) * share / 8;
        let named = ["@/model.gguf: tensor ", "bytes at offset "];
        add(cases, &format!("cut at byte {at} of the data"), &written.bytes[..at], &named);
    }
}

fn foreign(cases: &mut Cases) {
    let tiny = Gguf::tiny();
    let header = "@/model.gguf: expected a GGUF header, but at byte ";
    for (what, bytes) in [
        ("empty", &b""[..]),
        ("three bytes", b"GGU"),
        ("text", b"This is not a model."),
        ("a zip file, as PyTorch writes it", b"PK\x03\x04\x14\0\0\0\x08\0archive/data.pkl"),
        ("a pickle", b"\x80\x02}q\0X\x05\0\0\0model."),
        ("a safetensors file", b"\x40\0\0\0\0\0\0\0{\"__metadata__\":{}}"),
        ("the older GGML", b"lmgg\x01\0\0\0"),
        ("the older GGJT", b"tjgg\x03\0\0\0"),
        ("zeros", &[0; 64]),
        ("a gzip file", b"\x1f\x8b\x08\0\0\0\0\0"),
    ] {
        add(cases, what, bytes, &[header]);
    }
    for version in [0, 4, 99, u32::MAX, 3_u32.swap_bytes()] {
        let file = Gguf { version, ..tiny.clone() }.write();
        add(cases, &format!("version {version}"), file.bytes, &[header, "version"]);
    }
    add(cases, "another magic", Gguf { magic: *b"GGXF", ..tiny }.write().bytes, &[header, "magic"]);
}

/// Counts and lengths in the header that are not so.
fn lying_counts(cases: &mut Cases) {
    let written = Gguf::tiny().write();
    let header = "@/model.gguf: expected a GGUF header, but at byte ";
    let mut lie = |what: &str, at: usize, lie: &[u8]| {
        let mut bytes = written.bytes.clone();
        bytes[at..at + lie.len()].copy_from_slice(lie);
        add(cases, what, bytes, &[header]);
    };
    for n in [1 << 20, 1 << 40, u64::MAX] {
        lie(&format!("{n} tensors"), 8, &n.to_le_bytes());
        lie(&format!("{n} metadata"), 16, &n.to_le_bytes());
        lie(&format!("a key of {n} bytes"), 24, &n.to_le_bytes());
    }
    let after_key = written.boundaries[4];
    for kind in [13, 255, u32::MAX] {
        lie(&format!("a value of type {kind}"), after_key, &kind.to_le_bytes());
    }
    for n in [1 << 20, u64::MAX] {
        lie(&format!("a text of {n} bytes"), after_key + 4, &n.to_le_bytes());
    }
    let nested = Gguf::tiny().without("general.architecture").write().bytes;
    let arrays = [&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes()].concat().repeat(200_000);
    let key = [&1_u64.to_le_bytes()[..], b"a", &9_u32.to_le_bytes(), &arrays].concat();
    add(cases, "arrays in arrays", [&nested[..24], &key, &nested[24..]].concat(), &[header, "nesting"]);
}

/// Entries of tensors that are not so.
fn lying_tensors(cases: &mut Cases) {
    let mut spoilt = |what: &str, name: &str, change: &dyn Fn(&mut Tensor), named: &str| {
        let file = Gguf::tiny().with_tensor(name, change).write();
        add(cases, &format!("{name}: {what}"), file.bytes, &["@/model.gguf: ", named]);
    };
    let names: Vec<String> = Gguf::tiny().tensors.into_iter().map(|tensor| tensor.name).collect();
    for name in &names {
        let shape = format!("tensor {name}: expected shape ");
        if name == "token_embd.weight" {
            spoilt(
                "another name",
                name,
                &|t| t.name = "x".into(),
                "rows of token_embd.weight: expected 1 to ",
            );
            spoilt("another width", name, &|t| t.dims[0] = 7, &shape);
            spoilt("too few rows", name, &|t| t.dims[1] = 5, "tokenizer.ggml.tokens");
            spoilt("no rows", name, &|t| t.dims[1] = 0, "token_embd.weight");
            spoilt("no dimensions", name, &|t| t.dims.clear(), "token_embd.weight");
            spoilt("too many rows", name, &|t| t.dims[1] = 1 << 40, "token_embd.weight");
        } else {
            spoilt("another name", name, &|t| t.name = "x".into(), &format!("tensor {name} is missing"));
            spoilt("another shape", name, &|t| t.dims[0] += 1, &shape);
            spoilt("a dimension more", name, &|t| t.dims.push(1), &shape);
        }
        spoilt("data beyond the file", name, &|t| t.offset = Some(1 << 40), &format!("tensor {name}: "));
    }
    let name = "blk.0.ffn_up.weight";
    spoilt("the last offset there is", name, &|t| t.offset = Some(u64::MAX), &format!("tensor {name}: "));
    spoilt("five dimensions", name, &|t| t.dims = vec![1; 5], "dimensions");
    spoilt("no dimensions", name, &|t| t.dims.clear(), "expected shape");
    for dtype in [4, 5, 99, u32::MAX] {
        spoilt(
            &format!("data type {dtype}"),
            name,
            &|t| t.dtype = dtype,
            "expected a GGUF header, but at byte ",
        );
    }
    // Blocks of 32 and of 256 weights do not fit rows of 8.
    for dtype in [2, 8, 12] {
        spoilt(&format!("data type {dtype}"), name, &|t| t.dtype = dtype, &format!("tensor {name}: "));
    }
    let others = [
        ("rope_freqs.weight", 3, INPUT, "rope_freqs.weight: expected 2 factors, found 3"),
        ("blk.0.attn_q.bias", 3, INPUT, "tensor blk.0.attn_q.bias: expected shape [8], found [3]"),
        ("blk.0.attn_sinks.weight", 2, UNSUPPORTED, "the tensor blk.0.attn_sinks.weight"),
    ];
    for (name, n, code, named) in others {
        let mut file = Gguf::tiny();
        let (dims, values) = (vec![n as u64], vec![1.0; n]);
        file.tensors.push(Tensor { name: name.into(), dims, dtype: 0, offset: None, values });
        cases.write("model.gguf", file.write().bytes);
        cases.add(format!("a tensor {name}"), &PROBE, code, &["@/model.gguf: ", named]);
    }
}

/// Weights that are no numbers: the logits are none either.
fn not_finite(cases: &mut Cases) {
    let names: Vec<String> = Gguf::tiny().tensors.into_iter().map(|tensor| tensor.name).collect();
    for name in &names {
        for value in [f32::NAN, f32::INFINITY] {
            let file = Gguf::tiny().with_tensor(name, |t| t.values.fill(value)).write();
            add(cases, &format!("{name}: {value}"), file.bytes, &["logits are not finite after ", " tokens"]);
        }
    }
    for temperature in ["0", "0.8"] {
        let file = Gguf::tiny().with_tensor("output_norm.weight", |t| t.values.fill(f32::NAN)).write();
        cases.write("model.gguf", file.bytes);
        let eval = ["eval", "--model", "@/model.gguf", "--data", "~/data.jsonl", "--out", "@/run"];
        let args = [&eval[..], &["--prefix-lengths", "0,4", "--temperature", temperature]].concat();
        cases.add(
            format!("eval at temperature {temperature}"),
            &args,
            INPUT,
            &["logits are not finite after "],
        );
    }
}
