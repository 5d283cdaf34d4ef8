//! Values as Python has them, as far as templates can tell.
//!
//! A value cannot hold itself: a namespace is held by number, and everything else is made whole. Containers know
//! their depth, which is bounded; walking one is charged for every step, so that shared parts cost what they
//! would cost apart.

use std::sync::Arc;

use super::ast::Macro;
use super::budget::Budget;
use super::calls::Function;
use super::{Fault, Run};

/// Containers in containers: messages take three levels.
const MAX_DEPTH: u8 = 32;

/// A value.
#[derive(Debug, Clone)]
pub(in crate::template) enum Value {
    /// Nothing of this name is there; the reason in words.
    Undefined(Arc<str>),
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Arc<str>),
    List(Arc<Items>),
    Tuple(Arc<Items>),
    Dict(Arc<Dict>),
    /// Number of a namespace.
    Namespace(usize),
    Function(Function),
    Macro(Arc<Macro>),
    /// A loop at one of its turns.
    Loop(Arc<Items>, usize),
}

/// Values in order.
#[derive(Debug, Default)]
pub(in crate::template) struct Items {
    pub values: Vec<Value>,
    depth: u8,
}

/// Pairs in the order in which their keys came first.
#[derive(Debug, Default)]
pub(in crate::template) struct Dict {
    pub pairs: Vec<(Value, Value)>,
    depth: u8,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(text.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

fn depth_of<'a>(values: impl Iterator<Item = &'a Value>) -> Run<u8> {
    let inside = values.map(Value::depth).max().unwrap_or(0);
    if inside == MAX_DEPTH {
        return Err(Fault::exhausted(format!(
            "it puts more than {MAX_DEPTH} lists or mappings into one another"
        )));
    }
    Ok(inside + 1)
}

impl Items {
    pub(super) fn new(values: Vec<Value>) -> Run<Arc<Self>> {
        let depth = depth_of(values.iter())?;
        Ok(Arc::new(Self { values, depth }))
    }
}

impl Dict {
    /// A mapping of pairs with different keys.
    pub(super) fn new(pairs: Vec<(Value, Value)>) -> Run<Arc<Self>> {
        let depth = depth_of(pairs.iter().map(|(_, value)| value))?;
        Ok(Arc::new(Self { pairs, depth }))
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let is_key = |(found, _): &&(Value, Value)| matches!(found, Value::Str(found) if **found == *key);
        self.pairs.iter().find(is_key).map(|(_, value)| value)
    }
}

impl Value {
    /// A list of `values`.
    pub(in crate::template) fn list(values: Vec<Self>) -> Run<Self> {
        Items::new(values).map(Self::List)
    }

