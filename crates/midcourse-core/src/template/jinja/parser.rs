//! From tokens to a template. Source: `jinja2.parser`, with the extensions that transformers loads: loop
//! controls and `generation`.

use std::sync::Arc;

use super::Fault;
use super::ast::{Body, Call, Comparison, Expr, For, Macro, Operator, Step, Stmt, StmtKind, Target};
use super::lexer::{Kind, Token, tokens};
use super::value::Value;

/// Depth of brackets and blocks: real templates stay below 20.
const MAX_DEPTH: usize = 64;

/// Parses a source.
pub(super) fn parse(source: &str) -> Result<Body, Fault> {
    let mut parser = Parser { tokens: tokens(source)?, at: 0, depth: 0 };
    let body = parser.body(&[])?;
    match parser.peek() {
        Kind::End => Ok(body),
        _ => Err(parser.unexpected("a tag that begins something")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, Fault>;

impl Parser {
    fn peek(&self) -> &Kind {
        &self.tokens[self.at].kind
    }

    fn peek_after(&self) -> &Kind {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].kind
    }

    fn line(&self) -> usize {
        self.tokens[self.at].line
    }

    fn next(&mut self) -> Kind {
        let kind = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        kind
    }

    fn unexpected(&self, expected: &str) -> Fault {
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

    fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Kind::Op(found) if *found == op)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Kind::Name(found) if found == name)
    }

    fn takes_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        if found {
            self.next();
        }
        found
    }

    fn takes_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.next();
        }
        found
    }

    fn op(&mut self, op: &str) -> Parsed<()> {
        if self.takes_op(op) { Ok(()) } else { Err(self.unexpected(&format!("`{op}`"))) }
    }

    fn tag_end(&mut self) -> Parsed<()> {
        if *self.peek() == Kind::TagEnd {
            self.next();
            return Ok(());
        }
        Err(self.unexpected("`%}`"))
    }

    fn name(&mut self) -> Parsed<Arc<str>> {
        match self.peek().clone() {
            Kind::Name(name) => {
                self.next();
                Ok(name.into())
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
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
        let body = self.body(&["else", "endfor"])?;
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

/// Expressions, from the loosest operator to the tightest.
impl Parser {
    /// An expression, or several with commas between them: a tuple.
    fn tuple(&mut self) -> Parsed<Expr> {
        self.tuple_of(Self::expr)
    }

    fn tuple_of(&mut self, part: fn(&mut Self) -> Parsed<Expr>) -> Parsed<Expr> {
        let first = part(self)?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.takes_op(",") {
            if matches!(self.peek(), Kind::TagEnd | Kind::ExprEnd | Kind::Op(")")) {
                break;
            }
            all.push(part(self)?);
        }
        Ok(Expr::Tuple(all))
    }

    fn expr(&mut self) -> Parsed<Expr> {
        self.deeper(|parser| {
            let then = parser.without_choice()?;
            if !parser.takes_name("if") {
                return Ok(then);
            }
            let condition = parser.without_choice()?;
            let otherwise = if parser.takes_name("else") { Some(parser.expr()?) } else { None };
            Ok(Expr::Choice(Box::new((then, condition, otherwise))))
        })
    }

    fn without_choice(&mut self) -> Parsed<Expr> {
        let mut all = vec![self.and()?];
        while self.takes_name("or") {
            all.push(self.and()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::Or(all) })
    }

    fn and(&mut self) -> Parsed<Expr> {
        let mut all = vec![self.not()?];
        while self.takes_name("and") {
            all.push(self.not()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::And(all) })
    }

    fn not(&mut self) -> Parsed<Expr> {
        if self.takes_name("not") {
            return self.deeper(|parser| Ok(Expr::Not(Box::new(parser.not()?))));
        }
        self.compare()
    }

    fn compare(&mut self) -> Parsed<Expr> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        while let Some(comparison) = self.comparison() {
            rest.push((comparison, self.sum()?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Compare(Box::new(first), rest) })
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let (comparison, n_tokens) = match (self.peek(), self.peek_after()) {
            (Kind::Op("=="), _) => (Comparison::Eq, 1),
            (Kind::Op("!="), _) => (Comparison::Ne, 1),
            (Kind::Op("<"), _) => (Comparison::Lt, 1),
            (Kind::Op("<="), _) => (Comparison::Le, 1),
            (Kind::Op(">"), _) => (Comparison::Gt, 1),
            (Kind::Op(">="), _) => (Comparison::Ge, 1),
            (Kind::Name(name), _) if name == "in" => (Comparison::In, 1),
            (Kind::Name(not), Kind::Name(name)) if not == "not" && name == "in" => (Comparison::NotIn, 2),
            _ => return None,
        };
        self.at += n_tokens;
        Some(comparison)
    }

    fn sum(&mut self) -> Parsed<Expr> {
        self.left_to_right(&[("+", Operator::Add), ("-", Operator::Sub)], Self::concat)
    }

    fn concat(&mut self) -> Parsed<Expr> {
        let mut all = vec![self.product()?];
        while self.takes_op("~") {
            all.push(self.product()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::Concat(all) })
    }

    fn product(&mut self) -> Parsed<Expr> {
        let ops =
            [("*", Operator::Mul), ("/", Operator::Div), ("//", Operator::FloorDiv), ("%", Operator::Mod)];
        self.left_to_right(&ops, Self::power)
    }

    fn power(&mut self) -> Parsed<Expr> {
        self.left_to_right(&[("**", Operator::Pow)], Self::filtered)
    }

    fn left_to_right(
        &mut self,
        ops: &[(&str, Operator)],
        part: fn(&mut Self) -> Parsed<Expr>,
    ) -> Parsed<Expr> {
        let first = part(self)?;
        let mut rest = Vec::new();
        while let Some((_, operator)) = ops.iter().find(|(op, _)| self.is_op(op)) {
            self.next();
            rest.push((*operator, part(self)?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Arithmetic(Box::new(first), rest) })
    }

    /// A signed operand with its fields, filters and tests.
    fn filtered(&mut self) -> Parsed<Expr> {
        let operand = self.signed()?;
        let mut steps = Vec::new();
        loop {
            self.postfix(&mut steps)?;
            if self.takes_op("|") {
                let name = self.name()?;
                let call = if self.is_op("(") { self.call()? } else { Call::default() };
                steps.push(Step::Filter(name, call));
            } else if self.takes_name("is") {
                steps.push(self.test()?);
            } else {
                return Ok(chain(operand, steps));
            }
        }
    }

    fn signed(&mut self) -> Parsed<Expr> {
        if self.takes_op("-") {
            return self.deeper(|parser| Ok(Expr::Negative(Box::new(parser.signed()?))));
        }
        if self.takes_op("+") {
            return self.deeper(Self::signed);
        }
        let operand = self.primary()?;
        let mut steps = Vec::new();
        self.postfix(&mut steps)?;
        Ok(chain(operand, steps))
    }

    fn test(&mut self) -> Parsed<Step> {
        let negated = self.takes_name("not");
        let name = self.name()?;
        let takes_operand = match self.peek() {
            Kind::Name(word) => !["else", "or", "and", "is", "if", "not", "in"].contains(&word.as_str()),
            Kind::Text(_) | Kind::Int(_) | Kind::Float(_) | Kind::Op("[" | "{") => true,
            _ => false,
        };
        let call = if self.is_op("(") {
            self.call()?
        } else if takes_operand {
            let operand = self.primary()?;
            let mut steps = Vec::new();
            self.postfix(&mut steps)?;
            Call { positional: vec![chain(operand, steps)], named: Vec::new() }
        } else {
            Call::default()
        };
        Ok(Step::Test { name, call, negated })
    }

    fn postfix(&mut self, steps: &mut Vec<Step>) -> Parsed<()> {
        loop {
            if self.takes_op(".") {
                steps.push(match self.peek().clone() {
                    Kind::Int(n) => {
                        self.next();
                        Step::Item(Expr::Const(Value::Int(n)))
                    }
                    _ => Step::Field(self.name()?),
                });
            } else if self.takes_op("[") {
                steps.push(self.subscript()?);
                self.op("]")?;
            } else if self.is_op("(") {
                let call = self.call()?;
                let step = match steps.pop() {
                    Some(Step::Field(name)) => Step::Method(name, call),
                    other => {
                        steps.extend(other);
                        Step::Call(call)
                    }
                };
                steps.push(step);
            } else {
                return Ok(());
            }
        }
    }

    fn subscript(&mut self) -> Parsed<Step> {
        let mut parts = [None, None, None];
        let mut n_colons = 0;
        while !self.is_op("]") {
            if self.takes_op(":") {
                n_colons += 1;
                if n_colons > 2 {
                    return Err(self.unexpected("`]`"));
                }
            } else if parts[n_colons].is_none() {
                parts[n_colons] = Some(self.expr()?);
            } else {
                return Err(self.unexpected("`]`"));
            }
        }
        match parts {
            [Some(item), None, None] if n_colons == 0 => Ok(Step::Item(item)),
            _ if n_colons == 0 => Err(self.unexpected("an item")),
            parts => Ok(Step::Slice(Box::new(parts))),
        }
    }

    fn call(&mut self) -> Parsed<Call> {
        self.op("(")?;
        let mut call = Call::default();
        while !self.takes_op(")") {
            if !(call.positional.is_empty() && call.named.is_empty()) {
                self.op(",")?;
                if self.takes_op(")") {
                    break;
                }
            }
            if let (Kind::Name(name), Kind::Op("=")) = (self.peek().clone(), self.peek_after()) {
                self.at += 2;
                call.named.push((name.into(), self.expr()?));
            } else if call.named.is_empty() {
                call.positional.push(self.expr()?);
            } else {
                return Err(self.unexpected("an argument with its name"));
            }
        }
        Ok(call)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let at = self.at;
        match self.next() {
            Kind::Name(name) => Ok(match name.as_str() {
                "true" | "True" => Expr::Const(Value::Bool(true)),
                "false" | "False" => Expr::Const(Value::Bool(false)),
                "none" | "None" => Expr::Const(Value::None),
                _ => Expr::Name(name.into()),
            }),
            Kind::Text(mut text) => {
                while let Kind::Text(more) = self.peek().clone() {
                    text.push_str(&more);
                    self.next();
                }
                Ok(Expr::Const(Value::Str(text.into())))
            }
            Kind::Int(n) => Ok(Expr::Const(Value::Int(n))),
            Kind::Float(x) => Ok(Expr::Const(Value::Float(x))),
            Kind::Op("(") => {
                if self.takes_op(")") {
                    return Ok(Expr::Tuple(Vec::new()));
                }
                let inside = self.tuple()?;
                self.op(")")?;
                Ok(inside)
            }
            Kind::Op("[") => Ok(Expr::List(self.items("]", Self::expr)?)),
            Kind::Op("{") => Ok(Expr::Dict(self.items("}", Self::pair)?)),
            _ => {
                self.at = at;
                Err(self.unexpected("an expression"))
            }
        }
    }

    fn items<T>(&mut self, end: &str, item: fn(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        while !self.takes_op(end) {
            if !items.is_empty() {
                self.op(",")?;
                if self.takes_op(end) {
                    break;
                }
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn pair(&mut self) -> Parsed<(Expr, Expr)> {
        let key = self.expr()?;
        self.op(":")?;
        Ok((key, self.expr()?))
    }
}

fn chain(operand: Expr, steps: Vec<Step>) -> Expr {
    if steps.is_empty() { operand } else { Expr::Chain(Box::new(operand), steps) }
}
