//! Log-probabilities of the model before it is trained, computed once and kept beyond runs.
//!
//! One JSONL file a model. A line's key is a hash over a tree and the nodes that were asked for, so that every objective
//! and every run uses the same line; the file holds no text. Numbers stand as their bits, so that what is read is what
//! was computed, and with a checksum: a line that is torn or damaged is passed over and computed again. Lines are only
//! appended, in one write under a lock. Every tree is scored alone: what company it had cannot show in a number.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::train::{Example, Trie};
use midcourse_engine::train::AdapterUse;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::learner::Learner;
use crate::input::hex;
use crate::progress::Judged;
use crate::signals::Signals;
use crate::storage::{StorageError, at};

/// Log-probabilities by the node of a tree.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Reference(BTreeMap<usize, f64>);

impl Reference {
    /// Those of some nodes, in their order; 0 where nothing is known, of objectives that compare with nothing.
    pub(crate) fn of(&self, nodes: &[usize]) -> Vec<f64> {
        nodes.iter().map(|node| self.0.get(node).copied().unwrap_or(0.0)).collect()
    }
}

/// How many were known and how many were computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReferenceCounts {
    pub n_known: usize,
    pub n_computed: usize,
}

/// The reference of every example, as far as no signal comes; none when one has come.
pub(crate) fn compute(
    examples: &[&Example],
    learner: &dyn Learner,
    mut cache: Option<Cache>,
    signals: &Signals,
) -> Result<Option<(Vec<Reference>, ReferenceCounts)>> {
    let mut counts = ReferenceCounts::default();
    let mut references = Vec::with_capacity(examples.len());
    let bar = Judged::new(examples.len());
    for example in examples {
        if signals.stopping() {
            bar.finish();
            return Ok(None);
        }
        let nodes = nodes(example);
        let key = key(&example.trie, &nodes);
        let known = cache.as_ref().and_then(|cache| cache.known.get(&key)).cloned();
        let logps = if let Some(known) = known.filter(|known| known.len() == nodes.len()) {
            counts.n_known += 1;
            known
        } else {
            counts.n_computed += 1;
            let scored = learner.score(vec![(&example.trie, &nodes)], AdapterUse::Off)?;
            let logps = scored.into_iter().next().unwrap_or_default();
            if let Some(cache) = &mut cache {
                cache.add(&key, &logps)?;
            }
            logps
        };
        references.push(Reference(nodes.into_iter().zip(logps).collect()));
        bar.advance(1);
    }
    bar.finish();
    Ok(Some((references, counts)))
}

/// Every node of an answer, ascending: whatever an objective scores is among them.
fn nodes(example: &Example) -> Vec<usize> {
    let nodes: BTreeSet<usize> =
        example.answers.iter().flat_map(|answer| answer.nodes.iter().copied()).collect();
    nodes.into_iter().collect()
}

/// What a tree and the asked nodes are known by: tokens and places, all as 8 bytes, little-endian.
fn key(trie: &Trie, nodes: &[usize]) -> String {
    let mut hash = Sha256::new();
    let mut add = |number: u64| hash.update(number.to_le_bytes());
    add(trie.len() as u64);
    for node in 0..trie.len() {
        add(u64::from(trie.token(node)));
        add(trie.parent(node).map_or(u64::MAX, |parent| parent as u64));
    }
    for &node in nodes {
        add(node as u64);
    }
    hex(&hash.finalize())
}

/// What is known of a model.
#[derive(Debug)]
pub(crate) struct Cache {
    path: PathBuf,
    file: File,
    known: BTreeMap<String, Vec<f64>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    key: String,
    /// The bits of every log-probability, 16 digits each.
    logps: String,
    /// The first 16 digits of SHA-256 over `key` and `logps`.
    check: String,
}

impl Line {
    fn new(key: &str, logps: &[f64]) -> Self {
        let bits: Vec<u8> = logps.iter().flat_map(|logp| logp.to_bits().to_be_bytes()).collect();
        let logps = hex(&bits);
        Self { check: check(key, &logps), key: key.to_owned(), logps }
    }

    /// The numbers, if they are those that were written.
    fn read(&self) -> Option<Vec<f64>> {
        let is_whole = self.check == check(&self.key, &self.logps);
        let digits = self.logps.as_bytes().chunks(16).map(std::str::from_utf8);
        let number = |digits: Result<&str, _>| u64::from_str_radix(digits.ok()?, 16).ok().map(f64::from_bits);
        is_whole.then(|| digits.map(number).collect()).flatten()
    }
}

fn check(key: &str, logps: &str) -> String {
    let mut check = hex(&Sha256::new().chain_update(key).chain_update(logps).finalize());
    check.truncate(16);
    check
}

impl Cache {
    /// Opens what is known of the model with this hash, as far as one of `examples` asks for it; the directory is made
    /// where it is missing.
    pub(crate) fn open(dir: &Path, base: &str, examples: &[&Example]) -> Result<Self, StorageError> {
        std::fs::create_dir_all(dir).map_err(at(dir))?;
        let wanted: BTreeSet<String> =
            examples.iter().map(|example| key(&example.trie, &nodes(example))).collect();
        // Other versions and processors may round otherwise.
        let told = [base, env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS].join(" ");
        let path = dir.join(format!("{}.jsonl", &hex(&Sha256::digest(told))[..16]));
        let open = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = open.map_err(at(&path))?;
        let mut known = BTreeMap::new();
        for line in BufReader::new(&file).split(b'\n') {
            let line: Option<Line> = serde_json::from_slice(&line.map_err(at(&path))?).ok();
            let line = line.filter(|line| wanted.contains(&line.key));
            if let Some((key, logps)) = line.and_then(|line| line.read().map(|logps| (line.key, logps))) {
                known.insert(key, logps);
            }
        }
        Ok(Self { path, file, known })
    }

    fn add(&mut self, key: &str, logps: &[f64]) -> Result<(), StorageError> {
        let line =
            serde_json::to_vec(&Line::new(key, logps)).map_err(|error| at(&self.path)(error.into()))?;
        self.append(&line).map_err(at(&self.path))
    }

    /// Writes a line after a whole one.
    fn append(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.file.lock()?;
        let written = self.ends_torn().and_then(|is_torn| {
            let start: &[u8] = if is_torn { b"\n" } else { b"" };
            self.file.write_all(&[start, line, b"\n"].concat())
        });
        self.file.unlock()?;
        written
    }

    fn ends_torn(&mut self) -> std::io::Result<bool> {
        if self.file.metadata()?.len() == 0 {
            return Ok(false);
        }
        let mut last = [0];
        self.file.seek(SeekFrom::End(-1))?;
        self.file.read_exact(&mut last)?;
        Ok(last != [b'\n'])
    }
}
