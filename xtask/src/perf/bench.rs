//! How fast `midcourse bench` scores choices, and how fast lm-evaluation-harness does the same.
//!
//! The items are the first of the sets that `midcourse data pull general` has fetched, copied so that both read the same
//! files. With the peer the two take turns, task by task.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::figures::number;
use super::{Peers, output_of};

/// Items of each task.
const N_ITEMS: usize = 200;
/// The tasks, and the shots before every question.
const TASKS: [(&str, &str); 2] = [("hellaswag", "0"), ("mmlu", "5")];
/// Files of rows: whether all of their rows are taken, as shots are.
const FILES: [(&str, Taken); 3] = [
    ("hellaswag.validation.jsonl", Taken::First),
    ("mmlu.test.jsonl", Taken::First),
    ("mmlu.dev.jsonl", Taken::All),
];
/// How often the memory of the measured process is looked at.
const GLANCE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    First,
    All,
}

/// Every run that was timed, by task.
#[derive(Debug, Default)]
pub(super) struct Figures {
    ours: [Vec<f64>; TASKS.len()],
    peer: [Vec<f64>; TASKS.len()],
    peak_rss_mb: f64,
}

pub(super) fn measure(peers: Peers) -> Result<Figures, String> {
    let model = crate::model_path("smollm2")?;
    let work = crate::root().join("target/xtask/bench");
    let rows = rows(&work)?;
    let mut figures = Figures::default();
    let n_rounds = if peers == Peers::Released { 2 } else { 1 };
    for _ in 0..n_rounds {
        for (at, (task, shots)) in TASKS.iter().enumerate() {
            let (secs, peak) = time_ours(&work, &rows, (task, shots))?;
            figures.ours[at].push(secs);
            figures.peak_rss_mb = figures.peak_rss_mb.max(peak);
            if peers == Peers::Released {
                figures.peer[at].push(time_peer(&model, &rows, (task, shots))?);
            }
        }
    }
    Ok(figures)
}

/// Copies the rows that are measured on.
fn rows(work: &Path) -> Result<PathBuf, String> {
    let rows = work.join("rows");
    fs::create_dir_all(&rows).map_err(|error| format!("{}: {error}", rows.display()))?;
    let pulled = pulled()?;
    for (file, taken) in FILES {
        let from = pulled.join(file);
        let text = fs::read_to_string(&from).map_err(|error| {
            format!("{}: {error}\nfetch it with `midcourse data pull general`", from.display())
        })?;
        let n = if taken == Taken::All { usize::MAX } else { N_ITEMS };
        let text: String = text.split_inclusive('\n').take(n).collect();
        fs::write(rows.join(file), text).map_err(|error| format!("{file}: {error}"))?;
    }
    Ok(rows)
}

/// Where `midcourse data pull general` keeps rows.
fn pulled() -> Result<PathBuf, String> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    Ok(cache.ok_or("neither XDG_CACHE_HOME nor HOME is set")?.join("midcourse/data/general"))
}

/// Seconds of one task without loading, and the peak memory of the process in megabytes.
fn time_ours(work: &Path, rows: &Path, (task, shots): (&str, &str)) -> Result<(f64, f64), String> {
    let out = work.join("run");
    let _ = fs::remove_dir_all(&out);
    let mut command = Command::new(crate::binary());
    command.args(["bench", "--model", "smollm2", "--tasks", task, "--shots", shots, "--data"]);
    command.arg(rows).arg("--out").arg(&out).stdout(Stdio::null()).stderr(Stdio::null());
    crate::say(&format!("→ {command:?}").replace('"', ""));
    let mut child = command.spawn().map_err(|error| format!("midcourse: {error}"))?;
    let mut peak = 0.0_f64;
    let status = loop {
        peak = peak.max(peak_rss_mb(child.id()).unwrap_or(0.0));
        match child.try_wait().map_err(|error| format!("midcourse: {error}"))? {
            Some(status) => break status,
            None => std::thread::sleep(GLANCE),
        }
    };
    if !status.success() {
        return Err(format!("midcourse bench: {status}"));
    }
    let manifest = fs::read_to_string(out.join("manifest.json"));
    let manifest = manifest.map_err(|error| format!("manifest.json: {error}"))?;
    let secs = number(&manifest.replace(": ", ":"), "wall_secs")?;
    crate::say(&format!("{task}: {secs:.1} s, peak {peak:.0} MB"));
    Ok((secs, peak))
}

/// The most memory that a process has had so far, where the system tells.
fn peak_rss_mb(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kilobytes: f64 = status.split_once("VmHWM:")?.1.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes / 1000.0 * 1.024)
}

