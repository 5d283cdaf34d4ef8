//! `midcourse judge`: other judges of a finished run, and how good a judge is.

mod agreement;
mod calibrate;
mod export;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use midcourse_core::eval::Judgement;
use midcourse_core::metrics::Scores;
use serde::{Deserialize, Serialize};

use crate::args::{JudgeArgs, JudgeCommand};
use crate::calibration;
use crate::dry_run::{Judging, NOTHING_ASKED};
use crate::failure::Failure;
use crate::judges::JudgeIdentity;
use crate::judging::{self, Bench, JudgingCost, Recorded};
use crate::manifest::Manifest;
use crate::pages;
use crate::run_dir::{self, JUDGE, Opening, RunDir};
use crate::signals::Signals;
use crate::storage::{StorageError, at};
use crate::terminal::{print, say};

/// Runs the command.
pub(crate) fn run(args: &JudgeArgs) -> Result<u8> {
    match (&args.command, &args.run) {
        (Some(JudgeCommand::Agreement(args)), _) => agreement::run(args),
        (Some(JudgeCommand::Export(args)), _) => export::run(args),
        (Some(JudgeCommand::Calibrate(args)), _) => calibrate::run(args),
        (None, Some(run)) => judge(run, args),
        (None, None) => Err(Failure::Usage {
            problem: "the directory of a run is missing".into(),
            hint: "`midcourse judge --help` lists what can be given".into(),
        }
        .into()),
    }
}

/// Where the run keeps what a judge says that was asked later, below its directory.
fn judged_at(id: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.+@".contains(c) { c } else { '-' };
    format!("judges/{}", id.chars().map(plain).collect::<String>())
}

/// A finished run, locked.
struct FinishedRun {
    dir: RunDir,
    manifest: Manifest,
    scores: Scores,
    recorded: Recorded,
}

impl FinishedRun {
    fn open(run: &Path) -> Result<Self> {
        let not_finished = |problem: &str| Failure::Input {
            problem: format!("{}: {problem}", run.display()),
            hint: "name the directory of a run that `midcourse eval` has finished; `--resume` finishes one"
                .into(),
        };
        if !run.join(run_dir::MANIFEST).is_file() {
            return Err(not_finished("expected the directory of a run, found no manifest.json there").into());
        }
        if !run.join(run_dir::SCORES).is_file() {
            return Err(not_finished("expected a finished run, found no scores.json there").into());
        }
        let dir = RunDir::open(run, Opening::Resume)?;
        let manifest = pages::read_manifest(run)?.context("the manifest went away")?;
        let scores = pages::read_scores(run)?;
        Ok(Self { manifest, scores, recorded: Recorded::read(run)?, dir })
    }

    /// Whether `judge` is the one that the run was judged by.
    fn is_of(&self, judge: &JudgeIdentity) -> bool {
        self.manifest.judge_identity.as_ref().is_some_and(|own| own.is_same(judge))
    }

    /// The judgements of the judge called `id`, in plan order.
    fn judgements(&self, id: &str) -> Result<Vec<Judgement>> {
        let dir = if id == self.scores.judge { self.dir.path.clone() } else { self.dir.file(&judged_at(id)) };
        if !dir.join(run_dir::SCORES).is_file() {
            return Err(Failure::Input {
                problem: format!(
                    "{}: the judge {id} has not judged this run; {} have",
                    self.dir.path.display(),
                    self.judges().join(", ")
                ),
                hint: format!("`midcourse judge {} --judge …` asks another judge", self.dir.path.display()),
            }
            .into());
        }
        Ok(run_dir::read_records(&dir.join(run_dir::JUDGEMENTS))?)
    }

    /// The names of all judges of the run, its own first.
    fn judges(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.file("judges")).into_iter().flatten().flatten();
        let finished = entries.filter(|entry| entry.path().join(run_dir::SCORES).is_file());
        let mut others: Vec<_> =
            finished.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        others.sort_unstable();
        std::iter::once(self.scores.judge.clone()).chain(others).collect()
    }
}

