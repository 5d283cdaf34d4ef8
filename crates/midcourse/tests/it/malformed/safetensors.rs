//! Directories of safetensors: files missing or broken, configurations and headers that lie.

use serde_json::{Value, json};

use super::{Cases, INPUT, UNSUPPORTED};
use crate::tiny_safetensors::{ModelDir, data, header, safetensors};

/// The arguments that read the case's model whole.
pub(super) const PROBE: [&str; 9] =
    ["probe", "--model", "@", "--prompt", "Hello", "--response", "Sure", "--k", "2"];

pub(super) fn cases() -> Cases {
    let mut cases = Cases::new();
    missing_files(&mut cases);
    broken_config(&mut cases);
    unsupported_config(&mut cases);
    broken_weights(&mut cases);
    wrong_tensors(&mut cases);
    broken_index(&mut cases);
    cases
}

/// Adds the tiny model with one file replaced.
fn replaced(cases: &mut Cases, what: &str, (name, bytes): (&str, &[u8]), named: &[&str]) {
    ModelDir::tiny().write(&cases.dir());
    cases.write(name, bytes);
    cases.add(format!("{name}: {what}"), &PROBE, INPUT, &[&[format!("@/{name}: ").as_str()], named].concat());
}

fn missing_files(cases: &mut Cases) {
    cases.add("an empty directory", &PROBE, INPUT, &["@: expected config.json in the directory"]);
    for (name, named) in [
        ("config.json", "@: expected config.json in the directory"),
        ("tokenizer.json", "@: expected a tokenizer.json or a tokenizer.model, found neither"),
        ("model.safetensors", "@: expected model.safetensors or model.safetensors.index.json"),
    ] {
        ModelDir::tiny().write(&cases.dir());
        std::fs::remove_file(cases.dir().join(name)).unwrap();
        cases.add(format!("no {name}"), &PROBE, INPUT, &[named]);
    }
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        for (what, bytes) in [
            ("empty", &b""[..]),
            ("cut short", b"{\"a\": "),
            ("not UTF-8", b"{\"\xff\": 1}"),
            ("no JSON", b"a: 1"),
        ] {
            replaced(cases, what, (name, bytes), &["line 1 column "]);
        }
    }
}

fn config(cases: &mut Cases, (field, value): (&str, Value), code: i32, named: &[&str]) {
    let mut model = ModelDir::tiny();
    let what = format!("config.json: {field} = {value}");
    model.config[field] = value;
    model.write(&cases.dir());
    cases.add(what, &PROBE, code, &[&["@/config.json: "], named].concat());
}

fn broken_config(cases: &mut Cases) {
    let needed =
        ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"];
    for field in needed.into_iter().chain(["max_position_embeddings"]) {
        config(cases, (field, Value::Null), INPUT, &[field, "it is missing"]);
    }
    for field in needed.into_iter().chain(["max_position_embeddings", "num_key_value_heads", "head_dim"]) {
        for value in [json!("8"), json!(8.5), json!(-8), json!([8]), json!(0), json!(u64::MAX)] {
            config(cases, (field, value), INPUT, &[field, "expected"]);
        }
    }
    for field in ["rms_norm_eps", "rope_theta"] {
        for value in [json!("1e-5"), json!(0), json!(-1.0), json!([1])] {
            config(cases, (field, value), INPUT, &[field, "expected"]);
        }
    }
    for field in ["tie_word_embeddings", "attention_bias", "mlp_bias"] {
        config(cases, (field, json!("no")), INPUT, &[field, "expected true or false"]);
    }
    for (field, value) in [
        ("hidden_act", json!(5)),
        ("model_type", json!(5)),
        ("rope_scaling", json!("linear")),
        ("rope_scaling", json!({"rope_type": 2})),
        ("rope_scaling", json!({"type": "linear", "factor": "two"})),
        ("rope_parameters", json!({"rope_type": "longrope", "factor": 2.0, "short_factor": 1})),
        ("rope_parameters", json!([])),
        ("rope_parameters", json!({"rope_type": "default", "rope_theta": "10000"})),
    ] {
        config(cases, (field, value), INPUT, &[field, "expected"]);
    }
    for (field, value, named) in [
        ("rope_scaling", json!({"rope_type": "llama3", "factor": 8.0}), "rope_scaling.low_freq_factor: "),
        ("rope_parameters", json!({"rope_type": "yarn"}), "rope_parameters.factor: "),
    ] {
        config(cases, (field, value), INPUT, &[named, "it is missing"]);
    }
    for value in [json!("2"), json!(-1), json!([260, "2"]), json!(1_u64 << 32)] {
        config(cases, ("eos_token_id", value), INPUT, &["eos_token_id", "expected a token id"]);
    }
    config(cases, ("num_key_value_heads", json!(3)), INPUT, &["num_key_value_heads", "do not share"]);
    config(cases, ("head_dim", json!(3)), INPUT, &["head_dim", "even"]);
}