    /// A mapping from names.
    pub(in crate::template) fn dict<'a>(pairs: impl IntoIterator<Item = (&'a str, Self)>) -> Run<Self> {
        Dict::new(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect()).map(Self::Dict)
    }

    /// A number of things.
    pub(super) fn count(n: usize) -> Self {
        Self::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }

    fn depth(&self) -> u8 {
        match self {
            Self::List(items) | Self::Tuple(items) | Self::Loop(items, _) => items.depth,
            Self::Dict(dict) => dict.depth,
            _ => 0,
        }
    }

    /// What Python calls values of this kind.
    pub(in crate::template) fn kind(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "undefined",
            Self::None => "None",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Namespace(_) => "namespace",
            Self::Function(_) => "function",
            Self::Macro(_) => "macro",
            Self::Loop(..) => "loop",
        }
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(flag) => *flag,
            Self::Int(n) => *n != 0,
            Self::Float(x) => *x != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::List(items) | Self::Tuple(items) => !items.values.is_empty(),
            Self::Dict(dict) => !dict.pairs.is_empty(),
            Self::Namespace(_) | Self::Function(_) | Self::Macro(_) | Self::Loop(..) => true,
        }
    }

    pub(super) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Bool(flag) => Some(i64::from(*flag)),
            _ => None,
        }
    }

    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(x) => Some(*x),
            other => other.as_int().map(|n| n as f64),
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The length that Python gives it.
    pub(super) fn length(&self, budget: &mut Budget) -> Run<usize> {
        match self {
            Self::Undefined(_) => Ok(0),
            Self::Str(text) => {
                budget.bytes(text.len())?;
                Ok(text.chars().count())
            }
            Self::List(items) | Self::Tuple(items) => Ok(items.values.len()),
            Self::Dict(dict) => Ok(dict.pairs.len()),
            other => Err(Fault::run(format!("a {} has no length", other.kind()))),
        }
    }

    /// What a loop over it goes through.
    pub(super) fn items(&self, budget: &mut Budget) -> Run<Vec<Self>> {
        let items = match self {
            Self::Undefined(_) => Vec::new(),
            Self::Str(text) => {
                budget.items(text.chars().count())?;
                text.chars().map(|c| Self::from(c.encode_utf8(&mut [0; 4]) as &str)).collect()
            }
            Self::List(items) | Self::Tuple(items) => {
                budget.items(items.values.len())?;
                items.values.clone()
            }
            Self::Dict(dict) => {
                budget.items(dict.pairs.len())?;
                dict.pairs.iter().map(|(key, _)| key.clone()).collect()
            }
            other => return Err(Fault::run(format!("a {} cannot be looped over", other.kind()))),
        };
        Ok(items)
    }

    /// Whether Python holds the two for equal.
    pub(super) fn equals(&self, other: &Self, budget: &mut Budget) -> Run<bool> {
        budget.step()?;
        if let (Some(a), Some(b)) = (self.as_int(), other.as_int()) {
            return Ok(a == b);
        }
        if let (Some(a), Some(b)) = (self.as_float(), other.as_float()) {
            #[expect(clippy::float_cmp, reason = "Python compares them so")]
            return Ok(a == b);
        }
        Ok(match (self, other) {
            (Self::Undefined(_), Self::Undefined(_)) | (Self::None, Self::None) => true,
            (Self::Str(a), Self::Str(b)) => {
                budget.bytes(a.len().min(b.len()))?;
                a == b
            }
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => {
                a.values.len() == b.values.len() && all_equal(&a.values, &b.values, budget)?
            }
            (Self::Dict(a), Self::Dict(b)) => a.pairs.len() == b.pairs.len() && same_pairs(a, b, budget)?,
            (Self::Namespace(a), Self::Namespace(b)) => a == b,
            (Self::Function(a), Self::Function(b)) => a == b,
            (Self::Macro(a), Self::Macro(b)) => Arc::ptr_eq(a, b),
            (Self::Loop(a, at), Self::Loop(b, bt)) => Arc::ptr_eq(a, b) && at == bt,
            _ => false,
        })
    }

    /// Which of the two comes first, where Python can tell.
    pub(super) fn order(&self, other: &Self, budget: &mut Budget) -> Run<std::cmp::Ordering> {
        use std::cmp::Ordering;
        budget.step()?;
        if let (Some(a), Some(b)) = (self.as_int(), other.as_int()) {
            return Ok(a.cmp(&b));
        }
        if let (Some(a), Some(b)) = (self.as_float(), other.as_float()) {
            return a.partial_cmp(&b).ok_or_else(|| Fault::run("a number that is none has no order"));
        }
        match (self, other) {
            (Self::Str(a), Self::Str(b)) => {
                budget.bytes(a.len().min(b.len()))?;
                Ok(a.cmp(b))
            }
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => {
                for (a, b) in a.values.iter().zip(&b.values) {
                    match a.order(b, budget)? {
                        Ordering::Equal => {}
                        decided => return Ok(decided),
                    }
                }
                Ok(a.values.len().cmp(&b.values.len()))
            }
            _ => Err(Fault::run(format!("a {} and a {} have no order", self.kind(), other.kind()))),
        }
    }

    /// Whether `self in whole`.
    pub(super) fn is_in(&self, whole: &Self, budget: &mut Budget) -> Run<bool> {
        match (whole, self) {
            (Self::Str(text), Self::Str(part)) => {
                budget.bytes(text.len())?;
                Ok(text.contains(&**part))
            }
            (Self::Str(_), other) => Err(Fault::run(format!("a {} cannot be in a str", other.kind()))),
            _ => {
                for item in whole.items(budget)? {
                    if self.equals(&item, budget)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// Its text, as Python's `str` gives it.
    pub(super) fn write(&self, out: &mut String, budget: &mut Budget) -> Run<()> {
        match self {
            Self::Undefined(_) => Ok(()),
            Self::Str(text) => budget.push(out, text),
            other => other.write_repr(out, budget),
        }
    }

    pub(super) fn text(&self, budget: &mut Budget) -> Run<String> {
        let mut out = String::new();
        self.write(&mut out, budget)?;
        Ok(out)
    }

    fn write_repr(&self, out: &mut String, budget: &mut Budget) -> Run<()> {
        budget.step()?;
        match self {
            Self::Undefined(_) => budget.push(out, "Undefined"),
            Self::None => budget.push(out, "None"),
            Self::Bool(flag) => budget.push(out, if *flag { "True" } else { "False" }),
            Self::Int(n) => budget.push(out, &n.to_string()),
            Self::Float(x) => budget.push(out, &float(*x)),
            Self::Str(text) => budget.push(out, &quoted(text)),
            Self::List(items) => write_items(&items.values, ["[", "]"], out, budget),
            Self::Tuple(items) => {
                let end = if items.values.len() == 1 { ",)" } else { ")" };
                write_items(&items.values, ["(", end], out, budget)
            }
            Self::Dict(dict) => {
                budget.push(out, "{")?;
                for (at, (key, value)) in dict.pairs.iter().enumerate() {
                    budget.push(out, if at == 0 { "" } else { ", " })?;
                    key.write_repr(out, budget)?;
                    budget.push(out, ": ")?;
                    value.write_repr(out, budget)?;
                }
                budget.push(out, "}")
            }
            Self::Namespace(_) | Self::Function(_) | Self::Macro(_) | Self::Loop(..) => {
                Err(Fault::run(format!("a {} has no text", self.kind())))
            }
        }
    }
}

fn all_equal(a: &[Value], b: &[Value], budget: &mut Budget) -> Run<bool> {
    for (a, b) in a.iter().zip(b) {
        if !a.equals(b, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_pairs(a: &Dict, b: &Dict, budget: &mut Budget) -> Run<bool> {
    for (key, value) in &a.pairs {
        let mut found = false;
        for (other, other_value) in &b.pairs {
            if key.equals(other, budget)? {
                found = value.equals(other_value, budget)?;
                break;
            }
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

fn write_items(values: &[Value], around: [&str; 2], out: &mut String, budget: &mut Budget) -> Run<()> {
    budget.push(out, around[0])?;
    for (at, value) in values.iter().enumerate() {
        budget.push(out, if at == 0 { "" } else { ", " })?;
        value.write_repr(out, budget)?;
    }
    budget.push(out, around[1])
}

/// The shortest digits that give the number back, in Python's spelling.
pub(super) fn float(x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf" } else { "-inf" }.into();
    }
    if x != 0.0 && !(1e-4..1e16).contains(&x.abs()) {
        let spelt = format!("{x:e}");
        let (digits, exponent) = spelt.split_once('e').unwrap_or((&spelt, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |exponent| ("-", exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{x:?}")
}

/// A text in quotes, as Python's `repr` gives it.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => out.extend([format!("\\x{:02x}", u32::from(c))]),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}
