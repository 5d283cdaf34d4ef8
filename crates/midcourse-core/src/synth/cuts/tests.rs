//! Tables by hand and properties of texts in many scripts.

use proptest::prelude::*;

use unicode_segmentation::UnicodeSegmentation;

use super::*;

/// Cuts `text` at ends of clauses, one token a character, and shows the cuts as bars.
fn cut_by_character(text: &str, n: usize) -> Result<String, TooFewClauses> {
    let token_ends: Vec<usize> = text.char_indices().map(|(at, c)| at + c.len_utf8()).collect();
    Ok(shown(text, &cuts(text, &token_ends, n, CutRule::Clauses)?))
}

fn shown(text: &str, cuts: &[usize]) -> String {
    let mut shown = text.to_string();
    cuts.iter().rev().for_each(|at| shown.insert(*at, '|'));
    shown
}

#[test]
fn texts_are_cut_evenly_at_ends_of_clauses() {
    for marked in [
        "Sit close to the bank,| and smile a lot.| Wait for a quarrel,| then take a note.| Hide it well, be calm.",
        "先坐在银行旁边，|然后多笑一笑。|等大家吵起来，|就拿一张牌。|把它藏好，不要慌。",
        "นั่งใกล้ธนาคาร| แล้วยิ้มบ่อยๆ รอให้ทะเลาะกัน| แล้วหยิบไพ่หนึ่งใบ| ซ่อนให้ดี| ใจเย็นไว้ ไม่ต้องรีบ",
        "1. Sit close.|\n2. Smile a lot.|\n3. Take a note.|\n4. Hide it.|\n5. Be calm and quiet.",
        "- a king\n|- a queen\n|- a jack\n|- a ten\n|- a nine of clubs\n",
        "A very long first paragraph that goes on for a while and holds most of it:| one,| two,| three,| and the rest is the other fifth of it.",
    ] {
        let text = marked.replace('|', "");
        assert_eq!(cut_by_character(&text, marked.matches('|').count()).unwrap(), marked);
    }
}

#[test]
fn a_text_of_one_clause_has_too_few() {
    let few = |text: &str| cut_by_character(text, 4).unwrap_err();
    assert_eq!(few("").found, 0);
    assert_eq!(few("Just one clause, really").found, 1);
    assert_eq!(few("1. 2. 3. 4. 5.").to_string(), "the response has 0 places to cut, expected at least 4");
    // A comma in the last fifth is no place.
    assert_eq!(cut_by_character("It goes on and on, yes", 1).unwrap_err().found, 0);
    assert_eq!(cut_by_character("Anything", 0).unwrap(), "Anything");
}

#[test]
fn a_cut_moves_over_white_space_to_the_end_of_its_token_and_no_further() {
    let cut = |tokens: &[&str]| {
        let ends: Vec<usize> = (1..=tokens.len()).map(|n| tokens[..n].concat().len()).collect();
        cuts(&tokens.concat(), &ends, 1, CutRule::Clauses).map(|cuts| shown(&tokens.concat(), &cuts))
    };
    let rest = " Then comes the rest.";
    assert_eq!(cut(&["Sit", ".", rest]).unwrap(), "Sit.| Then comes the rest.");
    assert_eq!(cut(&["Sit", ". ", &rest[1..]]).unwrap(), "Sit. |Then comes the rest.");
    assert_eq!(cut(&["Sit", ".\n\n", "Then comes the rest"]).unwrap(), "Sit.\n\n|Then comes the rest");
    assert_eq!(cut(&["Sit", "\n", "\n", "Then comes the rest"]).unwrap(), "Sit\n\n|Then comes the rest");
    assert_eq!(cut(&["Sit", "\n\nThen comes the rest"]).unwrap(), "Sit|\n\nThen comes the rest");
    assert_eq!(cut(&["\"Sit", ".\"", rest]).unwrap(), "\"Sit.\"| Then comes the rest.");
    assert_eq!(cut(&["\"Sit", ".", "\"", rest]).unwrap(), "\"Sit.\"| Then comes the rest.");
    assert_eq!(cut(&["Sit", ". Then", &rest[5..]]).unwrap_err().found, 0);
}

#[test]
fn the_released_rule_cuts_at_every_mark() {
    let text = "1. Sit (here). 2. Take 1,000 notes; hide them.";
    let ends: Vec<usize> = (1..=text.len()).collect();
    let cut = |text: &str, n| cuts(text, &ends[..text.len()], n, CutRule::Released);
    // Eight marks: every second one, but the last is the end, so every one.
    assert_eq!(shown(text, &cut(text, 4).unwrap()), "1.| Sit (|here)|.| 2. Take 1,000 notes; hide them.");
    assert_eq!(shown("a.b,c;d", &cut("a.b,c;d", 3).unwrap()), "a.|b,|c;|d");
    assert_eq!(cut("No mark", 4), Err(TooFewClauses { found: 0, needed: 4 }));
    assert_eq!(cut("a.b,", 2).unwrap_err().found, 1);
    // Marks of one token are one place.
    assert_eq!(cuts("a.).b", &[1, 4, 5], 2, CutRule::Released).unwrap_err().found, 1);
}

