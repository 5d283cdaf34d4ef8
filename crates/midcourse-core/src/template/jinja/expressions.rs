//! From tokens to expressions. Source: `jinja2.parser`.

use super::ast::{Call, Comparison, Expr, Operator, Step};
use super::lexer::Kind;
use super::parser::{Parsed, Parser};
use super::value::Value;

/// Expressions, from the loosest operator to the tightest.
impl Parser {
    /// An expression, or several with commas between them: a tuple.
    pub(super) fn tuple(&mut self) -> Parsed<Expr> {
        self.tuple_of(Self::expr)
    }

    pub(super) fn tuple_of(&mut self, part: fn(&mut Self) -> Parsed<Expr>) -> Parsed<Expr> {
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

    pub(super) fn expr(&mut self) -> Parsed<Expr> {
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

    pub(super) fn without_choice(&mut self) -> Parsed<Expr> {
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

    pub(super) fn call(&mut self) -> Parsed<Call> {
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
