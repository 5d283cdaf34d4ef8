//! The model card of an adapter: `README.md` as the Hugging Face hub reads it.
//!
//! Names that a user or a file gave are hostile: front matter holds them as JSON strings, which YAML reads, and the body
//! as escaped text on one line.

use std::fmt::Write;

use midcourse_core::report::compare::differences;
use midcourse_core::report::{Markdown, strip_controls};

use super::finish::Results;
use super::manifest::{Counts, DropCount};
use crate::card::{forbids_commerce, is_license_id, list, quoted};
use crate::hub;

/// What is known of an adapter.
pub(crate) struct Card<'a> {
    pub results: &'a Results,
    /// The command line that made it.
    pub command: String,
}

const USE: &str = "```sh\nmidcourse eval --model BASE --adapter THIS_DIRECTORY --data PROMPTS\n```\n\nPEFT, vLLM and llama.cpp \
    (after `midcourse export adapter --format gguf`) load it, too. `midcourse.json` beside this file holds hashes of the \
    base, the chat template, the system prompt and the prompts that were trained on.\n";

impl Card<'_> {
    /// The whole file.
    pub(crate) fn render(&self) -> String {
        let base = &self.results.manifest.model.name;
        let parts = [
            self.front_matter(),
            format!("# Course-correction of {}\n", Markdown(base)),
            format!(
                "A LoRA adapter that teaches {} to turn back by itself when it has begun a harmful answer (Xu et al. 2024).\n",
                Markdown(base)
            ),
            format!("## Results\n\n{}", self.results()),
            format!("## Data\n\n{}", self.data()),
            format!("## Licence\n\n{}", self.licence()),
            format!("## Use\n\n{USE}"),
            format!("## How it was made\n\n{}", self.making()),
        ];
        parts.join("\n")
    }

    fn front_matter(&self) -> String {
        let manifest = &self.results.manifest;
        let name = manifest.model.name.as_str();
        // A hub's name without what the hub does not know.
        let base = name.strip_prefix(hub::SCHEME).and_then(|name| name.split('@').next()).unwrap_or(name);
        let mut yaml = String::from("---\n");
        let _ =
            writeln!(yaml, "base_model: {}\nlibrary_name: peft\npipeline_tag: text-generation", quoted(base));
        let known: Vec<&String> = manifest.data.licenses.iter().filter(|name| is_license_id(name)).collect();
        if let [license] = known[..] {
            let _ = writeln!(yaml, "license: {}", quoted(license));
        }
        yaml += &list("tags", ["course-correction", "dpo", "lora", "midcourse"].map(str::to_owned));
        yaml + "---\n"
    }

    fn results(&self) -> String {
        let rows = self.results.rows();
        let mut text = match &self.results.comparison {
            None if rows.is_empty() => return "Nothing was held out and nothing was measured.\n".into(),
            None => String::new(),
            Some(comparison) => differences(comparison) + "\n",
        };
        if !rows.is_empty() {
            text += "| held out | before | after |\n| --- | ---: | ---: |\n";
        }
        for (name, before, after) in rows {
            let _ = writeln!(text, "| {name} | {before} | {after} |");
        }
        if let Some(best) = self.results.manifest.best {
            let _ = write!(
                text,
                "\nThe adapter is that of step {}, the best of those that were scored.\n",
                best.step
            );
        }
        for warning in &self.results.manifest.warnings {
            let _ = write!(text, "\nWarned of: {}\n", Markdown(warning));
        }
        text
    }

    fn data(&self) -> String {
        let manifest = &self.results.manifest;
        let Counts { n_train, n_contrast, n_held_out, n_left_out, n_pairs, dropped, .. } = &manifest.counts;
        let data = &manifest.data;
        let mut text = format!(
            "{} ({} {}, SHA-256 {}): {n_train} prompts with {n_pairs} pairs were trained on, {n_contrast} of them harmless; \
             {n_held_out} were held out",
            Markdown(&data.name),
            data.n_rows,
            data.format,
            data.sha256
        );
        if *n_left_out > 0 {
            let _ = write!(text, ", {n_left_out} left out so that the shares are as asked for");
        }
        text += ".\n";
        for dropped in dropped.iter().map(DropCount::text) {
            let _ = write!(text, "\n- {dropped}");
        }
        if dropped.is_empty() { text } else { text + "\n" }
    }

    fn licence(&self) -> String {
        let licenses = &self.results.manifest.data.licenses;
        let known = if licenses.is_empty() {
            "not known; ask whoever made the data".into()
        } else {
            licenses.join(", ")
        };
        let mut text = format!("Of the data: {}.\n", Markdown(&known));
        if forbids_commerce(licenses) {
            text += "\nThe data forbid commercial use; so does what was made of them.\n";
        }
        text + "\nThe terms of the base bind whoever uses or shares this adapter.\n"
    }

    fn making(&self) -> String {
        let manifest = &self.results.manifest;
        // In an indented block nothing is markup, and one line cannot end it.
        let mut text = format!(
            "midcourse {} made it on {}:\n\n    {}\n\n| | |\n| --- | --- |\n",
            Markdown(&manifest.midcourse),
            Markdown(&manifest.platform),
            strip_controls(&self.command)
        );
        let rows = [
            ("base", manifest.model.description.clone()),
            (
                "chat template",
                format!("{} (SHA-256 {})", manifest.chat_template, manifest.model.template_sha256),
            ),
            ("system prompt", manifest.system.clone()),
            ("thinking", manifest.thinking.clone()),
            ("steps", manifest.n_steps.to_string()),
            ("seed", manifest.seed.to_string()),
        ];
        for (name, value) in rows {
            let _ = writeln!(text, "| {name} | {} |", Markdown(&value));
        }
        for file in &manifest.model.files {
            let _ = writeln!(text, "| SHA-256 of {} | {} |", Markdown(&file.name), file.sha256);
        }
        text
    }
}
