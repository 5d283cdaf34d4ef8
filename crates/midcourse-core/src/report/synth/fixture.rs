//! A synthesis to test the pages with: sixty prompts of each kind, some of them lost.

use std::sync::OnceLock;

use super::super::fixture::HOSTILE;
use super::SynthReport;
use crate::chat::Message;
use crate::synth::{Ranking, Summary, Tally, fixture};

/// Its figures, which take a while.
static SUMMARY: OnceLock<Summary> = OnceLock::new();

fn summary() -> Summary {
    let mut tally = Tally::new(fixture::N_CUTS);
    for ranking in &fixture::rankings(56, 58) {
        tally.add(ranking);
    }
    for dropped in &fixture::dropped() {
        tally.add_dropped(dropped);
    }
    tally.summary(0)
}

/// Everything that a report borrows.
pub(super) struct Fixture {
    pub(super) model: String,
    pub(super) summary: Summary,
    pub(super) examples: Vec<Ranking>,
    pub(super) details: Vec<(String, String)>,
    pub(super) caveats: Vec<String>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let details = [
            ("model", "smollm2 (Q8_0)"),
            ("judge", "rule"),
            ("data", "train.jsonl (60 rows)"),
            ("seed", "0"),
        ];
        Self {
            model: "smollm2".into(),
            summary: SUMMARY.get_or_init(summary).clone(),
            examples: fixture::rankings(56, 58).into_iter().step_by(9).collect(),
            details: details.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            caveats: vec!["The server does not say which tokens it was given.".into()],
        }
    }

    /// One in which every text of users, data and models is this one.
    pub(super) fn with_text(text: &str) -> Self {
        let mut fixture = Self::new();
        text.clone_into(&mut fixture.model);
        for (name, value) in &mut fixture.details {
            text.clone_into(name);
            text.clone_into(value);
        }
        fixture.caveats = vec![text.to_owned()];
        for told in &mut fixture.summary.leak.telling_alone {
            text.clone_into(&mut told.feature);
        }
        fixture.examples = fixture.examples.into_iter().map(|ranking| spoken(ranking, text)).collect();
        fixture
    }

    pub(super) fn hostile() -> Self {
        Self::with_text(HOSTILE)
    }

    /// A run in which nothing was made yet.
    pub(super) fn empty() -> Self {
        let summary = Tally::new(fixture::N_CUTS).summary(0);
        Self { summary, examples: Vec::new(), details: Vec::new(), caveats: Vec::new(), ..Self::new() }
    }

    pub(super) fn report(&self) -> SynthReport<'_> {
        SynthReport {
            model: &self.model,
            summary: &self.summary,
            details: self.details.clone(),
            caveats: self.caveats.clone(),
            examples: &self.examples,
        }
    }

    /// Pairs made, and possible ones.
    pub(super) fn n_pairs(&self) -> (String, String) {
        let sum = |of: fn(&crate::synth::SetSummary) -> usize| self.summary.sets.iter().map(of).sum();
        (
            super::super::figure::count(sum(|set| set.n_pairs)),
            super::super::figure::count(sum(|set| set.n_pairs_possible)),
        )
    }
}

fn spoken(mut ranking: Ranking, text: &str) -> Ranking {
    ranking.prompt = vec![Message::user(text)];
    ranking.category = Some(text.to_owned());
    text.clone_into(&mut ranking.sample);
    for answer in &mut ranking.answers {
        text.clone_into(&mut answer.text);
        text.clone_into(&mut answer.forced);
        if let Some(judged) = &mut answer.verdict {
            judged.phrase = Some(text.to_owned());
        }
    }
    ranking
}
