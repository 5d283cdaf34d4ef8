//! Task files: TOML to a [`TaskSpec`], with the line of whatever is wrong.

use std::ops::Range;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::Spanned;

use super::clean::{Step, StepText};
use super::task::{ByLength, Choices, Correct, Field, Listed, MadeColumn, Scoring, Shots, TaskSpec, Written};
use super::written::{Filter, FilterText, Match, MatchText};
use crate::judge::prompt::hex;
use crate::template::{RowTemplate, TemplateFault};
use crate::{Error, Result};

/// Tokens that a reply may have where a task says nothing else, as lm-evaluation-harness has it.
const MAX_TOKENS: usize = 256;

impl TaskSpec {
    /// Reads a task file; `file` is the name that messages give it.
    ///
    /// # Errors
    /// For what is no TOML, unknown or missing fields, and templates and patterns that are none, with their line.
    pub fn parse(file: &str, source: &str) -> Result<Self> {
        let raw: Raw = toml::from_str(source).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let problem = error.message().trim_end().replace('\n', ", ");
            Error::TaskFile { file: file.to_owned(), line: line_of(source, at), problem }
        })?;
        Reader { file, source }.task(raw)
    }
}

/// The line of a place in a text.
fn line_of(source: &str, at: usize) -> usize {
    1 + source.get(..at).unwrap_or(source).matches('\n').count()
}

