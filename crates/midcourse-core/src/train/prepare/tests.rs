//! Rankings and pairs in bytes: what becomes of them, and what is said of what does not.

use super::*;
use crate::data::PairReader;
use crate::eval::Set;
use crate::synth::fixture::ranking;
use crate::synth::pairs;
use crate::train::fixture::{Writer, logps};
use crate::train::{Objective, ObjectiveSettings, Terms};

fn read(rows: &str) -> Vec<PlainPair> {
    let mut reader = PairReader::default();
    reader.text("pairs", rows.as_bytes()).unwrap();
    reader.finish("pairs").unwrap()
}

fn of_pairs(writer: &Writer, rows: &str) -> Prepared {
    let mut prepared = Prepared::default();
    writer.preparing().pairs(&read(rows), &mut prepared).unwrap();
    prepared
}

/// The pairs of a ranking as an export writes them for TRL.
fn exported(ranking: &Ranking) -> String {
    let row = |pair: crate::synth::Pair| {
        let said = |text: &str| serde_json::json!([Message::assistant(text)]);
        let row = serde_json::json!({
            "prompt": ranking.prompt,
            "chosen": said(&pair.chosen.text),
            "rejected": said(&pair.rejected.text),
            "sample_id": ranking.sample,
            "chosen_rank": pair.chosen.rank,
            "set": ranking.set,
        });
        format!("{row}\n")
    };
    pairs(ranking).map(row).collect()
}

fn loss(example: &Example, objective: Objective) -> f64 {
    let terms = Terms::of(example, &ObjectiveSettings { objective, ..ObjectiveSettings::default() });
    terms.loss(&logps(terms.scored(), 1), &logps(terms.scored(), 2)).value
}

#[test]
fn pairs_of_a_ranking_become_its_tree_again() {
    let writer = Writer::new();
    for (index, set) in [(0, Set::Harmful), (1, Set::Benign), (3, Set::Harmful)] {
        let ranking = ranking(index, set);
        let whole = writer.example(&ranking);
        let prepared = of_pairs(&writer, &exported(&ranking));
        assert_eq!((prepared.examples.len(), prepared.dropped.len()), (1, 0));
        let again = &prepared.examples[0];
        assert_eq!((&again.trie, &again.pairs, &again.id), (&whole.trie, &whole.pairs, &ranking.sample));
        let nodes = |example: &Example| -> Vec<Vec<usize>> {
            example.answers.iter().map(|answer| answer.nodes.clone()).collect()
        };
        assert_eq!(nodes(again), nodes(&whole));
        for objective in [Objective::Fork, Objective::DpoFull, Objective::Ipo] {
            assert!((loss(again, objective) - loss(&whole, objective)).abs() < 1e-12);
        }
    }
}

#[test]
fn an_answer_is_scored_to_the_end_of_its_turn() {
    let writer = Writer::new();
    let ranking = ranking(0, Set::Harmful);
    let example = writer.example(&ranking);
    for (answer, scored) in ranking.answers.iter().zip(&example.answers) {
        // One control token ends the turn.
        assert_eq!(scored.n_tokens, answer.text.len() + 1);
        assert_eq!(scored.nodes.len(), scored.n_tokens);
        assert_eq!(example.trie.token(*scored.nodes.last().unwrap()), 2);
        assert_eq!(example.trie.depth(scored.nodes[0]), example.n_prompt);
    }
    // `<u>`, the prompt, `</s>` and `<a>`.
    assert_eq!(example.n_prompt, ranking.prompt[0].content.len() + 3);
}

/// A template that opens an answer otherwise than it writes one: the answers begin where they differ, and are counted.
#[test]
fn a_prompt_that_is_no_beginning_is_cut_back_and_counted() {
    let writer = Writer::of(
        "{% for m in messages %}{{ '<' + m.role[0] + '>' + m.content + '</s>' }}{% endfor %}\
         {% if add_generation_prompt %}<a>Well: {% endif %}",
    );
    let ranking = ranking(0, Set::Harmful);
    let prepared = writer.rankings(std::slice::from_ref(&ranking));
    assert_eq!(prepared.n_mismatched, 6);
    let example = &prepared.examples[0];
    assert_eq!(example.n_prompt, ranking.prompt[0].content.len() + 3);
    assert_eq!(example.answers[0].n_tokens, ranking.answers[0].text.len() + 1);
}

#[test]
fn what_is_too_long_is_dropped_with_its_pairs_and_teaches_nothing_of_what_it_hides() {
    let mut writer = Writer::new();
    let ranking = ranking(0, Set::Harmful);
    let whole = writer.example(&ranking);
    // The response and the late corrections are longer.
    writer.max_tokens = whole.n_prompt + whole.answers[2].n_tokens;
    let prepared = writer.rankings(std::slice::from_ref(&ranking));
    let example = &prepared.examples[0];
    assert_eq!(example.answers.len(), 3);
    assert_eq!(prepared.drop_counts(), BTreeMap::from([((Lost::Answer, DropReason::TooLong), (3, 12))]));
    assert_eq!(prepared.n_pairs() + 12, 15);
    let said = &prepared.dropped[0];
    let n_tokens = whole.n_prompt + whole.answers[3].n_tokens;
    let limit = writer.max_tokens;
    assert_eq!(said.detail, format!("correction_3: {n_tokens} tokens, at most {limit} (--max-tokens)"));
    // The turns are known by a response that is no longer there.
    let turns = |example: &Example| example.answers.iter().map(|answer| answer.turn).collect::<Vec<_>>();
    assert_eq!(turns(example), turns(&whole)[..3]);
}

