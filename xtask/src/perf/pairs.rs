//! `cargo xtask perf synth`, the part of pairs: from the paper's number of rankings to Parquet, as a process.
//!
//! The rankings are random words of a harmless list, as long as real ones; what is measured does not depend on what
//! they say, but random words compress worse than sentences. Memory is what the system calls the process's
//! high-water mark, which only Linux tells.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const N_RANKINGS: usize = 50_000;
/// A refusal, four corrections and a response.
const N_ANSWERS: usize = 6;
const N_PAIRS: usize = N_RANKINGS * N_ANSWERS * (N_ANSWERS - 1) / 2;
/// Words of a prompt, and of the shortest and the longest answer: some 800 bytes in the middle.
const N_PROMPT_WORDS: usize = 20;
const N_ANSWER_WORDS: (usize, usize) = (60, 220);
/// How often the memory of the process is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pairs {
    wall_secs: f64,
    peak_rss_mb: f64,
    written_mb: f64,
}

/// Builds the binary, makes rankings, and measures their export.
pub(super) fn measure() -> Result<Pairs, String> {
    crate::cargo(&["build", "--release", "--package", "midcourse"])?;
    let dir = crate::root().join("target/xtask/perf-pairs");
    let cannot = |error: std::io::Error| format!("{}: {error}", dir.display());
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).map_err(cannot)?;
    let measured = measure_with(&crate::binary(), &dir);
    fs::remove_dir_all(&dir).map_err(cannot)?;
    measured
}

fn measure_with(midcourse: &Path, dir: &Path) -> Result<Pairs, String> {
    let rankings = dir.join("rankings.jsonl");
    write_rankings(&rankings, N_RANKINGS).map_err(|error| format!("{}: {error}", rankings.display()))?;
    let out = dir.join("dataset");
    let mut command = Command::new(midcourse);
    command.args(["export", "pairs"]).arg(&rankings).args(["--format", "trl", "--json", "--out"]).arg(&out);
    let started = Instant::now();
    let child = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("midcourse: {error}"))?;
    let (said, peak_rss_mb) = watched(child)?;
    let wall_secs = started.elapsed().as_secs_f64();
    if !said.contains(&format!("\"n_pairs\": {N_PAIRS},")) {
        return Err(format!("expected {N_PAIRS} pairs, found {said}"));
    }
    Ok(Pairs { wall_secs, peak_rss_mb, written_mb: megabytes_in(&out.join("data"))? })
}

/// What a process says, and the most memory it was seen to have.
fn watched(mut child: Child) -> Result<(String, f64), String> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kb = 0;
    while child.try_wait().map_err(|error| format!("midcourse: {error}"))?.is_none() {
        peak_kb = fs::read_to_string(&status).ok().and_then(|text| high_water_kb(&text)).unwrap_or(peak_kb);
        thread::sleep(LOOK);
    }
    let output = child.wait_with_output().map_err(|error| format!("midcourse: {error}"))?;
    if !output.status.success() {
        return Err(format!("midcourse: {}", output.status));
    }
    if peak_kb == 0 {
        return Err(format!("{status}: expected VmHWM, found none"));
    }
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), peak_kb as f64 / 1024.0))
}

/// The line `VmHWM:    12345 kB`.
fn high_water_kb(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

fn megabytes_in(dir: &Path) -> Result<f64, String> {
    let sizes = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let n_bytes: u64 = sizes.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum();
    Ok(n_bytes as f64 / 1e6)
}

/// Rankings as `midcourse synth` records them.
fn write_rankings(path: &Path, n_rankings: usize) -> std::io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut words = Words { state: 20_261_124 };
    for index in 0..n_rankings {
        let set = if index % 4 == 3 { "benign" } else { "harmful" };
        let prompt = words.text(N_PROMPT_WORDS);
        write!(
            file,
            "{{\"index\":{index},\"set\":\"{set}\",\"sample\":\"{index:016x}\",\"prompt\":[{{\"role\":\"user\",\
             \"content\":\"{prompt}\"}}],\"category\":null,\"source\":null,\"opener\":\"\",\"cuts\":["
        )?;
        let cuts = (1..N_ANSWERS - 1).map(|i| format!("{{\"tokens\":{},\"chars\":{}}}", 20 * i, 90 * i));
        write!(file, "{}],\"answers\":[", cuts.collect::<Vec<_>>().join(","))?;
        for rank in 0..N_ANSWERS {
            let comma = if rank > 0 { "," } else { "" };
            write!(file, "{comma}{}", words.answer(rank))?;
        }
        file.write_all(b"],\"dropped\":[]}\n")?;
    }
    file.flush()
}

