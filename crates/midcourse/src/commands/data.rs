//! `midcourse data`: what is in a data set, and its division into two.

use anyhow::{Context, Result};
use midcourse_core::data::{self, DataSet, Line, Reader, Responses, Sample, Side, Split, Summary, summarise};
use midcourse_core::template::{Mode, prefill_after};

use serde::Serialize;

use crate::args::{DataCommand, SplitArgs};
use crate::bench::pull;
use crate::failure::Failure;
use crate::input::DataSource;
use crate::model::{Loading, ModelName, Outline};
use crate::storage::{self, StorageError};
use crate::terminal::{print, say};
use crate::{catalogue, input, model};

/// Prefix lengths that are counted: those of the paper.
const LENGTHS: [usize; 8] = [10, 20, 30, 40, 50, 60, 70, 80];
/// The model whose tokens are counted when none is named.
const DEFAULT_MODEL: &str = "smollm2";

/// Runs the command.
pub(crate) fn run(command: &DataCommand) -> Result<u8> {
    match command {
        DataCommand::Check { source, model, json } => check(source, model.as_deref(), *json),
        DataCommand::Pull { json, .. } => pull_general(*json),
        DataCommand::Split(args) => split(args),
    }
}

fn pull_general(json: bool) -> Result<u8> {
    let pulled = pull::pull()?;
    if json {
        print(&serde_json::to_string_pretty(&pulled)?);
        return Ok(0);
    }
    for pull::Pulled { file, n_rows, licence, source } in &pulled.files {
        print(&format!("{file:<32} {n_rows:>6} rows  {licence:<13} {source}"));
    }
    pulled.missing.iter().for_each(|missing| say(&format!("missing  {missing}")));
    print(&pulled.dir.display().to_string());
    Ok(0)
}

fn check(source: &DataSource, model: Option<&str>, json: bool) -> Result<u8> {
    let data = input::read(source, Responses::Optional)?;
    let there = catalogue::find(DEFAULT_MODEL).map(catalogue::Entry::is_pulled).transpose()?;
    let lengths = if let Some(name) = model.or((there == Some(true)).then_some(DEFAULT_MODEL)) {
        if let ModelName::Endpoint(_) = ModelName::parse(name)? {
            let problem = format!("--model: expected a model whose tokenizer is at hand, found {name}");
            let hint = "name the model's directory, .gguf file or hf:ORG/NAME".into();
            return Err(Failure::Usage { problem, hint }.into());
        }
        lengths(&data.set, &model::outline(name, None, &Loading::default())?)?
    } else {
        say("counting words only: name a --model, or fetch one with `midcourse models pull smollm2`");
        Vec::new()
    };
    let summary = summarise(&data.set, &lengths, &LENGTHS);
    let input::DataFile { commit, licenses, .. } = data;
    if json {
        print(&serde_json::to_string_pretty(&Checked { summary, commit, licenses })?);
        return Ok(0);
    }
    if let Some(commit) = commit {
        print(&format!("commit          {commit}"));
    }
    let known = if licenses.is_empty() { "not known".to_owned() } else { licenses.join(", ") };
    print(&format!("licence         {known}"));
    print(&summary.render());
    Ok(0)
}

/// What a data set holds, and what it may be used for.
#[derive(Serialize)]
struct Checked {
    #[serde(flatten)]
    summary: Summary,
    /// Of a data set of a hub.
    commit: Option<String>,
    licenses: Vec<String>,
}

/// Tokens of every response that is there, as an evaluation would count them.
fn lengths(data: &DataSet, model: &Outline) -> Result<Vec<usize>> {
    let length = |sample: &Sample| {
        let answered = (&sample.messages()[..], sample.response.as_str());
        let rendered = prefill_after(&model.template, model.tokenizer.as_ref(), answered, Mode::OpenTurn);
        Ok(rendered.with_context(|| format!("sample {}", sample.id))?.n_response_tokens())
    };
    data.samples.iter().filter(|sample| !sample.response.is_empty()).map(length).collect()
}

