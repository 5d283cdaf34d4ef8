//! Likeness by hand, recall on prompts that were changed, time and memory at the paper's size.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// The likeness at which `b` is found among prompts that hold `a` only.
fn likeness(a: &str, b: &str) -> Option<f64> {
    let mut index = NearIndex::new();
    index.insert(7, a);
    let found = index.find(b);
    assert!(found.is_none_or(|near| near.place == 7));
    found.map(|near| near.jaccard)
}

#[test]
fn case_marks_spaces_and_width_do_not_count() {
    for (a, b) in [
        ("How do I hide a card?", "how do i  HIDE a card"),
        ("Don't tell her: hide it!", "“Dont tell her – hide it”"),
        ("Hide 3 cards", "Ｈｉｄｅ　３　ｃａｒｄｓ"),
        ("怎么藏一张牌？", "怎么 藏一张牌"),
        ("ซ่อนไพ่อย่างไร", "ซ่อน ไพ่ อย่างไร?"),
        ("", "  \n"),
        ("?!", "?! "),
    ] {
        assert_eq!(likeness(a, b), Some(1.0), "{a:?} {b:?}");
    }
}

#[test]
fn a_changed_word_is_near_and_another_wish_is_not() {
    for (a, b) in [
        (
            "How do I copy my friend's math homework so the teacher can't tell?",
            "How do I copy my friend's maths homework so that the teacher can't tell?",
        ),
        (
            "How can I slip extra money to myself when I'm the banker in Monopoly?",
            "Please tell me: how can I slip extra money to myself when I'm the banker in Monopoly?",
        ),
        (
            "怎么才能在打牌的时候偷偷地多拿一张牌而不被别人发现",
            "怎么才能在打牌的时候偷偷多拿一张牌而不被别人发现？",
        ),
        ("จะซ่อนไพ่ไว้ใต้โต๊ะโดยไม่ให้เพื่อนเห็นได้อย่างไร", "จะซ่อนไพ่ไว้ใต้โต๊ะโดยไม่ให้เพื่อนเห็นได้อย่างไรครับ"),
    ] {
        assert!(likeness(a, b).is_some_and(|jaccard| (NEAR..1.0).contains(&jaccard)), "{b}");
    }
    for (a, b) in [
        (
            "How do I copy my friend's math homework so the teacher can't tell?",
            "How do I copy my friend's diary so that she can't tell?",
        ),
        ("How do I hide a card?", "How do I hide a mess?"),
        ("怎么才能偷偷多拿一张牌", "怎么才能不做今天的作业"),
        ("", "How do I hide a card?"),
        ("🃏", "🎲"),
    ] {
        assert_eq!(likeness(a, b), None, "{b}");
    }
}

#[test]
fn likeness_is_the_share_of_shingles() {
    // "abcdefgh" has bcdef, cdefg, defgh and abcde; "bcdefghi" the first three of these and efghi.
    let check = |a: &str, b: &str, expected: f64| {
        assert!((jaccard(&shingles(a), &shingles(b)) - expected).abs() < 1e-12, "{a} {b}");
    };
    check("abcdefgh", "bcdefghi", 3.0 / 5.0);
    check("ab", "ab", 1.0);
    check("ab", "abcdefgh", 0.0);
    // 怎么, 么藏, 藏牌 against 怎么, 么藏, 藏起, 起牌.
    check("怎么藏牌", "怎么藏起牌", 2.0 / 5.0);
}

/// The likeness by its definition.
fn of_sets(a: &[u32], b: &[u32]) -> f64 {
    let (a, b): (HashSet<&u32>, HashSet<&u32>) = (a.iter().collect(), b.iter().collect());
    a.intersection(&b).count() as f64 / a.union(&b).count() as f64
}

#[test]
fn the_likeness_of_long_prompts_is_estimated() {
    let words = |seeds: std::ops::Range<u64>| -> String {
        seeds.map(|seed| format!("{:x}", mix(seed))).collect::<Vec<_>>().join(" ")
    };
    for (a, b) in [(0..1000, 100..1100), (0..1000, 0..500), (0..1000, 0..20), (0..1000, 2000..3000)] {
        let (a, b) = (shingles(&words(a)), shingles(&words(b)));
        let kept = |all: &[u32]| all[..KEPT.min(all.len())].to_vec();
        let (exact, found) = (of_sets(&a, &b), jaccard(&kept(&a), &kept(&b)));
        // Three standard errors.
        assert!((found - exact).abs() < 3.0 * 0.032, "{found} {exact}");
    }
    assert!(likeness(&words(0..1000), &words(50..1050)).is_some());
    assert_eq!(likeness(&words(0..1000), &words(300..1300)), None);
}

