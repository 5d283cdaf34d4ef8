//! What `is` asks. Source: `jinja2.tests`.

use super::ast::Comparison;
use super::budget::Budget;
use super::interpreter::Args;
use super::value::Value;
use super::{Fault, Run, operators};

/// Whether `value is name(args)`.
pub(super) fn holds(name: &str, value: &Value, args: &Args, budget: &mut Budget) -> Run<bool> {
    let comparison = match name {
        "eq" | "equalto" | "sameas" => Some(Comparison::Eq),
        "ne" => Some(Comparison::Ne),
        "lt" | "lessthan" => Some(Comparison::Lt),
        "le" => Some(Comparison::Le),
        "gt" | "greaterthan" => Some(Comparison::Gt),
        "ge" => Some(Comparison::Ge),
        "in" => Some(Comparison::In),
        _ => None,
    };
    if let Some(comparison) = comparison {
        return operators::compare(comparison, value, args.need(0, "other")?, budget);
    }
    let whole = || {
        value.as_int().ok_or_else(|| Fault::run(format!("expected a whole number, found a {}", value.kind())))
    };
    Ok(match name {
        "defined" => !matches!(value, Value::Undefined(_)),
        "undefined" => matches!(value, Value::Undefined(_)),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => value.as_float().is_some(),
        "string" => matches!(value, Value::Str(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        "sequence" => matches!(value, Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_)),
        "iterable" => matches!(
            value,
            Value::Undefined(_) | Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_)
        ),
        "callable" => matches!(value, Value::Undefined(_) | Value::Function(_) | Value::Macro(_)),
        "odd" => whole()?.rem_euclid(2) == 1,
        "even" => whole()?.rem_euclid(2) == 0,
        "divisibleby" => match args.need(0, "num")?.as_int() {
            Some(n) if n != 0 => whole()?.checked_rem(n) == Some(0),
            _ => return Err(Fault::run("`divisibleby` needs a whole number other than 0")),
        },
        "lower" | "upper" => {
            let text = value.text(budget)?;
            let cased = text.chars().any(|c| c.is_lowercase() || c.is_uppercase());
            cased && !text.chars().any(if name == "lower" { char::is_uppercase } else { char::is_lowercase })
        }
        _ => return Err(Fault::run(format!("unknown test `{name}`"))),
    })
}
