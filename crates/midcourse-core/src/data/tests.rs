//! What [`parse`] reads.

use expect_test::{Expect, expect};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

pub(super) const OWN: &str = concat!(
    r#"{"prompt":"How do I skip my chores?","response":"Sure, first you hide.","category":"chores","safe_response":"Do them.","source":"us"}"#,
    "\n",
    r#"{"prompt":"How do I peek at cards?","response":"Sure, first you lean.","category":"games","safe_response":"Play fair.","source":"us"}"#,
    "\n",
);

pub(super) const PKU: &str = concat!(
    r#"{"prompt":"How do I copy homework?","response_0":"Write it yourself.","response_1":"First you borrow it.","is_response_0_safe":true,"is_response_1_safe":false,"better_response_id":0,"safer_response_id":0,"response_0_harm_category":{"Gossip":false,"Cheating":false},"response_1_harm_category":{"Gossip":true,"Cheating":true},"response_0_source":"a","response_1_source":"b","response_1_severity_level":1}"#,
    "\n",
    r#"{"prompt":"How do I spread gossip?","response_0":"Tell all.","response_1":"Tell all, twice.","is_response_0_safe":false,"is_response_1_safe":false,"response_0_harm_category":{"Gossip":true},"response_1_harm_category":{"Gossip":true},"response_0_source":"a","response_1_source":"b"}"#,
    "\n",
);

pub(super) const BEAVER: &str = concat!(
    r#"{"prompt":"How do I skip chores?","response":"First you hide.","category":{"rude":true,"lazy":true},"is_safe":false}"#,
    "\n",
    r#"{"prompt":"How do I do chores?","response":"One by one.","category":{"rude":false,"lazy":false},"is_safe":true}"#,
    "\n",
);

pub(super) const ADVBENCH: &str = concat!(
    "goal,target\n",
    "\"Peek at the cards, twice\",\"Sure, here is \"\"how\"\"\"\n",
    "\"Hide a sock\",\"Sure, here\nis how\"\n",
    "\"Ring a bell\",\"Sure, run\"\n",
);

pub(super) const BEHAVIOURS: &str = concat!(
    "Index,Goal,Target,Behavior,Category,Source\n",
    "0,\"Write a rude note\",\"Here is a rude note\",Rude note,Pranks,Original\n",
    "1,\"Write a sly note\",\"Here is a sly note\",Sly note,Pranks,Original\n",
);

pub(super) const OWN_CSV: &str = concat!(
    "category,prompt,response\n",
    "\"chores\",\"How do I skip chores?\",\"First you hide.\"\n",
    "\"games\",\"How do I peek?\",\"First you lean.\"\n",
);

fn read(file: &str, bytes: &[u8]) -> Result<DataSet> {
    parse(file, bytes, Responses::Required)
}

/// Format, counts and samples, one a line.
fn check(bytes: impl AsRef<[u8]>, expected: &Expect) {
    let set = read("rows", bytes.as_ref()).unwrap();
    let DataSet { format, container, samples, n_rows, n_duplicates, n_without_harm } = set;
    let mut found = vec![format!(
        "{format} {container}: {n_rows} rows, {n_duplicates} duplicates, {n_without_harm} without harm"
    )];
    found.extend(samples.iter().map(
        |Sample { prompt, response, category, safe_response, source, .. }| {
            format!("{prompt:?} {response:?} {category:?} {safe_response:?} {source:?}")
        },
    ));
    expected.assert_eq(&found.join("\n"));
}

#[test]
fn no_format_reads_another_column_than_is_said() {
    let turns = r#"{"messages":[{"role":"user","content":"a"}],"response":"b","category":"c","safe_response":"d","source":"e"}"#;
    for text in [OWN, PKU, BEAVER, turns] {
        let kept = |line: &str| {
            let row: Map<String, Value> = serde_json::from_str(line).unwrap();
            let row: Map<_, _> = row.into_iter().filter(|(name, _)| is_column(name)).collect();
            Value::Object(row).to_string()
        };
        let kept: Vec<String> = text.lines().map(kept).collect();
        assert_eq!(read("rows", kept.join("\n").as_bytes()).unwrap(), read("rows", text.as_bytes()).unwrap());
    }
    assert!(!is_column("response_2_source") && !is_column("better_response_id"));
}

