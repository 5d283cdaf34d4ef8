//! What operators do, as Python does it.

use super::ast::{Comparison, Operator};
use super::budget::Budget;
use super::interpreter::Args;
use super::value::{Items, Value};
use super::{Fault, Run};

/// Applies an operator to two values.
pub(super) fn apply(operator: Operator, a: &Value, b: &Value, budget: &mut Budget) -> Run<Value> {
    match (operator, a, b) {
        (Operator::Add, Value::Str(left), Value::Str(right)) => {
            let mut text = String::new();
            budget.push(&mut text, left)?;
            budget.push(&mut text, right)?;
            Ok(text.into())
        }
        (Operator::Add, Value::List(left), Value::List(right)) => Value::list(joined(left, right, budget)?),
        (Operator::Add, Value::Tuple(left), Value::Tuple(right)) => {
            Ok(Value::Tuple(Items::new(joined(left, right, budget)?)?))
        }
        (Operator::Mul, Value::Str(text), n) | (Operator::Mul, n, Value::Str(text))
            if n.as_int().is_some() =>
        {
            let n = times(n);
            budget.bytes(text.len().saturating_mul(n))?;
            Ok(text.repeat(n).into())
        }
        (Operator::Mul, Value::List(items), n) | (Operator::Mul, n, Value::List(items))
            if n.as_int().is_some() =>
        {
            let n = times(n);
            budget.items(items.values.len().saturating_mul(n))?;
            Value::list(items.values.iter().cycle().take(items.values.len() * n).cloned().collect())
        }
        _ => number(operator, a, b),
    }
}

/// How often something is repeated; less than none is none.
fn times(n: &Value) -> usize {
    n.as_int().and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
}

fn joined(left: &Items, right: &Items, budget: &mut Budget) -> Run<Vec<Value>> {
    budget.items(left.values.len() + right.values.len())?;
    Ok(left.values.iter().chain(&right.values).cloned().collect())
}

fn number(operator: Operator, a: &Value, b: &Value) -> Run<Value> {
    let no_number = || {
        if let Value::Undefined(reason) = a {
            return Fault::run(reason.to_string());
        }
        if let Value::Undefined(reason) = b {
            return Fault::run(reason.to_string());
        }
        Fault::run(format!("a {} and a {} cannot be put together so", a.kind(), b.kind()))
    };
    let by_zero = || Fault::run("division by zero");
    if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
        let whole = match operator {
            Operator::Add => a.checked_add(b),
            Operator::Sub => a.checked_sub(b),
            Operator::Mul => a.checked_mul(b),
            Operator::Div | Operator::FloorDiv | Operator::Mod if b == 0 => return Err(by_zero()),
            Operator::Div => return Ok(Value::Float(a as f64 / b as f64)),
            // Python rounds down, so that the remainder has the sign of the divisor.
            Operator::FloorDiv => {
                a.checked_div_euclid(b).map(|q| if b < 0 && a != q * b { q - 1 } else { q })
            }
            Operator::Mod => a.checked_rem_euclid(b).map(|r| if b < 0 && r != 0 { r + b } else { r }),
            Operator::Pow if b < 0 => return Ok(Value::Float((a as f64).powf(b as f64))),
            Operator::Pow => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        };
        return whole.map(Value::Int).ok_or_else(|| Fault::run("a whole number of more than 64 bits"));
    }
    let (Some(a), Some(b)) = (a.as_float(), b.as_float()) else { return Err(no_number()) };
    Ok(Value::Float(match operator {
        Operator::Add => a + b,
        Operator::Sub => a - b,
        Operator::Mul => a * b,
        Operator::Div | Operator::FloorDiv | Operator::Mod if b == 0.0 => return Err(by_zero()),
        Operator::Div => a / b,
        Operator::FloorDiv => (a / b).floor(),
        Operator::Mod => a - b * (a / b).floor(),
        Operator::Pow => a.powf(b),
    }))
}

