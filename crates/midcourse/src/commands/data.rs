//! `midcourse data check`: what is in a data file.

use std::path::Path;

use anyhow::{Context, Result};
use midcourse_core::data::{DataSet, Responses, Sample, summarise};
use midcourse_core::template::{Mode, prefill_after};

use crate::args::DataCommand;
use crate::failure::Failure;
use crate::model::{Loading, ModelName, Outline};
use crate::terminal::{print, say};
use crate::{catalogue, input, model};

/// Prefix lengths that are counted: those of the paper.
const LENGTHS: [usize; 8] = [10, 20, 30, 40, 50, 60, 70, 80];
/// The model whose tokens are counted when none is named.
const DEFAULT_MODEL: &str = "smollm2";

/// Runs the command.
pub(crate) fn run(command: &DataCommand) -> Result<u8> {
    let DataCommand::Check { file, model, json } = command;
    check(file, model.as_deref(), *json)
}

fn check(file: &Path, model: Option<&str>, json: bool) -> Result<u8> {
    let data = input::read(file, Responses::Optional)?;
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
    print(&if json { serde_json::to_string_pretty(&summary)? } else { summary.render() });
    Ok(0)
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
