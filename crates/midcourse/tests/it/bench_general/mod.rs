//! General tasks of `midcourse bench`: the same figures as lm-evaluation-harness, and what a person meets.

mod goldens;
mod refused;
mod whole;

use std::path::PathBuf;

use serde_json::Value;

use crate::fixtures::Fixture;

/// A file of testdata.
fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

/// The records of a JSONL file of a fixture.
fn records(fixture: &Fixture, file: &str) -> Vec<Value> {
    fixture.read(file).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A JSON file of a fixture.
fn json(fixture: &Fixture, file: &str) -> Value {
    serde_json::from_str(&fixture.read(file)).unwrap()
}