/// Whether a comparison holds.
pub(super) fn compare(comparison: Comparison, a: &Value, b: &Value, budget: &mut Budget) -> Run<bool> {
    match comparison {
        Comparison::Eq => a.equals(b, budget),
        Comparison::Ne => Ok(!a.equals(b, budget)?),
        Comparison::Lt => Ok(a.order(b, budget)?.is_lt()),
        Comparison::Le => Ok(a.order(b, budget)?.is_le()),
        Comparison::Gt => Ok(a.order(b, budget)?.is_gt()),
        Comparison::Ge => Ok(a.order(b, budget)?.is_ge()),
        Comparison::In => a.is_in(b, budget),
        Comparison::NotIn => Ok(!a.is_in(b, budget)?),
    }
}

/// `value[from:to:by]`.
pub(super) fn slice(value: &Value, parts: &[Option<Value>; 3], budget: &mut Budget) -> Run<Value> {
    let bound = |part: &Option<Value>| match part {
        None | Some(Value::None) => Ok(None),
        Some(value) => value.as_int().map(Some).ok_or_else(|| Fault::run("a slice needs whole numbers")),
    };
    let (from, to, by) = (bound(&parts[0])?, bound(&parts[1])?, bound(&parts[2])?.unwrap_or(1));
    if by == 0 {
        return Err(Fault::run("a slice needs a step other than 0"));
    }
    let pick = |n: usize| picked(i64::try_from(n).unwrap_or(i64::MAX), (from, to), by);
    match value {
        Value::Str(text) => {
            budget.items(text.len() / 4)?;
            let chars: Vec<char> = text.chars().collect();
            Ok(pick(chars.len()).into_iter().map(|at| chars[at]).collect::<String>().into())
        }
        Value::List(items) => {
            budget.items(items.values.len())?;
            Value::list(pick(items.values.len()).into_iter().map(|at| items.values[at].clone()).collect())
        }
        Value::Tuple(items) => {
            budget.items(items.values.len())?;
            let picked = pick(items.values.len()).into_iter().map(|at| items.values[at].clone());
            Ok(Value::Tuple(Items::new(picked.collect())?))
        }
        Value::Undefined(reason) => Err(Fault::run(reason.to_string())),
        other => Err(Fault::run(format!("a {} cannot be sliced", other.kind()))),
    }
}

/// The places that a slice of `n` items takes, as Python's `slice.indices` gives them.
fn picked(n: i64, (from, to): (Option<i64>, Option<i64>), by: i64) -> Vec<usize> {
    let (least, most) = if by > 0 { (0, n) } else { (-1, n - 1) };
    let clamp = |at: i64| if at < 0 { at.saturating_add(n).max(least) } else { at.min(most) };
    let (default_from, default_to) = if by > 0 { (0, n) } else { (n - 1, -1) };
    let (mut at, to) = (from.map_or(default_from, clamp), to.map_or(default_to, clamp));
    let mut picked = Vec::new();
    while if by > 0 { at < to } else { at > to } {
        picked.push(at as usize);
        at = at.saturating_add(by);
    }
    picked
}

/// `range(from, to, by)`.
pub(super) fn range(args: &Args, budget: &mut Budget) -> Run<Value> {
    let whole = args.positional.iter().map(|value| {
        value
            .as_int()
            .ok_or_else(|| Fault::run(format!("`range` needs whole numbers, found a {}", value.kind())))
    });
    let (from, to, by) = match whole.collect::<Run<Vec<_>>>()?.as_slice() {
        [to] => (0, *to, 1),
        [from, to] => (*from, *to, 1),
        [from, to, by] if *by != 0 => (*from, *to, *by),
        _ => return Err(Fault::run("`range` needs one to three numbers and a step other than 0")),
    };
    let mut values = Vec::new();
    let mut at = from;
    while if by > 0 { at < to } else { at > to } {
        budget.step()?;
        values.push(Value::Int(at));
        at = at.saturating_add(by);
    }
    Value::list(values)
}
