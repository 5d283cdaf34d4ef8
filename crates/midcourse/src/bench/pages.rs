//! The pages of a benchmark run: from its files to `report.html`, `report.md` and the table in the terminal.

use std::path::Path;

use anyhow::Result;
use midcourse_core::bench::{BenchSummary, SUMMARY_SCHEMA};
use midcourse_core::report::Colour;
use midcourse_core::report::bench::{self, BenchReport};

use super::manifest::{BenchManifest, read_manifest};
use super::{BenchOptions, SUMMARY};
use crate::storage::{StorageError, write_whole};
use crate::{options, pages, run_dir, terminal as screen};

/// Whether a directory is that of a finished benchmark run.
pub(crate) fn is_benchmark(dir: &Path) -> bool {
    dir.join(super::ITEMS).is_file() && dir.join(SUMMARY).is_file()
}

/// Writes both pages.
pub(crate) fn write(dir: &Path) -> Result<()> {
    with_report(dir, |report| {
        write_whole(&dir.join("report.html"), bench::html(report).as_bytes())?;
        Ok(write_whole(&dir.join("report.md"), bench::markdown(report).as_bytes())?)
    })
}

/// The table for the terminal.
pub(crate) fn terminal(dir: &Path) -> Result<String> {
    let colour = if screen::wants_colour() { Colour::On } else { Colour::Off };
    with_report(dir, |report| Ok(bench::terminal(report, screen::width(), colour)))
}

fn with_report<T>(dir: &Path, show: impl FnOnce(&BenchReport) -> Result<T>) -> Result<T> {
    let manifest =
        read_manifest(dir)?.ok_or_else(|| StorageError::NothingToResume { path: dir.to_owned() })?;
    let asked: BenchOptions = options::read(&dir.join(run_dir::PLAN))?;
    let summary: BenchSummary = pages::read_json(&dir.join(SUMMARY), SUMMARY_SCHEMA)?;
    show(&BenchReport {
        model: &manifest.model.name,
        adapter: manifest.adapter.as_deref(),
        summary: &summary,
        warnings: &manifest.caveats,
        details: details(&manifest, &options::command("bench", &asked)?),
    })
}

fn details(manifest: &BenchManifest, command: &str) -> Vec<(String, String)> {
    let mut rows = vec![
        ("Model".to_owned(), format!("{} ({})", manifest.model.name, manifest.model.description)),
        ("Command".to_owned(), command.to_owned()),
        ("Judge of replies".to_owned(), manifest.judge.id.clone()),
        (
            "Time".to_owned(),
            format!("{:.0} s in {} sessions", manifest.cost().wall_secs, manifest.sessions.len()),
        ),
        ("Made with".to_owned(), format!("midcourse {} on {}", manifest.midcourse, manifest.platform)),
    ];
    let identity = |(name, value): (&String, &String)| format!("{name} {value}");
    rows.extend(
        manifest.tasks.iter().map(|task| {
            (task.task.clone(), task.identity.iter().map(identity).collect::<Vec<_>>().join(", "))
        }),
    );
    rows
}