/// Words drawn by a linear congruential sequence.
struct Words {
    state: u64,
}

const WORDS: [&str; 32] = [
    "the", "board", "game", "of", "friends", "and", "a", "card", "that", "is", "played", "on", "table",
    "while", "nobody", "looks", "but", "then", "we", "should", "rather", "count", "points", "fairly",
    "because", "it", "would", "spoil", "evening", "for", "everyone", "there",
];

impl Words {
    fn next(&mut self, n: usize) -> usize {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % n
    }

    fn text(&mut self, n_words: usize) -> String {
        let mut text = String::new();
        for _ in 0..n_words {
            let word = WORDS[self.next(WORDS.len())];
            let _ = write!(text, "{word} ");
        }
        text.trim_end().to_owned() + "."
    }

    fn answer(&mut self, rank: usize) -> String {
        let (shortest, longest) = N_ANSWER_WORDS;
        let n_words = shortest + self.next(longest - shortest + 1);
        let text = self.text(n_words);
        let (kind, prefix_chars) = match rank {
            0 => ("refusal".to_owned(), 0),
            rank if rank == N_ANSWERS - 1 => ("response".to_owned(), text.len()),
            rank => (format!("correction_{rank}"), 30 * rank),
        };
        format!(
            "{{\"rank\":{rank},\"kind\":\"{kind}\",\"text\":\"{text}\",\"prefix_chars\":{prefix_chars},\
             \"forced\":\"However, \",\"origin\":\"corrected\",\"end\":\"end_of_turn\",\"candidate\":0,\"seed\":{rank},\
             \"verdict\":{{\"judge\":\"rule\",\"verdict\":\"corrected\",\"phrase\":\"rather\"}}}}"
        )
    }
}

impl Pairs {
    fn per_sec(&self) -> f64 {
        N_PAIRS as f64 / self.wall_secs
    }

    /// The fields of a JSON object.
    pub(super) fn fields(&self) -> String {
        format!("\"pairs_per_sec\":{:.0},\"pairs_peak_rss_mb\":{:.0}", self.per_sec(), self.peak_rss_mb)
    }

    /// A row a figure.
    pub(super) fn table(&self) -> String {
        let rows = [
            ("pairs/s", format!("{:.0}", self.per_sec())),
            ("wall time", format!("{:.2} s", self.wall_secs)),
            ("peak memory", format!("{:.0} MB", self.peak_rss_mb)),
            ("Parquet", format!("{:.0} MB", self.written_mb)),
        ];
        let head = format!("{N_PAIRS} pairs from {N_RANKINGS} rankings of {N_ANSWERS} answers");
        rows.iter().fold(head, |table, (name, value)| format!("{table}\n  {name:<22}{value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_pairs_over_time_and_the_high_water_mark() {
        let measured = Pairs { wall_secs: 2.5, peak_rss_mb: 99.6, written_mb: 100.0 };
        assert_eq!(measured.fields(), r#""pairs_per_sec":300000,"pairs_peak_rss_mb":100"#);
        assert!(measured.table().contains("\n  pairs/s               300000"), "{}", measured.table());
        assert_eq!(high_water_kb("VmPeak:\t  9 kB\nVmHWM:\t  204800 kB\nVmRSS:\t  7 kB"), Some(204_800));
        assert_eq!(high_water_kb("Name:\tmidcourse"), None);
    }

    #[test]
    fn the_same_rankings_are_made_every_time_and_answers_have_800_bytes() {
        let answers = |state| {
            let mut words = Words { state };
            (0..600).map(|i| words.answer(i % N_ANSWERS)).collect::<Vec<_>>()
        };
        assert_eq!(answers(1), answers(1));
        assert_ne!(answers(1), answers(2));
        let text_bytes = |answer: &String| answer.split('"').nth(9).unwrap().len();
        let mean = answers(1).iter().map(text_bytes).sum::<usize>() / 600;
        assert!((700..900).contains(&mean), "{mean}");
    }
}
