//! Fields of a request's body, each held to what it may be.

use std::ops::RangeInclusive;

use midcourse_core::engine::TokenId;
use serde_json::{Map, Value};

use super::error::ApiError;

/// A body that is a JSON object. A field that is null counts as left out.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn of(body: &[u8]) -> Result<Self, ApiError> {
        let broken = |problem: String| ApiError::new(400, format!("the body: {problem}"));
        match serde_json::from_slice(body).map_err(|e| broken(format!("expected JSON: {e}")))? {
            Value::Object(fields) => Ok(Self(fields)),
            other => Err(broken(format!("expected a JSON object, found {}", shown(&other)))),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        self.read(name, "true or false", Value::as_bool).map(Option::unwrap_or_default)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        self.read(name, "a string", Value::as_str)
    }

    pub(super) fn integer(&self, name: &str, range: &RangeInclusive<i64>) -> Result<Option<i64>, ApiError> {
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        self.read(name, &expected, |value| value.as_i64().filter(|n| range.contains(n)))
    }

    /// A count that does not exceed `most`.
    pub(super) fn count(&self, name: &str, range: RangeInclusive<usize>) -> Result<Option<usize>, ApiError> {
        let bound = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let range = bound(*range.start())..=bound(*range.end());
        Ok(self.integer(name, &range)?.and_then(|n| usize::try_from(n).ok()))
    }

    pub(super) fn number(
        &self,
        name: &str,
        expected: &str,
        holds: impl Fn(f64) -> bool,
    ) -> Result<Option<f64>, ApiError> {
        self.read(name, expected, |value| value.as_f64().filter(|n| holds(*n)))
    }

    /// A field read by `read`, which knows what is expected.
    fn read<'f, T>(
        &'f self,
        name: &str,
        expected: &str,
        read: impl Fn(&'f Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| wrong(name, expected, value))
    }

    /// Refuses what would change the result and is not done here, unless it is set to what changes nothing.
    pub(super) fn refuse(&self, unsupported: &[(&str, &[&str])]) -> Result<(), ApiError> {
        for (name, neutral) in unsupported {
            let Some(value) = self.get(name) else { continue };
            let allowed = neutral.iter().filter_map(|text| serde_json::from_str(text).ok());
            if !allowed.into_iter().any(|allowed: Value| same(&allowed, value)) {
                let neutral = match neutral {
                    [] => "leave it out".to_owned(),
                    _ => format!("leave it out or set it to {}", neutral.join(" or ")),
                };
                return Err(ApiError::field(
                    name,
                    format!("not supported; {neutral}, found {}", shown(value)),
                ));
            }
        }
        Ok(())
    }
}

pub(super) fn wrong(name: &str, expected: &str, found: &Value) -> ApiError {
    ApiError::field(name, format!("expected {expected}, found {}", shown(found)))
}

/// A list of token ids, which are below `vocab`.
pub(super) fn token_ids(name: &str, list: &[Value], vocab: usize) -> Result<Vec<TokenId>, ApiError> {
    let expected = format!("token ids below {vocab}");
    let id = |value: &Value| value.as_u64().filter(|id| *id < vocab as u64).map(|id| id as TokenId);
    list.iter().map(|value| id(value).ok_or_else(|| wrong(name, &expected, value))).collect()
}

/// Numbers are the same whatever their form: 1 and 1.0.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() < f64::EPSILON,
        _ => a == b,
    }
}

/// A value as a message shows it.
pub(super) fn shown(value: &Value) -> String {
    const MOST: usize = 80;
    match value {
        Value::Object(_) => "an object".into(),
        Value::Array(list) if list.is_empty() => "an empty list".into(),
        Value::Array(_) => "a list".into(),
        other => {
            let text = other.to_string();
            match text.char_indices().nth(MOST) {
                Some((at, _)) => format!("{} …", &text[..at]),
                None => text,
            }
        }
    }
}
