//! Jinja as chat templates use it, with Python's values and a budget for everything.
//!
//! A template is a program that a stranger wrote. It runs here as transformers runs it: the same white space, the
//! same texts for numbers and lists, the same filters, no way to change what it is given. And it is charged for
//! every step, item and byte before the work is done, which no library does for shared lists, comparisons and
//! conversions to text (`docs/adr/0010-chat-templates.md`). What is left out is what no conversation needs:
//! inheritance, includes, recursive loops, random choice.
//!
//! Source: Jinja 3.1 (`jinja2.lexer`, `jinja2.parser`, `jinja2.filters`, `jinja2.tests`) and transformers 5
//! (`utils/chat_template_utils.py`).

mod ast;
mod budget;
mod calls;
mod expressions;
mod filters;
mod interpreter;
mod json;
mod lexer;
mod methods;
mod operators;
mod parser;
mod predicates;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use methods::is_space;
pub(super) use value::Value;

use super::date::Date;

/// Longest source: the longest templates in use have some 30 KB.
const MAX_SOURCE: usize = 1 << 18;
/// Steps that any template may take: a conversation of some turns takes a few hundred.
const STEPS: usize = 500_000;

/// What a step of a template gives.
type Run<T> = Result<T, Fault>;

/// Why a template was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// It is not Jinja as transformers reads it.
    Syntax,
    /// It said so itself, with `raise_exception`.
    Raised,
    /// It takes more than a template may.
    Exhausted,
    /// It asks for what is not there.
    Run,
}

/// Where and why a template was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub kind: FaultKind,
    /// Counted from 1; 0 until it is known.
    pub line: usize,
    pub problem: String,
}

impl Fault {
    fn new(kind: FaultKind, problem: impl Into<String>) -> Self {
        Self { kind, line: 0, problem: problem.into() }
    }

    fn syntax(line: usize, problem: impl Into<String>) -> Self {
        Self { line, ..Self::new(FaultKind::Syntax, problem) }
    }

    fn exhausted(problem: impl Into<String>) -> Self {
        Self::new(FaultKind::Exhausted, problem)
    }

    pub(in crate::template) fn run(problem: impl Into<String>) -> Self {
        Self::new(FaultKind::Run, problem)
    }
}

/// A template, parsed.
#[derive(Debug, Clone)]
pub(super) struct Program {
    body: ast::Body,
}

impl Program {
    /// Parses a source.
    pub(super) fn parse(source: &str) -> Run<Self> {
        if source.len() > MAX_SOURCE {
            let problem = format!("expected at most {MAX_SOURCE} bytes, found {}", source.len());
            return Err(Fault::syntax(1, problem));
        }
        Ok(Self { body: parser::parse(source)? })
    }

    /// Runs the template with `names` known to it; `n_bytes` is the length of what people said, which raises the
    /// budget.
    pub(super) fn render(&self, names: Vec<(&str, Value)>, date: Date, n_bytes: usize) -> Run<String> {
        let budget = budget::Budget::new(STEPS + n_bytes);
        interpreter::Interpreter::new(names, date, budget).run(&self.body)
    }

    /// The same, but what writes something that is not there is a fault.
    pub(super) fn write(&self, names: Vec<(&str, Value)>, date: Date, n_bytes: usize) -> Run<String> {
        let budget = budget::Budget::new(STEPS + n_bytes);
        interpreter::Interpreter::new(names, date, budget).strict().run(&self.body)
    }

    /// The value of a template that is one expression; of any other what it writes.
    pub(super) fn value(&self, names: Vec<(&str, Value)>, date: Date, n_bytes: usize) -> Run<Value> {
        let budget = budget::Budget::new(STEPS + n_bytes);
        interpreter::Interpreter::new(names, date, budget).strict().value(&self.body)
    }
}
