//! Methods of texts, mappings and lists that change nothing, as Python has them.

use super::budget::Budget;
use super::interpreter::Args;
use super::value::{Dict, Items, Value};
use super::{Fault, Run};

/// `value.name(args)`.
pub(super) fn call(value: &Value, name: &str, args: &Args, budget: &mut Budget) -> Run<Value> {
    match value {
        Value::Str(text) => {
            budget.bytes(text.len())?;
            text_method(text, name, args, budget)
        }
        Value::Dict(dict) => dict_method(dict, name, args, budget),
        Value::List(items) | Value::Tuple(items) => list_method(items, name, args, budget),
        Value::Loop(_, at) if name == "cycle" && !args.positional.is_empty() => {
            Ok(args.positional[at % args.positional.len()].clone())
        }
        Value::Undefined(reason) => Err(Fault::run(reason.to_string())),
        other => Err(unknown(other.kind(), name)),
    }
}

fn unknown(kind: &str, name: &str) -> Fault {
    Fault::run(format!("unknown method `{name}` of a {kind}"))
}

/// White space as Python's `str.isspace` knows it.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `text` without the characters of `chars` (without: white space) at its ends.
pub(super) fn strip<'t>(text: &'t str, chars: Option<&str>, (start, end): (bool, bool)) -> &'t str {
    let goes = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let text = if start { text.trim_start_matches(goes) } else { text };
    if end { text.trim_end_matches(goes) } else { text }
}

/// An argument that must be a text where it is given.
fn text_arg<'a>(args: &'a Args, at: usize, name: &str) -> Run<Option<&'a str>> {
    match args.get(at, name) {
        None | Some(Value::None) => Ok(None),
        Some(Value::Str(text)) => Ok(Some(text)),
        Some(other) => Err(Fault::run(format!("`{name}` must be a str, found a {}", other.kind()))),
    }
}

fn needed<'a>(args: &'a Args, at: usize, name: &str) -> Run<&'a str> {
    text_arg(args, at, name)?.ok_or_else(|| Fault::run(format!("the argument `{name}` is missing")))
}

fn text_method(text: &str, name: &str, args: &Args, budget: &mut Budget) -> Run<Value> {
    let all = |holds: fn(char) -> bool| Ok(Value::Bool(!text.is_empty() && text.chars().all(holds)));
    let place =
        |at: Option<usize>| Ok(at.map_or(Value::Int(-1), |at| Value::count(text[..at].chars().count())));
    match name {
        "strip" | "lstrip" | "rstrip" => {
            let chars = text_arg(args, 0, "chars")?;
            // Every character is looked for among `chars`.
            budget.items(chars.map_or(0, |chars| text.len().saturating_mul(chars.len()) / 16))?;
            Ok(strip(text, chars, (name != "rstrip", name != "lstrip")).into())
        }
        "upper" => Ok(text.to_uppercase().into()),
        "lower" => Ok(text.to_lowercase().into()),
        "title" => Ok(title(text).into()),
        "capitalize" => Ok(capitalise(text).into()),
        "isdigit" | "isnumeric" | "isdecimal" => all(char::is_numeric),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isspace" => all(is_space),
        "isascii" => Ok(Value::Bool(text.is_ascii())),
        "isupper" => Ok(Value::Bool(is_cased(text, char::is_uppercase, char::is_lowercase))),
        "islower" => Ok(Value::Bool(is_cased(text, char::is_lowercase, char::is_uppercase))),
        "startswith" => affix(args, "prefix", budget, |affix| text.starts_with(affix)),
        "endswith" => affix(args, "suffix", budget, |affix| text.ends_with(affix)),
        "removeprefix" => {
            let prefix = needed(args, 0, "prefix")?;
            Ok(text.strip_prefix(prefix).unwrap_or(text).into())
        }
        "removesuffix" => {
            let suffix = needed(args, 0, "suffix")?;
            Ok(text.strip_suffix(suffix).unwrap_or(text).into())
        }
        "find" => place(text.find(needed(args, 0, "sub")?)),
        "rfind" => place(text.rfind(needed(args, 0, "sub")?)),
        "index" => {
            let sub = needed(args, 0, "sub")?;
            let at = text.find(sub).ok_or_else(|| Fault::run(format!("the text does not hold `{sub}`")))?;
            place(Some(at))
        }
        "count" => Ok(Value::count(text.matches(needed(args, 0, "sub")?).count())),
        "replace" => {
            let (old, new) = (needed(args, 0, "old")?, needed(args, 1, "new")?);
            let most = args.get(2, "count").and_then(Value::as_int);
            replace(text, (old, new), most, budget).map(Value::from)
        }
        "split" | "rsplit" => {
            let most = args.get(1, "maxsplit").and_then(Value::as_int).and_then(|n| usize::try_from(n).ok());
            split(text, text_arg(args, 0, "sep")?, most, name == "rsplit", budget)
        }
        "splitlines" => {
            let keeps = args.get(0, "keepends").is_some_and(Value::is_true);
            let lines = text
                .split_inclusive('\n')
                .map(|line| if keeps { line } else { line.trim_end_matches(['\n', '\r']) });
            texts(lines, budget)
        }
        "join" => join(args.need(0, "iterable")?, text, budget).map(Value::from),
        "format" => format(text, args, budget),
        _ => Err(unknown("str", name)),
    }
}

fn texts<'t>(parts: impl Iterator<Item = &'t str>, budget: &mut Budget) -> Run<Value> {
    let mut values = Vec::new();
    for part in parts {
        budget.step()?;
        values.push(part.into());
    }
    Value::list(values)
}

fn is_cased(text: &str, wanted: fn(char) -> bool, other: fn(char) -> bool) -> bool {
    text.chars().any(wanted) && !text.chars().any(other)
}