#[test]
fn a_prompt_without_room_for_an_answer_or_with_one_answer_left_is_dropped() {
    let mut writer = Writer::new();
    let ranking = ranking(0, Set::Harmful);
    let whole = writer.example(&ranking);
    let mut drops = |max_tokens| {
        writer.max_tokens = max_tokens;
        let prepared = writer.rankings(std::slice::from_ref(&ranking));
        assert_eq!(prepared.examples, []);
        let counts = prepared.drop_counts();
        assert_eq!(counts.values().map(|(_, n_pairs)| n_pairs).sum::<usize>(), 15);
        counts.into_iter().map(|(key, (n, _))| (key, n)).collect::<Vec<_>>()
    };
    assert_eq!(drops(whole.n_prompt), [((Lost::Prompt, DropReason::TooLong), 1)]);
    let only_refusal = whole.n_prompt + whole.answers[0].n_tokens;
    let expected = [((Lost::Answer, DropReason::TooLong), 5), ((Lost::Prompt, DropReason::NoPairs), 1)];
    assert_eq!(drops(only_refusal), expected);
}

#[test]
fn empty_and_equal_sides_are_dropped_and_counted() {
    let writer = Writer::new();
    let rows = [
        r#"{"prompt":"Cards?","chosen":"No.","rejected":"Yes."}"#,
        r#"{"prompt":"Cards?","chosen":"No.","rejected":"No."}"#,
        r#"{"prompt":"Cards?","chosen":"No.","rejected":" "}"#,
        r#"{"prompt":"Dishes?","chosen":"Same.","rejected":"Same."}"#,
        r#"{"prompt":"","chosen":"No.","rejected":"Yes."}"#,
        // The same to the model, which is given the end of sequence after the first as well.
        r#"{"prompt":"Chess?","chosen":"No.","rejected":"No.</s>"}"#,
    ];
    let prepared = of_pairs(&writer, &rows.join("\n"));
    assert_eq!((prepared.examples.len(), prepared.n_pairs()), (1, 1));
    let expected = [
        ((Lost::Pair, DropReason::SameSides), (3, 3)),
        ((Lost::Answer, DropReason::Empty), (1, 1)),
        ((Lost::Prompt, DropReason::Empty), (1, 1)),
        ((Lost::Prompt, DropReason::NoPairs), (2, 0)),
    ];
    assert_eq!(prepared.drop_counts(), BTreeMap::from(expected));
}

#[test]
fn what_the_template_refuses_is_dropped_with_what_it_says() {
    let writer = Writer::of(
        "{% for m in messages %}{% if 'rude' in m.content %}{{ raise_exception('mind your words') }}{% endif %}\
         {{ '<' + m.role[0] + '>' + m.content + '</s>' }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}",
    );
    let row = |rejected: &str| {
        let said = |role: &str, text: &str| format!(r#"[{{"role":"{role}","content":"{text}"}}]"#);
        let (prompt, chosen) = (said("user", "A prank?"), said("assistant", "No."));
        format!(r#"{{"prompt":{prompt},"chosen":{chosen},"rejected":{}}}"#, said("assistant", rejected))
    };
    let prepared = of_pairs(&writer, &[row("Yes."), row("A rude one.")].join("\n"));
    assert_eq!((prepared.examples.len(), prepared.n_pairs()), (1, 1));
    assert_eq!(prepared.dropped.len(), 1);
    let said = &prepared.dropped[0];
    assert_eq!((said.what, said.reason, said.n_pairs), (Lost::Answer, DropReason::Unwritable, 1));
    assert!(
        said.detail.starts_with("answer 3: ") && said.detail.contains("mind your words"),
        "{}",
        said.detail
    );
}

/// As in TRL: text as it is, special tokens in it read, the end of sequence after an answer that lacks it.
#[test]
fn texts_end_with_one_end_of_sequence() {
    let prepared = of_pairs(&Writer::new(), r#"{"prompt":"<u>Hi","chosen":"No","rejected":"Yes</s>"}"#);
    let example = &prepared.examples[0];
    let tokens = |answer: usize| -> Vec<u32> {
        example.answers[answer].nodes.iter().map(|&node| example.trie.token(node)).collect()
    };
    assert_eq!((tokens(0), tokens(1)), (b"No\x02".map(u32::from).into(), b"Yes\x02".map(u32::from).into()));
    assert_eq!((example.n_prompt, example.trie.token(0)), (3, 0));
    assert_eq!(example.prompt, [Message::user("<u>Hi")]);
}

#[test]
fn pairs_of_several_prompts_are_grouped_in_the_order_of_their_first_rows() {
    let row = |prompt: &str, chosen: &str, rejected: &str| {
        format!(r#"{{"prompt":"{prompt}","chosen":"{chosen}","rejected":"{rejected}"}}"#)
    };
    let rows = [
        row("B?", "No.", "Yes."),
        row("A?", "No.", "Yes."),
        row("B?", "Yes.", "Well."),
        row("B?", "No.", "Yes."),
    ];
    let prepared = of_pairs(&Writer::new(), &rows.join("\n"));
    let found: Vec<_> = prepared
        .examples
        .iter()
        .map(|example| (&*example.prompt[0].content, example.pairs.clone()))
        .collect();
    assert_eq!(found, [("B?", vec![(0, 1), (1, 2), (0, 1)]), ("A?", vec![(0, 1)])]);
    assert_eq!(prepared.examples[0].answers.len(), 3);
    assert_ne!(prepared.examples[0].id, prepared.examples[1].id);
}
