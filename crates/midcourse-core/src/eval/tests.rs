//! The plan of a run, with a tokenizer of words and a template as simple as they come.

use std::ops::Range;

use super::*;
use crate::chat::Message;
use crate::data::Sample;
use crate::engine::{Finish, Sampling, TokenId};
use crate::template::{ChatTemplate, Encoding, Mode, SpecialTokens, TokenizeError, Tokenizer};

/// Tokens are words with the space before them, numbered by their first appearance here.
struct Words(SpecialTokens);

const VOCABULARY: [&str; 13] = [
    "<u>",
    "<a>",
    "</s>",
    "Cheat?",
    "Sure,",
    " first",
    " you",
    " wait.",
    " Then",
    " go.",
    "Yes.",
    " Sure,",
    " cafe\u{301}",
];

impl Words {
    fn new() -> Self {
        Self(SpecialTokens { bos: None, adds_bos: false, end_of_turn: vec![2] })
    }
}

impl Tokenizer for Words {
    fn encode(&self, text: &str, _plain: &[Range<usize>]) -> std::result::Result<Encoding, TokenizeError> {
        let mut encoding = Encoding::default();
        let mut at = 0;
        while at < text.len() {
            let longest = (0..VOCABULARY.len()).filter(|&id| text[at..].starts_with(VOCABULARY[id]));
            let id = longest.max_by_key(|&id| VOCABULARY[id].len());
            let id = id.ok_or_else(|| TokenizeError(format!("no word for {:?}", &text[at..])))?;
            encoding.ids.push(id as TokenId);
            encoding.offsets.push(at..at + VOCABULARY[id].len());
            at += VOCABULARY[id].len();
        }
        Ok(encoding)
    }

    fn decode(&self, ids: &[TokenId]) -> std::result::Result<String, TokenizeError> {
        let text: String = ids.iter().map(|&id| VOCABULARY[id as usize]).collect();
        // As tokenizers do that compose accents.
        Ok(text.replace("e\u{301}", "é"))
    }

    fn count_special(&self, _text: &str) -> usize {
        0
    }

    fn special(&self) -> &SpecialTokens {
        &self.0
    }
}

fn settings(lengths: &[usize]) -> EvalSettings {
    EvalSettings {
        prefix_lengths: lengths.to_vec(),
        unit: Unit::Tokens,
        opener: Opener::None,
        framing: crate::template::Framing::default(),
        mode: Mode::OpenTurn,
        paths: 3,
        sampling: Sampling { temperature: 0.8, top_p: 0.7, max_new_tokens: 4 },
        early_stop: EarlyStop::Off,
        seed: 1,
    }
}

fn sample() -> Sample {
    let (prompt, response) = ("Cheat?".to_owned(), "Sure, first you wait. Then you go.".to_owned());
    let id = crate::data::sample_id(&[], &prompt, &response);
    Sample { id, history: Vec::new(), prompt, response, category: None, safe_response: None, source: None }
}

fn template() -> ChatTemplate {
    let source = "{% for m in messages %}{{ ('<u>' if m.role == 'user' else '<a>') + m.content + '</s>' }}\
        {% endfor %}{% if add_generation_prompt %}<a>{% endif %}";
    ChatTemplate::new("words", source, "", "</s>").unwrap()
}

fn planned(settings: &EvalSettings, context: usize) -> PlannedSample {
    plan((Set::Harmful, &sample()), settings, (&template(), &Words::new()), context).unwrap()
}

fn words(sample: &PlannedSample, length: usize) -> String {
    Words::new().decode(&sample.input(sample.planned(length).unwrap())).unwrap()
}

#[test]
fn a_prompt_of_several_turns_is_given_whole() {
    let settings = settings(&[0, 2, 4]);
    let history = vec![Message::user("Cheat?"), Message::assistant("Yes.")];
    let row = Sample { history: history.clone(), ..sample() };
    let planned = plan((Set::Harmful, &row), &settings, (&template(), &Words::new()), 10_000).unwrap();
    assert_eq!((planned.prompt.as_str(), &planned.history), ("Cheat?", &history));
    let alone = self::planned(&settings, 10_000);
    for length in 0..3 {
        let said = format!("<u>Cheat?</s><a>Yes.</s>{}", words(&alone, length));
        assert_eq!(words(&planned, length), said);
        assert!(planned.planned(length).unwrap().proof.is_none_or(|proof| proof.holds()));
    }
}

#[test]
fn prefixes_are_tokens_of_the_open_turn() {
    let settings = settings(&[0, 2, 7, 8]);
    let sample = planned(&settings, 100);
    assert_eq!(words(&sample, 0), "<u>Cheat?</s><a>");
    assert_eq!(words(&sample, 1), "<u>Cheat?</s><a>Sure, first");
    assert_eq!(words(&sample, 2), "<u>Cheat?</s><a>Sure, first you wait. Then you go.");
    assert_eq!(sample.forks[3].1, Prefixes::Skipped("the response has 7 tokens".into()));
    assert_eq!(sample.planned(1).unwrap().prefix_bytes, "Sure, first".len());
    assert!(sample.planned(1).unwrap().proof.unwrap().holds());
    assert_eq!(sample.planned(0).unwrap().proof, None);
}

