//! Drafts driven to their end, with bytes for tokens and a model that says what the test wants.

use super::fixture::Bytes;
use super::*;
use crate::data::Sample;
use crate::engine::{Finish, Grown, Sampling, TokenId};
use crate::eval::Set;
use crate::judge::rule::RuleJudge;
use crate::judge::{TextJudge, Verdict};
use crate::template::{ChatTemplate, Framing, SpecialTokens, Tokenizer};

fn settings() -> SynthSettings {
    SynthSettings {
        n_cuts: 4,
        cut_rule: CutRule::Clauses,
        opener: OpenerPolicy::None,
        safe_response: SafeResponse::Auto,
        candidates: 1,
        sampling: Sampling { temperature: 0.0, top_p: 1.0, max_new_tokens: 200 },
        completeness: Completeness::Any,
        framing: Framing::default(),
        triggers: Triggers::builtin(),
        refusals: Triggers::builtin_refusals(),
        seed: 1,
    }
}

const RESPONSE: &str = "First wait until nobody looks, then move your piece two fields on. Talk about the weather, \
    and keep smiling. If somebody asks, say that you rolled a seven. Then put the dice away, and offer cake.";
const REFUSES: &str = " I'm sorry, but I can't help you cheat at a game.";
const TURNS: &str = " cheating is wrong, and I can't help you with it.";

fn sample(response: &str) -> Sample {
    let id = crate::data::sample_id(&[], "How do I cheat?", response);
    let text = r#"{"prompt":"How do I cheat?","response":"x"}"#;
    let read = crate::data::parse("t", text.as_bytes(), crate::data::Responses::Required).unwrap();
    Sample { id, response: response.into(), ..read.samples[0].clone() }
}

/// What a model says at a slot: its words, and whether it ends its turn there.
type Says<'a> = &'a dyn Fn(Slot, usize) -> (&'static str, Finish);

/// A run of one draft.
struct World<'a> {
    settings: SynthSettings,
    template: ChatTemplate,
    tokenizer: Bytes,
    says: Says<'a>,
    records: Vec<Candidate>,
    n_trees: usize,
}

impl<'a> World<'a> {
    fn new(settings: SynthSettings, says: Says<'a>) -> Self {
        let template = "{% for m in messages %}{{ '<' + m.role[0] + '>' + m.content + '</s>' }}{% endfor %}\
            {% if add_generation_prompt %}<a>{% endif %}";
        let template = ChatTemplate::new("bytes", template, "", "").unwrap();
        let special = SpecialTokens { bos: None, adds_bos: false, end_of_turn: vec![2] };
        Self { settings, template, tokenizer: Bytes(special), says, records: Vec::new(), n_trees: 0 }
    }

    fn planner(&self) -> Planner<'_> {
        Planner {
            settings: &self.settings,
            template: &self.template,
            tokenizer: &self.tokenizer,
            context: 4096,
        }
    }

    /// Grows and judges until nothing is asked for, from the records that are there.
    fn finish(&mut self, set: Set, sample: Sample) -> std::result::Result<Ranking, Dropped> {
        let mut draft = Draft::new(&self.planner(), 7, set, sample);
        for record in self.records.clone() {
            draft.take(&self.settings, record);
        }
        draft.advance(&self.planner());
        loop {
            self.judge(&mut draft);
            let Some(tree) = draft.tree(&self.settings, 0) else { break };
            self.n_trees += 1;
            for fork in &tree.forks {
                let input = [&tree.trunk[..fork.at], &fork.lead].concat();
                assert!(self.tokenizer.decode(&input).unwrap().starts_with("<u>How do I cheat?</s><a>"));
                for path in &fork.paths {
                    let slot = Slot::at(path.id / self.settings.candidates);
                    let (text, finish) = (self.says)(slot, path.id % self.settings.candidates);
                    let tokens = text.bytes().map(TokenId::from).collect();
                    let grown = Grown { id: path.id, tokens, finish };
                    let record = draft.record(&self.planner(), path.id, Ok(&grown)).unwrap();
                    assert_eq!((record.seed, record.slot), (path.seed, slot));
                    self.records.push(record.clone());
                    draft.take(&self.settings, record);
                }
            }
            draft.advance(&self.planner());
        }
        draft.finish(&self.settings, "rule")
    }

    fn judge(&self, draft: &mut Draft) {
        let judge = RuleJudge::new();
        loop {
            let asked = draft.unheard(&self.settings);
            if asked.is_empty() {
                return;
            }
            for asked in asked {
                let evidence = draft.evidence(asked);
                draft.hear(asked, judge.read(&evidence.case("How do I cheat?")).into());
            }
            draft.advance(&self.planner());
        }
    }
}

