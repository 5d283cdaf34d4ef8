//! `tojson` as transformers defines it: Python's `json.dumps` with `ensure_ascii` off.

use super::budget::Budget;
use super::interpreter::Args;
use super::value::{Value, float};
use super::{Fault, Run};

/// How JSON is laid out.
struct Layout {
    ascii: bool,
    /// What one level is indented by; none for one line.
    indent: Option<String>,
    between_items: String,
    after_key: String,
    sorted: bool,
}

/// The JSON of a value.
pub(super) fn json(value: &Value, args: &Args, budget: &mut Budget) -> Run<Value> {
    args.only(&["ensure_ascii", "indent", "separators", "sort_keys"])?;
    let layout = Layout::of(args, budget)?;
    let mut writer = Writer { layout: &layout, out: String::new(), budget };
    writer.write(value, 0)?;
    Ok(writer.out.into())
}

impl Layout {
    fn of(args: &Args, budget: &mut Budget) -> Run<Self> {
        let indent = match args.get(1, "indent") {
            None | Some(Value::None) => None,
            Some(Value::Str(text)) => Some(text.to_string()),
            Some(n) => {
                let n = n.as_int().ok_or_else(|| Fault::run("`indent` must be a number or a text"))?;
                let n = usize::try_from(n).unwrap_or(0);
                budget.bytes(n)?;
                Some(" ".repeat(n))
            }
        };
        let between = if indent.is_some() { "," } else { ", " };
        let mut separators = [between.to_owned(), ": ".to_owned()];
        if let Some(given) = args.get(2, "separators").filter(|given| !matches!(given, Value::None)) {
            let given = given.items(budget)?;
            let [items, keys] = given.as_slice() else {
                return Err(Fault::run("`separators` must be two texts"));
            };
            separators = [items.text(budget)?, keys.text(budget)?];
        }
        let flag = |at, name| args.get(at, name).is_some_and(Value::is_true);
        let (ascii, sorted) = (flag(0, "ensure_ascii"), flag(3, "sort_keys"));
        let [between_items, after_key] = separators;
        Ok(Self { ascii, indent, between_items, after_key, sorted })
    }

    fn quoted(&self, text: &str) -> String {
        let mut out = String::from('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || (self.ascii && c > '~') => {
                    out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
                }
                c => out.push(c),
            }
        }
        out.push('"');
        out
    }
}

/// JSON in the making.
struct Writer<'w> {
    layout: &'w Layout,
    out: String,
    budget: &'w mut Budget,
}

impl Writer<'_> {
    fn push(&mut self, text: &str) -> Run<()> {
        self.budget.push(&mut self.out, text)
    }

    fn write(&mut self, value: &Value, level: usize) -> Run<()> {
        self.budget.step()?;
        let layout = self.layout;
        match value {
            Value::None => self.push("null"),
            Value::Bool(flag) => self.push(if *flag { "true" } else { "false" }),
            Value::Int(n) => self.push(&n.to_string()),
            Value::Float(x) => self.push(&json_float(*x)),
            Value::Str(text) => self.push(&layout.quoted(text)),
            Value::List(items) | Value::Tuple(items) => {
                self.push("[")?;
                for (at, item) in items.values.iter().enumerate() {
                    self.item(at, level + 1)?;
                    self.write(item, level + 1)?;
                }
                self.close("]", items.values.len(), level)
            }
            Value::Dict(dict) => {
                self.budget.items(dict.pairs.len())?;
                let mut pairs: Vec<(String, &Value)> =
                    dict.pairs.iter().map(|(k, v)| Ok((key(k)?, v))).collect::<Run<_>>()?;
                if layout.sorted {
                    pairs.sort_by(|a, b| a.0.cmp(&b.0));
                }
                self.push("{")?;
                for (at, (key, value)) in pairs.iter().enumerate() {
                    self.item(at, level + 1)?;
                    self.push(&layout.quoted(key))?;
                    self.push(&layout.after_key)?;
                    self.write(value, level + 1)?;
                }
                self.close("}", pairs.len(), level)
            }
            other => Err(Fault::run(format!("a {} has no JSON", other.kind()))),
        }
    }

    /// What stands before an item.
    fn item(&mut self, at: usize, level: usize) -> Run<()> {
        self.push(if at == 0 { "" } else { &self.layout.between_items })?;
        self.new_line(level)
    }

    fn close(&mut self, bracket: &str, n_items: usize, level: usize) -> Run<()> {
        if n_items > 0 {
            self.new_line(level)?;
        }
        self.push(bracket)
    }

    fn new_line(&mut self, level: usize) -> Run<()> {
        let Some(indent) = &self.layout.indent else { return Ok(()) };
        self.push("\n")?;
        (0..level).try_for_each(|_| self.push(indent))
    }
}

fn json_float(x: f64) -> String {
    if x.is_nan() {
        "NaN".into()
    } else if x.is_infinite() {
        if x > 0.0 { "Infinity" } else { "-Infinity" }.into()
    } else {
        float(x)
    }
}

fn key(value: &Value) -> Run<String> {
    match value {
        Value::Str(text) => Ok(text.to_string()),
        Value::None => Ok("null".into()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Int(n) => Ok(n.to_string()),
        Value::Float(x) => Ok(json_float(*x)),
        other => Err(Fault::run(format!("a {} is no key of JSON", other.kind()))),
    }
}
