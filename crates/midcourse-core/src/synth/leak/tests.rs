use proptest::prelude::*;

use super::*;
use crate::synth::{Answer, AnswerEnd, AnswerKind, Origin, fixture};

/// A ranking of answers that are nothing but these texts, best first.
fn ranking(index: usize, set: Set, texts: &[String]) -> Ranking {
    let answer = |(rank, text): (usize, &String)| Answer {
        rank,
        kind: AnswerKind::Response,
        text: text.clone(),
        prefix_chars: 0,
        forced: String::new(),
        origin: Origin::Row,
        end: AnswerEnd::Row,
        candidate: None,
        seed: None,
        verdict: None,
    };
    let answers = texts.iter().enumerate().map(answer).collect();
    Ranking {
        index,
        prompt: vec![Message::user(format!("{index}?"))],
        answers,
        ..fixture::ranking(index, set)
    }
}

fn check(rankings: &[Ranking]) -> StyleLeak {
    let mut check = StyleCheck::default();
    for ranking in rankings {
        check.add(ranking);
    }
    check.finish(0)
}

/// One number in `0..n` of every ranking, which depends on nothing else.
fn chance(index: usize, n: u64) -> u64 {
    prompt_hash(&[Message::user(format!("chance {index}"))]) % n
}

fn rate(accuracy: Accuracy) -> f64 {
    accuracy.rate.unwrap()
}

fn cue(leak: &StyleLeak, cue: Cue) -> Accuracies {
    leak.by_cue.iter().find(|by| by.cue == cue).unwrap().accuracies
}

fn swapped(rankings: &[Ranking]) -> Vec<Ranking> {
    let swap = |ranking: &Ranking| {
        let mut swapped = ranking.clone();
        swapped.answers.reverse();
        swapped
    };
    rankings.iter().map(swap).collect()
}

#[test]
fn a_planted_opening_is_found_and_told() {
    let texts = |i| [format!("I'm sorry, but no {}.", i % 7), format!("Sure, take {} of them.", i % 5)];
    let leak = check(&(0..60).map(|i| ranking(i, Set::Harmful, &texts(i))).collect::<Vec<_>>());
    assert!((rate(cue(&leak, Cue::Opening).all) - 1.0).abs() < 1e-12 && leak.leaks);
    assert!((rate(leak.together.all) - 1.0).abs() < 1e-12);
    assert!((rate(cue(&leak, Cue::Layout).all) - 0.5).abs() < 1e-12);
    let told = leak.telling.iter().find(|told| told.feature == "begins with “i'm sorry but”").unwrap();
    assert_eq!((told.n_pairs, told.chosen, told.cue), (60, 1.0, Cue::Opening));
    assert!(leak.hints[0].contains("--opener shared") && leak.hints[1].contains("--benign"));
}

#[test]
fn a_planted_length_is_found_and_nothing_else() {
    let texts = |i| [0, 9].map(|more| "word ".repeat(20 + more + chance(i, 7) as usize) + "end.");
    let leak = check(&(0..60).map(|i| ranking(i, Set::Harmful, &texts(i))).collect::<Vec<_>>());
    assert!(rate(cue(&leak, Cue::Length).all) > 0.99 && leak.leaks);
    for other in [Cue::Opening, Cue::Ending, Cue::Layout] {
        assert!((rate(cue(&leak, other).all) - 0.5).abs() < 1e-12, "{other:?}");
    }
    assert_eq!((leak.telling[0].feature.as_str(), leak.telling[0].chosen), ("is the longer one", 0.0));
}

/// 400 independent pairs: the standard error of a rate is at most 0.025.
#[test]
fn balanced_answers_tell_nothing() {
    let texts = |i: usize| {
        let word = |salt| {
            ["Yes, take it.", "No, leave it.", "Well - one\n- two", "Why would I?"]
                [chance(2 * i + salt, 4) as usize]
        };
        [0, 1].map(|salt| word(salt).to_owned() + &" word".repeat(chance(1_000 + 2 * i + salt, 9) as usize))
    };
    let leak = check(&(0..400).map(|i| ranking(i, Set::Harmful, &texts(i))).collect::<Vec<_>>());
    for accuracies in leak.by_cue.iter().map(|by| by.accuracies).chain([leak.together]) {
        assert!((rate(accuracies.all) - 0.5).abs() < 0.08, "{accuracies:?}");
    }
    assert!(!leak.leaks && leak.hints.is_empty());
}

/// Every prompt has its own two openings, of which the classifier could learn every one by heart.
#[test]
fn what_is_learned_by_heart_does_not_count() {
    let texts = |i: usize| [format!("Yes{} indeed.", i / 2), format!("Oh{} indeed.", i / 2)];
    let mut rankings: Vec<Ranking> = (0..120).map(|i| ranking(i, Set::Harmful, &texts(i))).collect();
    // Each pair of openings occurs twice: once this way and once that way, or both times at one prompt.
    for (i, ranking) in rankings.iter_mut().enumerate() {
        ranking.prompt = vec![Message::user(format!("{}?", i / 2))];
    }
    let leak = check(&rankings);
    let by_heart = rankings.iter().map(features::surfaces).collect::<Vec<_>>();
    let rows = features::rows(by_heart.iter().map(Vec::as_slice), &[Cue::Opening]);
    let rows: Vec<&[Row]> = rows.iter().map(Vec::as_slice).collect();
    let weights = regression::fit(&rows);
    let n_known: f64 = rows.iter().map(|row| regression::n_right(row, &weights)).sum();
    assert!((n_known - 120.0).abs() < 1e-9, "{n_known} of 120");
    assert!((rate(cue(&leak, Cue::Opening).all) - 0.5).abs() < 1e-12);
}