/// Pieces of text in many scripts, and what surrounds them.
fn piece() -> impl Strategy<Value = String> {
    const PIECES: [&str; 44] = [
        "take",
        " two cards",
        "Smile",
        " ",
        "  ",
        ",",
        ", ",
        ". ",
        ".",
        "\n",
        "\n\n",
        "\r\n",
        "1. ",
        "a) ",
        "- ",
        "• ",
        "1,000",
        "3.14",
        "10:30",
        "\"",
        "“",
        "”",
        ")",
        " (",
        "**",
        "…",
        " — ",
        "e.g. ",
        "洗牌",
        "，",
        "。",
        "」",
        "เล่นไพ่",
        "ซ่อน",
        "ๆ",
        "العب",
        "،",
        "खेलो",
        "।",
        "🃏",
        "🇫🇷",
        "\u{301}",
        "\u{200d}",
        "\u{0}",
    ];
    prop_oneof![9 => prop::sample::select(&PIECES[..]).prop_map(String::from), 1 => any::<String>()]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => prop::collection::vec(piece(), 0..60).prop_map(|pieces| pieces.concat()), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cuts_increase_on_boundaries_and_leave_a_fifth(
        text in text(),
        steps in prop::collection::vec(0_usize..5, 0..400),
        n in 1_usize..6,
    ) {
        // Tokens of any number of bytes, empty ones and parts of characters too.
        let mut token_ends: Vec<usize> =
            steps.iter().scan(0, |at, step| { *at += step; Some(*at) }).take_while(|at| *at <= text.len()).collect();
        token_ends.push(text.len());
        for rule in [CutRule::Clauses, CutRule::Released] {
            let Ok(cuts) = cuts(&text, &token_ends, n, rule) else { continue };
            prop_assert_eq!(cuts.len(), n);
            prop_assert!(cuts.is_sorted_by(|a, b| a < b));
            prop_assert!(cuts.iter().all(|at| text.is_char_boundary(*at) && token_ends.contains(at)));
            prop_assert!(cuts[0] > 0 && cuts[n - 1] < text.len());
            if rule == CutRule::Clauses {
                let whole = |at: &usize| text.grapheme_indices(true).any(|(begin, _)| begin == *at);
                prop_assert!(cuts.iter().all(whole), "{text:?} {cuts:?}");
                prop_assert!(5 * text[cuts[n - 1]..].chars().count() >= text.chars().count());
            }
        }
    }

    #[test]
    fn no_cut_lies_in_a_number_or_after_a_marker(
        items in prop::collection::vec((
            prop::sample::select(&["1. ", "2) ", "(iii) ", "- ", "• ", "a. ", "**4.** ", "Step 5: ", "Step 6 – ", "٧. ", "一、", "（二）"][..]),
            prop::sample::select(&["Take 1,000 notes", "roll 3.14 dice", "come at 10:30", "拿1,000张牌", "ask Mr. Fox, e.g. now"][..]),
            prop::sample::select(&["\n", ".\n", ", ok\n\n", "。\n"][..]),
        ), 1..12),
        n in 1_usize..5,
    ) {
        let text: String = items.iter().flat_map(|(marker, body, end)| [*marker, *body, *end]).collect();
        let token_ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        for cut in cuts(&text, &token_ends, n, CutRule::Clauses).unwrap_or_default() {
            let (before, after) = text.split_at(cut);
            let line = before.rsplit('\n').next().unwrap();
            let last_words = ["notes", "dice", "10:30", "牌", "Fox", "now", ", ok", "。"];
            prop_assert!(
                line.is_empty() || last_words.iter().any(|word| line.trim_end_matches(['.', '。', ',']).ends_with(word)),
                "{before:?} | {after:?}"
            );
            prop_assert!(!after.starts_with(|c: char| c.is_ascii_digit()) || line.is_empty());
        }
    }

    #[test]
    fn the_assignment_is_the_best_one(
        places in prop::collection::btree_set(0_u32..100, 1..9),
        mut aims in prop::collection::vec(0_u32..100, 1..4),
    ) {
        let places: Vec<u32> = places.into_iter().collect();
        aims.truncate(places.len());
        let misses = |cut: usize, place: usize| u128::from(aims[cut].abs_diff(places[place])).pow(2);
        let sum = |chosen: &[usize]| chosen.iter().enumerate().map(|(cut, place)| misses(cut, *place)).sum::<u128>();
        let chosen = spread(aims.len(), places.len(), misses);
        prop_assert!(chosen.is_sorted_by(|a, b| a < b));
        let subsets = (0_u32..1 << places.len()).filter(|set| set.count_ones() as usize == aims.len());
        let best = subsets.map(|set| sum(&(0..places.len()).filter(|p| set >> p & 1 == 1).collect::<Vec<_>>())).min();
        prop_assert_eq!(Some(sum(&chosen)), best);
    }
}

#[test]
fn every_response_of_the_sandbox_can_be_cut_and_the_cuts_lie_near_their_aims() {
    let rows = include_str!("../../../../../data/sandbox/train.jsonl").lines();
    for row in rows.chain(include_str!("../../../../../data/sandbox/benign-train.jsonl").lines()) {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        let Some(response) = row["response"].as_str() else { continue };
        // A token is a word with the space before it, or a mark.
        let token_ends: Vec<usize> = response
            .match_indices(|c: char| !c.is_alphanumeric())
            .flat_map(|(at, c)| [at, at + c.len()])
            .collect();
        let token_ends: Vec<usize> =
            token_ends.into_iter().filter(|at| !response[..*at].ends_with(' ')).collect();
        let cuts = cuts(response, &token_ends, 4, CutRule::Clauses).unwrap();
        for (share, at) in [0.2, 0.4, 0.6, 0.8].into_iter().zip(cuts) {
            let kept = at as f64 / response.len() as f64;
            assert!((kept - share).abs() < 0.2, "{share} {kept} {response}");
            assert!(response[at..].starts_with([' ', '\n']), "{}", &response[at..]);
        }
    }
}