fn unsupported_config(cases: &mut Cases) {
    for (field, value) in [
        ("model_type", json!("mamba")),
        ("model_type", Value::Null),
        ("hidden_act", json!("gelu")),
        ("rope_scaling", json!({"type": "ntk", "factor": 2.0})),
        ("rope_parameters", json!({"rope_type": "proportional", "rope_theta": 10_000.0})),
        ("quantization_config", json!({"quant_method": "awq"})),
    ] {
        config(cases, (field, value), UNSUPPORTED, &["is not supported"]);
    }
    let mut model = ModelDir::tiny();
    model.tokenizer_config["chat_template"] = Value::Null;
    model.write(&cases.dir());
    cases.add("no chat template", &PROBE, UNSUPPORTED, &["a model without a chat template is not supported"]);
}

fn broken_weights(cases: &mut Cases) {
    let weights = ModelDir::tiny().weights;
    let (head, data) = (header(&weights), data(&weights));
    let whole = safetensors(&head, &data);
    let n_header = whole.len() - data.len();
    let mut broken = |what: &str, bytes: &[u8]| {
        replaced(cases, what, ("model.safetensors", bytes), &["in the header: "]);
    };
    for at in [0, 4, 8, 9, n_header / 2, n_header - 1, n_header, n_header + 100, whole.len() - 1] {
        broken(&format!("cut at byte {at}"), &whole[..at]);
    }
    for length in [0, 1, n_header as u64, whole.len() as u64, 1 << 40, u64::MAX] {
        broken(&format!("a header of {length} bytes"), &[&length.to_le_bytes(), &whole[8..]].concat());
    }
    broken("a byte too many", &[&whole[..], b"\0"].concat());
    broken("a GGUF file", b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0");
    broken("a zip file, as PyTorch writes it", b"PK\x03\x04\x14\0\0\0\x08\0archive/data.pkl");
    broken("text", b"This is not a model.");
    let first = "model.embed_tokens.weight";
    for (what, field, value) in [
        ("an unknown data type", "dtype", json!("F33")),
        ("a number as data type", "dtype", json!(1)),
        ("a smaller data type", "dtype", json!("F16")),
        ("a negative shape", "shape", json!([-1, 8])),
        ("a shape that overflows", "shape", json!([u64::MAX, 8])),
        ("another shape", "shape", json!([1, 8])),
        ("offsets backwards", "data_offsets", json!([8, 0])),
        ("offsets beyond the file", "data_offsets", json!([0, 1_u64 << 40])),
        ("one offset", "data_offsets", json!([0])),
        ("an offset inside another tensor", "data_offsets", json!([4, 8356])),
    ] {
        let mut head = head.clone();
        head[first][field] = value;
        broken(what, &safetensors(&head, &data));
    }
}

/// Sound files with other tensors than the configuration asks for.
fn wrong_tensors(cases: &mut Cases) {
    let add = |cases: &mut Cases, what: &str, model: &ModelDir, named: &str| {
        model.write(&cases.dir());
        cases.add(what, &PROBE, INPUT, &["@/model.safetensors: tensor ", named]);
    };
    for index in 0..ModelDir::tiny().weights.len() {
        let mut model = ModelDir::tiny();
        let name = model.weights.remove(index).name;
        add(cases, &format!("no {name}"), &model, name);
        let mut model = ModelDir::tiny();
        model.weights[index].shape.push(1);
        add(cases, &format!("another shape of {name}"), &model, &format!("{name}.weight: expected shape "));
        let mut model = ModelDir::tiny();
        model.weights[index].values.fill(f32::NAN);
        model.write(&cases.dir());
        cases.add(format!("{name} of NaN"), &PROBE, INPUT, &["logits are not finite after "]);
    }
    let mut model = ModelDir::tiny();
    model.config["tie_word_embeddings"] = json!(false);
    add(cases, "no head", &model, "lm_head.weight");
    let mut model = ModelDir::tiny();
    model.config["num_hidden_layers"] = json!(2);
    add(cases, "a layer too few", &model, "model.layers.1.");
}

fn broken_index(cases: &mut Cases) {
    let name = "model.safetensors.index.json";
    let mut index = |what: &str, text: &str, named: &[&str]| {
        ModelDir::tiny().write(&cases.dir());
        std::fs::rename(cases.dir().join("model.safetensors"), cases.dir().join("model-1.safetensors"))
            .unwrap();
        cases.write(name, text);
        cases.add(format!("{name}: {what}"), &PROBE, INPUT, named);
    };
    let at = format!("@/{name}: ");
    index("empty", "", &[&at, "line 1 column 0"]);
    index("no map", "{}", &[&at, "field weight_map"]);
    index("a list as map", r#"{"weight_map": []}"#, &[&at, "field weight_map"]);
    index("an empty map", r#"{"weight_map": {}}"#, &[&at, "weight_map"]);
    let tensor = "model.embed_tokens.weight";
    for file in [
        json!("../model-1.safetensors"),
        json!("/etc/passwd"),
        json!("a\\b.safetensors"),
        json!("model-1.bin"),
        json!(1),
        json!(null),
    ] {
        let text = json!({"weight_map": {tensor: file}}).to_string();
        index(&file.to_string(), &text, &[&at, &format!("field weight_map.{tensor}: ")]);
    }
    let map = |file: &str| json!({"weight_map": {tensor: file}}).to_string();
    index("a file that is not there", &map("none.safetensors"), &["@/none.safetensors: No such file"]);
    index("one tensor only", &map("model-1.safetensors"), &[&at, "tensor model.layers.0.", "is missing"]);
}
