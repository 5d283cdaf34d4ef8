//! Runs a template. Source: `jinja2.compiler` and `jinja2.runtime`, for what templates can see of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::{Body, Call, Expr, For, Operator, Step, Stmt, StmtKind, Target};
use super::budget::Budget;
use super::calls::Function;
use super::value::{Dict, Items, Value};
use super::{Fault, Run, filters, methods, operators, predicates};
use crate::template::date::Date;

/// Expressions, bodies, macros and filters in one another, wherever they stand: each takes a piece of the stack.
/// Templates in use stay below 40.
const MAX_DEPTH: usize = 256;

/// A template at work.
pub(super) struct Interpreter<'n> {
    pub budget: Budget,
    given: Vec<(&'n str, Value)>,
    pub date: Date,
    pub scopes: Vec<BTreeMap<Arc<str>, Value>>,
    pub namespaces: Vec<BTreeMap<Arc<str>, Value>>,
    pub out: String,
    depth: usize,
    pub line: usize,
    missing: Missing,
}

/// What becomes of something that is written and is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// Nothing is written.
    Nothing,
    /// The template is stopped.
    Fault,
}

/// Arguments with their values.
#[derive(Debug, Default)]
pub(super) struct Args {
    pub positional: Vec<Value>,
    pub named: Vec<(Arc<str>, Value)>,
}

/// How statements ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl Args {
    /// The argument at a position or of a name.
    pub(super) fn get(&self, at: usize, name: &str) -> Option<&Value> {
        let named = || self.named.iter().find(|(found, _)| **found == *name).map(|(_, value)| value);
        self.positional.get(at).or_else(named)
    }

    /// The same, where it must be there.
    pub(super) fn need(&self, at: usize, name: &str) -> Run<&Value> {
        self.get(at, name).ok_or_else(|| Fault::run(format!("the argument `{name}` is missing")))
    }

    /// Refuses arguments beyond those of these names.
    pub(super) fn only(&self, names: &[&str]) -> Run<()> {
        if self.positional.len() > names.len() {
            let (most, found) = (names.len(), self.positional.len());
            return Err(Fault::run(format!("expected at most {most} arguments, found {found}")));
        }
        match self.named.iter().find(|(name, _)| !names.contains(&&**name)) {
            Some((name, _)) => Err(Fault::run(format!("unknown argument `{name}`"))),
            None => Ok(()),
        }
    }
}

impl<'n> Interpreter<'n> {
    pub(super) fn new(given: Vec<(&'n str, Value)>, date: Date, budget: Budget) -> Self {
        Self {
            budget,
            given,
            date,
            scopes: vec![BTreeMap::new()],
            namespaces: Vec::new(),
            out: String::new(),
            depth: 0,
            line: 1,
            missing: Missing::Nothing,
        }
    }

    /// The same, stopped by what writes something that is not there.
    pub(super) fn strict(self) -> Self {
        Self { missing: Missing::Fault, ..self }
    }

    /// The value of a template that is one expression; of any other what it writes.
    pub(super) fn value(mut self, body: &Body) -> Run<Value> {
        let [Stmt { line, kind: StmtKind::Emit(expr) }] = body.as_slice() else {
            return self.run(body).map(Value::from);
        };
        self.line = *line;
        self.eval(expr).map_err(|fault| Fault { line: self.line, ..fault })
    }

    /// What the template writes.
    pub(super) fn run(mut self, body: &Body) -> Run<String> {
        match self.body(body) {
            Ok(_) => Ok(self.out),
            Err(fault) => Err(Fault { line: self.line, ..fault }),
        }
    }

    /// Runs what stands a level deeper.
    pub(super) fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Run<T>) -> Run<T> {
        if self.depth == MAX_DEPTH {
            return Err(Fault::exhausted(format!("it goes more than {MAX_DEPTH} levels deep")));
        }
        self.depth += 1;
        let done = run(self);
        self.depth -= 1;
        done
    }

    fn body(&mut self, body: &Body) -> Run<Flow> {
        self.deeper(|run| {
            for stmt in body {
                let flow = run.statement(stmt)?;
                if flow != Flow::On {
                    return Ok(flow);
                }
            }
            Ok(Flow::On)
        })
    }