fn time_peer(model: &Path, rows: &Path, (task, shots): (&str, &str)) -> Result<f64, String> {
    let peers = crate::root().join("perf/peers");
    let mut script = Command::new(crate::python::environment("lm-eval", &peers.join("lm_eval.txt"))?);
    script.arg(peers.join("lm_eval.py")).arg("--model").arg(model).arg("--data").arg(rows);
    script.args(["--task", task, "--shots", shots]).env("HF_HUB_OFFLINE", "1").env("TQDM_DISABLE", "1");
    let printed = output_of(&mut script)?;
    let printed = printed.lines().last().unwrap_or_default().replace(": ", ":");
    let share = number(&printed, "cpu_share")?;
    if share < 0.8 {
        crate::say(&format!(
            "the peer got {:.0} % of the processor: measure again on an idle machine",
            100.0 * share
        ));
    }
    number(&printed, "secs")
}

fn mean(runs: &[f64]) -> f64 {
    runs.iter().sum::<f64>() / runs.len() as f64
}

impl Figures {
    fn ours(&self) -> f64 {
        self.ours.iter().map(|runs| mean(runs)).sum()
    }

    /// Of all tasks together; none when the peer was not timed.
    fn peer(&self) -> Option<f64> {
        self.peer.iter().all(|runs| !runs.is_empty()).then(|| self.peer.iter().map(|runs| mean(runs)).sum())
    }

    pub(super) fn json(&self) -> String {
        let mut tasks = String::new();
        for (at, (task, _)) in TASKS.iter().enumerate() {
            let ours = mean(&self.ours[at]);
            let _ = write!(tasks, "\"{task}\":{{\"secs\":{ours:.2}");
            if !self.peer[at].is_empty() {
                let peer = mean(&self.peer[at]);
                let _ = write!(tasks, ",\"lm-eval\":{{\"secs\":{peer:.2},\"speedup\":{:.2}}}", peer / ours);
            }
            tasks += if at + 1 == TASKS.len() { "}" } else { "}," };
        }
        let peers = self.peer().map_or_else(String::new, |peer| {
            let speedup = peer / self.ours();
            format!(",\"peers\":{{\"lm-eval\":{{\"secs\":{peer:.2},\"speedup\":{speedup:.2}}}}}")
        });
        format!(
            "{{\"secs\":{:.2},\"n_items\":{},\"tasks\":{{{tasks}}},\"peak_rss_mb\":{:.0}{peers}}}",
            self.ours(),
            N_ITEMS * TASKS.len(),
            self.peak_rss_mb
        )
    }

    pub(super) fn table(&self) -> String {
        let mut table = format!("{N_ITEMS} items of each task, f32");
        for (at, (task, shots)) in TASKS.iter().enumerate() {
            let ours = mean(&self.ours[at]);
            let _ = write!(table, "\n  {task:<10} {shots} shots {ours:>8.1} s");
            if !self.peer[at].is_empty() {
                let peer = mean(&self.peer[at]);
                let _ = write!(table, "   lm-eval {peer:>8.1} s, {:.1} times ours", peer / ours);
            }
        }
        if let Some(peer) = self.peer() {
            let _ = write!(
                table,
                "\n  together           {:>8.1} s   lm-eval {peer:>8.1} s, {:.1} times ours",
                self.ours(),
                peer / self.ours()
            );
        }
        let _ = write!(table, "\n  peak memory        {:>8.0} MB", self.peak_rss_mb);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_compared_by_themselves_and_together() {
        let figures = Figures {
            ours: [vec![10.0, 12.0], vec![9.0]],
            peer: [vec![33.0], vec![47.0]],
            peak_rss_mb: 900.4,
        };
        let expected = concat!(
            r#"{"secs":20.00,"n_items":400,"tasks":{"hellaswag":{"secs":11.00,"lm-eval":{"secs":33.00,"speedup":3.00}},"#,
            r#""mmlu":{"secs":9.00,"lm-eval":{"secs":47.00,"speedup":5.22}}},"peak_rss_mb":900,"#,
            r#""peers":{"lm-eval":{"secs":80.00,"speedup":4.00}}}"#,
        );
        assert_eq!(figures.json(), expected);
        assert!(figures.table().contains("4.0 times ours"), "{}", figures.table());
    }

    #[test]
    fn a_peer_that_was_not_timed_is_not_mentioned() {
        let figures = Figures { ours: [vec![1.0], vec![2.0]], ..Figures::default() };
        assert!(!figures.json().contains("lm-eval") && !figures.table().contains("lm-eval"));
    }
}
