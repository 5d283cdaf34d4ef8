//! What `perf_train` and TRL printed of the same rankings, put together.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use super::figures::number;
use super::{Peers, output_of};

const EXAMPLE: &str = "perf_train";
const RANKINGS: &str = "data/sandbox/rankings.jsonl";
const N_RANKINGS: &str = "16";
/// The rankings that TRL is timed on, by their lines, the first ones of all: a harmful and a harmless one. A step of it
/// takes long.
const PEER_RANKINGS: [usize; 2] = [0, 1];

/// One run of `perf_train`, the whole work.
#[derive(Debug, Clone, PartialEq)]
struct OurRun {
    secs_per_ranking: f64,
    /// Seconds of the reference's pass among them.
    reference_secs: f64,
    n_distinct: f64,
    n_pairs: f64,
    utilisation: f64,
    peak_rss_mb: f64,
    /// Distinct tokens of every tree, and its seconds.
    trees: Vec<(f64, f64)>,
}

/// A step of TRL on one ranking.
#[derive(Debug, Clone, Copy, PartialEq)]
struct PeerRun {
    secs: f64,
    cpu_share: f64,
}

/// Every run that was timed.
#[derive(Debug, Default)]
pub(super) struct Figures {
    ours: Vec<OurRun>,
    /// Without and with checkpointing of activations.
    peer: [Vec<PeerRun>; 2],
}

pub(super) fn measure(peers: Peers) -> Result<Figures, String> {
    let model = crate::model_path("smollm2")?;
    let build = ["build", "--release", "--package", "midcourse-engine", "--example", EXAMPLE];
    crate::cargo(&build)?;
    let mut figures = Figures::default();
    if peers == Peers::Released {
        for ranking in PEER_RANKINGS {
            figures.ours.push(time_ours(&model)?);
            for (runs, checkpointing) in figures.peer.iter_mut().zip(["off", "on"]) {
                runs.push(time_trl(&model, ranking, checkpointing)?);
            }
        }
    }
    figures.ours.push(time_ours(&model)?);
    Ok(figures)
}

fn time_ours(model: &Path) -> Result<OurRun, String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--release", "--package", "midcourse-engine", "--example", EXAMPLE, "--"]);
    OurRun::read(&output_of(cargo.arg(model).args([RANKINGS, N_RANKINGS]))?)
}

fn time_trl(model: &Path, ranking: usize, checkpointing: &str) -> Result<PeerRun, String> {
    let mut script = Command::new(crate::python::references()?);
    script.arg(crate::root().join("perf/peers/trl_dpo.py")).arg("--model").arg(model);
    script.args(["--data", RANKINGS, "--ranking", &ranking.to_string(), "--checkpointing", checkpointing]);
    let printed = output_of(script.env("HF_HUB_OFFLINE", "1").env("TQDM_DISABLE", "1"))?;
    let run =
        PeerRun { secs: number(&printed, "secs_per_ranking")?, cpu_share: number(&printed, "cpu_share")? };
    if run.cpu_share < 0.9 {
        let percent = 100.0 * run.cpu_share;
        crate::say(&format!(
            "the peer got {percent:.0} % of the processor: measure again on an idle machine"
        ));
    }
    Ok(run)
}

impl OurRun {
    fn read(json: &str) -> Result<Self, String> {
        Ok(Self {
            secs_per_ranking: number(json, "secs_per_ranking")?,
            reference_secs: number(json, "reference_secs_per_ranking")?,
            n_distinct: number(json, "n_tokens_distinct")?,
            n_pairs: number(json, "n_tokens_pairs")?,
            utilisation: number(json, "utilisation")?,
            peak_rss_mb: number(json, "peak_rss_mb")?,
            trees: trees(json)?,
        })
    }
}

/// `"trees":[[n_tokens,secs],…]`.
fn trees(json: &str) -> Result<Vec<(f64, f64)>, String> {
    let wrong = || format!("trees: expected pairs of numbers in {}", json.trim());
    let list =
        json.split_once("\"trees\":[[").and_then(|(_, rest)| rest.split_once("]]")).ok_or_else(wrong)?.0;
    let pair = |pair: &str| -> Option<(f64, f64)> {
        let (n_tokens, secs) = pair.split_once(',')?;
        Some((n_tokens.trim().parse().ok()?, secs.trim().parse().ok()?))
    };
    list.split("],[").map(|text| pair(text).ok_or_else(wrong)).collect()
}

impl Figures {
    fn mean(&self, of: impl Fn(&OurRun) -> f64) -> f64 {
        self.ours.iter().map(of).sum::<f64>() / self.ours.len() as f64
    }

    fn peak_rss_mb(&self) -> f64 {
        self.ours.iter().map(|run| run.peak_rss_mb).fold(0.0, f64::max)
    }

    /// TRL's seconds a ranking, without or with checkpointing, and how many times ours of the same rankings that is;
    /// `None` when it was not timed.
    fn trl(&self, checkpointing: usize) -> Option<(f64, f64)> {
        let runs = &self.peer[checkpointing];
        let secs = runs.iter().map(|run| run.secs).sum::<f64>();
        let ours = self.mean(|run| run.trees.iter().take(runs.len()).map(|(_, secs)| secs).sum());
        (!runs.is_empty()).then(|| (secs / runs.len() as f64, secs / ours))
    }

