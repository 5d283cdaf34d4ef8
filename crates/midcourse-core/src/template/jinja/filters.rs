//! Filters. Source: `jinja2.filters`; `tojson` is transformers' own.

use super::interpreter::{Args, Interpreter};
use super::value::{Dict, Value};
use super::{Fault, Run, json, methods, predicates};

/// `value|name(args)`.
pub(super) fn apply(run: &mut Interpreter<'_>, name: &str, value: Value, args: &Args) -> Run<Value> {
    match name {
        "trim" | "upper" | "lower" | "title" | "capitalize" | "replace" | "string" | "safe" | "indent"
        | "escape" | "e" | "wordcount" => text(run, name, &value, args),
        "abs" | "int" | "float" | "round" => number(run, name, &value, args),
        "map" | "select" | "reject" | "selectattr" | "rejectattr" => choose(run, name, &value, args),
        "default" | "d" => {
            let lax = args.get(1, "boolean").is_some_and(Value::is_true);
            let stays = if lax { value.is_true() } else { !matches!(value, Value::Undefined(_)) };
            let other = args.get(0, "default_value").cloned().unwrap_or_else(|| "".into());
            Ok(if stays { value } else { other })
        }
        "tojson" => json::json(&value, args, &mut run.budget),
        "attr" => {
            let name = args.need(0, "name")?.text(&mut run.budget)?;
            run.field(&value, &name)
        }
        _ => sequence(run, name, &value, args),
    }
}

fn text(run: &mut Interpreter<'_>, name: &str, value: &Value, args: &Args) -> Run<Value> {
    if name == "string" || name == "safe" {
        return value.text(&mut run.budget).map(Value::from);
    }
    let text = value.text(&mut run.budget)?;
    let budget = &mut run.budget;
    budget.bytes(text.len())?;
    Ok(match name {
        "trim" => {
            let chars = match args.get(0, "chars") {
                None | Some(Value::None) => None,
                Some(chars) => Some(chars.text(budget)?),
            };
            budget.items(chars.as_ref().map_or(0, |chars| text.len().saturating_mul(chars.len()) / 16))?;
            methods::strip(&text, chars.as_deref(), (true, true)).into()
        }
        "upper" => text.to_uppercase().into(),
        "lower" => text.to_lowercase().into(),
        "title" => methods::title(&text).into(),
        "capitalize" => methods::capitalise(&text).into(),
        "replace" => {
            let (old, new) = (args.need(0, "old")?.text(budget)?, args.need(1, "new")?.text(budget)?);
            let most = args.get(2, "count").and_then(Value::as_int);
            methods::replace(&text, (&old, &new), most, budget)?.into()
        }
        "indent" => return indent(&text, args, run),
        "wordcount" => Value::count(text.split(methods::is_space).filter(|word| !word.is_empty()).count()),
        _ => {
            let mut out = String::new();
            for c in text.chars() {
                match c {
                    '&' => budget.push(&mut out, "&amp;")?,
                    '<' => budget.push(&mut out, "&lt;")?,
                    '>' => budget.push(&mut out, "&gt;")?,
                    '\'' => budget.push(&mut out, "&#39;")?,
                    '"' => budget.push(&mut out, "&#34;")?,
                    c => out.push(c),
                }
            }
            out.into()
        }
    })
}

fn indent(text: &str, args: &Args, run: &mut Interpreter<'_>) -> Run<Value> {
    let budget = &mut run.budget;
    let by = match args.get(0, "width") {
        None => " ".repeat(4),
        Some(Value::Str(by)) => by.to_string(),
        Some(n) => {
            let n = n.as_int().ok_or_else(|| Fault::run("`width` must be a number or a text"))?;
            let n = usize::try_from(n).unwrap_or(0);
            budget.bytes(n)?;
            " ".repeat(n)
        }
    };
    let (first, blank) =
        (args.get(1, "first").is_some_and(Value::is_true), args.get(2, "blank").is_some_and(Value::is_true));
    let mut out = String::new();
    for (at, line) in text.split('\n').enumerate() {
        budget.step()?;
        budget.push(&mut out, if at == 0 { "" } else { "\n" })?;
        let indented = if at == 0 { first } else { blank || !line.is_empty() };
        budget.push(&mut out, if indented { &by } else { "" })?;
        budget.push(&mut out, line)?;
    }
    Ok(out.into())
}

