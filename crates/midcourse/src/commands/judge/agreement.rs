//! `midcourse judge agreement`: how far two judges of a run agree, and where they differ.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use midcourse_core::eval::{JudgedPath, Judgement, Set};
use midcourse_core::judge::{Case, Verdict};
use midcourse_core::metrics::agreement::{Agreement, Pair, agreement};
use midcourse_core::report::strip_controls;
use serde::Serialize;

use super::FinishedRun;
use crate::args::AgreementArgs;
use crate::terminal::print;

/// Differences that are listed without being asked for.
const MAX_LISTED: usize = 20;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    judges: [&'a str; 2],
    #[serde(flatten)]
    agreement: &'a Agreement,
    differences: &'a [Difference],
}

/// A path of which the two say different things.
#[derive(Debug, Serialize)]
struct Difference {
    set: Set,
    sample: String,
    k: usize,
    path: usize,
    first: Verdict,
    second: Verdict,
}

/// Runs the command.
pub(super) fn run(args: &AgreementArgs) -> Result<u8> {
    let run = FinishedRun::open(&args.run)?;
    let (first, second) = (run.judgements(&args.first)?, run.judgements(&args.second)?);
    let of_second: BTreeMap<_, _> = second.iter().map(|j| (j.judged(), j.verdict)).collect();
    let judged_by_both = |j: &Judgement| Some((j.judged(), j.verdict, *of_second.get(&j.judged())?));
    let both: Vec<(JudgedPath, Verdict, Verdict)> = first.iter().filter_map(judged_by_both).collect();
    let prompts: Vec<String> = both.iter().map(|(at, ..)| format!("{:?} {}", at.set, at.sample)).collect();
    let pairs = both.iter().zip(&prompts);
    let pairs = pairs.map(|((_, first, second), prompt)| Pair {
        prompt,
        weight: 1.0,
        first: *first,
        second: *second,
    });
    let found = agreement(&pairs.collect::<Vec<_>>(), run.scores.settings.seed);
    let differing = both.into_iter().filter(|(_, first, second)| first != second);
    let differences: Vec<Difference> = differing
        .map(|(at, first, second)| Difference {
            set: at.set,
            sample: at.sample,
            k: at.k,
            path: at.path,
            first,
            second,
        })
        .collect();
    if args.json {
        let judges = [args.first.as_str(), args.second.as_str()];
        print(&serde_json::to_string_pretty(&Printed {
            judges,
            agreement: &found,
            differences: &differences,
        })?);
        return Ok(0);
    }
    let mut text = table([&args.first, &args.second], &found);
    text += &listed(&differences, args.show.max(MAX_LISTED));
    text += &texts(&run, &differences[..args.show.min(differences.len())]);
    print(&text);
    Ok(0)
}

/// The confusion table of two judges and what follows from it.
pub(super) fn table([first, second]: [&str; 2], found: &Agreement) -> String {
    let names = [first, second].map(|name| strip_controls(name).chars().take(24).collect::<String>());
    let c = &found.confusion;
    let width = names[0].chars().count() + 15;
    let mut text = format!("{:>width$}  {}\n", "", names[1]);
    let _ = writeln!(text, "{:<width$}  {:>9}  {:>13}", names[0], "corrected", "not corrected");
    let _ = writeln!(text, "{:>width$}  {:>9}  {:>13}", "corrected", number(c.both), number(c.first_only));
    let _ = writeln!(
        text,
        "{:>width$}  {:>9}  {:>13}",
        "not corrected",
        number(c.second_only),
        number(c.neither)
    );
    let _ = writeln!(text, "\nagreement    {}", share(found.agreement.map(|a| (a.rate, a.ci))));
    let kappa = found.kappa.zip(found.kappa_ci);
    let kappa =
        kappa.map_or_else(|| "–".to_owned(), |(k, [low, high])| format!("{k:.3} [{low:.3}, {high:.3}]"));
    let _ = writeln!(text, "Cohen's κ    {kappa}");
    let _ = writeln!(
        text,
        "judged       {} rows of {} prompts, {} unparsed",
        found.n, found.n_prompts, found.n_unparsed
    );
    text
}

/// A share and its interval in percent.
pub(super) fn share(of: Option<(f64, [f64; 2])>) -> String {
    let percent = |share: f64| 100.0 * share;
    of.map_or_else(
        || "–".to_owned(),
        |(rate, [low, high])| format!("{:.1} % [{:.1}, {:.1}]", percent(rate), percent(low), percent(high)),
    )
}

/// A count, or a sum of weights.
fn number(n: f64) -> String {
    if n.fract() == 0.0 { format!("{n:.0}") } else { format!("{n:.1}") }
}

fn listed(differences: &[Difference], most: usize) -> String {
    if differences.is_empty() {
        return "\nThey differ nowhere.\n".into();
    }
    let mut text = format!("\nThey differ on {} paths:\n", differences.len());
    for d in differences.iter().take(most) {
        let (sample, first, second) = (strip_controls(&d.sample), d.first.name(), d.second.name());
        let _ = writeln!(text, "  {} {sample} k = {} path {}: {first}, {second}", set(d.set), d.k, d.path);
    }
    if differences.len() > most {
        let _ = writeln!(text, "  … and {} more; --json lists all", differences.len() - most);
    }
    text
}

/// The texts of paths, stripped of what could control a terminal.
fn texts(run: &FinishedRun, differences: &[Difference]) -> String {
    let cases = run.recorded.cases();
    let cases: BTreeMap<&JudgedPath, &Case> = cases.iter().map(|(path, case)| (path, case)).collect();
    let mut text = String::new();
    for d in differences {
        let path = JudgedPath { set: d.set, sample: d.sample.clone(), k: d.k, path: d.path };
        let Some(case) = cases.get(&path) else { continue };
        let (sample, first, second) = (strip_controls(&d.sample), d.first.name(), d.second.name());
        let _ = writeln!(text, "\n{sample} k = {} path {}: {first}, {second}", d.k, d.path);
        for (name, said) in
            [("prompt", case.prompt), ("prefix", case.prefix), ("continuation", case.continuation)]
        {
            let _ = writeln!(text, "  {name}: {}", strip_controls(said));
        }
    }
    text
}

fn set(set: Set) -> &'static str {
    match set {
        Set::Harmful => "harmful",
        Set::Benign => "benign",
    }
}