/// A model that refuses and turns as it should.
fn aligned(slot: Slot, _candidate: usize) -> (&'static str, Finish) {
    match slot {
        Slot::Answer => (REFUSES, Finish::EndOfTurn),
        Slot::Opened => (" Games are for everybody.", Finish::EndOfTurn),
        Slot::Correction(1) => (" cheating is wrong, and I can't help you with it. And so o", Finish::Length),
        Slot::Correction(_) => (TURNS, Finish::EndOfTurn),
    }
}

fn names(ranking: &Ranking) -> Vec<String> {
    ranking.answers.iter().map(|answer| answer.kind.paper_name(ranking.set)).collect()
}

#[test]
fn six_answers_are_ranked_and_make_fifteen_pairs() {
    let mut world = World::new(settings(), &aligned);
    let ranking = world.finish(Set::Harmful, sample(RESPONSE)).unwrap();
    assert_eq!(names(&ranking), ["SR", "SYN_1", "SYN_2", "SYN_3", "SYN_4", "FHR"]);
    assert_eq!(world.n_trees, 1, "everything is asked for at once");
    let [refusal, first, .., whole] = &ranking.answers[..] else { panic!() };
    assert_eq!((refusal.text.as_str(), refusal.origin), (REFUSES.trim(), Origin::Model));
    assert_eq!((whole.text.as_str(), whole.end), (RESPONSE, AnswerEnd::Row));
    // What the limit cut ends after its last sentence.
    assert!(first.text.ends_with("I can't help you with it."), "{}", first.text);
    assert_eq!(first.end, AnswerEnd::Sentence);
    for (answer, cut) in ranking.answers[1..5].iter().zip(&ranking.cuts) {
        assert_eq!(answer.prefix_chars, cut.chars);
        let prefix: String = RESPONSE.chars().take(cut.chars).collect();
        assert!(answer.text.starts_with(&format!("{prefix} {}", answer.forced)), "{}", answer.text);
        assert_eq!(answer.verdict.as_ref().unwrap().verdict, Verdict::Corrected);
    }
    let all: Vec<Pair> = pairs(&ranking).collect();
    assert_eq!(all.len(), world.settings.n_pairs());
    assert!(all.iter().all(|pair| pair.chosen.rank < pair.rejected.rank));
}

#[test]
fn a_contrast_ranking_stands_the_other_way_round() {
    let mut world = World::new(settings(), &aligned);
    let ranking = world.finish(Set::Benign, sample(RESPONSE)).unwrap();
    assert_eq!(names(&ranking), ["H", "SYN_4", "SYN_3", "SYN_2", "SYN_1", "R"]);
    assert_eq!(ranking.answers[0].verdict.as_ref().unwrap().verdict, Verdict::NotCorrected);
    // A response that turns is no helpful one.
    let turning = format!("{RESPONSE} But I'm sorry, I can't help you cheat.");
    let dropped = world.finish(Set::Benign, sample(&turning)).unwrap_err();
    assert_eq!(dropped.reason, Reason::NotHelpful);
}

#[test]
fn a_harmless_prompt_without_a_response_is_answered_first() {
    let says = |slot: Slot, candidate| match slot {
        Slot::Answer => (RESPONSE, Finish::EndOfTurn),
        other => aligned(other, candidate),
    };
    let mut world = World::new(settings(), &says);
    let ranking = world.finish(Set::Benign, sample("")).unwrap();
    assert_eq!(names(&ranking), ["H", "SYN_4", "SYN_3", "SYN_2", "SYN_1", "R"]);
    let (helpful, refusal) = (&ranking.answers[0], &ranking.answers[5]);
    assert_eq!((helpful.origin, refusal.origin), (Origin::Model, Origin::Opened));
    assert_eq!(helpful.text, RESPONSE);
    assert_eq!(world.n_trees, 2);
}

#[test]
fn refusals_come_from_the_row_then_the_model_then_an_opener() {
    let helps = |slot: Slot, candidate| match slot {
        Slot::Answer => (" Move your piece two fields on.", Finish::EndOfTurn),
        other => aligned(other, candidate),
    };
    let refusal = |says: Says, policy, safe: Option<&str>| {
        let mut world = World::new(SynthSettings { safe_response: policy, ..settings() }, says);
        let row = Sample { safe_response: safe.map(str::to_owned), ..sample(RESPONSE) };
        let ranking = world.finish(Set::Harmful, row).unwrap();
        let first = &ranking.answers[0];
        match first.kind {
            AnswerKind::Refusal => Ok(first.origin),
            _ => Err(ranking.dropped[0].reason),
        }
    };
    let row = Some("I can't help you cheat, but I can explain the rules.");
    assert_eq!(refusal(&helps, SafeResponse::Auto, row), Ok(Origin::Row));
    assert_eq!(refusal(&aligned, SafeResponse::Auto, Some("Roll the dice.")), Ok(Origin::Model));
    assert_eq!(refusal(&helps, SafeResponse::Auto, None), Ok(Origin::Opened));
    assert_eq!(refusal(&helps, SafeResponse::Model, row), Err(Reason::DoesNotTurn));
    assert_eq!(refusal(&aligned, SafeResponse::Column, None), Err(Reason::NotInRow));
    assert_eq!(refusal(&aligned, SafeResponse::Opened, row), Ok(Origin::Opened));
}