fn affix(args: &Args, name: &str, budget: &mut Budget, holds: impl Fn(&str) -> bool) -> Run<Value> {
    match args.need(0, name)? {
        Value::Str(affix) => {
            budget.bytes(affix.len())?;
            Ok(Value::Bool(holds(affix)))
        }
        Value::Tuple(any) => {
            budget.items(any.values.len())?;
            Ok(Value::Bool(any.values.iter().filter_map(Value::as_str).any(holds)))
        }
        other => Err(Fault::run(format!("`{name}` must be a str or a tuple, found a {}", other.kind()))),
    }
}

/// Replaces `old` by `new`, at most `most` times.
pub(super) fn replace(
    text: &str,
    (old, new): (&str, &str),
    most: Option<i64>,
    budget: &mut Budget,
) -> Run<String> {
    let most = most.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let n = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() };
    budget.bytes(text.len().saturating_add(n.min(most).saturating_mul(new.len())))?;
    budget.items(n)?;
    Ok(text.replacen(old, new, most))
}

fn split(
    text: &str,
    by: Option<&str>,
    most: Option<usize>,
    from_end: bool,
    budget: &mut Budget,
) -> Run<Value> {
    let n = most.map_or(usize::MAX, |most| most.saturating_add(1));
    match by {
        Some("") => Err(Fault::run("the separator is empty")),
        Some(by) if from_end => {
            let parts: Vec<&str> = text.rsplitn(n, by).collect();
            texts(parts.into_iter().rev(), budget)
        }
        Some(by) => texts(text.splitn(n, by), budget),
        None if most.is_none() => texts(text.split(is_space).filter(|part| !part.is_empty()), budget),
        None => {
            let mut rest = text.trim_start_matches(is_space);
            let mut parts = Vec::new();
            while !rest.is_empty() && parts.len() + 1 < n {
                let at = rest.find(is_space).unwrap_or(rest.len());
                parts.push(&rest[..at]);
                rest = rest[at..].trim_start_matches(is_space);
            }
            parts.extend(Some(rest).filter(|rest| !rest.is_empty()));
            texts(parts.into_iter(), budget)
        }
    }
}

/// The texts of `items` with `between` between them.
pub(super) fn join(items: &Value, between: &str, budget: &mut Budget) -> Run<String> {
    let mut out = String::new();
    for (at, item) in items.items(budget)?.iter().enumerate() {
        budget.push(&mut out, if at == 0 { "" } else { between })?;
        item.write(&mut out, budget)?;
    }
    Ok(out)
}

/// The first letter large, the others small.
pub(super) fn capitalise(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    first + &chars.as_str().to_lowercase()
}

/// Every letter after something that is none large, the others small.
pub(super) fn title(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    out
}

/// `{}`, `{0}` and `{name}` without format specifications.
fn format(text: &str, args: &Args, budget: &mut Budget) -> Run<Value> {
    let mut out = String::new();
    let mut rest = text;
    let mut n_taken = 0;
    while let Some(at) = rest.find(['{', '}']) {
        budget.push(&mut out, &rest[..at])?;
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            budget.push(&mut out, brace)?;
            rest = after;
            continue;
        }
        let field = (brace == "{").then(|| after.split_once('}')).flatten();
        let (field, after) = field.ok_or_else(|| Fault::run("a single brace in a format"))?;
        let value = match field {
            "" => args.positional.get(n_taken),
            name => {
                name.parse().map_or_else(|_| args.get(usize::MAX, name), |at: usize| args.positional.get(at))
            }
        };
        n_taken += 1;
        let value =
            value.ok_or_else(|| Fault::run(format!("the format's field {{{field}}} is not given")))?;
        value.write(&mut out, budget)?;
        rest = after;
    }
    budget.push(&mut out, rest)?;
    Ok(out.into())
}

fn dict_method(dict: &Dict, name: &str, args: &Args, budget: &mut Budget) -> Run<Value> {
    budget.items(dict.pairs.len())?;
    match name {
        "get" => {
            let key = args.need(0, "key")?;
            for (found, value) in &dict.pairs {
                if found.equals(key, budget)? {
                    return Ok(value.clone());
                }
            }
            Ok(args.get(1, "default").cloned().unwrap_or(Value::None))
        }
        "keys" => Value::list(dict.pairs.iter().map(|(key, _)| key.clone()).collect()),
        "values" => Value::list(dict.pairs.iter().map(|(_, value)| value.clone()).collect()),
        "items" => pairs(dict),
        _ => Err(unknown("dict", name)),
    }
}

/// The pairs of a mapping as tuples.
pub(super) fn pairs(dict: &Dict) -> Run<Value> {
    let pair =
        |(key, value): &(Value, Value)| Ok(Value::Tuple(Items::new(vec![key.clone(), value.clone()])?));
    Value::list(dict.pairs.iter().map(pair).collect::<Run<_>>()?)
}

fn list_method(items: &Items, name: &str, args: &Args, budget: &mut Budget) -> Run<Value> {
    let places = |budget: &mut Budget| -> Run<Vec<usize>> {
        let wanted = args.need(0, "value")?;
        let mut places = Vec::new();
        for (at, item) in items.values.iter().enumerate() {
            if item.equals(wanted, budget)? {
                places.push(at);
            }
        }
        Ok(places)
    };
    match name {
        "count" => Ok(Value::count(places(budget)?.len())),
        "index" => match places(budget)?.first() {
            Some(at) => Ok(Value::count(*at)),
            None => Err(Fault::run("the list does not hold the value")),
        },
        "append" | "extend" | "insert" | "pop" | "remove" | "clear" | "sort" | "reverse" => {
            Err(Fault::run(format!("`{name}` would change a list, which templates may not")))
        }
        _ => Err(unknown("list", name)),
    }
}
