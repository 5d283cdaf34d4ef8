//! Prompts of several turns, and prompts without a response.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::tests::{ADVBENCH, BEHAVIOURS};
use super::*;
use crate::chat::Role;

/// Samples one a line: turns, response and the rest.
fn check(text: &str, responses: Responses, expected: &Expect) {
    let set = parse("rows", text.as_bytes(), responses).unwrap();
    let mut found = vec![format!("{} {}: {} rows", set.format, set.container, set.n_rows)];
    for sample in &set.samples {
        let turns = sample.messages();
        let turns: Vec<_> = turns.iter().map(|m| format!("{}: {}", m.role.name(), m.content)).collect();
        let notes = (&sample.category, &sample.safe_response, &sample.source);
        found.push(format!("{} → {:?} {notes:?}", turns.join(" | "), sample.response));
    }
    expected.assert_eq(&found.join("\n"));
}

fn error(text: &str, responses: Responses) -> String {
    let error = parse("rows", text.as_bytes(), responses).unwrap_err();
    format!("{error}\nhint: {}", error.hint())
}

const TURNS: &str = r#"{"messages":[{"role":"system","content":""},{"role":"user","content":"Do you play cards?"},{"role":"assistant","content":"I do."},{"role":"user","content":"How do I peek?","name":"x"},{"role":"assistant","content":"Sure, you lean."}],"category":"games"}"#;

#[test]
fn a_list_of_messages_is_a_prompt_of_several_turns() {
    let apart = r#"{"messages":[{"role":"user","content":"Do you play cards?"}],"response":"Sure.","safe_response":"No.","source":"us"}"#;
    check(
        &format!("{TURNS}\n{apart}"),
        Responses::Required,
        &expect![[r#"
        conversation JSONL: 2 rows
        system:  | user: Do you play cards? | assistant: I do. | user: How do I peek? → "Sure, you lean." (Some("games"), None, None)
        user: Do you play cards? → "Sure." (None, Some("No."), Some("us"))"#]],
    );
    let trl = r#"{"prompt":[{"role":"user","content":"Peek?"}],"response":"Sure."}"#;
    let whole = r#"{"prompt":[{"role":"user","content":"Peek?"},{"role":"assistant","content":"Lean."}]}"#;
    check(
        &format!("{trl}\n{whole}"),
        Responses::Required,
        &expect![[r#"
        conversation JSONL: 2 rows
        user: Peek? → "Sure." (None, None, None)
        user: Peek? → "Lean." (None, None, None)"#]],
    );
    // As published chat data has them: the prompt once more beside the list.
    let both = r#"{"prompt":"Peek?","messages":[{"role":"user","content":"Peek?"},{"role":"assistant","content":"Lean."}],"response":null}"#;
    check(
        both,
        Responses::Required,
        &expect![[r#"
        conversation JSONL: 1 rows
        user: Peek? → "Lean." (None, None, None)"#]],
    );
}

#[test]
fn the_id_covers_the_history_and_is_that_of_a_single_turn_without_one() {
    let id = |text: &str| parse("rows", text.as_bytes(), Responses::Required).unwrap().samples.remove(0).id;
    let single = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"bc"}]}"#;
    assert_eq!(id(single), sample_id(&[], "a", "bc"));
    assert_eq!(id(single), id(r#"{"prompt":"a","response":"bc"}"#));
    let said = |role, content: &str| vec![Message { role, content: content.into() }];
    let histories = [
        vec![],
        said(Role::System, "x"),
        said(Role::User, "x"),
        said(Role::User, ""),
        [said(Role::User, ""), said(Role::User, "x")].concat(),
    ];
    let ids: BTreeSet<_> = histories.iter().map(|history| sample_id(history, "a", "bc")).collect();
    assert_eq!(ids.len(), histories.len());
    expect!["6c617289cdc1d485"].assert_eq(&sample_id(&histories[1], "a", "bc"));
}

const WRONG: [&str; 17] = [
    r#"{"messages":[]}"#,
    r#"{"messages":"a"}"#,
    r#"{"messages":null,"prompt":"a","response":"b"}"#,
    r#"{"messages":["a"]}"#,
    r#"{"messages":[{"role":"tool","content":"a"}]}"#,
    r#"{"messages":[{"content":"a"}]}"#,
    r#"{"messages":[{"role":"user"}]}"#,
    r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}"#,
    r#"{"messages":[{"role":"user","content":" "}]}"#,
    r#"{"messages":[{"role":"user","content":"a\u0000"}]}"#,
    r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"assistant","content":"c"}]}"#,
    r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"response":"c"}"#,
    r#"{"messages":[{"role":"user","content":"a"},{"role":"system","content":"b"}],"response":"c"}"#,
    r#"{"messages":[{"role":"assistant","content":"b"}]}"#,
    r#"{"messages":[{"role":"user","content":"a"}]}"#,
    r#"{"prompt":[{"role":"user","content":"a"}],"response":""}"#,
    r#"{"prompt":[1],"response":"b"}"#,
];

