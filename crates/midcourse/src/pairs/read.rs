//! `rankings.jsonl`, a line at a time: read and checked on a thread of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use anyhow::Result;
use midcourse_core::chat::Role;
use midcourse_core::synth::Ranking;
use midcourse_engine::files;

use super::split::{Split, TestShare};
use crate::failure::Failure;

/// The longest line that is read.
const MAX_LINE: usize = 64 << 20;
/// Bytes of lines that are parsed before they are handed over, so that the threads rarely wait for each other.
const BATCH: usize = 1 << 20;
/// Batches that may wait to be written.
const N_WAITING: usize = 4;

type Batch = Vec<(Split, Ranking)>;

/// Calls `take` with every ranking of a file and its split, in order. Returns the number of a last line that was left
/// unfinished, as a crash leaves it; it is no ranking.
pub(super) fn each(
    path: &Path,
    share: TestShare,
    mut take: impl FnMut(Split, Ranking) -> Result<()>,
) -> Result<Option<usize>> {
    let mut lines = Lines::open(path)?;
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<Batch>(N_WAITING);
        let reader = scope.spawn(move || lines.send(share, &sender));
        // The receiver goes with an error of `take`, and the reader ends when nobody takes its batches.
        let taken = receiver.into_iter().flatten().try_for_each(|(split, ranking)| take(split, ranking));
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        taken?;
        Ok(read?)
    })
}

/// A file of lines, and the place in it.
struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
    number: usize,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = files::open(path).map_err(|error| Failure::Input {
            problem: format!("{}: {error}", path.display()),
            hint: "name a directory that `midcourse synth` made, or a rankings.jsonl".into(),
        })?;
        let file = BufReader::with_capacity(1 << 18, file);
        Ok(Self { path: path.to_owned(), file, line: Vec::new(), number: 0 })
    }

    /// Sends every ranking; ends early when nobody takes them.
    fn send(&mut self, share: TestShare, sender: &SyncSender<Batch>) -> Result<Option<usize>, Failure> {
        let (mut batch, mut n_bytes) = (Batch::new(), 0);
        let torn_line = loop {
            if !self.advance()? {
                break None;
            }
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            let ranking = match serde_json::from_slice(&self.line) {
                Ok(ranking) => ranking,
                Err(_) if !self.line.ends_with(b"\n") => break Some(self.number),
                Err(error) => return Err(self.failure(&expected(&error))),
            };
            check(&ranking).map_err(|problem| self.failure(&problem))?;
            n_bytes += self.line.len();
            batch.push((share.split(&ranking.prompt), ranking));
            if n_bytes >= BATCH {
                n_bytes = 0;
                if sender.send(std::mem::take(&mut batch)).is_err() {
                    return Ok(None);
                }
            }
        };
        // A receiver that is gone has an error of its own to tell.
        let _ = sender.send(batch);
        Ok(torn_line)
    }

    /// Reads the next line; false at the end of the file.
    fn advance(&mut self) -> Result<bool, Failure> {
        self.line.clear();
        self.number += 1;
        let read = (&mut self.file).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut self.line);
        match read {
            Ok(n_bytes) if n_bytes > MAX_LINE => {
                Err(self.failure("expected a ranking, found a line of more than 64 MiB"))
            }
            Ok(n_bytes) => Ok(n_bytes > 0),
            Err(error) => Err(self.failure(&error.to_string())),
        }
    }

    fn failure(&self, problem: &str) -> Failure {
        Failure::Input {
            problem: format!("{}:{}: {problem}", self.path.display(), self.number),
            hint: "the file was changed by something else or written by a newer midcourse; make the rankings again"
                .into(),
        }
    }
}

/// What the parser says, with the place in the line and not in the file.
fn expected(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let problem = message.rsplit_once(" at line ").map_or(message.as_str(), |(problem, _)| problem);
    format!("expected a ranking: {problem} (column {})", error.column())
}

/// Refuses what no ranking is and a pair could not stand on.
pub(crate) fn check(ranking: &Ranking) -> Result<(), String> {
    if ranking.prompt.last().is_none_or(|message| message.role != Role::User) {
        return Err("the field `prompt` must end with a message of the user".into());
    }
    let answers = &ranking.answers;
    if answers.len() < 2 {
        return Err(format!("the field `answers` must hold at least 2 answers, found {}", answers.len()));
    }
    if let Some(two) = answers.windows(2).find(|two| two[0].rank >= two[1].rank) {
        let (rank, next) = (two[0].rank, two[1].rank);
        return Err(format!("answers must stand best first, found rank {next} after rank {rank}"));
    }
    if let Some(answer) = answers.last().filter(|answer| i64::try_from(answer.rank).is_err()) {
        return Err(format!("expected the rank of an answer, found {}", answer.rank));
    }
    for answer in answers {
        let n_chars = answer.text.chars().count();
        if answer.text.trim().is_empty() {
            return Err(format!("the answer of rank {} is empty", answer.rank));
        }
        if answer.prefix_chars > n_chars {
            return Err(format!(
                "the field `prefix_chars` of rank {} is {}, of {n_chars} characters",
                answer.rank, answer.prefix_chars
            ));
        }
    }
    Ok(())
}
