//! What the timed programs printed, put together: rates over all runs of one kind, and their ratio.
//!
//! The programs print one flat JSON object each; of JSON no more than that is read here.

use std::fmt::Write;

/// One run of `perf_eval`, the whole work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct OurRun {
    n_sampled: f64,
    n_distinct: f64,
    wall_secs: f64,
    matmul_gflops: f64,
    reference_gflops: f64,
    peak_rss_mb: f64,
}

/// One round of the released flow, a part of the work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PeerRun {
    n_sampled: f64,
    n_prefilled: f64,
    wall_secs: f64,
    /// Of all its cores, what it got.
    cpu_share: f64,
}

/// Every run that was timed.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) ours: Vec<OurRun>,
    pub(super) peer: Vec<PeerRun>,
}

impl OurRun {
    pub(super) fn read(json: &str) -> Result<Self, String> {
        Ok(Self {
            n_sampled: number(json, "n_tokens_sampled")?,
            n_distinct: number(json, "n_tokens_distinct")?,
            wall_secs: number(json, "wall_secs")?,
            matmul_gflops: number(json, "matmul_gflops")?,
            reference_gflops: number(json, "reference_gflops")?,
            peak_rss_mb: number(json, "peak_rss_mb")?,
        })
    }
}

impl PeerRun {
    pub(super) fn read(json: &str) -> Result<Self, String> {
        Ok(Self {
            n_sampled: number(json, "n_tokens_sampled")?,
            n_prefilled: number(json, "n_tokens_prefilled")?,
            wall_secs: number(json, "wall_secs")?,
            cpu_share: number(json, "cpu_share")?,
        })
    }

    /// A processor shared with other programs slows the peer more than it slows us.
    pub(super) fn warning(&self) -> Option<String> {
        let percent = 100.0 * self.cpu_share;
        (self.cpu_share < 0.9).then(|| {
            format!("the peer got {percent:.0} % of the processor: measure again on an idle machine")
        })
    }
}

/// The positive number of a field of a flat JSON object.
pub(super) fn number(json: &str, field: &str) -> Result<f64, String> {
    let after = json.split_once(&format!("\"{field}\":")).map(|(_, after)| after);
    let text = after.and_then(|after| after.split([',', '}']).next()).unwrap_or_default();
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err(format!("{field}: expected a positive number, found {:?} in {}", text.trim(), json.trim())),
    }
}

impl Figures {
    /// Refuses runs that did not do the same work.
    pub(super) fn checked(self) -> Result<Self, String> {
        let counts = |run: &OurRun| (run.n_sampled, run.n_distinct);
        if self.ours.windows(2).any(|two| counts(&two[0]) != counts(&two[1])) {
            return Err(format!("runs of the same work sampled different tokens: {:?}", self.ours));
        }
        Ok(self)
    }

    fn sum(&self, of: impl Fn(&OurRun) -> f64) -> f64 {
        self.ours.iter().map(of).sum()
    }

    /// The mean over runs, each weighted by its time.
    fn mean(&self, of: impl Fn(&OurRun) -> f64) -> f64 {
        self.sum(|run| of(run) * run.wall_secs) / self.sum(|run| run.wall_secs)
    }

    fn sampled_tokens_per_sec(&self) -> f64 {
        self.mean(|run| run.n_sampled / run.wall_secs)
    }

    fn utilisation(&self) -> f64 {
        self.mean(|run| run.matmul_gflops) / self.mean(|run| run.reference_gflops)
    }

    fn peak_rss_mb(&self) -> f64 {
        self.ours.iter().map(|run| run.peak_rss_mb).fold(0.0, f64::max)
    }

    /// The peer's rate and how many times ours is that; `None` when it was not timed.
    fn released(&self) -> Option<(f64, f64)> {
        let sum = |of: fn(&PeerRun) -> f64| self.peer.iter().map(of).sum::<f64>();
        let rate = sum(|run| run.n_sampled) / sum(|run| run.wall_secs);
        (!self.peer.is_empty()).then(|| (rate, self.sampled_tokens_per_sec() / rate))
    }

    /// The fields of a JSON object. Counts and seconds are those of one run.
    pub(super) fn fields(&self) -> String {
        let n_runs = self.ours.len() as f64;
        let peers = self.released().map(|(rate, speedup)| {
            format!(",\"peers\":{{\"released\":{{\"sampled_tokens_per_sec\":{rate:.2},\"speedup\":{speedup:.2}}}}}")
        });
        format!(
            "\"sampled_tokens_per_sec\":{:.1},\"matmul_gflops\":{:.1},\"reference_gflops\":{:.1},\
             \"utilisation\":{:.3},\"peak_rss_mb\":{:.0},\"n_tokens_sampled\":{},\"n_tokens_distinct\":{},\
             \"wall_secs\":{:.2}{}",
            self.sampled_tokens_per_sec(),
            self.mean(|run| run.matmul_gflops),
            self.mean(|run| run.reference_gflops),
            self.utilisation(),
            self.peak_rss_mb(),
            self.sum(|run| run.n_sampled) / n_runs,
            self.sum(|run| run.n_distinct) / n_runs,
            self.sum(|run| run.wall_secs) / n_runs,
            peers.unwrap_or_default(),
        )
    }