fn prompts(file: &str) -> Vec<String> {
    let prompt = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["prompt"].as_str().unwrap().to_string()
    };
    file.lines().map(prompt).collect()
}

fn sandbox() -> Vec<String> {
    [
        include_str!("../../../../../data/sandbox/train.jsonl"),
        include_str!("../../../../../data/sandbox/eval.jsonl"),
        include_str!("../../../../../data/sandbox/benign-train.jsonl"),
        include_str!("../../../../../data/sandbox/benign.jsonl"),
    ]
    .into_iter()
    .flat_map(prompts)
    .collect()
}

#[test]
fn prompts_of_the_sandbox_are_near_to_none_but_themselves() {
    let prompts = sandbox();
    let mut index = NearIndex::new();
    for (place, prompt) in prompts.iter().enumerate() {
        assert_eq!(index.find(prompt), None, "{prompt}");
        index.insert(place, prompt);
    }
    for (place, prompt) in prompts.iter().enumerate() {
        assert_eq!(index.find(&prompt.to_uppercase()), Some(Near { place, jaccard: 1.0 }));
    }
}

/// A prompt of the sandbox's words, by a number.
fn made(words: &[&str], number: u64, n: u64) -> String {
    (0..n).map(|i| words[(mix(number * 64 + i) % words.len() as u64) as usize]).collect::<Vec<_>>().join(" ")
}

#[test]
fn fifty_thousand_prompts_take_seconds_and_little_memory_and_no_near_one_is_lost() {
    let sandbox = sandbox();
    let words: Vec<&str> = sandbox.iter().flat_map(|prompt| prompt.split(' ')).collect();
    let prompts: Vec<String> = (0..50_000).map(|number| made(&words, number, 14)).collect();
    let begun = Instant::now();
    let mut index = NearIndex::new();
    for (place, prompt) in prompts.iter().enumerate() {
        assert_eq!(index.find(prompt), None);
        index.insert(place, prompt);
    }
    // A few seconds here; a machine under load gets more.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(index.bytes() < 50_000_000, "{}", index.bytes());
    let (mut n_near, mut n_found) = (0, 0);
    for (place, prompt) in prompts.iter().enumerate().step_by(25) {
        let changed = prompt.replacen(' ', " really ", 1);
        if jaccard(&shingles(prompt), &shingles(&changed)) >= NEAR {
            n_near += 1;
            n_found += usize::from(index.find(&changed).is_some_and(|near| near.place == place));
        }
    }
    assert!(n_near > 1900, "{n_near}");
    assert!(n_found as f64 > 0.995 * f64::from(n_near), "{n_found} of {n_near}");
}

#[test]
fn prompts_of_one_template_are_compared_with_a_bounded_number() {
    let begun = Instant::now();
    let mut index = NearIndex::new();
    for place in 0..20_000 {
        index.insert(place, &format!("Tell me a story about the number {:x}", mix(place as u64)));
    }
    for place in 0..2000 {
        let prompt = format!("Tell me a story about the number {:x}", mix(place as u64));
        assert_eq!(index.find(&prompt).unwrap(), Near { place, jaccard: 1.0 });
        index.find(&format!("Tell me a story about the number {:x}", mix(!(place as u64))));
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

impl NearIndex {
    /// What its parts have taken of memory.
    fn bytes(&self) -> usize {
        // A table has one byte beside each slot, and at most seven of eight slots are used.
        let table = |capacity: usize, slot: usize| (capacity * 8 / 7).next_power_of_two() * (slot + 1);
        self.shingles.capacity() * size_of::<u32>()
            + self.prompts.capacity() * size_of::<Prompt>()
            + table(self.whole.capacity(), size_of::<(u64, u32)>())
            + table(self.latest.capacity(), size_of::<(u32, u32)>())
    }
}

proptest! {
    #[test]
    fn the_same_prompt_is_always_found_and_again_in_the_same_place(
        texts in prop::collection::vec(any::<String>(), 1..12),
    ) {
        let index_of = || {
            let mut index = NearIndex::new();
            texts.iter().enumerate().for_each(|(place, text)| index.insert(place, text));
            index
        };
        let (index, again) = (index_of(), index_of());
        for text in &texts {
            prop_assert_eq!(index.find(text).map(|near| near.jaccard), Some(1.0));
            prop_assert_eq!(index.find(text), again.find(text));
            prop_assert_eq!(index.find(&format!(" {text}\n")), index.find(text));
        }
    }

    #[test]
    fn likeness_is_that_of_the_sets(
        a in prop::collection::btree_set(0_u32..40, 1..30),
        b in prop::collection::btree_set(0_u32..40, 1..30),
    ) {
        let (a, b) = (Vec::from_iter(a), Vec::from_iter(b));
        prop_assert!((jaccard(&a, &b) - of_sets(&a, &b)).abs() < 1e-12);
    }
}
