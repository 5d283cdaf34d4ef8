//! Templates over the columns of a row, as the tasks of benchmarks have them: Jinja on the budget of chat templates.
//!
//! Unlike there, a name that nothing stands behind is an error, and a template that is one expression gives its value,
//! not only its text. No day is told: what a row gives depends on the row alone.

use serde_json::{Map, Number, Value as Json};

use super::date::Date;
use super::jinja::{Fault, Program, Value};

/// A template over the columns of a row.
#[derive(Debug, Clone)]
pub struct RowTemplate {
    program: Program,
}

/// Where and why a template was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFault {
    /// Line of the template, counted from 1.
    pub line: usize,
    /// What was expected and what was found.
    pub problem: String,
}

impl From<Fault> for TemplateFault {
    fn from(fault: Fault) -> Self {
        Self { line: fault.line.max(1), problem: fault.problem }
    }
}

impl RowTemplate {
    /// Parses a template; unlike in a chat template, a line end at its end is kept.
    ///
    /// # Errors
    /// When it is not Jinja.
    pub fn parse(source: &str) -> Result<Self, TemplateFault> {
        // The lexer takes one line end away.
        Ok(Self { program: Program::parse(&format!("{source}\n"))? })
    }

    /// What the template writes.
    ///
    /// # Errors
    /// When it asks for what is not there, or takes more than a template may.
    pub fn text(&self, row: &Map<String, Json>) -> Result<String, TemplateFault> {
        Ok(self.program.write(names(row)?, Date::from_days(0), n_bytes(row))?)
    }

    /// The value of a template that is one expression; of any other what it writes.
    ///
    /// # Errors
    /// As [`RowTemplate::text`], and when the value is none of JSON.
    pub fn value(&self, row: &Map<String, Json>) -> Result<Json, TemplateFault> {
        let value = self.program.value(names(row)?, Date::from_days(0), n_bytes(row))?;
        Ok(json_of(&value)?)
    }
}

/// Bytes of the texts of a row, which raise the budget.
fn n_bytes(row: &Map<String, Json>) -> usize {
    row.values().map(bytes_of).sum()
}

fn bytes_of(value: &Json) -> usize {
    match value {
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(bytes_of).sum(),
        Json::Object(fields) => n_bytes(fields),
        _ => 1,
    }
}

fn names(row: &Map<String, Json>) -> Result<Vec<(&str, Value)>, Fault> {
    row.iter().map(|(name, value)| Ok((name.as_str(), value_of(value)?))).collect()
}

fn value_of(json: &Json) -> Result<Value, Fault> {
    Ok(match json {
        Json::Null => Value::None,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(n) => {
            n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap_or(f64::NAN)), Value::Int)
        }
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Value::list(items.iter().map(value_of).collect::<Result<_, _>>()?)?,
        Json::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| Ok((name.as_str(), value_of(value)?)));
            Value::dict(fields.collect::<Result<Vec<_>, Fault>>()?)?
        }
    })
}

/// # Errors
/// For what JSON cannot say, which tasks have no use for.
fn json_of(value: &Value) -> Result<Json, Fault> {
    Ok(match value {
        Value::None => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(n) => (*n).into(),
        Value::Float(x) => Number::from_f64(*x).map_or(Json::Null, Json::Number),
        Value::Str(text) => Json::String(text.to_string()),
        Value::List(items) | Value::Tuple(items) => {
            Json::Array(items.values.iter().map(json_of).collect::<Result<_, _>>()?)
        }
        Value::Undefined(reason) => return Err(Fault::run(reason.to_string())),
        other => {
            return Err(Fault::run(format!("expected a text, a number or a list, found a {}", other.kind())));
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row() -> Map<String, Json> {
        let row = json!({
            "text": "the quick fox", "sentence": "Ann saw _ leave.", "option1": "Bo",
            "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "key": "B", "n": 2, "many": ["a", "b"],
        });
        row.as_object().unwrap().clone()
    }

    #[test]
    fn an_expression_gives_its_value_and_anything_else_its_text() {
        let value = |source: &str| RowTemplate::parse(source).unwrap().value(&row()).unwrap();
        assert_eq!(value("{{choices.text}}"), json!(["x", "y"]));
        assert_eq!(value("{{choices.label.index(key)}}"), json!(1));
        assert_eq!(value("{{ {'1': 0, '2': 1}['2'] }}"), json!(1));
        assert_eq!(value("{{text.split(' ')[:-1]|join(' ')}}"), json!("the quick"));
        assert_eq!(value("{{' ' + text.split(' ')[-1]}}"), json!(" fox"));
        assert_eq!(value("{{[sentence[:sentence.find('_')] + option1, n]}}"), json!(["Ann saw Bo", 2]));
        assert_eq!(value("Q: {{text}}\nA:"), json!("Q: the quick fox\nA:"));
        assert_eq!(value("{{many}} "), json!("['a', 'b'] "));
    }

    #[test]
    fn line_ends_at_the_end_stay() {
        assert_eq!(RowTemplate::parse("{{key}}\n\n").unwrap().text(&row()).unwrap(), "B\n\n");
    }

    #[test]
    fn what_is_not_there_is_an_error_with_its_line() {
        let fault = |source: &str| RowTemplate::parse(source).unwrap().value(&row()).unwrap_err();
        assert_eq!(fault("x\n{{missing}}").line, 2);
        assert!(
            fault("{{choices.missing}}").problem.contains("missing"),
            "{:?}",
            fault("{{choices.missing}}")
        );
        assert!(RowTemplate::parse("x\n{{ 1 + }}").unwrap_err().line == 2);
    }
}
