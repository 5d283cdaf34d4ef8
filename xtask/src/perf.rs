//! `cargo xtask perf eval`: how fast an evaluation runs, and how fast the released scripts' flow does the same.
//! `cargo xtask perf dtype`: what each form of the weights costs.
//! `cargo xtask perf synth`: the same of making preferences, and how fast pairs are written and in how much memory.
//! `cargo xtask perf train`: how fast a ranking is trained on, and how fast TRL does the same.
//! `cargo xtask perf bench`: how fast choices are scored, and how fast lm-evaluation-harness does the same.
//!
//! The engine's own programs measure themselves against candle's product; the peer is a script in `perf/peers`. With
//! a peer the two take turns (ours, peer, ours, peer, ours), because a machine's speed drifts: only what was
//! timed in one run is compared.

mod bench;
mod dtype;
mod figures;
mod pairs;
mod train;

use std::path::Path;
use std::process::{Command, Stdio};

use figures::{Figures, OurRun, PeerRun};

const USAGE: &str =
    "usage: cargo xtask perf eval|synth|train|bench [--peers] [--json]\n       cargo xtask perf dtype";

/// A program of the engine that is timed, and the script that does the same work with other tools.
struct Work {
    example: &'static str,
    data: &'static str,
    peer: &'static str,
    /// The rounds of the peer's work that are timed; the script says what a round is.
    rounds: [&'static str; 2],
    /// In words.
    size: &'static str,
}

const EVAL: Work = Work {
    example: "perf_eval",
    data: "data/sandbox/eval.jsonl",
    peer: "perf/peers/released.py",
    rounds: ["0", "4"],
    size: "8 prompts × 8 lengths × 20 paths × 32 tokens",
};

const SYNTH: Work = Work {
    example: "perf_synth",
    data: "data/sandbox/train.jsonl",
    peer: "perf/peers/released_synth.py",
    rounds: ["0", "4"],
    size: "16 prompts × 4 corrections and a refusal, of up to 128 tokens",
};

/// Runs `perf` with what follows it on the command line.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    if matches!(arguments, [what] if what == "dtype") {
        return print(&dtype::measure()?);
    }
    if let Some((_, flags)) = arguments.split_first().filter(|(what, _)| *what == "train") {
        let (peers, output) = options(flags)?;
        let figures = train::measure(peers)?;
        return print(&if output == Output::Json { figures.json() } else { figures.table() });
    }
    if let Some((_, flags)) = arguments.split_first().filter(|(what, _)| *what == "bench") {
        let (peers, output) = options(flags)?;
        let figures = bench::measure(peers)?;
        return print(&if output == Output::Json { figures.json() } else { figures.table() });
    }
    let (work, peers, output) = parse(arguments)?;
    let figures = measure(work, peers)?;
    let pairs = if work.example == SYNTH.example { Some(pairs::measure()?) } else { None };
    let text = match output {
        Output::Json => {
            let pairs = pairs.map(|pairs| format!("{},", pairs.fields())).unwrap_or_default();
            format!("{{{pairs}{}}}", figures.fields())
        }
        Output::Table => {
            let pairs = pairs.map(|pairs| format!("\n{}", pairs.table())).unwrap_or_default();
            format!("{}{pairs}", figures.table(work.size))
        }
    };
    print(&text)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peers {
    Without,
    Released,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Table,
    Json,
}

fn parse(arguments: &[String]) -> Result<(&'static Work, Peers, Output), String> {
    let Some((what, flags)) = arguments.split_first() else { return Err(USAGE.to_owned()) };
    let work = match what.as_str() {
        "eval" => &EVAL,
        "synth" => &SYNTH,
        _ => return Err(format!("perf {what}: expected eval, synth, train, bench or dtype\n{USAGE}")),
    };
    let (peers, output) = options(flags)?;
    Ok((work, peers, output))
}

fn options(flags: &[String]) -> Result<(Peers, Output), String> {
    let mut options = (Peers::Without, Output::Table);
    for flag in flags {
        match flag.as_str() {
            "--peers" => options.0 = Peers::Released,
            "--json" => options.1 = Output::Json,
            other => return Err(format!("{other}: expected --peers or --json\n{USAGE}")),
        }
    }
    Ok(options)
}

fn measure(work: &Work, peers: Peers) -> Result<Figures, String> {
    let model = crate::model_path("smollm2")?;
    crate::cargo(&["build", "--release", "--package", "midcourse-engine", "--example", work.example])?;
    let mut figures = Figures::default();
    if peers == Peers::Released {
        let python = crate::python::references()?;
        let released = crate::root().join(work.peer);
        for round in work.rounds {
            figures.ours.push(time_ours(work, &model)?);
            let mut script = Command::new(&python);
            script.arg(&released).arg("--model").arg(&model);
            script.args(["--data", work.data, "--round", round]);
            script.env("HF_HUB_OFFLINE", "1").env("TQDM_DISABLE", "1");
            let peer = PeerRun::read(&output_of(&mut script)?)?;
            peer.warning().iter().for_each(|warning| crate::say(warning));
            figures.peer.push(peer);
        }
    }
    figures.ours.push(time_ours(work, &model)?);
    figures.checked()
}

fn time_ours(work: &Work, model: &Path) -> Result<OurRun, String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "midcourse-engine",
        "--example",
        work.example,
        "--",
    ]);
    OurRun::read(&output_of(cargo.arg(model).arg(work.data))?)
}

/// Runs a command in the workspace; shows and returns what it writes to standard output.
fn output_of(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}").replace('"', "");
    crate::say(&format!("→ {shown}"));
    let output = command.current_dir(crate::root()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("{shown}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{shown}: {}", output.status));
    }
    let text = String::from_utf8(output.stdout).map_err(|error| format!("{shown}: {error}"))?;
    crate::say(text.trim_end());
    Ok(text)
}

fn print(text: &str) -> Result<(), String> {
    use std::io::Write;
    writeln!(std::io::stdout().lock(), "{text}").map_err(|error| format!("standard output: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(&'static str, Peers, Output), String> {
        let (work, peers, output) = parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())?;
        Ok((work.example, peers, output))
    }

    #[test]
    fn flags_come_in_any_order_and_others_are_refused() {
        assert_eq!(parsed("eval"), Ok(("perf_eval", Peers::Without, Output::Table)));
        for line in ["synth --json --peers", "synth --peers --json"] {
            assert_eq!(parsed(line), Ok(("perf_synth", Peers::Released, Output::Json)));
        }
        for (line, problem) in [
            ("", "usage"),
            ("learn", "expected eval, synth, train, bench or dtype"),
            ("eval --peer", "expected --peers"),
            ("synth --quick", "expected --peers"),
        ] {
            let said = parsed(line).unwrap_err();
            assert!(said.contains(problem) && said.contains(USAGE), "{line:?}: {said}");
        }
    }
}
