//! What a template is made of.
//!
//! Chains (`a + b + c`, `x.y[0]|trim`) are flat, so that the depth of a tree is the depth of its brackets and
//! blocks, which the parser bounds.

use std::sync::Arc;

use super::value::Value;

/// Statements in order.
pub(in crate::template) type Body = Vec<Stmt>;

/// A statement and the line of its tag.
#[derive(Debug, Clone)]
pub(in crate::template) struct Stmt {
    pub line: usize,
    pub kind: StmtKind,
}

#[derive(Debug, Clone)]
pub(in crate::template) enum StmtKind {
    Data(Arc<str>),
    Emit(Expr),
    If { branches: Vec<(Expr, Body)>, otherwise: Body },
    For(Box<For>),
    Set { target: Target, value: Expr },
    SetBlock { target: Target, filters: Vec<Step>, body: Body },
    With { bindings: Vec<(Target, Expr)>, body: Body },
    Macro(Arc<Macro>),
    CallBlock { call: Expr, caller: Arc<Macro> },
    FilterBlock { filters: Vec<Step>, body: Body },
    Break,
    Continue,
}

/// A loop.
#[derive(Debug, Clone)]
pub(in crate::template) struct For {
    pub target: Target,
    pub over: Expr,
    pub condition: Option<Expr>,
    pub body: Body,
    pub otherwise: Body,
}

/// A macro, or the body of a `call`.
#[derive(Debug, Clone)]
pub(in crate::template) struct Macro {
    pub name: Arc<str>,
    pub parameters: Vec<(Arc<str>, Option<Expr>)>,
    pub body: Body,
}

/// What is assigned to.
#[derive(Debug, Clone)]
pub(in crate::template) enum Target {
    Name(Arc<str>),
    /// A field of a namespace.
    Field(Arc<str>, Arc<str>),
    Tuple(Vec<Target>),
}

#[derive(Debug, Clone)]
pub(in crate::template) enum Expr {
    Const(Value),
    Name(Arc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    /// Operators of one rank, from left to right.
    Arithmetic(Box<Expr>, Vec<(Operator, Expr)>),
    Concat(Vec<Expr>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// `then if condition else otherwise`.
    Choice(Box<(Expr, Expr, Option<Expr>)>),
    /// An operand and what is done to it, from left to right.
    Chain(Box<Expr>, Vec<Step>),
}

/// What is done to an operand.
#[derive(Debug, Clone)]
pub(in crate::template) enum Step {
    Field(Arc<str>),
    Item(Expr),
    Slice(Box<[Option<Expr>; 3]>),
    Call(Call),
    Method(Arc<str>, Call),
    Filter(Arc<str>, Call),
    Test { name: Arc<str>, call: Call, negated: bool },
}

/// The arguments of a call.
#[derive(Debug, Clone, Default)]
pub(in crate::template) struct Call {
    pub positional: Vec<Expr>,
    pub named: Vec<(Arc<str>, Expr)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::template) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::template) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}
