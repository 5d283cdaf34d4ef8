//! `cargo xtask perf dtype`: what each form of the weights costs, on the larger of the catalogue's models.

use std::process::Command;

/// Forms in the order in which they are measured.
const FORMS: [&str; 3] = ["f32", "bf16", "quantized"];
const MODEL: &str = "qwen2.5-coder-0.5b";
const TEXT: &str = "perf/text.txt";

/// Measures every form in a process of its own, so that memory is that form's alone.
pub(super) fn measure() -> Result<String, String> {
    let model = crate::model_path(MODEL)?;
    let example = ["--release", "--package", "midcourse-engine", "--example", "perf_dtype"];
    crate::cargo(&[&["build"], &example[..]].concat())?;
    let mut lines = Vec::new();
    for form in FORMS {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["run", "--quiet"]).args(example).arg("--").arg(&model).args([form, TEXT]);
        lines.push(super::output_of(&mut cargo)?.trim().to_owned());
    }
    Ok(format!("[{}]", lines.join(",\n ")))
}
