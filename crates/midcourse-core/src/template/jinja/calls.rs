//! Functions that every template knows, and macros.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::{Expr, Macro, Step, Target};
use super::interpreter::{Args, Interpreter, set};
use super::value::{Dict, Value};
use super::{Fault, FaultKind, Run, operators};

/// A function that every template knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::template) enum Function {
    RaiseException,
    StrftimeNow,
    Namespace,
    Dict,
    Range,
}

impl Function {
    /// The function of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "raise_exception" => Self::RaiseException,
            "strftime_now" => Self::StrftimeNow,
            "namespace" => Self::Namespace,
            "dict" => Self::Dict,
            "range" => Self::Range,
            _ => return None,
        })
    }
}

impl Interpreter<'_> {
    pub(super) fn call(&mut self, value: &Value, args: &Args) -> Run<Value> {
        match value {
            Value::Function(function) => self.call_function(*function, args),
            Value::Macro(called) => self.call_macro(called, args, None),
            Value::Undefined(reason) => Err(Fault::run(reason.to_string())),
            other => Err(Fault::run(format!("a {} cannot be called", other.kind()))),
        }
    }

    fn call_function(&mut self, function: Function, args: &Args) -> Run<Value> {
        match function {
            Function::RaiseException => {
                let message = args.need(0, "message")?.text(&mut self.budget)?;
                Err(Fault::new(FaultKind::Raised, message))
            }
            Function::StrftimeNow => {
                let format = args.need(0, "format")?.text(&mut self.budget)?;
                let text = self.date.format(&format).map_err(Fault::run)?;
                self.budget.bytes(text.len())?;
                Ok(text.into())
            }
            Function::Namespace => {
                let fields = self.pairs_of(args)?.into_iter().filter_map(|(key, value)| match key {
                    Value::Str(key) => Some((key, value)),
                    _ => None,
                });
                self.namespaces.push(fields.collect());
                Ok(Value::Namespace(self.namespaces.len() - 1))
            }
            Function::Dict => Ok(Value::Dict(Dict::new(self.pairs_of(args)?)?)),
            Function::Range => operators::range(args, &mut self.budget),
        }
    }

    /// The pairs that `dict` makes of its arguments.
    fn pairs_of(&mut self, args: &Args) -> Run<Vec<(Value, Value)>> {
        let mut pairs = match args.positional.as_slice() {
            [] => Vec::new(),
            [Value::Dict(dict)] => {
                self.budget.items(dict.pairs.len())?;
                dict.pairs.clone()
            }
            _ => return Err(Fault::run("expected a mapping or named arguments")),
        };
        for (name, value) in &args.named {
            set(&mut pairs, Value::Str(name.clone()), value.clone(), &mut self.budget)?;
        }
        Ok(pairs)
    }

    /// Refuses a macro, or the body of a `call`, that jinja2 would let see more than the top of the template.
    pub(super) fn at_the_top(&self, what: &str) -> Run<()> {
        if self.scopes.len() > 1 {
            return Err(Fault::run(format!("`{what}` inside of a loop, macro or block is not supported")));
        }
        Ok(())
    }

    pub(super) fn call_block(&mut self, call: &Expr, caller: &Arc<Macro>) -> Run<()> {
        self.at_the_top("call")?;
        let Expr::Chain(operand, steps) = call else {
            return Err(Fault::run("`call` needs a call of a macro"));
        };
        let [Step::Call(call)] = steps.as_slice() else {
            return Err(Fault::run("`call` needs a call of a macro"));
        };
        let Value::Macro(called) = self.eval(operand)? else {
            return Err(Fault::run("`call` needs a macro"));
        };
        let args = self.args(call)?;
        let value = self.call_macro(&called, &args, Some(caller))?;
        value.write(&mut self.out, &mut self.budget)
    }

    /// What a macro writes. It sees what is set at the top of the template, and its arguments.
    fn call_macro(&mut self, called: &Arc<Macro>, args: &Args, caller: Option<&Arc<Macro>>) -> Run<Value> {
        let names: Vec<&str> = called.parameters.iter().map(|(name, _)| &**name).collect();
        args.only(&names)?;
        let hidden = self.scopes.split_off(1);
        self.scopes.push(BTreeMap::new());
        for (at, (name, default)) in called.parameters.iter().enumerate() {
            let value = match (args.get(at, name), default) {
                (Some(value), _) => value.clone(),
                (None, Some(default)) => self.eval(default)?,
                (None, None) => Value::Undefined(format!("the argument `{name}` was not given").into()),
            };
            self.assign(&Target::Name(name.clone()), value)?;
        }
        if let Some(caller) = caller {
            self.assign(&Target::Name("caller".into()), Value::Macro(caller.clone()))?;
        }
        let line = self.line;
        let text = self.captured(&called.body)?;
        self.line = line;
        self.scopes.truncate(1);
        self.scopes.extend(hidden);
        Ok(text.into())
    }
}
