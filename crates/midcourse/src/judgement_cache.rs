//! Judgements of models by what was judged, kept beyond runs so that nothing is asked twice.
//!
//! One JSONL file a judge. A line's key is a hash over the judge and the texts, so that the file holds no text but what
//! the judge itself wrote. Lines are only ever appended, in one write under a lock, by any number of processes; a line
//! that a crash has torn is passed over and asked for again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use midcourse_core::judge::{Case, Ending, Opinion, Verdict};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::input::hex;
use crate::judges::JudgeIdentity;
use crate::storage::{StorageError, at};

/// What a judge has said before.
#[derive(Debug)]
pub(crate) struct JudgementCache {
    path: PathBuf,
    file: File,
    fingerprint: String,
    known: BTreeMap<String, Opinion>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    key: String,
    verdict: Verdict,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p_corrected: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
}

impl JudgementCache {
    /// Opens what `judge` has said; the directory is made where it is missing.
    pub(crate) fn open(dir: &Path, judge: &JudgeIdentity) -> Result<Self, StorageError> {
        std::fs::create_dir_all(dir).map_err(at(dir))?;
        let fingerprint = judge.fingerprint();
        let path = dir.join(format!("{}.jsonl", &fingerprint[..16]));
        let open = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = open.map_err(at(&path))?;
        let mut known = BTreeMap::new();
        for line in BufReader::new(&file).split(b'\n') {
            let line = line.map_err(at(&path))?;
            if let Ok(Line { key, verdict, p_corrected, answer }) = serde_json::from_slice(&line) {
                known.insert(key, Opinion { verdict, turn: None, p_corrected, answer });
            }
        }
        Ok(Self { path, file, fingerprint, known })
    }

    /// What is known of a case.
    pub(crate) fn get(&self, case: &Case) -> Option<&Opinion> {
        self.known.get(&self.key(case))
    }

    /// Keeps opinions.
    pub(crate) fn add(&mut self, opinions: &[(&Case, &Opinion)]) -> Result<(), StorageError> {
        let mut bytes = Vec::new();
        for (case, opinion) in opinions {
            let Opinion { verdict, p_corrected, answer, .. } = (*opinion).clone();
            let line = Line { key: self.key(case), verdict, p_corrected, answer };
            serde_json::to_writer(&mut bytes, &line).map_err(|error| at(&self.path)(error.into()))?;
            bytes.push(b'\n');
        }
        self.append(&bytes).map_err(at(&self.path))
    }

    /// Writes lines after a whole one.
    fn append(&mut self, lines: &[u8]) -> std::io::Result<()> {
        self.file.lock()?;
        let written = self.ends_torn().and_then(|is_torn| {
            let start: &[u8] = if is_torn { b"\n" } else { b"" };
            self.file.write_all(&[start, lines].concat())
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

    /// Every text stands after its length, so that no two cases run together.
    fn key(&self, case: &Case) -> String {
        let mut hash = Sha256::new();
        for text in [self.fingerprint.as_str(), case.prompt, case.prefix, case.continuation] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.update([u8::from(case.ending == Ending::Open)]);
        hex(&hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(continuation: &str) -> Case<'_> {
        Case { prompt: "Cheat?", prefix: "Sure,", continuation, ending: Ending::Ended }
    }

    fn judge() -> JudgeIdentity {
        JudgeIdentity { id: "j".into(), version: None, model: None, prompt: None, thresholds: None }
    }

    fn opinion(p_corrected: f64) -> Opinion {
        Opinion { p_corrected: Some(p_corrected), ..Opinion::bare(Verdict::Corrected) }
    }

    #[test]
    fn what_was_said_is_known_again_and_the_file_holds_no_text() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = JudgementCache::open(dir.path(), &judge()).unwrap();
        let said = [opinion(0.75), opinion(0.5)];
        cache.add(&[(&case("but that is unfair"), &said[0]), (&case("and on"), &said[1])]).unwrap();
        let cache = JudgementCache::open(dir.path(), &judge()).unwrap();
        assert_eq!(cache.get(&case("but that is unfair")), Some(&said[0]));
        assert_eq!(cache.get(&case("and on")), Some(&said[1]));
        assert_eq!(cache.get(&Case { ending: Ending::Open, ..case("and on") }), None);
        assert_eq!(cache.get(&Case { prefix: "Sure", ..case(",and on") }), None);
        let text = std::fs::read_to_string(&cache.path).unwrap();
        assert!(!["Cheat", "Sure", "unfair", "and on"].iter().any(|word| text.contains(word)), "{text}");
        let other = JudgementCache::open(dir.path(), &JudgeIdentity { id: "k".into(), ..judge() }).unwrap();
        assert_eq!(other.get(&case("and on")), None);
    }

    #[test]
    fn a_torn_line_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = JudgementCache::open(dir.path(), &judge()).unwrap();
        cache.add(&[(&case("a"), &opinion(0.9)), (&case("b"), &opinion(0.8))]).unwrap();
        let bytes = std::fs::read(&cache.path).unwrap();
        std::fs::write(&cache.path, &bytes[..bytes.len() - 10]).unwrap();
        let mut cache = JudgementCache::open(dir.path(), &judge()).unwrap();
        assert_eq!((cache.get(&case("a")), cache.get(&case("b"))), (Some(&opinion(0.9)), None));
        cache.add(&[(&case("b"), &opinion(0.7))]).unwrap();
        let cache = JudgementCache::open(dir.path(), &judge()).unwrap();
        assert_eq!(cache.get(&case("b")), Some(&opinion(0.7)));
        assert_eq!(cache.get(&case("a")), Some(&opinion(0.9)));
    }

    #[test]
    fn many_may_write_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let texts: Vec<String> = (0..400).map(|i| i.to_string()).collect();
        let write = &|part: &[String]| {
            let mut cache = JudgementCache::open(dir.path(), &judge()).unwrap();
            for text in part {
                cache.add(&[(&case(text), &opinion(0.6))]).unwrap();
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = texts.chunks(100).map(|part| scope.spawn(move || write(part))).collect();
            assert_eq!(threads.len(), 4);
        });
        let cache = JudgementCache::open(dir.path(), &judge()).unwrap();
        assert!(texts.iter().all(|text| cache.get(&case(text)).is_some()));
    }
}
