//! Attack prompts as their authors published them, in the artifact format of `JailbreakBench` (Chao et al. 2024).
//!
//! One JSON document: `{"parameters": {"method", …}, "jailbreaks": [{"goal", "prompt", "category", …}, …]}`. Every field but
//! `goal` may be null or absent; a null `prompt` says that the authors' method found none for the goal. Responses that were
//! recorded are not read.

use serde_json::{Map, Value};

use super::row::{as_string, is_blank, kind, saying, wrong_type};
use super::{of_file, text};
use crate::error::{FileProblem, RowProblem};
use crate::{Error, Result};

/// The attacks of one artifact file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// How the prompts were found, such as `GCG`.
    pub method: Option<String>,
    /// The model that they were found against.
    pub model: Option<String>,
    /// In the order of the file, at least one.
    pub attacks: Vec<PublishedAttack>,
}

/// What the authors of an attack publish of one goal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedAttack {
    /// What the attack is to make a model do.
    pub goal: String,
    /// What the goal is about.
    pub category: Option<String>,
    /// What is sent; none where the method found nothing.
    pub prompt: Option<String>,
}

type Object = Map<String, Value>;
type Read<T> = std::result::Result<T, RowProblem>;

/// Reads an artifact file; `file` is the name that messages give it.
///
/// # Errors
/// [`Error::Row`] with the line where the JSON is broken, [`Error::Field`] where a field is wrong, or
/// [`Error::DataFile`] where the file as a whole is something else.
pub fn parse_artifact(file: &str, bytes: &[u8]) -> Result<Artifact> {
    let text = text::decode(file, bytes)?;
    if is_blank(text) {
        return Err(of_file(file, FileProblem::NoRows));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| broken(file, text, &error))?;
    let artifact = read(&value).map_err(|problem| Error::Field { file: file.to_owned(), problem })?;
    if artifact.attacks.is_empty() { Err(of_file(file, FileProblem::NoAttacks)) } else { Ok(artifact) }
}

fn read(value: &Value) -> Read<Artifact> {
    let Value::Object(document) = value else { return Err(RowProblem::NotAnObject { found: kind(value) }) };
    let none = Object::new();
    let parameters = match document.get("parameters") {
        None | Some(Value::Null) => &none,
        Some(Value::Object(parameters)) => parameters,
        other => return Err(wrong_type("parameters", "an object", other)),
    };
    let Some(Value::Array(attacks)) = document.get("jailbreaks") else {
        return Err(wrong_type("jailbreaks", "an array of attacks", document.get("jailbreaks")));
    };
    let attacks = attacks.iter().enumerate().map(|(at, attack)| read_attack(at, attack));
    Ok(Artifact {
        method: optional(parameters, "method", "parameters.method")?,
        model: optional(parameters, "model", "parameters.model")?,
        attacks: attacks.collect::<Read<_>>()?,
    })
}

fn read_attack(at: usize, attack: &Value) -> Read<PublishedAttack> {
    let name = |field: &str| format!("jailbreaks[{at}].{field}");
    let Value::Object(fields) = attack else {
        return Err(wrong_type(&format!("jailbreaks[{at}]"), "an object", Some(attack)));
    };
    let goal = name("goal");
    Ok(PublishedAttack {
        goal: saying(&goal, as_string(&goal, fields.get("goal"))?)?.to_owned(),
        category: optional(fields, "category", &name("category"))?,
        prompt: optional(fields, "prompt", &name("prompt"))?,
    })
}

/// A text that may be missing, null or blank.
fn optional(fields: &Object, field: &str, name: &str) -> Read<Option<String>> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        value => as_string(name, value).map(|text| Some(text.to_owned()).filter(|text| !is_blank(text))),
    }
}

/// The parser's complaint with its line, and its place in characters where `serde_json` counts bytes.
fn broken(file: &str, text: &str, error: &serde_json::Error) -> Error {
    let message = error.to_string();
    let problem =
        message.rsplit_once(" at line ").map_or(message.as_str(), |(problem, _)| problem).to_owned();
    let line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let before = &line.as_bytes()[..error.column().min(line.len())];
    let column = String::from_utf8_lossy(before).chars().count().max(1);
    let problem = RowProblem::BrokenJson { column, problem };
    Error::Row { file: file.to_owned(), line: error.line().max(1), problem }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Artifact> {
        parse_artifact("attacks.json", text.as_bytes())
    }

    #[test]
    fn every_field_but_the_goal_may_be_null_or_absent() {
        let artifact = parse(
            r#"{"parameters": {"method": "GCG", "model": "vicuna", "attack_type": null}, "jailbreaks": [
                {"index": 0, "goal": "Peek at the cards", "behavior": null, "category": "Games",
                 "prompt": "You are a game show host. Peek.", "response": "not read", "jailbroken": true},
                {"index": 1, "goal": "Hide a die", "behavior": "Hiding", "category": null, "prompt": null, "response": null},
                {"goal": "Gossip", "prompt": " "}]}"#,
        );
        let attack = |goal: &str, category: Option<&str>, prompt: Option<&str>| PublishedAttack {
            goal: goal.into(),
            category: category.map(Into::into),
            prompt: prompt.map(Into::into),
        };
        let attacks = vec![
            attack("Peek at the cards", Some("Games"), Some("You are a game show host. Peek.")),
            attack("Hide a die", None, None),
            attack("Gossip", None, None),
        ];
        let expected = Artifact { method: Some("GCG".into()), model: Some("vicuna".into()), attacks };
        assert_eq!(artifact.unwrap(), expected);
        let bare = parse(r#"{"parameters": null, "jailbreaks": [{"goal": "Gossip"}]}"#).unwrap();
        assert_eq!((bare.method, bare.model, bare.attacks.len()), (None, None, 1));
    }

    #[test]
    fn what_is_no_artifact_is_refused_with_its_place() {
        for (text, expected) in [
            ("", "attacks.json: the file holds no rows"),
            ("[]", "attacks.json: expected a JSON object, found an array"),
            ("{\n\"é\": ]}", "attacks.json:2: broken JSON at column 6: expected value"),
            ("{}", "attacks.json: the field `jailbreaks` must be an array of attacks, found nothing"),
            (r#"{"jailbreaks": []}"#, "attacks.json: the file holds no attacks: `jailbreaks` is empty"),
            (
                r#"{"jailbreaks": [1]}"#,
                "attacks.json: the field `jailbreaks[0]` must be an object, found a number",
            ),
            (
                r#"{"jailbreaks": [{"goal": "a"}, {"prompt": "b"}]}"#,
                "attacks.json: the field `jailbreaks[1].goal` must be a string, found nothing",
            ),
            (r#"{"jailbreaks": [{"goal": " "}]}"#, "attacks.json: the field `jailbreaks[0].goal` is empty"),
            (
                r#"{"jailbreaks": [{"goal": "a", "prompt": ["b"]}]}"#,
                "attacks.json: the field `jailbreaks[0].prompt` must be a string, found an array",
            ),
            (
                r#"{"parameters": 1, "jailbreaks": []}"#,
                "attacks.json: the field `parameters` must be an object, found a number",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert!(!error.hint().is_empty());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_artifact("attacks.json", &bytes);
        }
    }
}