fn number(run: &mut Interpreter<'_>, name: &str, value: &Value, args: &Args) -> Run<Value> {
    let budget = &mut run.budget;
    let no_number = || Fault::run(format!("`{name}` needs a number, found a {}", value.kind()));
    match name {
        "abs" => match value {
            Value::Float(x) => Ok(Value::Float(x.abs())),
            other => other.as_int().and_then(i64::checked_abs).map(Value::Int).ok_or_else(no_number),
        },
        "int" => {
            let text = || value.as_str().map(str::trim);
            let parsed = match value {
                Value::Float(x) => Some(*x as i64),
                other => other.as_int(),
            };
            let parsed = parsed.or_else(|| text()?.parse().ok());
            let parsed = parsed.or_else(|| text()?.parse::<f64>().ok().map(|x| x as i64));
            Ok(parsed.map_or_else(|| args.get(0, "default").cloned().unwrap_or(Value::Int(0)), Value::Int))
        }
        "float" => {
            let parsed = value.as_float().or_else(|| value.as_str()?.trim().parse().ok());
            Ok(parsed
                .map_or_else(|| args.get(0, "default").cloned().unwrap_or(Value::Float(0.0)), Value::Float))
        }
        _ => {
            budget.step()?;
            let x = value.as_float().ok_or_else(no_number)?;
            let places = args.get(0, "precision").and_then(Value::as_int).unwrap_or(0).clamp(0, 17) as i32;
            let scale = 10_f64.powi(places);
            Ok(Value::Float(match args.get(1, "method").and_then(Value::as_str).unwrap_or("common") {
                "ceil" => (x * scale).ceil() / scale,
                "floor" => (x * scale).floor() / scale,
                _ => format!("{x:.*}", places as usize).parse().unwrap_or(x),
            }))
        }
    }
}

/// What becomes of every item: something else, or whether it stays.
fn choose(run: &mut Interpreter<'_>, name: &str, value: &Value, args: &Args) -> Run<Value> {
    let mut kept = Vec::new();
    let by_attribute = name.ends_with("attr") || (name == "map" && args.positional.is_empty());
    let rest = |n: usize| Args {
        positional: args.positional.iter().skip(n).cloned().collect(),
        named: args.named.clone(),
    };
    for item in value.items(&mut run.budget)? {
        run.budget.items(args.positional.len() + args.named.len())?;
        let operand =
            if by_attribute { attribute(run, &item, args.need(0, "attribute")?)? } else { item.clone() };
        if name == "map" {
            let mapped = match (by_attribute, operand) {
                (true, Value::Undefined(reason)) => {
                    args.get(usize::MAX, "default").cloned().unwrap_or(Value::Undefined(reason))
                }
                (true, operand) => operand,
                (false, operand) => {
                    let filter = args.need(0, "filter")?.text(&mut run.budget)?;
                    run.deeper(|run| apply(run, &filter, operand, &rest(1)))?
                }
            };
            kept.push(mapped);
            continue;
        }
        let at = usize::from(by_attribute);
        let holds = match args.positional.get(at) {
            None => operand.is_true(),
            Some(test) => {
                let test = test.text(&mut run.budget)?;
                predicates::holds(&test, &operand, &rest(at + 1), &mut run.budget)?
            }
        };
        if holds != name.starts_with("reject") {
            kept.push(item);
        }
    }
    Value::list(kept)
}

/// A field of an item, dots leading into it.
fn attribute(run: &mut Interpreter<'_>, item: &Value, name: &Value) -> Run<Value> {
    let Value::Str(path) = name else { return run.item(item, name) };
    let mut value = item.clone();
    for part in path.split('.') {
        if matches!(value, Value::Undefined(_)) {
            break;
        }
        value = match part.parse() {
            Ok(at) => run.item(&value, &Value::Int(at))?,
            Err(_) => run.field(&value, part)?,
        };
    }
    Ok(value)
}

fn sequence(run: &mut Interpreter<'_>, name: &str, value: &Value, args: &Args) -> Run<Value> {
    let nothing = || Value::Undefined("an empty list has no such item".into());
    match name {
        "length" | "count" => Ok(Value::count(value.length(&mut run.budget)?)),
        "first" => Ok(value.items(&mut run.budget)?.into_iter().next().unwrap_or_else(nothing)),
        "last" => Ok(value.items(&mut run.budget)?.pop().unwrap_or_else(nothing)),
        "list" => Value::list(value.items(&mut run.budget)?),
        "join" => {
            let between =
                args.get(0, "d").map_or(Ok(String::new()), |between| between.text(&mut run.budget))?;
            match args.get(1, "attribute") {
                None => methods::join(value, &between, &mut run.budget).map(Value::from),
                Some(name) => {
                    let items = value.items(&mut run.budget)?;
                    let fields = items.iter().map(|item| attribute(run, item, name)).collect::<Run<_>>()?;
                    methods::join(&Value::list(fields)?, &between, &mut run.budget).map(Value::from)
                }
            }
        }
        "reverse" => reverse(run, value),
        "items" | "dictsort" => {
            let Value::Dict(dict) = value else {
                return if name == "items" && matches!(value, Value::Undefined(_)) {
                    Value::list(Vec::new())
                } else {
                    Err(Fault::run(format!("`{name}` needs a mapping, found a {}", value.kind())))
                };
            };
            run.budget.items(dict.pairs.len())?;
            if name == "items" { methods::pairs(dict) } else { dictsort(run, dict, args) }
        }
        "sort" => {
            let items = value.items(&mut run.budget)?;
            let keyed = sort_keys(run, items, args)?;
            items_of(sorted(run, keyed, args.get(0, "reverse").is_some_and(Value::is_true))?)
        }
        "unique" => unique(run, value, args),
        "min" | "max" => {
            let items = value.items(&mut run.budget)?;
            let keyed = sort_keys(run, items, args)?;
            let first = sorted(run, keyed, name == "max")?.into_iter().next();
            Ok(first.map_or_else(nothing, |(_, item)| item))
        }
        "sum" => {
            let mut sum = args.get(1, "start").cloned().unwrap_or(Value::Int(0));
            for item in value.items(&mut run.budget)? {
                let item =
                    args.get(0, "attribute").map_or(Ok(item.clone()), |name| attribute(run, &item, name))?;
                sum = super::operators::apply(super::ast::Operator::Add, &sum, &item, &mut run.budget)?;
            }
            Ok(sum)
        }
        _ => Err(Fault::run(format!("unknown filter `{name}`"))),
    }
}

