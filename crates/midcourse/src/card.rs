//! The card of a data set of preference pairs: `README.md` as the Hugging Face hub reads it.
//!
//! Everything that a user, a file or a model named is hostile: front matter holds it as JSON strings, which YAML reads,
//! and the body as escaped text on one line. What a pair says is not shown.

use std::fmt::Write;

use midcourse_core::eval::Set;
use midcourse_core::report::{Markdown, strip_controls};
use midcourse_core::synth::Reason;

use crate::pairs::{PairCounts, Split, set_name};

/// What is known of a data set.
#[derive(Debug, Clone)]
pub(crate) struct Card {
    /// The name that people read.
    pub name: String,
    /// ISO 639 codes of the languages of the texts; none where they are not known.
    pub languages: Vec<String>,
    /// Where prompts and responses come from.
    pub sources: Vec<Source>,
    /// The version of midcourse.
    pub midcourse: String,
    /// The command line that made it.
    pub command: String,
    /// The model that answered.
    pub model: String,
    /// The judge that checked the answers.
    pub judge: String,
    pub seed: u64,
    /// Every other setting with its value, in the order in which they are shown.
    pub settings: Vec<(String, String)>,
    /// Prompts that were read, and why so many of them have no ranking.
    pub n_prompts: usize,
    pub dropped: Vec<(Reason, usize)>,
    /// What was written.
    pub counts: PairCounts,
    /// Share of pairs that a classifier tells by what does not matter: the style check; none where it was not
    /// measured.
    pub style_leak: Option<f64>,
}

/// A file of prompts and responses.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub set: Set,
    /// As the user named it.
    pub file: String,
    pub format: String,
    /// Of its decompressed bytes.
    pub sha256: String,
    /// Its licences as the hub names them, such as `cc-by-nc-4.0`; none where they are not known.
    pub licenses: Vec<String>,
}

