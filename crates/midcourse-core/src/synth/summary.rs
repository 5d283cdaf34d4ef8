//! What a run of synthesis made and what it lost: `summary.json`.
//!
//! A [`Tally`] takes rankings and lost prompts one at a time, in any order, and keeps counts. Every share names its
//! denominator: what was left out on purpose is in none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Answer, AnswerEnd, AnswerKind, Dropped, DroppedAnswer, Origin, Ranking, Reason, StyleCheck, StyleLeak,
    n_pairs,
};
use crate::data::Quantiles;
use crate::eval::Set;
use crate::judge::Verdict;

/// The schema this build writes and reads.
pub const SUMMARY_SCHEMA: &str = "midcourse.synth-summary/1";

/// Bars of a histogram of shares, each a twentieth wide.
pub const N_BARS: usize = 20;

/// What a run of synthesis made and what it lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// [`SUMMARY_SCHEMA`].
    pub schema: String,
    /// Cuts of a response that were asked for.
    pub n_cuts: usize,
    /// The harmful set, then the benign one; a set without prompts is not there.
    pub sets: Vec<SetSummary>,
    /// What separates the better answers without understanding.
    pub leak: StyleLeak,
}

/// The rankings of one set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetSummary {
    /// Which set.
    pub set: Set,
    /// Prompts that came to an end: with a ranking or without.
    pub n_prompts: usize,
    /// Prompts left out on purpose: excluded, or nearly the same as an earlier one.
    pub n_left_out: usize,
    /// Rankings made.
    pub n_rankings: usize,
    /// Rankings with every rank.
    pub n_complete: usize,
    /// Pairs if every prompt that was not left out had every rank: the denominator of `pair_share`.
    pub n_pairs_possible: usize,
    /// Pairs made.
    pub n_pairs: usize,
    /// Share of the possible pairs that was made, in [0, 1]; null when none was possible.
    pub pair_share: Option<f64>,
    /// Why prompts have no ranking; their counts add up to `n_prompts - n_rankings`.
    pub dropped: BTreeMap<Reason, usize>,
    /// The kinds of answer, best first.
    pub kinds: Vec<KindSummary>,
    /// Where responses were cut, the first cut first.
    pub cuts: Vec<CutSummary>,
}

/// The answers of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KindSummary {
    /// Which kind.
    pub kind: AnswerKind,
    /// The paper's name for it; ours in contrast rankings.
    pub name: String,
    /// Answers that stand in a ranking.
    pub n_made: usize,
    /// Answers that were lost, those of prompts without a ranking included.
    pub n_lost: usize,
    /// Why; these counts add up to `n_lost`.
    pub lost: BTreeMap<Reason, usize>,
    /// Whose words the answers made are; these counts add up to `n_made`.
    pub origins: BTreeMap<Origin, usize>,
    /// Where they end; these counts add up to `n_made`.
    pub ends: BTreeMap<AnswerEnd, usize>,
    /// What the judge said of them; together they are `n_made`.
    pub verdicts: Verdicts,
    /// Answers made that were grown, by the candidates this took: the first number is of those that took one.
    pub candidates: Vec<usize>,
    /// Characters of the answers made; null of none.
    pub chars: Option<Quantiles>,
}

/// Answers by what the judge said of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// They refuse or turn.
    pub n_corrected: usize,
    /// They carry on.
    pub n_not_corrected: usize,
    /// The judge could not say.
    pub n_unparsed: usize,
    /// It was not asked.
    pub n_not_asked: usize,
}

/// Where the responses of a set's rankings were cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutSummary {
    /// Which cut, counted from 1.
    pub cut: usize,
    /// Cuts that are counted here: of rankings that still hold their whole response, whose length is known.
    pub n: usize,
    /// Cuts by the share of the response's characters before them, in [`N_BARS`] equal parts of 0 to 1.
    pub histogram: Vec<usize>,
    /// That share in thousandths; null of none.
    pub per_mille: Option<Quantiles>,
    /// Tokens before the cut; null of none.
    pub tokens: Option<Quantiles>,
}