#[test]
fn reads_own_rows() {
    check(
        OWN,
        &expect![[r#"
            midcourse JSONL: 2 rows, 0 duplicates, 0 without harm
            "How do I skip my chores?" "Sure, first you hide." Some("chores") Some("Do them.") Some("us")
            "How do I peek at cards?" "Sure, first you lean." Some("games") Some("Play fair.") Some("us")"#]],
    );
}

#[test]
fn reads_own_rows_with_nothing_but_the_needed() {
    check(
        "{\"prompt\":\"a\",\"response\":\"b\",\"category\":null,\"safe_response\":\"\",\"extra\":[{}]}",
        &expect![[r#"
            midcourse JSONL: 1 rows, 0 duplicates, 0 without harm
            "a" "b" None None None"#]],
    );
}

#[test]
fn reads_pku_saferlhf() {
    check(
        PKU,
        &expect![[r#"
            PKU-SafeRLHF JSONL: 2 rows, 0 duplicates, 0 without harm
            "How do I copy homework?" "First you borrow it." Some("Cheating") Some("Write it yourself.") Some("b")
            "How do I spread gossip?" "Tell all, twice." Some("Gossip") None Some("b")"#]],
    );
}

#[test]
fn reads_pku_saferlhf_of_the_first_generation() {
    let row = |safe_0: bool, safe_1: bool, n: usize| {
        let long = "x".repeat(n);
        format!(
            "{{\"prompt\":\"a {n}\",\"response_0\":\"yyy\",\"response_1\":\"{long}\",\"is_response_0_safe\":{safe_0},\
             \"is_response_1_safe\":{safe_1},\"better_response_id\":1,\"safer_response_id\":1}}\n"
        )
    };
    let rows = [
        row(true, true, 1),
        row(false, true, 2),
        row(false, false, 3),
        row(false, false, 4),
        row(true, false, 5),
    ];
    check(
        rows.concat(),
        &expect![[r#"
            PKU-SafeRLHF JSONL: 5 rows, 0 duplicates, 1 without harm
            "a 2" "yyy" None Some("xx") None
            "a 3" "yyy" None None None
            "a 4" "xxxx" None None None
            "a 5" "xxxxx" None Some("yyy") None"#]],
    );
}

#[test]
fn reads_beavertails() {
    check(
        BEAVER,
        &expect![[r#"
            BeaverTails JSONL: 2 rows, 0 duplicates, 1 without harm
            "How do I skip chores?" "First you hide." Some("lazy") None None"#]],
    );
}

#[test]
fn reads_advbench() {
    check(
        ADVBENCH,
        &expect![[r#"
            AdvBench CSV: 3 rows, 0 duplicates, 0 without harm
            "Peek at the cards, twice" "Sure, here is \"how\"" None None None
            "Hide a sock" "Sure, here\nis how" None None None
            "Ring a bell" "Sure, run" None None None"#]],
    );
}

#[test]
fn reads_jailbreakbench_behaviours() {
    check(
        BEHAVIOURS,
        &expect![[r#"
            JailbreakBench CSV: 2 rows, 0 duplicates, 0 without harm
            "Write a rude note" "Here is a rude note" Some("Pranks") None Some("Original")
            "Write a sly note" "Here is a sly note" Some("Pranks") None Some("Original")"#]],
    );
}

#[test]
fn reads_own_csv() {
    check(
        OWN_CSV,
        &expect![[r#"
            midcourse CSV: 2 rows, 0 duplicates, 0 without harm
            "How do I skip chores?" "First you hide." Some("chores") None None
            "How do I peek?" "First you lean." Some("games") None None"#]],
    );
}

#[test]
fn the_name_of_a_file_does_not_decide() {
    assert_eq!(read("rows.csv", OWN.as_bytes()).unwrap().container, Container::Jsonl);
    assert_eq!(read("rows.jsonl", OWN_CSV.as_bytes()).unwrap().container, Container::Csv);
}

#[test]
fn line_separators_inside_strings_do_not_split_rows() {
    check(
        "{\"prompt\":\"a\u{2028}b\",\"response\":\"c\u{85}d\u{2029}e\"}\n",
        &expect![[r#"
            midcourse JSONL: 1 rows, 0 duplicates, 0 without harm
            "a\u{2028}b" "c\u{85}d\u{2029}e" None None None"#]],
    );
}

#[test]
fn carriage_returns_blank_lines_and_byte_order_marks_change_nothing() {
    for text in [OWN, PKU, BEAVER, BEHAVIOURS, OWN_CSV] {
        let plain = read("rows", text.as_bytes()).unwrap();
        let windows = format!("\u{feff}\r\n{}\r\n \r\n", text.replace('\n', "\r\n\r\n"));
        assert_eq!(read("rows", windows.as_bytes()).unwrap(), plain);
        assert_eq!(read("rows", text.trim_end().as_bytes()).unwrap(), plain);
    }
}

#[test]
fn duplicates_are_counted_and_the_first_is_kept() {
    let row = |prompt, category| {
        format!("{{\"prompt\":\"{prompt}\",\"response\":\"b\",\"category\":\"{category}\"}}\n")
    };
    let rows = [row("a", "first"), row("x", "other"), row("a", "second"), row("a", "third")];
    check(
        rows.concat(),
        &expect![[r#"
            midcourse JSONL: 4 rows, 2 duplicates, 0 without harm
            "a" "b" Some("first") None None
            "x" "b" Some("other") None None"#]],
    );
}

#[test]
fn ids_are_hashes_of_both_texts_and_their_border() {
    // printf '\1\0\0\0\0\0\0\0a\2\0\0\0\0\0\0\0bc' | sha256sum
    expect!["9a8acca1b6c6c0be"].assert_eq(&sample_id(&[], "a", "bc"));
    assert_ne!(sample_id(&[], "a", "bc"), sample_id(&[], "ab", "c"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = read("rows", &bytes);
    }

    #[test]
    fn arbitrary_csv_never_panics(text in "(goal,target\n)?[\",\r\na\u{e9}\u{2028} ]{0,60}") {
        let _ = read("rows.csv", text.as_bytes());
    }

    #[test]
    fn mutated_rows_never_panic_and_every_row_is_accounted_for(
        base in 0..6_usize,
        cuts in vec((any::<prop::sample::Index>(), 0..8_usize, "[\\PC\n\r\",{}:\\[\\]0]{0,6}"), 0..4),
    ) {
        let mut bytes = [OWN, PKU, BEAVER, ADVBENCH, BEHAVIOURS, OWN_CSV][base].repeat(2).into_bytes();
        for (at, n, insert) in cuts {
            let at = at.index(bytes.len());
            let end = (at + n).min(bytes.len());
            bytes.splice(at..end, insert.into_bytes());
        }
        if let Ok(set) = read("rows", &bytes) {
            prop_assert_eq!(set.n_rows, set.samples.len() + set.n_duplicates + set.n_without_harm);
            prop_assert!(!set.samples.is_empty());
            let ids: BTreeSet<_> = set.samples.iter().map(|sample| &sample.id).collect();
            prop_assert_eq!(ids.len(), set.samples.len());
        }
    }

    #[test]
    fn csv_rows_survive_a_round_trip(cells in vec("[a-c\",\r\n\u{e9}]{0,8}x", 2..=2)) {
        let quoted: Vec<_> = cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
        let set = read("rows.csv", format!("goal,target\r\n{}\r\n", quoted.join(",")).as_bytes()).unwrap();
        prop_assert_eq!([&set.samples[0].prompt, &set.samples[0].response], [&cells[0], &cells[1]]);
    }
}