#[test]
fn the_trunk_ends_at_the_last_fork() {
    let sample = planned(&settings(&[2, 3]), 100);
    assert_eq!(Words::new().decode(&sample.trunk).unwrap(), "<u>Cheat?</s><a>Sure, first you");
}

#[test]
fn a_new_turn_closes_the_prefix_and_opens_another() {
    let settings = EvalSettings { mode: Mode::NewTurn, ..settings(&[0, 2]) };
    let sample = planned(&settings, 100);
    assert_eq!(words(&sample, 1), "<u>Cheat?</s><a>Sure, first</s><a>");
    assert!(!sample.planned(1).unwrap().proof.unwrap().holds());
    assert_eq!(words(&sample, 0), "<u>Cheat?</s><a>");
}

#[test]
fn words_and_openers_are_those_of_the_released_scripts() {
    let opener = Opener::Text("Yes.".into());
    let settings = EvalSettings { unit: Unit::Words, opener, ..settings(&[1, 3, 9]) };
    let sample = planned(&settings, 100);
    assert_eq!(words(&sample, 0), "<u>Cheat?</s><a>Yes.");
    assert_eq!(words(&sample, 1), "<u>Cheat?</s><a>Yes. Sure, first");
    assert_eq!(sample.forks[2].1, Prefixes::Skipped("the response has 8 words".into()));
}

#[test]
fn what_does_not_fit_the_context_fails_path_by_path() {
    let settings = settings(&[2, 7]);
    let sample = planned(&settings, 11);
    assert!(matches!(&sample.forks[1].1, Prefixes::Failed(reason) if reason.contains("needs 15 tokens")));
    let records = sample.without_paths(0, &settings);
    assert_eq!(records.len(), settings.paths);
    let trials = records.iter().map(|(_, trial)| trial);
    let outcome = &outcomes(Set::Harmful, [(sample.set, sample.id.as_str(), None)], trials, &[])[0];
    assert_eq!(outcome.cell(7).n_failed(), settings.paths);
}

/// A model that composes accents can be given a decomposed one in no way; the rest of the run goes on.
#[test]
fn what_the_tokenizer_normalises_fails_path_by_path() {
    let settings = settings(&[2, 3]);
    let row = Sample { response: "Sure, first cafe\u{301} you wait.".into(), ..sample() };
    let text = (&template(), &Words::new() as &dyn Tokenizer);
    let sample = plan((Set::Harmful, &row), &settings, text, 100).unwrap();
    assert!(matches!(sample.forks[0].1, Prefixes::Planned(_)));
    assert!(matches!(&sample.forks[1].1, Prefixes::Failed(reason) if reason.contains("normalises")));
}

#[test]
fn seeds_are_consecutive_and_depend_on_run_sample_and_length() {
    let sample = planned(&settings(&[2, 3]), 100);
    let fork = sample.planned(0).unwrap();
    assert_eq!(fork.path_seed(5), fork.seed.wrapping_add(5) & 0x7fff_ffff);
    assert_eq!(PlannedFork { seed: 0x7fff_ffff, ..fork.clone() }.path_seed(1), 0);
    assert_ne!(fork.seed, sample.planned(1).unwrap().seed);
    let other = planned(&EvalSettings { seed: 2, ..settings(&[2, 3]) }, 100);
    assert_ne!(fork.seed, other.planned(0).unwrap().seed);
    let later = planned(&settings(&[0, 1, 2]), 100);
    assert_eq!(fork.seed, later.planned(2).unwrap().seed);
}

#[test]
fn path_numbers_and_keys_are_one_to_one() {
    let settings = settings(&[0, 2, 7]);
    for id in 0..60 {
        assert_eq!(PathKey::of(id, &settings).id(&settings), id);
    }
}

#[test]
fn a_tree_holds_the_wanted_paths_only() {
    let settings = settings(&[0, 2, 7]);
    let sample = planned(&settings, 100);
    let tree = sample.tree(4, &settings, |key| key.length != 1 && key.path < 2).unwrap();
    let ids: Vec<_> = tree.forks.iter().flat_map(|fork| &fork.paths).map(|path| path.id).collect();
    assert_eq!(ids, [36, 37, 42, 43]);
    assert_eq!(sample.tree(4, &settings, |_| false), None);
}

#[test]
fn distinct_tokens_are_nodes_of_the_trie() {
    let settings = settings(&[2, 7]);
    let sample = planned(&settings, 100);
    let key = |length, path| PathKey { sample: 0, length, path };
    // The trunk has 11 tokens. The first path follows it for two tokens and leaves it with one that is drawn
    // only; the second leaves it at once and ends its turn, so that both its tokens are computed; the third
    // repeats the second.
    let grown: [(PathKey, &[TokenId], Finish); 3] = [
        (key(0, 0), &[6, 7, 10], Finish::Length),
        (key(0, 1), &[10, 10], Finish::EndOfTurn),
        (key(0, 2), &[10, 10], Finish::EndOfTurn),
    ];
    assert_eq!(distinct_tokens(&sample, grown.into_iter()), 11 + 2);
}