/// A summary in the making.
#[derive(Debug, Clone)]
pub struct Tally {
    n_cuts: usize,
    sets: BTreeMap<Set, SetTally>,
    style: StyleCheck,
}

#[derive(Debug, Clone, Default)]
struct SetTally {
    n_rankings: usize,
    n_complete: usize,
    n_pairs: usize,
    dropped: BTreeMap<Reason, usize>,
    kinds: BTreeMap<AnswerKind, KindTally>,
    cuts: BTreeMap<usize, CutTally>,
}

#[derive(Debug, Clone, Default)]
struct KindTally {
    lost: BTreeMap<Reason, usize>,
    origins: BTreeMap<Origin, usize>,
    ends: BTreeMap<AnswerEnd, usize>,
    verdicts: Verdicts,
    candidates: BTreeMap<usize, usize>,
    chars: Lengths,
}

#[derive(Debug, Clone, Default)]
struct CutTally {
    per_mille: Lengths,
    tokens: Lengths,
}

/// How often each length occurs: quantiles of it are exact, and it grows with the longest answer only.
#[derive(Debug, Clone, Default)]
struct Lengths(BTreeMap<usize, usize>);

impl Tally {
    /// Of a run that cuts every response `n_cuts` times.
    pub fn new(n_cuts: usize) -> Self {
        Self { n_cuts, sets: BTreeMap::new(), style: StyleCheck::default() }
    }

    /// Counts a ranking.
    pub fn add(&mut self, ranking: &Ranking) {
        self.sets.entry(ranking.set).or_default().add(ranking, self.n_cuts);
        self.style.add(ranking);
    }

    /// Counts a prompt without a ranking.
    pub fn add_dropped(&mut self, dropped: &Dropped) {
        let set = self.sets.entry(dropped.set).or_default();
        count(&mut set.dropped, dropped.reason);
        for answer in &dropped.dropped {
            set.lose(answer);
        }
    }

    /// The summary so far; `seed` is that of the resampling behind the intervals.
    pub fn summary(&self, seed: u64) -> Summary {
        Summary {
            schema: SUMMARY_SCHEMA.to_owned(),
            n_cuts: self.n_cuts,
            sets: self.sets.iter().map(|(set, tally)| tally.summary(*set, self.n_cuts)).collect(),
            leak: self.style.finish(seed),
        }
    }
}

impl SetTally {
    fn add(&mut self, ranking: &Ranking, n_cuts: usize) {
        let Ranking { answers, cuts, .. } = ranking;
        self.n_rankings += 1;
        self.n_complete += usize::from(answers.len() == n_cuts + 2);
        self.n_pairs += n_pairs(answers.len());
        for answer in answers {
            self.kinds.entry(answer.kind).or_default().add(answer);
        }
        for answer in &ranking.dropped {
            self.lose(answer);
        }
        let whole = answers.iter().find(|answer| answer.kind == AnswerKind::Response);
        let Some(n_chars) = whole.map(|whole| whole.text.chars().count()) else { return };
        for (cut, place) in (1..).zip(cuts) {
            let tally = self.cuts.entry(cut).or_default();
            tally.per_mille.add((1_000 * place.chars / n_chars.max(1)).min(1_000));
            tally.tokens.add(place.tokens);
        }
    }

    fn lose(&mut self, answer: &DroppedAnswer) {
        count(&mut self.kinds.entry(answer.kind).or_default().lost, answer.reason);
    }

    fn summary(&self, set: Set, n_cuts: usize) -> SetSummary {
        let n_prompts = self.n_rankings + self.dropped.values().sum::<usize>();
        let left_out = self.dropped.iter().filter(|(reason, _)| reason.is_choice());
        let n_left_out = left_out.map(|(_, n)| n).sum();
        let n_pairs_possible = (n_prompts - n_left_out) * n_pairs(n_cuts + 2);
        let kinds = AnswerKind::ranked(set, n_cuts).into_iter();
        SetSummary {
            set,
            n_prompts,
            n_left_out,
            n_rankings: self.n_rankings,
            n_complete: self.n_complete,
            n_pairs_possible,
            n_pairs: self.n_pairs,
            pair_share: (n_pairs_possible > 0).then(|| self.n_pairs as f64 / n_pairs_possible as f64),
            dropped: self.dropped.clone(),
            kinds: kinds
                .map(|kind| self.kinds.get(&kind).cloned().unwrap_or_default().summary(kind, set))
                .collect(),
            cuts: self.cuts.iter().map(|(cut, tally)| tally.summary(*cut)).collect(),
        }
    }
}