    /// A row a figure, below the size of the work in words.
    pub(super) fn table(&self, size: &str) -> String {
        let n_runs = self.ours.len() as f64;
        let mut rows = vec![
            ("sampled tokens/s", format!("{:.0}", self.sampled_tokens_per_sec())),
            ("tokens sampled", format!("{}", self.sum(|run| run.n_sampled) / n_runs)),
            ("tokens computed", format!("{}, each once", self.sum(|run| run.n_distinct) / n_runs)),
            ("products", format!("{:.0} GFLOP/s", self.mean(|run| run.matmul_gflops))),
            ("candle's own product", format!("{:.0} GFLOP/s", self.mean(|run| run.reference_gflops))),
            ("utilisation", format!("{:.0} %", 100.0 * self.utilisation())),
            ("peak memory", format!("{:.0} MB", self.peak_rss_mb())),
        ];
        if let Some((rate, speedup)) = self.released() {
            let prefilled: f64 = self.peer.iter().map(|run| run.n_prefilled).sum();
            let sampled: f64 = self.peer.iter().map(|run| run.n_sampled).sum();
            rows.push(("released flow", format!("{rate:.1} sampled tokens/s")));
            rows.push(("", format!("{prefilled} tokens prefilled for {sampled} sampled")));
            rows.push(("speedup", format!("{speedup:.1}")));
        }
        let mut table = size.to_owned();
        for (name, value) in rows {
            let _ = write!(table, "\n  {name:<22}{value}");
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = r#"{"sampled_tokens_per_sec":20.0,"matmul_gflops":60.0,"reference_gflops":100.0,
        "utilisation":0.6,"peak_rss_mb":700.5,"n_tokens_sampled":200,"n_tokens_distinct":150,"wall_secs":10.0}"#;
    const PEER: &str =
        r#"{"n_tokens_sampled": 40, "n_tokens_prefilled": 90, "wall_secs": 20.0, "cpu_share": 0.95}"#;

    fn measured() -> Figures {
        let slower = OURS.replace("10.0", "30.0").replace("60.0", "20.0").replace("700.5", "800.4");
        let ours = vec![OurRun::read(OURS).unwrap(), OurRun::read(&slower).unwrap()];
        Figures { ours, peer: vec![PeerRun::read(PEER).unwrap(); 2] }
    }

    #[test]
    fn rates_are_all_tokens_over_all_time() {
        let expected = concat!(
            r#""sampled_tokens_per_sec":10.0,"matmul_gflops":30.0,"reference_gflops":100.0,"utilisation":0.300,"#,
            r#""peak_rss_mb":800,"n_tokens_sampled":200,"n_tokens_distinct":150,"wall_secs":20.00,"#,
            r#""peers":{"released":{"sampled_tokens_per_sec":2.00,"speedup":5.00}}"#,
        );
        assert_eq!(measured().fields(), expected);
    }

    #[test]
    fn a_peer_that_was_not_timed_is_not_mentioned() {
        let figures = Figures { peer: Vec::new(), ..measured() };
        assert!(!figures.fields().contains("peers"), "{}", figures.fields());
        assert!(!figures.table("work").contains("speedup"), "{}", figures.table("work"));
        assert!(
            measured().table("work").contains("\n  speedup               5.0"),
            "{}",
            measured().table("work")
        );
    }

    #[test]
    fn a_busy_processor_is_said() {
        let peer = |share: &str| PeerRun::read(&PEER.replace("0.95", share)).unwrap();
        assert_eq!(peer("0.95").warning(), None);
        assert!(peer("0.61").warning().unwrap().contains("61 %"));
    }

    #[test]
    fn what_is_missing_or_no_number_is_named() {
        for bad in ["", "{}", r#"{"wall_secs":null}"#, r#"{"wall_secs":0}"#, r#"{"wall_secs":NaN}"#] {
            let said = number(bad, "wall_secs").unwrap_err();
            assert!(said.starts_with("wall_secs: expected a positive number"), "{said}");
        }
    }

    #[test]
    fn runs_of_different_work_are_refused() {
        assert!(measured().checked().is_ok());
        let mut figures = measured();
        figures.ours[1].n_distinct += 1.0;
        assert!(figures.checked().unwrap_err().contains("different tokens"));
    }
}