const CITATION: &str = "```bibtex
@inproceedings{xu2024course,
  title     = {Course-Correction: Safety Alignment Using Synthetic Preferences},
  author    = {Xu, Rongwu and Cai, Yishuo and Zhou, Zhenhong and Gu, Renjie and Weng, Haiqin and Liu, Yan and Zhang, Tianwei and Xu, Wei and Qiu, Han},
  booktitle = {Proceedings of the 2024 Conference on Empirical Methods in Natural Language Processing: Industry Track},
  year      = {2024},
  url       = {https://arxiv.org/abs/2407.16637}
}
```
";

const COLUMNS: &str = "| column | what it holds |
| --- | --- |
| `prompt` | the conversation, a list of `role` and `content`, a user's message last |
| `chosen` | the better answer, a list of one message |
| `rejected` | the worse one |
| `sample_id` | the sample: pairs of one ranking have the same |
| `chosen_rank`, `rejected_rank` | places in the ranking, 0 is the best; ranks that were lost leave gaps |
| `chosen_prefix_chars`, `rejected_prefix_chars` | characters at the start of the answer that are those of the source's response; 0 for none |
| `set` | `harmful`: turning back is right; `benign`: carrying on is |

Every answer ends; a chat template closes its turn.
";

const HARM: &str = "**The answers repeat the responses of their sources.** Rejected answers hold whole responses, and chosen \
    ones may begin with parts of them. Where a source is harmful, so is this data set: it is made to train models away \
    from such answers, and no text of it should be shown to people who do not expect that.\n";

const CONTRAST: &str = "Contrast rankings of harmless prompts (`set` is `benign`) prefer the helpful response and rank \
    false corrections below it, so that a model does not learn to turn back from everything.\n";

const NO_CONTRAST: &str = "**There are no contrast rankings.** In every pair the earlier correction is the better answer. A \
    model that is trained on these pairs alone may learn to turn back from harmless answers, too: measure its false \
    corrections.\n";

impl Card {
    /// The whole file.
    pub(crate) fn render(&self) -> String {
        let PairCounts { n_pairs, n_rankings, .. } = self.counts;
        let parts = [
            self.front_matter(),
            format!("# {}\n", Markdown(&self.name)),
            format!(
                "{n_pairs} preference pairs from {n_rankings} rankings that teach course-correction: a model that has begun a \
                 harmful answer turns back by itself, in the same answer; the earlier, the better (C²-Syn, Xu et al. 2024).\n"
            ),
            format!("## Before you use it\n\n{HARM}\n{}{}", self.contrast(), self.leak()),
            format!("## Licence\n\n{}", self.licence()),
            format!("## Size\n\n{}", self.sizes()),
            format!("## Columns\n\n{COLUMNS}"),
            format!("## How it was made\n\n{}", self.making()),
            format!("## Citation\n\n{CITATION}"),
        ];
        parts.join("\n")
    }

    fn front_matter(&self) -> String {
        let mut yaml = String::from("---\n");
        let _ = writeln!(yaml, "pretty_name: {}", quoted(&self.name));
        yaml += &list("license", self.licenses().iter().map(|license| quoted(license)));
        if !self.languages.is_empty() {
            yaml += &list("language", self.languages.iter().map(|language| quoted(language)));
        }
        yaml += &list("size_categories", [size_category(self.counts.n_pairs).to_owned()]);
        yaml += &list("task_categories", ["text-generation".to_owned()]);
        yaml += &list("tags", ["dpo", "preference", "course-correction"].map(str::to_owned));
        yaml += "configs:\n- config_name: default\n  data_files:\n";
        for split in self.counts.splits.keys().map(|split| Split::name(*split)) {
            let _ = write!(yaml, "  - split: {split}\n    path: data/{split}-*.parquet\n");
        }
        yaml + "---\n"
    }

    /// The licences of the sources, each once; `other` for one that the hub could not name.
    fn licenses(&self) -> Vec<&str> {
        let mut licenses = Vec::new();
        for source in &self.sources {
            let unknown = source.licenses.is_empty().then_some("unknown");
            let known =
                source.licenses.iter().map(|name| if is_license_id(name) { name.as_str() } else { "other" });
            for license in known.chain(unknown) {
                if !licenses.contains(&license) {
                    licenses.push(license);
                }
            }
        }
        if licenses.is_empty() { vec!["unknown"] } else { licenses }
    }

    fn contrast(&self) -> &'static str {
        let has_benign = self.counts.splits.values().any(|sets| sets.contains_key(&Set::Benign));
        if has_benign { CONTRAST } else { NO_CONTRAST }
    }

    fn leak(&self) -> String {
        self.style_leak.map_or_else(String::new, |share| {
            format!(
                "\nA classifier that sees only first words, length, ending and layout tells chosen from rejected in {:.0} % of the pairs \
                 (50 % is chance).\n",
                100.0 * share
            )
        })
    }

    fn licence(&self) -> String {
        let mut text = String::from(
            "Texts of the sources are in the answers, so the terms of their licences bind whoever uses or shares this \
             data set.\n\n| source | set | format | licence |\n| --- | --- | --- | --- |\n",
        );
        for source in &self.sources {
            let licenses = match source.licenses.join(", ") {
                none if none.is_empty() => "not known; ask whoever made it".into(),
                licenses => licenses,
            };
            let cells = [&source.file, set_name(source.set), &source.format, &licenses]
                .map(|cell| Markdown(cell).to_string());
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        if self.sources.iter().any(|source| forbids_commerce(&source.licenses)) {
            text += "\nA source forbids commercial use; so does this data set.\n";
        }
        text + "\nWhat the model wrote is also bound by the terms of the model.\n"
    }

    fn sizes(&self) -> String {
        let mut text = String::from("| split | set | rankings | pairs |\n| --- | --- | ---: | ---: |\n");
        for (split, sets) in &self.counts.splits {
            for (set, counts) in sets {
                let (split, set) = (split.name(), set_name(*set));
                let _ = writeln!(text, "| {split} | {set} | {} | {} |", counts.n_rankings, counts.n_pairs);
            }
        }
        text += "\nA prompt is in one split, with all its pairs.\n";
        let n_dropped: usize = self.dropped.iter().map(|(_, n_prompts)| n_prompts).sum();
        let _ = write!(text, "\nOf {} prompts, {n_dropped} have no ranking", self.n_prompts);
        if n_dropped > 0 {
            text += ":\n\n| reason | prompts |\n| --- | ---: |\n";
            for (reason, n_prompts) in &self.dropped {
                let _ = writeln!(text, "| `{}` | {n_prompts} |", reason.name());
            }
            return text;
        }
        text + ".\n"
    }

    fn making(&self) -> String {
        // In an indented block nothing is markup, and one line cannot end it.
        let mut text = format!(
            "midcourse {} made it:\n\n    {}\n\n| setting | value |\n| --- | --- |\n",
            Markdown(&self.midcourse),
            strip_controls(&self.command)
        );
        let seed = self.seed.to_string();
        let first = [("model", self.model.as_str()), ("judge", &self.judge), ("seed", &seed)];
        let more = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let hashes = self.sources.iter().map(|source| (source.file.as_str(), source.sha256.as_str()));
        for (name, value) in first.into_iter().chain(more) {
            let _ = writeln!(text, "| {} | {} |", Markdown(name), Markdown(value));
        }
        for (file, sha256) in hashes {
            let _ = writeln!(text, "| SHA-256 of {} | {} |", Markdown(file), Markdown(sha256));
        }
        text
    }
}

/// A string of JSON, which is one of YAML, on one line.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(strip_controls(text)).to_string()
}

pub(crate) fn list(name: &str, items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().fold(format!("{name}:\n"), |yaml, item| yaml + "- " + &item + "\n")
}

/// Whether the hub could know a licence by this name.
pub(crate) fn is_license_id(license: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
    !license.is_empty() && license.len() <= 40 && license.chars().all(is_part)
}

/// Whether all licences that may be chosen from are of Creative Commons' that are not for commercial use.
pub(crate) fn forbids_commerce(licenses: &[String]) -> bool {
    let forbids = |license: &String| license.to_ascii_lowercase().split(['-', ' ']).any(|part| part == "nc");
    !licenses.is_empty() && licenses.iter().all(forbids)
}

/// The hub's name for a number of rows.
fn size_category(n_rows: usize) -> &'static str {
    match n_rows {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        _ => "10M<n<100M",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::pairs::SetCounts;

    fn card() -> Card {
        let counts = |n_rankings| SetCounts { n_rankings, n_pairs: 15 * n_rankings };
        let train = BTreeMap::from([(Set::Harmful, counts(60)), (Set::Benign, counts(50))]);
        let splits = BTreeMap::from([
            (Split::Train, train),
            (Split::Test, BTreeMap::from([(Set::Harmful, counts(7))])),
        ]);
        let source = |set, file: &str, license: Option<&str>| Source {
            set,
            file: file.into(),
            format: "own".into(),
            sha256: "ab12".into(),
            licenses: license.map(str::to_owned).into_iter().collect(),
        };
        Card {
            name: "Board games".into(),
            languages: vec!["en".into()],
            sources: vec![
                source(Set::Harmful, "train.jsonl", Some("cc-by-nc-4.0")),
                source(Set::Benign, "benign.jsonl", None),
            ],
            midcourse: "0.1.0".into(),
            command: "midcourse synth --model smollm2 --data train.jsonl --out pairs".into(),
            model: "smollm2".into(),
            judge: "rule".into(),
            seed: 7,
            settings: vec![("cuts".into(), "4".into())],
            n_prompts: 120,
            dropped: vec![(Reason::TooShort, 2), (Reason::TooFewAnswers, 1)],
            counts: PairCounts { n_rankings: 117, n_pairs: 1755, splits, ..PairCounts::default() },
            style_leak: Some(0.62),
        }
    }

    #[test]
    fn a_card_begins_with_what_the_hub_reads() {
        let expected = "---\npretty_name: \"Board games\"\nlicense:\n- \"cc-by-nc-4.0\"\n- \"unknown\"\nlanguage:\n- \"en\"\n\
            size_categories:\n- 1K<n<10K\ntask_categories:\n- text-generation\ntags:\n- dpo\n- preference\n- course-correction\n\
            configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*.parquet\n  - split: test\n    \
            path: data/test-*.parquet\n---\n\n# Board games\n";
        let card = card().render();
        assert!(card.starts_with(expected), "{card}");
    }

    #[test]
    fn a_card_says_sizes_losses_and_terms() {
        let card = card().render();
        for said in [
            "| train | harmful | 60 | 900 |\n| train | benign | 50 | 750 |\n| test | harmful | 7 | 105 |\n",
            "Of 120 prompts, 3 have no ranking:\n\n| reason | prompts |\n| --- | ---: |\n| `too_short` | 2 |\n",
            "| train.jsonl | harmful | own | cc-by-nc-4.0 |\n| benign.jsonl | benign | own | not known",
            "A source forbids commercial use; so does this data set.",
            "in 62 % of the pairs",
            "\n    midcourse synth --model smollm2 --data train.jsonl --out pairs\n",
            "| model | smollm2 |\n| judge | rule |\n| seed | 7 |\n| cuts | 4 |\n| SHA-256 of train.jsonl | ab12 |\n",
            "Contrast rankings of harmless prompts",
        ] {
            assert!(card.contains(said), "expected {said:?} in {card}");
        }
    }

    #[test]
    fn missing_contrast_rankings_are_warned_of() {
        let mut card = card();
        for sets in card.counts.splits.values_mut() {
            sets.remove(&Set::Benign);
        }
        assert!(card.render().contains("**There are no contrast rankings.**"), "{}", card.render());
    }

    #[test]
    fn no_text_leaves_its_place() {
        let hostile = "x\"\n---\n# A heading\n```\n<script>|\u{2028}- tags: [evil]\u{85}\u{202e}";
        let mut card = card();
        card.name = hostile.into();
        card.languages = vec![hostile.into()];
        card.sources[0].licenses = vec![hostile.into()];
        for text in [&mut card.command, &mut card.model, &mut card.judge, &mut card.sources[0].file] {
            *text = hostile.into();
        }
        card.settings = vec![(hostile.into(), hostile.into())];
        let card = card.render();
        assert_eq!(card.lines().filter(|line| *line == "---").count(), 2, "{card}");
        assert_eq!(card.lines().filter(|line| line.starts_with("```")).count(), 2, "{card}");
        let headings: Vec<&str> = card.lines().filter(|line| line.starts_with('#')).collect();
        assert_eq!(headings.len(), 7, "{headings:?}");
        let body = card.rsplit_once("---\n\n").unwrap().1;
        assert!(
            body.lines().filter(|line| !line.starts_with("    ")).all(|line| !line.contains("<script")),
            "{body}"
        );
        assert!(!card.contains(['\u{2028}', '\u{85}', '\u{202e}']), "{card}");
        assert!(card.contains("license:\n- \"other\"\n- \"unknown\"\n"), "{card}");
    }

    #[test]
    fn sizes_are_the_hubs() {
        let sizes = [0, 999, 1_000, 9_999, 10_000, 750_000, 1_000_000, 20_000_000].map(size_category);
        let expected =
            ["n<1K", "n<1K", "1K<n<10K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M"];
        assert_eq!(sizes, expected);
    }
}