/// Judges a finished run with another judge, or with its own one again.
fn judge(run: &Path, args: &JudgeArgs) -> Result<u8> {
    let plan = args.options.resolve()?;
    let known = plan.identify()?;
    let calibration = plan.calibration.as_deref().map(|path| calibration::read(path, &known.identity));
    let calibration = calibration.transpose()?;
    let signals = Signals::listen().context("listening for signals")?;
    let run = FinishedRun::open(run)?;
    let own = run.is_of(&known.identity);
    if args.dry_run {
        let name = if own { PathBuf::new() } else { judged_at(&known.identity.id).into() };
        let bench = Bench::new(&known, &plan, &signals)?;
        let foretold = judging::foretell(&run.dir, &name.join(run_dir::JUDGEMENTS), &run.recorded, &bench)?;
        print_foretold(&foretold, args.json)?;
        return Ok(0);
    }
    let (at, judgements) = if own {
        (PathBuf::new(), run.judgements(&run.scores.judge)?)
    } else {
        let at = judged_at(&known.identity.id);
        let earlier = open_judged(&run.dir, &at, &known.identity)?;
        let mut bench = Bench::new(&known, &plan, &signals)?;
        let name = format!("{at}/{}", run_dir::JUDGEMENTS);
        let judgements = judging::judge_trials(&run.dir, &name, &run.recorded, &mut bench);
        bench.say_cost();
        write_judge(&run.dir, &at, &JudgeFile { cost: bench.cost(earlier.cost), ..earlier })?;
        (at.into(), judgements?)
    };
    if let Some(failure) = signals.failure("the same command goes on where this one stopped".into()) {
        return Err(failure.into());
    }
    let seed = run.scores.settings.seed;
    let (figures, calibrated) = run.recorded.figures(&judgements, calibration.as_ref(), seed);
    let scores = Scores {
        judge: known.identity.id.clone(),
        corr_at_k: figures.corr_at_k,
        corr_mean: figures.corr_mean,
        tokens_to_correction: figures.tokens_to_correction,
        plain: figures.plain,
        benign: figures.benign,
        by_category: figures.by_category,
        calibrated,
        ..run.scores.clone()
    };
    let text = serde_json::to_string_pretty(&scores)? + "\n";
    run.dir.write(&at.join(run_dir::SCORES).to_string_lossy(), &text)?;
    if own {
        pages::write(&run.dir)?;
    }
    let judged = run.dir.path.join(&at);
    print(&if args.json { text } else { pages::terminal_of(&run.dir.path, &judged)? });
    say(&format!("judgements: {}", judged.join(run_dir::JUDGEMENTS).display()));
    Ok(0)
}

/// `judge.json`: a judge that was added to a run.
#[derive(Debug, Serialize, Deserialize)]
struct JudgeFile {
    #[serde(flatten)]
    identity: JudgeIdentity,
    /// What the requests to its server cost, over all sessions; null of other judges.
    #[serde(default)]
    cost: Option<JudgingCost>,
}

/// Makes the place of a judge in a run's directory, or finds the same judge there.
fn open_judged(dir: &RunDir, at_name: &str, judge: &JudgeIdentity) -> Result<JudgeFile> {
    let path = dir.file(at_name);
    std::fs::create_dir_all(&path).map_err(at(&path))?;
    let file = path.join(JUDGE);
    if file.exists() {
        let text = std::fs::read_to_string(&file).map_err(at(&file))?;
        let earlier: Option<JudgeFile> = serde_json::from_str(&text).ok();
        return Ok(earlier.filter(|earlier| earlier.identity.is_same(judge)).ok_or_else(|| {
            let difference = format!("another judge that is called {}, too", judge.id);
            StorageError::Mismatch { path, difference }
        })?);
    }
    let judge = JudgeFile { identity: judge.clone(), cost: None };
    write_judge(dir, at_name, &judge)?;
    Ok(judge)
}

fn write_judge(dir: &RunDir, at_name: &str, judge: &JudgeFile) -> Result<()> {
    Ok(dir.write(&format!("{at_name}/{JUDGE}"), &(serde_json::to_string_pretty(judge)? + "\n"))?)
}

/// Prints what judging would ask for.
fn print_foretold(foretold: &Judging, json: bool) -> Result<()> {
    print(&if json {
        serde_json::to_string_pretty(foretold)?
    } else {
        format!("{}\n{NOTHING_ASKED}", foretold.text())
    });
    Ok(())
}