#[test]
fn contrast_rankings_cancel_what_harmful_ones_alone_give_away() {
    let texts =
        |i| [format!("I'm sorry, but no {}.", i % 7), format!("Sure, take {} of them, please.", i % 5)];
    let harmful = (0..80).map(|i| ranking(i, Set::Harmful, &texts(i)));
    let benign = (80..160).map(|i| ranking(i, Set::Benign, &texts(i)));
    let rankings: Vec<_> = harmful.chain(swapped(&benign.collect::<Vec<_>>())).collect();
    let leak = check(&rankings);
    assert!(rate(leak.together.all) < LEAK_ABOVE && !leak.leaks, "{:?}", leak.together.all);
    assert!((rate(leak.together.harmful_alone) - 1.0).abs() < 1e-12);
    assert_eq!(leak.telling, []);
    assert_eq!((leak.telling_alone[0].n_pairs, leak.telling_alone[0].chosen), (80, 0.0));
    assert_eq!((leak.n_rankings, leak.n_benign, leak.n_prompts), (160, 80, 160));
    // The contrast rankings alone are too few to cancel anything.
    let few = check(&rankings[..90]);
    assert!(few.leaks && few.hints.iter().any(|hint| hint.contains("80 are harmful and 10 are contrast")));
    assert!(rate(few.together.benign) < 0.1, "{:?}", few.together.benign);
}

#[test]
fn an_opener_that_all_begin_with_hides_nothing() {
    let texts =
        |i| [format!("Sure. I'm sorry, but no {}.", i % 7), format!("Sure. Then take {} of them.", i % 5)];
    let mut rankings: Vec<_> = (0..60).map(|i| ranking(i, Set::Harmful, &texts(i))).collect();
    for ranking in &mut rankings {
        ranking.opener = "Sure.".into();
    }
    assert!((rate(cue(&check(&rankings), Cue::Opening).all) - 1.0).abs() < 1e-12);
}

/// The released scripts put an opener before corrections only. Of 15 pairs the six between corrections stay untold.
#[test]
fn an_opener_that_some_begin_with_is_found() {
    let texts = |i| {
        let corrections = (0..4).map(|cut| format!("Certainly, I can help. Step {cut}."));
        let corrections: Vec<_> = corrections.collect();
        [&[format!("I'm sorry, but no {i}.")], &*corrections, &[format!("First, take {i} of them.")]].concat()
    };
    let mut rankings: Vec<_> = (0..60).map(|i| ranking(i, Set::Harmful, &texts(i))).collect();
    for ranking in &mut rankings {
        ranking.opener = "Certainly, I can help.".into();
    }
    assert!((rate(cue(&check(&rankings), Cue::Opening).all) - 12.0 / 15.0).abs() < 1e-12);
}

#[test]
fn more_rankings_than_are_looked_at_are_a_sample_whatever_their_order() {
    let n = MAX_RANKINGS + 40;
    let texts = ["No.".to_owned(), "Yes, yes.".to_owned()];
    let small = |index| Ranking { cuts: Vec::new(), ..ranking(index, Set::Harmful, &texts) };
    let keys = |order: &mut dyn Iterator<Item = usize>| {
        let mut check = StyleCheck::default();
        order.for_each(|index| check.add(&small(index)));
        assert_eq!(check.n_rankings, n);
        check.kept.into_keys().collect::<Vec<_>>()
    };
    let forwards = keys(&mut (0..n));
    assert_eq!(forwards.len(), MAX_RANKINGS);
    assert_eq!(forwards, keys(&mut (0..n).rev()));
}

#[test]
fn nothing_to_look_at_is_said_as_such() {
    let leak = check(&[]);
    assert_eq!(leak.together.all, Accuracy { rate: None, ci: None, n_pairs: 0 });
    assert!(!leak.leaks && leak.telling.is_empty());
    let one = check(&fixture::rankings(1, 0));
    assert_eq!(one.together.all.rate, Some(0.5));
    assert_eq!(serde_json::from_str::<StyleLeak>(&serde_json::to_string(&leak).unwrap()).unwrap(), leak);
    let json = serde_json::to_string(&one).unwrap();
    assert_eq!(serde_json::from_str::<StyleLeak>(&json).unwrap().telling, one.telling);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn swapping_better_and_worse_changes_no_accuracy(from in 0..1_000_usize, n in 12..40_usize) {
        let rankings: Vec<_> = (from..from + n).map(|i| fixture::ranking(i, if i % 2 == 0 { Set::Harmful } else { Set::Benign })).collect();
        let (one, other) = (check(&rankings), check(&swapped(&rankings)));
        for (one, other) in one.by_cue.iter().zip(&other.by_cue) {
            prop_assert_eq!(one.accuracies.all.rate, other.accuracies.all.rate);
            prop_assert_eq!(one.accuracies.harmful_alone.rate, other.accuracies.harmful_alone.rate);
        }
        prop_assert_eq!(one.together.all.rate, other.together.all.rate);
        prop_assert_eq!(one.leaks, other.leaks);
    }

    #[test]
    fn any_text_can_be_looked_at(texts in prop::collection::vec(prop::collection::vec(any::<String>(), 2..4), 1..8), opener in any::<String>()) {
        let with = |(i, texts): (usize, &Vec<String>)| {
            let texts: Vec<String> = texts.iter().map(|text| opener.clone() + text).collect();
            Ranking { opener: opener.clone(), ..ranking(i, Set::Harmful, &texts) }
        };
        let leak = check(&texts.iter().enumerate().map(with).collect::<Vec<_>>());
        prop_assert!((0.0..=1.0).contains(&rate(leak.together.all)));
    }
}