/// A task file as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Raw {
    name: Spanned<String>,
    version: String,
    rows: Option<String>,
    lm_eval: Option<String>,
    #[serde(default)]
    source: String,
    #[serde(default)]
    licence: String,
    kind: Spanned<Kind>,
    splits: Option<Vec<String>>,
    #[serde(default)]
    columns: Vec<String>,
    group: Option<Spanned<String>>,
    #[serde(default)]
    column: Vec<RawColumn>,
    description: Option<Spanned<String>>,
    prompt: Option<Spanned<String>>,
    choices: Option<Spanned<RawList>>,
    contexts: Option<Spanned<String>>,
    target: Option<Spanned<String>>,
    correct: Option<Spanned<String>>,
    labels: Option<Spanned<String>>,
    text: Option<Spanned<String>>,
    separator: Option<String>,
    metrics: Option<Vec<Spanned<Metric>>>,
    shots: Option<RawShots>,
    #[serde(default)]
    until: Vec<String>,
    max_tokens: Option<Spanned<usize>>,
    #[serde(default)]
    filter: Vec<Spanned<FilterText>>,
    exact_match: Option<Spanned<MatchText>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Choices,
    Contexts,
    Continuation,
    Written,
    Rolling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Metric {
    Acc,
    AccNorm,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawList {
    Template(String),
    Fixed(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawColumn {
    name: String,
    value: Spanned<String>,
    clean: Option<Spanned<Vec<StepText>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawShots {
    splits: Vec<String>,
    #[serde(default)]
    n: usize,
    separator: Option<String>,
}

/// Makes a task of what is written.
struct Reader<'a> {
    file: &'a str,
    source: &'a str,
}

impl Reader<'_> {
    fn error(&self, span: &Range<usize>, problem: impl Into<String>) -> Error {
        let line = line_of(self.source, span.start);
        Error::TaskFile { file: self.file.to_owned(), line, problem: problem.into() }
    }

    fn task(&self, mut raw: Raw) -> Result<TaskSpec> {
        let name = raw.name.get_ref().clone();
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            let problem = format!("`name`: expected letters, digits, _ and -, found {name:?}");
            return Err(self.error(&raw.name.span(), problem));
        }
        let scoring = self.scoring(&mut raw)?;
        self.refuse_others(&raw)?;
        let shots = raw.shots.map(|shots| Shots {
            splits: shots.splits,
            n: shots.n,
            separator: shots.separator.unwrap_or_else(|| "\n\n".into()),
        });
        let made = raw.column.into_iter().map(|column| self.made(column)).collect::<Result<_>>()?;
        Ok(TaskSpec {
            rows: raw.rows.unwrap_or_else(|| name.clone()),
            lm_eval: raw.lm_eval.unwrap_or_else(|| name.clone()),
            name,
            version: raw.version,
            source: raw.source,
            licence: raw.licence,
            splits: raw.splits.unwrap_or_else(|| vec!["test".into(), "validation".into()]),
            columns: raw.columns,
            shots: shots.unwrap_or_default(),
            scoring,
            sha256: hex(&Sha256::digest(self.source)),
            group: self.optional("group", raw.group)?,
            made,
            description: self.optional("description", raw.description)?,
            separator: raw.separator.unwrap_or_else(|| " ".into()),
        })
    }

    fn scoring(&self, raw: &mut Raw) -> Result<Scoring> {
        let kind = (raw.kind.span(), *raw.kind.get_ref());
        match kind.1 {
            Kind::Choices => self.choices(raw, &kind.0).map(Scoring::Choices),
            Kind::Contexts => Ok(Scoring::Contexts {
                contexts: self.needed("contexts", raw.contexts.take(), &kind.0)?,
                target: self.needed("target", raw.target.take(), &kind.0)?,
                correct: self.needed("correct", raw.correct.take(), &kind.0)?,
            }),
            Kind::Continuation => Ok(Scoring::Continuation {
                prompt: self.needed("prompt", raw.prompt.take(), &kind.0)?,
                target: self.needed("target", raw.target.take(), &kind.0)?,
            }),
            Kind::Written => self.written(raw, &kind.0).map(|written| Scoring::Written(Box::new(written))),
            Kind::Rolling => Ok(Scoring::Rolling { text: self.needed("text", raw.text.take(), &kind.0)? }),
        }
    }

    fn choices(&self, raw: &mut Raw, kind: &Range<usize>) -> Result<Choices> {
        let choices = raw.choices.take().ok_or_else(|| self.error(kind, missing("choices")))?;
        let span = choices.span();
        let listed = match choices.into_inner() {
            RawList::Fixed(choices) if choices.len() < 2 => {
                let problem = format!("`choices`: expected two or more, found {}", choices.len());
                return Err(self.error(&span, problem));
            }
            RawList::Fixed(choices) => Listed::Fixed(choices),
            RawList::Template(source) => Listed::OfRow(self.field("choices", &source, &span)?),
        };
        let correct = match (raw.correct.take(), raw.labels.take()) {
            (Some(_), Some(labels)) => {
                return Err(self.error(&labels.span(), "`labels` and `correct` say the same: one must go"));
            }
            (None, Some(labels)) => Correct::Labels(self.spanned("labels", &labels)?),
            (correct, None) => Correct::One(self.needed("correct", correct, kind)?),
        };
        let metrics = raw.metrics.take().unwrap_or_default();
        let by_length = metrics.iter().find(|metric| *metric.get_ref() == Metric::AccNorm);
        if let (Some(metric), Correct::Labels(_)) = (by_length, &correct) {
            return Err(self.error(&metric.span(), "`metrics`: `labels` have no acc_norm"));
        }
        let by_length = if by_length.is_some() { ByLength::Told } else { ByLength::NotTold };
        Ok(Choices { prompt: self.needed("prompt", raw.prompt.take(), kind)?, listed, correct, by_length })
    }

    fn written(&self, raw: &mut Raw, kind: &Range<usize>) -> Result<Written> {
        let max_tokens = match raw.max_tokens.take() {
            Some(most) if !(1..=100_000).contains(most.get_ref()) => {
                let problem = format!("`max-tokens`: expected 1 to 100000, found {}", most.get_ref());
                return Err(self.error(&most.span(), problem));
            }
            most => most.map_or(MAX_TOKENS, Spanned::into_inner),
        };
        let filter = |filter: Spanned<FilterText>| {
            let span = filter.span();
            Filter::new(filter.into_inner()).map_err(|problem| self.error(&span, problem))
        };
        let filters: Vec<Filter> =
            std::mem::take(&mut raw.filter).into_iter().map(filter).collect::<Result<_>>()?;
        let matching = raw.exact_match.take().map_or(Ok(Match::default()), |matching| {
            let span = matching.span();
            Match::new(matching.into_inner()).map_err(|problem| self.error(&span, problem))
        })?;
        Ok(Written {
            prompt: self.needed("prompt", raw.prompt.take(), kind)?,
            target: self.needed("target", raw.target.take(), kind)?,
            until: std::mem::take(&mut raw.until),
            max_tokens,
            filters,
            matching,
        })
    }

    /// Refuses fields that the task's kind does not read: they would say something that does not happen.
    fn refuse_others(&self, raw: &Raw) -> Result<()> {
        let span = |field: &Option<Spanned<String>>| field.as_ref().map(Spanned::span);
        let left = [
            ("prompt", span(&raw.prompt)),
            ("choices", raw.choices.as_ref().map(Spanned::span)),
            ("contexts", span(&raw.contexts)),
            ("target", span(&raw.target)),
            ("correct", span(&raw.correct)),
            ("labels", span(&raw.labels)),
            ("text", span(&raw.text)),
            ("metrics", raw.metrics.as_ref().and_then(|all| all.first()).map(Spanned::span)),
            ("max-tokens", raw.max_tokens.as_ref().map(Spanned::span)),
            ("filter", raw.filter.first().map(Spanned::span)),
            ("exact-match", raw.exact_match.as_ref().map(Spanned::span)),
        ];
        match left.into_iter().find_map(|(name, span)| Some((name, span?))) {
            Some((name, span)) => {
                Err(self.error(&span, format!("`{name}`: tasks of this kind do not read it")))
            }
            None => Ok(()),
        }
    }

    fn made(&self, column: RawColumn) -> Result<MadeColumn> {
        let RawColumn { name, value, clean } = column;
        let clean = clean.map_or(Ok(Vec::new()), |clean| {
            let span = clean.span();
            let wrong = |problem| self.error(&span, format!("`clean`: {problem}"));
            clean.into_inner().into_iter().map(|step| Step::new(step).map_err(wrong)).collect()
        })?;
        Ok(MadeColumn { name, value: self.spanned("value", &value)?, clean })
    }

    fn needed(
        &self,
        name: &'static str,
        given: Option<Spanned<String>>,
        kind: &Range<usize>,
    ) -> Result<Field> {
        let given = given.ok_or_else(|| self.error(kind, missing(name)))?;
        self.spanned(name, &given)
    }

    fn optional(&self, name: &'static str, given: Option<Spanned<String>>) -> Result<Option<Field>> {
        given.map(|given| self.spanned(name, &given)).transpose()
    }

    fn spanned(&self, name: &'static str, given: &Spanned<String>) -> Result<Field> {
        let span = given.span();
        self.field(name, given.get_ref(), &span)
    }

    fn field(&self, name: &'static str, source: &str, span: &Range<usize>) -> Result<Field> {
        // A text in three quotes begins on the line after them.
        let opened = self.source.get(span.start..).unwrap_or_default();
        let below = ["\"\"\"\n", "'''\n"].iter().any(|quotes| opened.starts_with(quotes));
        let line = line_of(self.source, span.start) + usize::from(below);
        let wrong = |fault: TemplateFault| Error::TaskFile {
            file: self.file.to_owned(),
            line: line + fault.line - 1,
            problem: format!("`{name}`: {}", fault.problem),
        };
        let template = RowTemplate::parse(source).map_err(wrong)?;
        Ok(Field { name, template, file: self.file.to_owned(), line })
    }
}

fn missing(field: &str) -> String {
    format!("`{field}` is missing, which tasks of this kind have")
}