fn reverse(run: &mut Interpreter<'_>, value: &Value) -> Run<Value> {
    if let Value::Str(text) = value {
        run.budget.bytes(text.len())?;
        return Ok(text.chars().rev().collect::<String>().into());
    }
    let mut items = value.items(&mut run.budget)?;
    items.reverse();
    Value::list(items)
}

/// Items with what they are compared by: small letters, unless case counts.
fn sort_keys(run: &mut Interpreter<'_>, items: Vec<Value>, args: &Args) -> Run<Vec<(Value, Value)>> {
    let cased = args.get(usize::MAX, "case_sensitive").is_some_and(Value::is_true);
    let name = args.get(usize::MAX, "attribute").cloned();
    let key = |item: Value| {
        let key = name.as_ref().map_or(Ok(item.clone()), |name| attribute(run, &item, name))?;
        let key = match key {
            Value::Str(text) if !cased => {
                run.budget.bytes(text.len())?;
                text.to_lowercase().into()
            }
            key => key,
        };
        Ok((key, item))
    };
    items.into_iter().map(key).collect()
}

/// The items in order of their keys; those of equal keys stay in their order.
///
/// The standard library's sort may panic where values have no order, which only shows on the way.
fn sorted(
    run: &mut Interpreter<'_>,
    mut keyed: Vec<(Value, Value)>,
    reverse: bool,
) -> Run<Vec<(Value, Value)>> {
    if keyed.len() < 2 {
        return Ok(keyed);
    }
    let right = keyed.split_off(keyed.len() / 2);
    let mut left = sorted(run, keyed, reverse)?.into_iter().peekable();
    let mut right = sorted(run, right, reverse)?.into_iter().peekable();
    let mut all = Vec::with_capacity(left.len() + right.len());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let order = a.0.order(&b.0, &mut run.budget)?;
        let right_first = if reverse { order.is_lt() } else { order.is_gt() };
        all.extend(if right_first { right.next() } else { left.next() });
    }
    all.extend(left.chain(right));
    Ok(all)
}

fn items_of(keyed: Vec<(Value, Value)>) -> Run<Value> {
    Value::list(keyed.into_iter().map(|(_, item)| item).collect())
}

fn dictsort(run: &mut Interpreter<'_>, dict: &Dict, args: &Args) -> Run<Value> {
    let by_value = args.get(1, "by").and_then(Value::as_str) == Some("value");
    let cased = args.get(0, "case_sensitive").is_some_and(Value::is_true);
    let Value::List(pairs) = methods::pairs(dict)? else { return Err(Fault::run("a mapping has pairs")) };
    let key = |(pair, (key, value)): (&Value, &(Value, Value))| {
        let key = if by_value { value } else { key };
        match key {
            Value::Str(text) if !cased => (text.to_lowercase().into(), pair.clone()),
            key => (key.clone(), pair.clone()),
        }
    };
    let keyed = pairs.values.iter().zip(&dict.pairs).map(key).collect();
    items_of(sorted(run, keyed, args.get(2, "reverse").is_some_and(Value::is_true))?)
}

fn unique(run: &mut Interpreter<'_>, value: &Value, args: &Args) -> Run<Value> {
    let items = value.items(&mut run.budget)?;
    let mut kept: Vec<(Value, Value)> = Vec::new();
    for (key, item) in sort_keys(run, items, args)? {
        let mut seen = false;
        for (other, _) in &kept {
            seen = seen || key.equals(other, &mut run.budget)?;
        }
        if !seen {
            kept.push((key, item));
        }
    }
    Value::list(kept.into_iter().map(|(_, item)| item).collect())
}