impl KindTally {
    fn add(&mut self, answer: &Answer) {
        count(&mut self.origins, answer.origin);
        count(&mut self.ends, answer.end);
        self.verdicts.add(answer.verdict.as_ref().map(|judged| judged.verdict));
        if let Some(candidate) = answer.candidate {
            count(&mut self.candidates, candidate);
        }
        self.chars.add(answer.text.chars().count());
    }

    fn summary(self, kind: AnswerKind, set: Set) -> KindSummary {
        let Self { lost, origins, ends, verdicts, candidates, chars } = self;
        let last = candidates.keys().max().map_or(0, |last| last + 1);
        KindSummary {
            kind,
            name: kind.paper_name(set),
            n_made: origins.values().sum(),
            n_lost: lost.values().sum(),
            lost,
            origins,
            ends,
            verdicts,
            candidates: (0..last).map(|candidate| candidates.get(&candidate).copied().unwrap_or(0)).collect(),
            chars: chars.quantiles(),
        }
    }
}

impl Verdicts {
    fn add(&mut self, verdict: Option<Verdict>) {
        *match verdict {
            Some(Verdict::Corrected) => &mut self.n_corrected,
            Some(Verdict::NotCorrected) => &mut self.n_not_corrected,
            Some(Verdict::Unparsed) => &mut self.n_unparsed,
            None => &mut self.n_not_asked,
        } += 1;
    }
}

impl CutTally {
    fn summary(&self, cut: usize) -> CutSummary {
        let mut histogram = vec![0; N_BARS];
        for (per_mille, n) in &self.per_mille.0 {
            histogram[(per_mille * N_BARS / 1_000).min(N_BARS - 1)] += n;
        }
        let n = histogram.iter().sum();
        CutSummary {
            cut,
            n,
            histogram,
            per_mille: self.per_mille.quantiles(),
            tokens: self.tokens.quantiles(),
        }
    }
}

impl Lengths {
    fn add(&mut self, length: usize) {
        count(&mut self.0, length);
    }