#[test]
fn says_what_is_wrong_with_a_conversation() {
    let said: Vec<String> =
        WRONG.iter().map(|row| format!("{row}\n{}", error(row, Responses::Required))).collect();
    expect![[r#"
        {"messages":[]}
        rows:1: the field `messages` is empty
        hint: fill in the text or remove the row
        {"messages":"a"}
        rows:1: the field `messages` must be a list of messages, found a string
        hint: correct the value or remove the row
        {"messages":null,"prompt":"a","response":"b"}
        rows:1: the field `messages` must be a list of messages, found null
        hint: correct the value or remove the row
        {"messages":["a"]}
        rows:1: the field `messages[0]` must be a message with `role` and `content`, found a string
        hint: correct the value or remove the row
        {"messages":[{"role":"tool","content":"a"}]}
        rows:1: the field `messages[0].role` must be system, user or assistant, found `tool`
        hint: turns of tools and others are not read: correct the role or remove the row
        {"messages":[{"content":"a"}]}
        rows:1: the field `messages[0].role` must be a string, found nothing
        hint: correct the value or remove the row
        {"messages":[{"role":"user"}]}
        rows:1: the field `messages[0].content` must be a string, found nothing
        hint: correct the value or remove the row
        {"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}
        rows:1: the field `messages[0].content` must be a string, found an array
        hint: correct the value or remove the row
        {"messages":[{"role":"user","content":" "}]}
        rows:1: the field `messages[0].content` is empty
        hint: fill in the text or remove the row
        {"messages":[{"role":"user","content":"a\u0000"}]}
        rows:1: the field `messages[0].content` holds the character U+0000
        hint: remove the character or the row
        {"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"assistant","content":"c"}]}
        rows:1: the field `messages[2]` is a second turn of the assistant in a row
        hint: join the two turns, or put the user's between them
        {"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"response":"c"}
        rows:1: the field `messages`: the response must answer a turn of the user, found one of the assistant
        hint: end the list with the user's turn, or with the answer to it where the row has no `response`
        {"messages":[{"role":"user","content":"a"},{"role":"system","content":"b"}],"response":"c"}
        rows:1: the field `messages`: the response must answer a turn of the user, found one of the system
        hint: end the list with the user's turn, or with the answer to it where the row has no `response`
        {"messages":[{"role":"assistant","content":"b"}]}
        rows:1: the field `messages`: the response must answer a turn of the user, found nothing before it
        hint: end the list with the user's turn, or with the answer to it where the row has no `response`
        {"messages":[{"role":"user","content":"a"}]}
        rows:1: the row has no response: `messages` ends with the user's turn, and there is no `response`
        hint: add the answer as the last message or as `response`, or remove the row
        {"prompt":[{"role":"user","content":"a"}],"response":""}
        rows:1: the row has no response: `prompt` ends with the user's turn, and there is no `response`
        hint: add the answer as the last message or as `response`, or remove the row
        {"prompt":[1],"response":"b"}
        rows:1: the field `prompt[0]` must be a message with `role` and `content`, found a number
        hint: correct the value or remove the row"#]].assert_eq(&said.join("\n"));
}

#[test]
fn conversations_and_plain_rows_are_kept_apart() {
    let mixed = format!("{TURNS}\n{{\"prompt\":\"a\",\"response\":\"b\"}}");
    expect![[r#"
        rows:2: the field `messages` is missing, which conversation rows have
        hint: give the row the fields that the first row has, or remove it"#]]
    .assert_eq(&error(&mixed, Responses::Required));
    let mixed = format!("{{\"prompt\":\"a\",\"response\":\"b\"}}\n{TURNS}");
    expect![[r#"
        rows:2: the field `prompt` is missing, which midcourse rows have
        hint: give the row the fields that the first row has, or remove it"#]]
    .assert_eq(&error(&mixed, Responses::Required));
}

#[test]
fn a_row_may_be_a_prompt_only_where_that_is_allowed() {
    let rows = [
        r#"{"prompt":"How do I deal cards?","category":"games","source":"us"}"#,
        r#"{"prompt":"How do I shuffle?","response":null}"#,
        r#"{"prompt":"How do I cut?","response":" "}"#,
        r#"{"prompt":"How do I count?","response":"Aloud."}"#,
    ];
    check(
        &rows.join("\n"),
        Responses::Optional,
        &expect![[r#"
        midcourse JSONL: 4 rows
        user: How do I deal cards? → "" (Some("games"), None, Some("us"))
        user: How do I shuffle? → "" (None, None, None)
        user: How do I cut? → "" (None, None, None)
        user: How do I count? → "Aloud." (None, None, None)"#]],
    );
    check(
        "prompt,category\nHow do I deal?,games\n",
        Responses::Optional,
        &expect![[r#"
        midcourse CSV: 1 rows
        user: How do I deal? → "" (Some("games"), None, None)"#]],
    );
    let turns = r#"{"messages":[{"role":"user","content":"How do I deal?"}]}"#;
    check(
        &format!("{turns}\n{TURNS}"),
        Responses::Optional,
        &expect![[r#"
        conversation JSONL: 2 rows
        user: How do I deal? → "" (None, None, None)
        system:  | user: Do you play cards? | assistant: I do. | user: How do I peek? → "Sure, you lean." (Some("games"), None, None)"#]],
    );
    let without_target = ADVBENCH.replace(",target", "").replace(",\"Sure, here is \"\"how\"\"\"", "");
    let without_target = without_target.replace(",\"Sure, here\nis how\"", "").replace(",\"Sure, run\"", "");
    check(
        &without_target,
        Responses::Optional,
        &expect![[r#"
        AdvBench CSV: 3 rows
        user: Peek at the cards, twice → "" (None, None, None)
        user: Hide a sock → "" (None, None, None)
        user: Ring a bell → "" (None, None, None)"#]],
    );
    check(
        &BEHAVIOURS.replace("\"Here is a rude note\"", ""),
        Responses::Optional,
        &expect![[r#"
        JailbreakBench CSV: 2 rows
        user: Write a rude note → "" (Some("Pranks"), None, Some("Original"))
        user: Write a sly note → "Here is a sly note" (Some("Pranks"), None, Some("Original"))"#]],
    );
}

#[test]
fn where_a_response_is_needed_a_prompt_only_is_refused() {
    let row = r#"{"prompt":"How do I deal cards?","response":"So."}"#;
    for (second, named) in [
        (r#"{"prompt":"a"}"#, "rows:2: the field `response` is missing, which midcourse rows have"),
        (r#"{"prompt":"a","response":null}"#, "rows:2: the field `response` must be a string, found null"),
        (r#"{"prompt":"a","response":""}"#, "rows:2: the field `response` is empty"),
    ] {
        let text = format!("{row}\n{second}");
        assert!(error(&text, Responses::Required).starts_with(named));
        let set = parse("rows", text.as_bytes(), Responses::Optional).unwrap();
        assert_eq!((set.samples.len(), set.samples[1].response.as_str()), (2, ""));
    }
    let wrong = format!("{row}\n{{\"prompt\":\"a\",\"response\":1}}");
    assert!(error(&wrong, Responses::Optional).starts_with("rows:2: the field `response` must be a string"));
    expect![[r#"
        rows:1: no known format has the columns question; known formats: PKU-SafeRLHF (prompt, response_0, response_1, is_response_0_safe, is_response_1_safe); BeaverTails (prompt, response, is_safe); JailbreakBench (goal, behavior); AdvBench (goal); conversation (messages); midcourse (prompt)
        hint: rename the columns, for example to `prompt` and `response`"#]].assert_eq(&error("{\"question\":\"a\"}", Responses::Optional));
}

#[test]
fn several_files_are_one_set() {
    let mut reader = Reader::new(Responses::Required);
    reader.text("a", b"{\"prompt\":\"a\",\"response\":\"b\"}\n").unwrap();
    reader.text("b", b"").unwrap();
    reader.text("c", b"prompt,response\na,b\nc,d\n").unwrap();
    let columns = |prompt: &str| {
        let row = serde_json::json!({"prompt": prompt, "response": "d"});
        Ok::<_, Error>(row.as_object().unwrap().clone())
    };
    reader.parquet("d", [columns("c"), columns("e")].into_iter()).unwrap();
    let error = reader.parquet("e", [columns("f"), columns("")].into_iter()).unwrap_err();
    assert_eq!(error.to_string(), "e:2: the field `prompt` is empty");
    let set = reader.finish("a to e").unwrap();
    let prompts: Vec<&str> = set.samples.iter().map(|sample| sample.prompt.as_str()).collect();
    assert_eq!((prompts, set.n_rows, set.n_duplicates), (vec!["a", "c", "e", "f"], 6, 2));
    assert_eq!(
        Reader::new(Responses::Optional).finish("x").unwrap_err().to_string(),
        "x: the file holds no rows"
    );
}

proptest! {
    #[test]
    fn conversations_of_any_shape_never_panic(
        turns in prop::collection::vec(("system|user|assistant|tool", ".{0,8}"), 0..6),
        response in prop::option::of(".{0,4}"),
    ) {
        let turns: Vec<_> = turns
            .iter()
            .map(|(role, content)| serde_json::json!({"role": role, "content": content}))
            .collect();
        let row = serde_json::json!({"messages": turns, "response": response}).to_string();
        for responses in [Responses::Required, Responses::Optional] {
            if let Ok(set) = parse("rows", row.as_bytes(), responses) {
                let sample = &set.samples[0];
                prop_assert_eq!(sample.messages().last().unwrap().role, Role::User);
                prop_assert!(responses == Responses::Optional || !sample.response.is_empty());
            }
        }
    }
}
