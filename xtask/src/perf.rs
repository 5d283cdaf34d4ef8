//! `cargo xtask perf eval`: how fast an evaluation runs, and how fast the released scripts' flow does the same.
//! `cargo xtask perf dtype`: what each form of the weights costs.
//! `cargo xtask perf synth`: how fast preference pairs are written, and in how much memory.
//!
//! The engine's own program measures itself against candle's product; the peer is a script in `perf/peers`. With
//! a peer the two take turns (ours, peer, ours, peer, ours), because a machine's speed drifts: only what was
//! timed in one run is compared.

mod dtype;
mod figures;
mod pairs;

use std::path::Path;
use std::process::{Command, Stdio};

use figures::{Figures, OurRun, PeerRun};

const USAGE: &str = "usage: cargo xtask perf eval [--peers] [--json]\n       cargo xtask perf dtype\n       \
    cargo xtask perf synth [--json]";
/// The rounds of the peer's work that are timed; see `perf/peers/released.py`.
const PEER_ROUNDS: [&str; 2] = ["0", "4"];

/// Runs `perf` with what follows it on the command line.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    if matches!(arguments, [what] if what == "dtype") {
        return print(&dtype::measure()?);
    }
    if let [what, flags @ ..] = arguments
        && what == "synth"
    {
        let output = parse_synth(flags)?;
        let measured = pairs::measure()?;
        return print(&match output {
            Output::Json => measured.json(),
            Output::Table => measured.table(),
        });
    }
    let (peers, output) = parse(arguments)?;
    let figures = measure(peers)?;
    let text = match output {
        Output::Json => figures.json(),
        Output::Table => figures.table(),
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

fn parse(arguments: &[String]) -> Result<(Peers, Output), String> {
    let Some((what, flags)) = arguments.split_first() else { return Err(USAGE.to_owned()) };
    if what != "eval" {
        return Err(format!("perf {what}: expected eval, dtype or synth\n{USAGE}"));
    }
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

fn parse_synth(flags: &[String]) -> Result<Output, String> {
    match flags {
        [] => Ok(Output::Table),
        [flag] if flag == "--json" => Ok(Output::Json),
        other => Err(format!("{}: expected --json\n{USAGE}", other.join(" "))),
    }
}

fn measure(peers: Peers) -> Result<Figures, String> {
    let model = crate::model_path("smollm2")?;
    crate::cargo(&["build", "--release", "--package", "midcourse-engine", "--example", "perf_eval"])?;
    let mut figures = Figures::default();
    if peers == Peers::Released {
        let python = crate::python::references()?;
        let released = crate::root().join("perf/peers/released.py");
        for round in PEER_ROUNDS {
            figures.ours.push(time_ours(&model)?);
            let mut script = Command::new(&python);
            script.arg(&released).arg("--model").arg(&model);
            script.args(["--data", DATA, "--round", round]);
            script.env("HF_HUB_OFFLINE", "1").env("TQDM_DISABLE", "1");
            let peer = PeerRun::read(&output_of(&mut script)?)?;
            peer.warning().iter().for_each(|warning| crate::say(warning));
            figures.peer.push(peer);
        }
    }
    figures.ours.push(time_ours(&model)?);
    figures.checked()
}

const DATA: &str = "data/sandbox/eval.jsonl";

fn time_ours(model: &Path) -> Result<OurRun, String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "midcourse-engine",
        "--example",
        "perf_eval",
        "--",
    ]);
    OurRun::read(&output_of(cargo.arg(model).arg(DATA))?)
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

    fn parsed(line: &str) -> Result<(Peers, Output), String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_come_in_any_order_and_others_are_refused() {
        assert_eq!(parsed("eval"), Ok((Peers::Without, Output::Table)));
        assert_eq!(parsed("eval --json --peers"), Ok((Peers::Released, Output::Json)));
        for (line, problem) in
            [("", "usage"), ("train", "expected eval, dtype or synth"), ("eval --peer", "expected --peers")]
        {
            let said = parsed(line).unwrap_err();
            assert!(said.contains(problem) && said.contains(USAGE), "{line:?}: {said}");
        }
        assert_eq!(parse_synth(&["--json".to_owned()]), Ok(Output::Json));
        assert!(parse_synth(&["--peer".to_owned()]).unwrap_err().contains("--peer: expected --json"));
    }
}