    fn statement(&mut self, stmt: &Stmt) -> Run<Flow> {
        self.line = stmt.line;
        self.budget.step()?;
        match &stmt.kind {
            StmtKind::Data(text) => self.budget.push(&mut self.out, text)?,
            StmtKind::Emit(expr) => {
                let value = self.eval(expr)?;
                if let (Missing::Fault, Value::Undefined(reason)) = (self.missing, &value) {
                    return Err(Fault::run(reason.to_string()));
                }
                value.write(&mut self.out, &mut self.budget)?;
            }
            StmtKind::If { branches, otherwise } => {
                for (condition, body) in branches {
                    if self.eval(condition)?.is_true() {
                        return self.body(body);
                    }
                }
                return self.body(otherwise);
            }
            StmtKind::For(looped) => return self.looped(looped),
            StmtKind::Set { target, value } => {
                let value = self.eval(value)?;
                self.assign(target, value)?;
            }
            StmtKind::SetBlock { target, filters, body } => {
                let text = self.captured(body)?;
                let value = self.steps(text.into(), filters)?;
                self.assign(target, value)?;
            }
            StmtKind::With { bindings, body } => {
                let values = bindings.iter().map(|(_, value)| self.eval(value)).collect::<Run<Vec<_>>>()?;
                self.scopes.push(BTreeMap::new());
                for ((target, _), value) in bindings.iter().zip(values) {
                    self.assign(target, value)?;
                }
                let flow = self.body(body)?;
                self.scopes.pop();
                return Ok(flow);
            }
            StmtKind::Macro(defined) => {
                self.at_the_top("macro")?;
                self.assign(&Target::Name(defined.name.clone()), Value::Macro(defined.clone()))?;
            }
            StmtKind::CallBlock { call, caller } => self.call_block(call, caller)?,
            StmtKind::FilterBlock { filters, body } => {
                let text = self.captured(body)?;
                let value = self.steps(text.into(), filters)?;
                value.write(&mut self.out, &mut self.budget)?;
            }
            StmtKind::Break => return Ok(Flow::Break),
            StmtKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    /// What `body` writes, in a scope of its own.
    pub(super) fn captured(&mut self, body: &Body) -> Run<String> {
        let before = std::mem::take(&mut self.out);
        self.scopes.push(BTreeMap::new());
        self.body(body)?;
        self.scopes.pop();
        Ok(std::mem::replace(&mut self.out, before))
    }

    fn looped(&mut self, looped: &For) -> Run<Flow> {
        let mut items = self.eval(&looped.over)?.items(&mut self.budget)?;
        self.scopes.push(BTreeMap::new());
        if let Some(condition) = &looped.condition {
            let mut kept = Vec::new();
            for item in items {
                self.assign(&looped.target, item.clone())?;
                if self.eval(condition)?.is_true() {
                    kept.push(item);
                }
            }
            items = kept;
        }
        let items = Items::new(items)?;
        for (at, item) in items.values.iter().enumerate() {
            // What a turn sets is gone at the next.
            if let Some(scope) = self.scopes.last_mut() {
                scope.clear();
            }
            self.assign(&Target::Name("loop".into()), Value::Loop(items.clone(), at))?;
            self.assign(&looped.target, item.clone())?;
            if self.body(&looped.body)? == Flow::Break {
                break;
            }
        }
        self.scopes.pop();
        if items.values.is_empty() { self.body(&looped.otherwise) } else { Ok(Flow::On) }
    }

    pub(super) fn assign(&mut self, target: &Target, value: Value) -> Run<()> {
        self.budget.step()?;
        match target {
            Target::Name(name) => {
                if let Some(scope) = self.scopes.last_mut() {
                    scope.insert(name.clone(), value);
                }
                Ok(())
            }
            Target::Field(name, field) => {
                let Value::Namespace(at) = self.lookup(name) else {
                    return Err(Fault::run(format!(
                        "`{name}.{field}` cannot be set: `{name}` is no namespace"
                    )));
                };
                self.namespaces[at].insert(field.clone(), value);
                Ok(())
            }
            Target::Tuple(targets) => {
                let values = value.items(&mut self.budget)?;
                if values.len() != targets.len() {
                    let (expected, found) = (targets.len(), values.len());
                    return Err(Fault::run(format!(
                        "expected {expected} values to take apart, found {found}"
                    )));
                }
                targets.iter().zip(values).try_for_each(|(target, value)| self.assign(target, value))
            }
        }
    }

    pub(super) fn lookup(&self, name: &str) -> Value {
        let set = self.scopes.iter().rev().find_map(|scope| scope.get(name));
        let given = || self.given.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        let function = || Function::named(name).map(Value::Function);
        let absent = || Value::Undefined(format!("`{name}` is undefined").into());
        set.or_else(given).cloned().or_else(function).unwrap_or_else(absent)
    }
}

/// Expressions.
impl Interpreter<'_> {
    fn all(&mut self, exprs: &[Expr]) -> Run<Vec<Value>> {
        self.budget.items(exprs.len())?;
        exprs.iter().map(|expr| self.eval(expr)).collect()
    }

    pub(super) fn eval(&mut self, expr: &Expr) -> Run<Value> {
        self.budget.step()?;
        self.deeper(|run| run.value_of(expr))
    }

    fn value_of(&mut self, expr: &Expr) -> Run<Value> {
        match expr {
            Expr::Const(value) => Ok(value.clone()),
            Expr::Name(name) => Ok(self.lookup(name)),
            Expr::List(items) => Value::list(self.all(items)?),
            Expr::Tuple(items) => Ok(Value::Tuple(Items::new(self.all(items)?)?)),
            Expr::Dict(pairs) => self.dict(pairs),
            Expr::Not(operand) => Ok(Value::Bool(!self.eval(operand)?.is_true())),
            Expr::Negative(operand) => {
                let value = self.eval(operand)?;
                operators::apply(Operator::Sub, &Value::Int(0), &value, &mut self.budget)
            }
            Expr::Arithmetic(first, rest) => {
                let mut value = self.eval(first)?;
                for (operator, operand) in rest {
                    let operand = self.eval(operand)?;
                    value = operators::apply(*operator, &value, &operand, &mut self.budget)?;
                }
                Ok(value)
            }
            Expr::Concat(parts) => {
                let mut text = String::new();
                for part in parts {
                    self.eval(part)?.write(&mut text, &mut self.budget)?;
                }
                Ok(text.into())
            }
            Expr::Compare(first, rest) => {
                let mut left = self.eval(first)?;
                for (comparison, right) in rest {
                    let right = self.eval(right)?;
                    if !operators::compare(*comparison, &left, &right, &mut self.budget)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Expr::And(parts) => self.first_that_is(parts, false),
            Expr::Or(parts) => self.first_that_is(parts, true),
            Expr::Choice(choice) => {
                let (then, condition, otherwise) = &**choice;
                match otherwise {
                    _ if self.eval(condition)?.is_true() => self.eval(then),
                    Some(otherwise) => self.eval(otherwise),
                    None => Ok(Value::Undefined("an `if` without `else` gives nothing".into())),
                }
            }
            Expr::Chain(operand, steps) => {
                let value = self.eval(operand)?;
                self.steps(value, steps)
            }
        }
    }

    /// The first part whose truth is `truth`, or the last.
    fn first_that_is(&mut self, parts: &[Expr], truth: bool) -> Run<Value> {
        let mut value = Value::Bool(!truth);
        for part in parts {
            value = self.eval(part)?;
            if value.is_true() == truth {
                break;
            }
        }
        Ok(value)
    }

    fn dict(&mut self, exprs: &[(Expr, Expr)]) -> Run<Value> {
        let mut pairs: Vec<(Value, Value)> = Vec::new();
        for (key, value) in exprs {
            let (key, value) = (self.eval(key)?, self.eval(value)?);
            set(&mut pairs, key, value, &mut self.budget)?;
        }
        Ok(Value::Dict(Dict::new(pairs)?))
    }

    pub(super) fn args(&mut self, call: &Call) -> Run<Args> {
        let positional = self.all(&call.positional)?;
        let named = call.named.iter().map(|(name, value)| Ok((name.clone(), self.eval(value)?)));
        Ok(Args { positional, named: named.collect::<Run<_>>()? })
    }

    fn steps(&mut self, mut value: Value, steps: &[Step]) -> Run<Value> {
        for step in steps {
            self.budget.step()?;
            value = match step {
                Step::Field(name) => self.field(&value, name)?,
                Step::Item(item) => {
                    let item = self.eval(item)?;
                    self.item(&value, &item)?
                }
                Step::Slice(parts) => {
                    let [from, to, by] = &**parts;
                    let mut part =
                        |part: &Option<Expr>| part.as_ref().map(|part| self.eval(part)).transpose();
                    let parts = [part(from)?, part(to)?, part(by)?];
                    operators::slice(&value, &parts, &mut self.budget)?
                }
                Step::Call(call) => {
                    let args = self.args(call)?;
                    self.call(&value, &args)?
                }
                Step::Method(name, call) => {
                    let args = self.args(call)?;
                    match self.field(&value, name) {
                        Ok(callable @ Value::Macro(_)) => self.call(&callable, &args)?,
                        _ => methods::call(&value, name, &args, &mut self.budget)?,
                    }
                }
                Step::Filter(name, call) => {
                    let args = self.args(call)?;
                    filters::apply(self, name, value, &args)?
                }
                Step::Test { name, call, negated } => {
                    let args = self.args(call)?;
                    let holds = predicates::holds(name, &value, &args, &mut self.budget)?;
                    Value::Bool(holds != *negated)
                }
            };
        }
        Ok(value)
    }

    /// `value.name`: a field, or nothing.
    pub(super) fn field(&mut self, value: &Value, name: &str) -> Run<Value> {
        let absent = || Value::Undefined(format!("a {} has no `{name}`", value.kind()).into());
        match value {
            Value::Undefined(reason) => Err(Fault::run(reason.to_string())),
            Value::Dict(dict) => {
                self.budget.items(dict.pairs.len())?;
                Ok(dict.get(name).cloned().unwrap_or_else(absent))
            }
            Value::Namespace(at) => Ok(self.namespaces[*at].get(name).cloned().unwrap_or_else(absent)),
            Value::Loop(items, at) => Ok(loop_field(items, *at, name).unwrap_or_else(absent)),
            _ => Ok(absent()),
        }
    }

    /// `value[item]`: an item, or nothing.
    pub(super) fn item(&mut self, value: &Value, item: &Value) -> Run<Value> {
        let absent = || Value::Undefined(format!("a {} has no such item", value.kind()).into());
        match (value, item) {
            (Value::Undefined(reason), _) => Err(Fault::run(reason.to_string())),
            (Value::Dict(dict), key) => {
                for (found, value) in &dict.pairs {
                    if found.equals(key, &mut self.budget)? {
                        return Ok(value.clone());
                    }
                }
                Ok(absent())
            }
            (value, Value::Str(name)) => self.field(value, name),
            (Value::List(items) | Value::Tuple(items), Value::Int(at)) => {
                let found = match usize::try_from(*at) {
                    Ok(at) => items.values.get(at),
                    Err(_) => {
                        usize::try_from(-(at + 1)).ok().and_then(|back| items.values.iter().nth_back(back))
                    }
                };
                Ok(found.cloned().unwrap_or_else(absent))
            }
            (Value::Str(text), Value::Int(at)) => {
                self.budget.bytes(text.len())?;
                let found = match usize::try_from(*at) {
                    Ok(at) => text.chars().nth(at),
                    Err(_) => usize::try_from(-(at + 1)).ok().and_then(|back| text.chars().rev().nth(back)),
                };
                Ok(found.map_or_else(absent, |c| c.to_string().into()))
            }
            _ => Ok(absent()),
        }
    }
}

/// Sets the value of a key.
pub(super) fn set(pairs: &mut Vec<(Value, Value)>, key: Value, value: Value, budget: &mut Budget) -> Run<()> {
    for (found, old) in pairs.iter_mut() {
        if found.equals(&key, budget)? {
            *old = value;
            return Ok(());
        }
    }
    pairs.push((key, value));
    Ok(())
}

fn loop_field(items: &Arc<Items>, at: usize, name: &str) -> Option<Value> {
    let n = items.values.len();
    let number = |n| Some(Value::count(n));
    match name {
        "index" => number(at + 1),
        "index0" => number(at),
        "revindex" => number(n - at),
        "revindex0" => number(n - at - 1),
        "length" => number(n),
        "first" => Some(Value::Bool(at == 0)),
        "last" => Some(Value::Bool(at + 1 == n)),
        "previtem" => at.checked_sub(1).and_then(|at| items.values.get(at)).cloned(),
        "nextitem" => items.values.get(at + 1).cloned(),
        "depth" => number(1),
        "depth0" => number(0),
        _ => None,
    }
}
