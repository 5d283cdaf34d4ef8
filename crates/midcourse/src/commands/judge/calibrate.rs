//! `midcourse judge calibrate`: a judge measured against people's labels.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use midcourse_core::data::{LabelledRow, parse_labels};
use midcourse_core::judge::{Case, Ending, Verdict};
use midcourse_core::metrics::agreement::{Accuracy, Pair, accuracy, agreement};
use sha2::{Digest, Sha256};

use super::{agreement as printed, export};
use crate::args::CalibrateArgs;
use crate::calibration::{CalibrationFile, LabelFile, Measurement};
use crate::failure::Failure;
use crate::input::{hex, read_file};
use crate::judging::Bench;
use crate::signals::Signals;
use crate::storage::write_whole;
use crate::terminal::{print, say};

/// Seed of the intervals' resampling: labels have no run whose seed could be taken.
const SEED: u64 = 0;

/// Runs the command.
pub(super) fn run(args: &CalibrateArgs) -> Result<u8> {
    if args.options.calibration.is_some() {
        return Err(Failure::Usage {
            problem: "--calibration: this command makes one".into(),
            hint: "leave the flag out; --out names the file that is written".into(),
        }
        .into());
    }
    let plan = args.options.resolve()?;
    let known = plan.identify()?;
    let signals = Signals::listen().context("listening for signals")?;
    let bytes = read_file(&args.labels)?;
    let file = args.labels.display().to_string();
    let mut rows = parse_labels(&file, &bytes)?;
    rows.truncate(args.limit.unwrap_or(usize::MAX));
    let n_rows = rows.len();
    rows.retain(|row| row.label.is_some());
    if rows.is_empty() {
        return Err(Failure::Input {
            problem: format!("{file}: none of {n_rows} rows has a label"),
            hint: "fill in the column final_label: yes where the completion corrects course, else no".into(),
        }
        .into());
    }
    let weights = weights(&args.labels, args.key.as_deref(), &rows)?;
    // What shares a prompt is asked about together.
    rows.sort_by(|a, b| (&a.prompt, &a.prefix).cmp(&(&b.prompt, &b.prefix)));
    let mut bench = Bench::new(&known, &plan, &signals)?;
    if args.dry_run {
        super::print_foretold(&bench.foretell(&cases(&rows)), args.json)?;
        return Ok(0);
    }
    let verdicts = verdicts(&rows, &mut bench);
    bench.say_cost();
    let verdicts = verdicts?;
    let Some(verdicts) = verdicts else {
        let hint = "the same command goes on where this one stopped: what was judged is in the cache".into();
        return Err(signals.failure(hint).context("the judge left rows out")?.into());
    };
    let weight = |row: &LabelledRow| row.id.as_ref().and_then(|id| weights.get(id)).copied().unwrap_or(1.0);
    let pairs = rows.iter().zip(verdicts).map(|(row, second)| {
        let first = row.label.unwrap_or(Verdict::Unparsed);
        Pair { prompt: &row.prompt, weight: weight(row), first, second }
    });
    let pairs: Vec<Pair> = pairs.collect();
    let (agreement, accuracy) = (agreement(&pairs, SEED), accuracy(&pairs, SEED));
    let table = table(&known.identity.id, &agreement, &accuracy);
    let measurement = Measurement {
        labels: LabelFile { file, sha256: hex(&Sha256::digest(&bytes)) },
        n_unlabelled: n_rows - rows.len(),
        weighted: !weights.is_empty(),
    };
    let calibration = CalibrationFile::new(&known.identity, measurement, (&agreement, &accuracy));
    let json = serde_json::to_string_pretty(&calibration)? + "\n";
    let out =
        args.out.clone().unwrap_or_else(|| PathBuf::from(format!("calibration-{}.json", known.identity.id)));
    write_whole(&out, json.as_bytes())?;
    print(&if args.json { json } else { table });
    say(&format!("calibration: {}; use it with --calibration", out.display()));
    Ok(0)
}

/// What the judge says of every row; none when a signal has stopped it.
fn verdicts(rows: &[LabelledRow], bench: &mut Bench) -> Result<Option<Vec<Verdict>>> {
    let mut verdicts = vec![None; rows.len()];
    bench.judge(&cases(rows), &mut |opinions| {
        for (at, opinion) in opinions {
            verdicts[at] = Some(opinion.verdict);
        }
        Ok(())
    })?;
    Ok(verdicts.into_iter().collect())
}

/// What a judge is shown of the rows.
fn cases(rows: &[LabelledRow]) -> Vec<Case<'_>> {
    fn case(row: &LabelledRow) -> Case<'_> {
        let LabelledRow { prompt, prefix, completion, .. } = row;
        Case { prompt, prefix, continuation: completion, ending: Ending::Ended }
    }
    rows.iter().map(case).collect()
}

/// The weights of an export's rows; none for other rows, which stand for themselves.
fn weights(labels: &Path, key: Option<&Path>, rows: &[LabelledRow]) -> Result<BTreeMap<String, f64>> {
    if key.is_none() && !rows.iter().any(|row| export::is_exported(row.id.as_deref())) {
        return Ok(BTreeMap::new());
    }
    let key = key.map_or_else(|| export::key_of(labels), Path::to_owned);
    let weights = export::weights(&key)?;
    let unknown = rows.iter().find(|row| row.id.as_ref().is_none_or(|id| !weights.contains_key(id)));
    if let Some(row) = unknown {
        let id = row.id.as_deref().unwrap_or("(none)").chars().take(40).collect::<String>();
        return Err(Failure::Input {
            problem: format!(
                "{}: a row has the id {id}, which {} does not have",
                labels.display(),
                key.display()
            ),
            hint: "the column id must stay as it was exported, and the key must be that of the file".into(),
        }
        .into());
    }
    say(&format!("rows are weighed by {}", key.display()));
    Ok(weights)
}

fn table(
    judge: &str,
    agreement: &midcourse_core::metrics::agreement::Agreement,
    accuracy: &Accuracy,
) -> String {
    let mut text = printed::table(["label", judge], agreement);
    for (name, measured) in [("sensitivity", accuracy.sensitivity), ("specificity", accuracy.specificity)] {
        let share = printed::share(measured.map(|measured| (measured.rate, measured.ci)));
        let _ = writeln!(text, "{name:<12} {share}");
    }
    text
}