/// The rows of both sides, as they are written.
#[derive(Default)]
struct Sides {
    train: Rows,
    eval: Rows,
}

#[derive(Default)]
struct Rows {
    text: String,
    n_rows: usize,
}

impl Sides {
    fn push(&mut self, side: Side, line: &str) {
        let rows = match side {
            Side::Train => &mut self.train,
            Side::Eval => &mut self.eval,
        };
        rows.text.push_str(line);
        rows.text.push('\n');
        rows.n_rows += 1;
    }
}

/// What was written, as JSON.
#[derive(Serialize)]
struct Written {
    /// Rows of train.jsonl.
    n_train: usize,
    /// Rows of eval.jsonl.
    n_eval: usize,
    /// Rows that were left out because they say of themselves that no response is unsafe: of files that are no JSONL.
    n_without_harm: usize,
    /// Rows that were left out because an earlier one says the same: of files that are no JSONL.
    n_duplicates: usize,
    eval_share: f64,
    seed: u64,
}

fn split(args: &SplitArgs) -> Result<u8> {
    let by = Split::new(args.eval_share, args.seed)?;
    let paths = ["train.jsonl", "eval.jsonl"].map(|name| args.out.join(name));
    if let Some(path) = paths.iter().find(|path| path.exists()) {
        return Err(StorageError::Occupied { path: path.clone() }.into());
    }
    let (sides, n_without_harm, n_duplicates) = divided(&args.source, by)?;
    let Sides { train, eval } = sides;
    for (rows, name, hint) in [
        (&eval, "eval.jsonl", "raise --eval-share, or try another --seed"),
        (&train, "train.jsonl", "lower --eval-share, or try another --seed"),
    ] {
        if rows.n_rows == 0 {
            let n_rows = train.n_rows + eval.n_rows;
            let problem = format!("{}: no row goes to {name} (rows: {n_rows})", args.source);
            return Err(Failure::Input { problem, hint: hint.into() }.into());
        }
    }
    std::fs::create_dir_all(&args.out).map_err(storage::at(&args.out))?;
    for (path, rows) in paths.iter().zip([&train, &eval]) {
        storage::write_whole(path, rows.text.as_bytes())?;
    }
    let (n_train, n_eval) = (train.n_rows, eval.n_rows);
    let SplitArgs { eval_share, seed, .. } = *args;
    let written = Written { n_train, n_eval, n_without_harm, n_duplicates, eval_share, seed };
    if args.json {
        print(&serde_json::to_string_pretty(&written)?);
        return Ok(0);
    }
    for (path, n_rows) in paths.iter().zip([n_train, n_eval]) {
        print(&format!("{}  {n_rows} rows", path.display()));
    }
    for (n, why) in [(n_without_harm, "no response is unsafe"), (n_duplicates, "duplicates")] {
        if n > 0 {
            print(&format!("left out  {n} rows: {why}"));
        }
    }
    Ok(0)
}

/// The rows on their sides, and how many were left out: without harm, and duplicates.
fn divided(source: &DataSource, by: Split) -> Result<(Sides, usize, usize)> {
    let mut sides = Sides::default();
    let mut others = Reader::new(Responses::Optional);
    source.locate(None)?.each_file(|name, bytes| {
        if !input::is_parquet(&bytes)
            && let Some(mut lines) = data::lines(name, &bytes)?
        {
            let mut push = |line: Line| sides.push(by.side(&line.asked), line.text);
            return Ok(lines.try_for_each(|line| line.map(&mut push))?);
        }
        input::take(&mut others, name, bytes)
    })?;
    if others.is_empty() && sides.train.n_rows + sides.eval.n_rows > 0 {
        return Ok((sides, 0, 0));
    }
    let others = others.finish(&source.to_string())?;
    others.samples.iter().for_each(|sample| sides.push(by.side(&sample.messages()), &sample.to_line()));
    Ok((sides, others.n_without_harm, others.n_duplicates))
}