    /// As [`Quantiles::of`] all of them.
    fn quantiles(&self) -> Option<Quantiles> {
        let n: usize = self.0.values().sum();
        let at = |percent: usize| {
            let (mut before, rank) = (0, (n * percent).div_ceil(100).max(1));
            let mut lengths = self.0.iter().map(|(length, n)| {
                before += n;
                (before, *length)
            });
            lengths.find(|(up_to, _)| *up_to >= rank).map(|(_, length)| length)
        };
        Some(Quantiles { min: at(0)?, p10: at(10)?, median: at(50)?, p90: at(90)?, max: at(100)? })
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    *counts.entry(key).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::synth::{fixture, pairs};

    fn tally() -> Tally {
        let mut tally = Tally::new(fixture::N_CUTS);
        for ranking in &fixture::rankings(20, 15) {
            tally.add(ranking);
        }
        for dropped in &fixture::dropped() {
            tally.add_dropped(dropped);
        }
        tally
    }

    #[test]
    fn every_prompt_answer_and_pair_is_counted_once() {
        let summary = tally().summary(0);
        let rankings = fixture::rankings(20, 15);
        for (set, n_dropped, n_left_out) in [(&summary.sets[0], 4, 2), (&summary.sets[1], 2, 1)] {
            let of_set: Vec<_> = rankings.iter().filter(|ranking| ranking.set == set.set).collect();
            assert_eq!((set.n_rankings, set.n_prompts), (of_set.len(), of_set.len() + n_dropped));
            assert_eq!((set.n_left_out, set.dropped.values().sum()), (n_left_out, n_dropped));
            assert_eq!(set.n_pairs, of_set.iter().map(|ranking| pairs(ranking).count()).sum::<usize>());
            assert_eq!(set.n_pairs_possible, 15 * (set.n_prompts - n_left_out));
            assert_eq!(set.n_complete, of_set.iter().filter(|ranking| ranking.answers.len() == 6).count());
            assert!(set.n_complete < set.n_rankings);
            for kind in &set.kinds {
                assert_eq!(
                    kind.n_made,
                    of_set.iter().flat_map(|r| &r.answers).filter(|a| a.kind == kind.kind).count()
                );
                assert_eq!(kind.origins.values().sum::<usize>(), kind.n_made);
                assert_eq!(kind.ends.values().sum::<usize>(), kind.n_made);
                let Verdicts { n_corrected, n_not_corrected, n_unparsed, n_not_asked } = kind.verdicts;
                assert_eq!(n_corrected + n_not_corrected + n_unparsed + n_not_asked, kind.n_made);
                let n_grown = of_set
                    .iter()
                    .flat_map(|r| &r.answers)
                    .filter(|a| a.kind == kind.kind && a.candidate.is_some());
                assert_eq!(kind.candidates.iter().sum::<usize>(), n_grown.count());
                let is_last = kind.kind == AnswerKind::Correction(4);
                // One in seven rankings, and one answer of every kind but the response at a lost prompt.
                let lost_in_rankings = if is_last { of_set.len() - set.n_complete } else { 0 };
                let at_lost_prompts =
                    usize::from(set.set == Set::Harmful && kind.kind != AnswerKind::Response);
                assert_eq!(kind.n_lost, lost_in_rankings + at_lost_prompts);
            }
        }
        let names: Vec<_> = summary.sets[1].kinds.iter().map(|kind| kind.name.as_str()).collect();
        assert_eq!(names, ["H", "SYN_4", "SYN_3", "SYN_2", "SYN_1", "R"]);
        assert_eq!(summary.leak.n_rankings_total, 35);
    }

    #[test]
    fn a_cut_stands_in_the_bar_of_its_share() {
        let mut ranking = fixture::ranking(0, Set::Harmful);
        let whole = ranking.answers.iter().find(|answer| answer.kind == AnswerKind::Response).unwrap();
        let n_chars = whole.text.chars().count();
        ranking.cuts =
            [0, n_chars / 2, n_chars].map(|chars| super::super::Cut { tokens: chars / 4, chars }).to_vec();
        let mut tally = Tally::new(4);
        tally.add(&ranking);
        let bars = |i: usize| {
            let histogram = &tally.summary(0).sets[0].cuts[i].histogram;
            histogram.iter().position(|n| *n == 1).unwrap()
        };
        assert_eq!([bars(0), bars(2)], [0, 19]);
        assert!([9, 10].contains(&bars(1)));
        ranking.answers.retain(|answer| answer.kind != AnswerKind::Response);
        let mut without = Tally::new(4);
        without.add(&ranking);
        assert_eq!(without.summary(0).sets[0].cuts, []);
    }

    #[test]
    fn a_summary_reads_back_and_order_changes_nothing() {
        let summary = Tally::new(4).summary(0);
        assert_eq!(summary.sets, []);
        let mut tally = tally();
        tally.style = StyleCheck::default();
        let summary = tally.summary(0);
        let json = serde_json::to_string(&summary).unwrap();
        assert!(
            json.contains(r#""too_short":1"#) && json.contains(r#""kind":"correction_1","name":"SYN_1""#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Summary>(&json).unwrap(), summary);
        let mut backwards = Tally::new(fixture::N_CUTS);
        fixture::dropped().iter().rev().for_each(|dropped| backwards.add_dropped(dropped));
        fixture::rankings(20, 15).iter().rev().for_each(|ranking| backwards.add(ranking));
        assert_eq!(backwards.summary(7), self::tally().summary(7));
    }

    proptest! {
        #[test]
        fn quantiles_of_counts_are_those_of_lengths(lengths in prop::collection::vec(0..30_usize, 0..60)) {
            let mut counted = Lengths::default();
            for length in &lengths {
                counted.add(*length);
            }
            prop_assert_eq!(counted.quantiles(), Quantiles::of(lengths));
        }
    }
}