    pub(super) fn json(&self) -> String {
        let fields = |name: &str, (secs, speedup): (f64, f64)| {
            format!("\"{name}\":{{\"secs_per_ranking\":{secs:.2},\"speedup\":{speedup:.2}}}")
        };
        let named = [(0, "trl"), (1, "trl-checkpointing")];
        let peers: Vec<String> =
            named.into_iter().filter_map(|(at, name)| Some(fields(name, self.trl(at)?))).collect();
        let peers =
            if peers.is_empty() { String::new() } else { format!(",\"peers\":{{{}}}", peers.join(",")) };
        format!(
            "{{\"secs_per_ranking\":{:.3},\"reference_secs_per_ranking\":{:.3},\"n_tokens_distinct\":{},\
             \"n_tokens_pairs\":{},\"utilisation\":{:.3},\"peak_rss_mb\":{:.0}{peers}}}",
            self.mean(|run| run.secs_per_ranking),
            self.mean(|run| run.reference_secs),
            self.mean(|run| run.n_distinct),
            self.mean(|run| run.n_pairs),
            self.mean(|run| run.utilisation),
            self.peak_rss_mb(),
        )
    }

    pub(super) fn table(&self) -> String {
        let mut table =
            format!("{N_RANKINGS} rankings of 15 pairs, LoRA rank 16 on all seven projections, f32");
        let mut row = |name: &str, value: String| {
            let _ = write!(table, "\n  {name:<22}{value}");
        };
        row("seconds a ranking", format!("{:.2}", self.mean(|run| run.secs_per_ranking)));
        row("of them reference", format!("{:.2}", self.mean(|run| run.reference_secs)));
        row("tokens in pairs", format!("{}", self.mean(|run| run.n_pairs)));
        row("tokens computed", format!("{}, each once", self.mean(|run| run.n_distinct)));
        row("utilisation", format!("{:.0} %", 100.0 * self.mean(|run| run.utilisation)));
        row("peak memory", format!("{:.0} MB", self.peak_rss_mb()));
        for (at, name) in [(0, "TRL"), (1, "TRL, checkpointing")] {
            if let Some((secs, speedup)) = self.trl(at) {
                row(name, format!("{secs:.1} seconds a ranking, {speedup:.1} times ours of the same ones"));
            }
        }
        row("seconds by tokens", "of a tree".into());
        for (n_tokens, secs) in self.by_size() {
            let bar = "█".repeat((40.0 * secs / self.longest()).round() as usize);
            row("", format!("{n_tokens:>5} {secs:>7.2} {bar} {:.1} ms a token", 1000.0 * secs / n_tokens));
        }
        table
    }

    /// The trees of all runs, small ones first, each with the mean of its seconds.
    fn by_size(&self) -> Vec<(f64, f64)> {
        let n_trees = self.ours.iter().map(|run| run.trees.len()).min().unwrap_or(0);
        let tree = |i: usize| (self.ours[0].trees[i].0, self.mean(|run| run.trees[i].1));
        let mut trees: Vec<(f64, f64)> = (0..n_trees).map(tree).collect();
        trees.sort_by(|a, b| a.0.total_cmp(&b.0));
        trees
    }

    fn longest(&self) -> f64 {
        self.by_size().into_iter().map(|(_, secs)| secs).fold(f64::MIN_POSITIVE, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = r#"{"secs_per_ranking":2.0,"reference_secs_per_ranking":0.5,"n_tokens_distinct":900,
        "n_tokens_pairs":9000,"utilisation":0.6,"peak_rss_mb":1400.5,"trees":[[500,3.0],[400,1.0],[300,1.0]]}"#;

    #[test]
    fn trl_is_compared_by_the_same_rankings() {
        let run = OurRun::read(OURS).unwrap();
        let peer = |secs| vec![PeerRun { secs, cpu_share: 0.95 }; 2];
        let figures = Figures { ours: vec![run.clone(), run], peer: [peer(30.0), peer(50.0)] };
        let expected = concat!(
            r#"{"secs_per_ranking":2.000,"reference_secs_per_ranking":0.500,"n_tokens_distinct":900,"n_tokens_pairs":9000,"#,
            r#""utilisation":0.600,"peak_rss_mb":1400,"peers":{"trl":{"secs_per_ranking":30.00,"speedup":15.00},"#,
            r#""trl-checkpointing":{"secs_per_ranking":50.00,"speedup":25.00}}}"#,
        );
        assert_eq!(figures.json(), expected);
        assert_eq!(figures.by_size(), [(300.0, 1.0), (400.0, 1.0), (500.0, 3.0)]);
        assert!(figures.table().contains("500    3.00 ████"), "{}", figures.table());
    }

    #[test]
    fn a_peer_that_was_not_timed_is_not_mentioned() {
        let figures = Figures { ours: vec![OurRun::read(OURS).unwrap()], ..Figures::default() };
        assert!(!figures.json().contains("peers") && !figures.table().contains("TRL"), "{}", figures.table());
    }

    #[test]
    fn trees_that_are_none_are_named() {
        for bad in [r#"{"trees":[]}"#, r#"{"trees":[[1]]}"#, "{}"] {
            assert!(trees(bad).unwrap_err().starts_with("trees: expected pairs"), "{bad}");
        }
    }
}