#[test]
fn the_first_candidate_that_passes_is_kept_and_what_fails_is_counted() {
    let says = |slot: Slot, candidate| match (slot, candidate) {
        (Slot::Correction(2), 0) => (" then move on", Finish::Length),
        (Slot::Correction(2), _) => (TURNS, Finish::EndOfTurn),
        (Slot::Correction(3), _) => (" and so on and", Finish::Length),
        _ => aligned(slot, candidate),
    };
    let sampling = Sampling { temperature: 0.8, ..settings().sampling };
    let several = SynthSettings { candidates: 3, sampling, ..settings() };
    let ranking = World::new(several.clone(), &says).finish(Set::Harmful, sample(RESPONSE)).unwrap();
    assert_eq!(names(&ranking), ["SR", "SYN_1", "SYN_2", "SYN_4", "FHR"]);
    assert_eq!(ranking.answers[2].candidate, Some(1));
    assert_eq!(pairs(&ranking).count(), 10);
    let [lost] = &ranking.dropped[..] else { panic!("{:?}", ranking.dropped) };
    assert_eq!(
        (lost.kind, lost.reason, lost.n_candidates),
        (AnswerKind::Correction(3), Reason::NoSentence, 3)
    );
    let all = SynthSettings { completeness: Completeness::All, ..several };
    let dropped = World::new(all, &says).finish(Set::Harmful, sample(RESPONSE)).unwrap_err();
    assert_eq!((dropped.reason, dropped.dropped.len()), (Reason::TooFewAnswers, 1));
}

#[test]
fn records_read_back_lead_to_the_same_ranking_wherever_they_stop() {
    let helps = |slot: Slot, candidate| match slot {
        Slot::Answer => (" Move your piece two fields on.", Finish::EndOfTurn),
        other => aligned(other, candidate),
    };
    let answers = |slot: Slot, candidate| match slot {
        Slot::Answer => (RESPONSE, Finish::EndOfTurn),
        other => aligned(other, candidate),
    };
    let with_safe = Sample { safe_response: Some("Roll the dice.".into()), ..sample(RESPONSE) };
    let cases: [(Says, Set, Sample); 5] = [
        (&aligned, Set::Harmful, sample(RESPONSE)),
        (&helps, Set::Harmful, sample(RESPONSE)),
        (&aligned, Set::Harmful, with_safe),
        (&aligned, Set::Benign, sample(RESPONSE)),
        (&answers, Set::Benign, sample("")),
    ];
    for (says, set, sample) in cases {
        let mut world = World::new(settings(), says);
        let whole = world.finish(set, sample.clone()).unwrap();
        let records = world.records.clone();
        for n in 0..=records.len() {
            let mut again = World::new(settings(), says);
            again.records = records[..n].to_vec();
            assert_eq!(again.finish(set, sample.clone()).unwrap(), whole);
            assert_eq!(again.records.len(), records.len(), "nothing is grown twice");
        }
    }
}

#[test]
fn all_answers_begin_with_a_shared_opener_and_only_corrections_with_a_released_one() {
    let with = |opener: OpenerPolicy| {
        let mut world = World::new(SynthSettings { opener, ..settings() }, &aligned);
        world.finish(Set::Harmful, sample(RESPONSE)).unwrap()
    };
    let begin = |ranking: &Ranking| {
        let opener = ranking.opener.as_str();
        assert!(!opener.is_empty());
        ranking.answers.iter().map(|answer| answer.text.starts_with(opener)).collect::<Vec<_>>()
    };
    for opener in [OpenerPolicy::Shared, OpenerPolicy::Text("Of course.".into())] {
        assert_eq!(begin(&with(opener)), [true; 6]);
    }
    assert_eq!(begin(&with(OpenerPolicy::Released)), [false, true, true, true, true, false]);
}

#[test]
fn a_response_of_one_clause_and_a_prompt_beyond_the_context_are_dropped_with_their_reasons() {
    let mut world = World::new(settings(), &aligned);
    let dropped = world.finish(Set::Harmful, sample("Just cheat.")).unwrap_err();
    assert_eq!(dropped.reason, Reason::TooShort);
    let long = Sample { prompt: "x".repeat(5000), ..sample(RESPONSE) };
    let dropped = world.finish(Set::Harmful, long).unwrap_err();
    assert_eq!(dropped.reason, Reason::TooLong);
}
