//! From tokens to a template. Source: `jinja2.parser`, with the extensions that transformers loads: loop
//! controls and `generation`.

use std::sync::Arc;

use super::Fault;
use super::ast::{Body, Call, Expr, For, Macro, Step, Stmt, StmtKind, Target};
use super::lexer::{Kind, Token, tokens};

/// Depth of brackets and blocks: real templates stay below 20.
const MAX_DEPTH: usize = 64;

/// Parses a source.
pub(super) fn parse(source: &str) -> Result<Body, Fault> {
    let mut parser = Parser { tokens: tokens(source)?, at: 0, depth: 0, n_loops: 0 };
    let body = parser.body(&[])?;
    match parser.peek() {
        Kind::End => Ok(body),
        _ => Err(parser.unexpected("a tag that begins something")),
    }
}

pub(super) struct Parser {
    tokens: Vec<Token>,
    pub(super) at: usize,
    depth: usize,
    /// Loops around the statement.
    n_loops: usize,
}

pub(super) type Parsed<T> = Result<T, Fault>;

impl Parser {
    pub(super) fn peek(&self) -> &Kind {
        &self.tokens[self.at].kind
    }

    pub(super) fn peek_after(&self) -> &Kind {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].kind
    }

    fn line(&self) -> usize {
        self.tokens[self.at].line
    }

    pub(super) fn next(&mut self) -> Kind {
        let kind = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        kind
    }

    pub(super) fn unexpected(&self, expected: &str) -> Fault {
        let found = match self.peek() {
            Kind::Data(_) => "text".to_owned(),
            Kind::ExprStart => "`{{`".to_owned(),
            Kind::ExprEnd => "`}}`".to_owned(),
            Kind::TagStart => match self.peek_after() {
                Kind::Name(name) => format!("the tag `{name}`"),
                _ => "`{%`".to_owned(),
            },
            Kind::TagEnd => "`%}`".to_owned(),
            Kind::Name(name) => format!("`{name}`"),
            Kind::Text(_) => "a quoted text".to_owned(),
            Kind::Int(_) | Kind::Float(_) => "a number".to_owned(),
            Kind::Op(op) => format!("`{op}`"),
            Kind::End => "the end of the template".to_owned(),
        };
        Fault::syntax(self.line(), format!("expected {expected}, found {found}"))
    }

    pub(super) fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Kind::Op(found) if *found == op)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Kind::Name(found) if found == name)
    }

    pub(super) fn takes_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn takes_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn op(&mut self, op: &str) -> Parsed<()> {
        if self.takes_op(op) { Ok(()) } else { Err(self.unexpected(&format!("`{op}`"))) }
    }

    fn tag_end(&mut self) -> Parsed<()> {
        if *self.peek() == Kind::TagEnd {
            self.next();
            return Ok(());
        }
        Err(self.unexpected("`%}`"))
    }

    pub(super) fn name(&mut self) -> Parsed<Arc<str>> {
        match self.peek().clone() {
            Kind::Name(name) => {
                self.next();
                Ok(name.into())
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    pub(super) fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == MAX_DEPTH {
            return Err(Fault::syntax(
                self.line(),
                format!("more than {MAX_DEPTH} brackets or blocks in one another"),
            ));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }
}

/// Statements.
impl Parser {
    /// Statements up to one of the tags `ends`, whose name is next, or to the end of the source.
    fn body(&mut self, ends: &[&str]) -> Parsed<Body> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let kind = match self.peek().clone() {
                Kind::End if ends.is_empty() => return Ok(body),
                Kind::Data(text) => {
                    self.next();
                    StmtKind::Data(text.into())
                }
                Kind::ExprStart => self.emit()?,
                Kind::TagStart => {
                    if matches!(self.peek_after(), Kind::Name(name) if ends.contains(&name.as_str())) {
                        self.next();
                        return Ok(body);
                    }
                    self.deeper(Self::statement)?
                }
                _ => return Err(self.unexpected(&format!("the tag `{}`", ends.join("` or `")))),
            };
            body.push(Stmt { line, kind });
        }
    }

    fn emit(&mut self) -> Parsed<StmtKind> {
        self.next();
        let expr = self.tuple()?;
        if *self.peek() != Kind::ExprEnd {
            return Err(self.unexpected("`}}`"));
        }
        self.next();
        Ok(StmtKind::Emit(expr))
    }

    fn statement(&mut self) -> Parsed<StmtKind> {
        self.next();
        let at = self.at;
        let name = self.name()?;
        match &*name {
            "if" => self.if_statement(),
            "for" => self.for_statement(),
            "set" => self.set_statement(),
            "with" => self.with_statement(),
            "macro" => self.macro_statement(),
            "call" => self.call_statement(),
            "filter" => self.filter_statement(),
            // What stands in it is what the model said, which matters for training only.
            "generation" => {
                let body = self.block("endgeneration")?;
                Ok(StmtKind::With { bindings: Vec::new(), body })
            }
            "break" | "continue" if self.n_loops == 0 => {
                self.at = at;
                Err(self.unexpected("a tag outside a loop"))
            }
            "break" => self.tag_end().map(|()| StmtKind::Break),
            "continue" => self.tag_end().map(|()| StmtKind::Continue),
            _ => {
                self.at = at;
                Err(self.unexpected("a tag of chat templates"))
            }
        }
    }

    /// The rest of a tag's opening, its body and its end.
    fn block(&mut self, end: &str) -> Parsed<Body> {
        self.tag_end()?;
        let body = self.body(&[end])?;
        self.next();
        // `endmacro name` and the like may repeat the name.
        if matches!(self.peek(), Kind::Name(_)) {
            self.next();
        }
        self.tag_end()?;
        Ok(body)
    }

    fn if_statement(&mut self) -> Parsed<StmtKind> {
        let mut branches = Vec::new();
        loop {
            let condition = self.tuple()?;
            self.tag_end()?;
            branches.push((condition, self.body(&["elif", "else", "endif"])?));
            let end = self.name()?;
            if &*end == "elif" {
                continue;
            }
            let mut otherwise = Vec::new();
            if &*end == "else" {
                self.tag_end()?;
                otherwise = self.body(&["endif"])?;
                self.next();
            }
            self.tag_end()?;
            return Ok(StmtKind::If { branches, otherwise });
        }
    }

    fn for_statement(&mut self) -> Parsed<StmtKind> {
        let target = self.targets()?;
        if !self.takes_name("in") {
            return Err(self.unexpected("`in`"));
        }
        let over = self.tuple_of(Self::without_choice)?;
        let condition = if self.takes_name("if") { Some(self.expr()?) } else { None };
        if self.is_name("recursive") {
            return Err(Fault::syntax(self.line(), "recursive loops are not supported"));
        }
        self.tag_end()?;
        self.n_loops += 1;
        let body = self.body(&["else", "endfor"])?;
        self.n_loops -= 1;
        let mut otherwise = Vec::new();
        if &*self.name()? == "else" {
            self.tag_end()?;
            otherwise = self.body(&["endfor"])?;
            self.next();
        }
        self.tag_end()?;
        Ok(StmtKind::For(Box::new(For { target, over, condition, body, otherwise })))
    }

    fn set_statement(&mut self) -> Parsed<StmtKind> {
        let target = self.targets()?;
        if self.takes_op("=") {
            let value = self.tuple()?;
            self.tag_end()?;
            return Ok(StmtKind::Set { target, value });
        }
        let filters = self.filters()?;
        Ok(StmtKind::SetBlock { target, filters, body: self.block("endset")? })
    }

    fn with_statement(&mut self) -> Parsed<StmtKind> {
        let mut bindings = Vec::new();
        while *self.peek() != Kind::TagEnd {
            if !bindings.is_empty() {
                self.op(",")?;
            }
            let target = self.target()?;
            self.op("=")?;
            bindings.push((target, self.expr()?));
        }
        Ok(StmtKind::With { bindings, body: self.block("endwith")? })
    }

    fn macro_statement(&mut self) -> Parsed<StmtKind> {
        let name = self.name()?;
        let parameters = self.parameters()?;
        let body = self.block("endmacro")?;
        Ok(StmtKind::Macro(Arc::new(Macro { name, parameters, body })))
    }

    fn call_statement(&mut self) -> Parsed<StmtKind> {
        let parameters = if self.is_op("(") { self.parameters()? } else { Vec::new() };
        let call = self.expr()?;
        let body = self.block("endcall")?;
        let caller = Arc::new(Macro { name: "caller".into(), parameters, body });
        Ok(StmtKind::CallBlock { call, caller })
    }

    fn filter_statement(&mut self) -> Parsed<StmtKind> {
        let name = self.name()?;
        let call = if self.is_op("(") { self.call()? } else { Call::default() };
        let mut filters = vec![Step::Filter(name, call)];
        filters.extend(self.filters()?);
        Ok(StmtKind::FilterBlock { filters, body: self.block("endfilter")? })
    }

    fn filters(&mut self) -> Parsed<Vec<Step>> {
        let mut filters = Vec::new();
        while self.takes_op("|") {
            let name = self.name()?;
            let call = if self.is_op("(") { self.call()? } else { Call::default() };
            filters.push(Step::Filter(name, call));
        }
        Ok(filters)
    }

    fn parameters(&mut self) -> Parsed<Vec<(Arc<str>, Option<Expr>)>> {
        self.op("(")?;
        let mut parameters = Vec::new();
        while !self.takes_op(")") {
            if !parameters.is_empty() {
                self.op(",")?;
            }
            let name = self.name()?;
            let default = if self.takes_op("=") { Some(self.expr()?) } else { None };
            parameters.push((name, default));
        }
        Ok(parameters)
    }

    fn target(&mut self) -> Parsed<Target> {
        if self.takes_op("(") {
            let target = self.deeper(Self::targets)?;
            self.op(")")?;
            return Ok(target);
        }
        let name = self.name()?;
        if self.takes_op(".") { Ok(Target::Field(name, self.name()?)) } else { Ok(Target::Name(name)) }
    }

    fn targets(&mut self) -> Parsed<Target> {
        let first = self.target()?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.takes_op(",") {
            all.push(self.target()?);
        }
        Ok(Target::Tuple(all))
    }
}
