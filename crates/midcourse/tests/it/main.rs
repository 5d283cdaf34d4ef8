//! Tests of the binary: what a person at a terminal meets.
//!
//! Every test runs `midcourse` as a process, on the scripted engine or on tiny models that it writes itself.
//! Nothing is fetched, and nothing outside temporary directories is touched.

// Clippy's exception for tests ends at functions that are not tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod adapters;
mod bench_general;
mod bench_safety;
mod commands;
mod compare;
mod data_parquet;
mod data_prompts;
mod data_split;
mod early_stop;
mod endpoint;
mod exports;
#[path = "../../../midcourse-engine/tests/it/fault_server.rs"]
mod fault_server;
mod fixtures;
mod full_disk;
mod hub;
mod judge;
mod judge_endpoint;
mod kill;
mod malformed;
mod pairs;
mod pull;
mod readme;
mod records;
mod serve;
mod synth;
mod tiny_gguf;
mod tiny_model;
mod tiny_safetensors;
mod train;
