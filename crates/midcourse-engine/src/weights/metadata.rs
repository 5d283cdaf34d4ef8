//! Typed access to GGUF metadata.

use std::collections::HashMap;
use std::path::Path;

use candle_core::quantized::gguf_file::Value;

use crate::{Error, Result};

/// The metadata of a GGUF file; every error names file and key.
#[derive(Debug, Clone, Copy)]
pub struct Metadata<'a> {
    /// The file.
    pub path: &'a Path,
    /// Its key–value pairs, looked up by key only.
    pub values: &'a HashMap<String, Value>,
}

impl<'a> Metadata<'a> {
    /// A text that must be there.
    pub fn text(&self, key: &str) -> Result<&'a str> {
        self.optional_text(key)?.ok_or_else(|| self.wrong(key, "it is missing"))
    }

    /// A text that may be there.
    pub fn optional_text(&self, key: &str) -> Result<Option<&'a str>> {
        let text = |v: &'a Value| match v {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        };
        self.optional(key, "a text", text)
    }

    /// A whole number that must be there.
    pub fn number(&self, key: &str) -> Result<usize> {
        self.optional_number(key)?.ok_or_else(|| self.wrong(key, "it is missing"))
    }

    /// A whole number that may be there.
    pub fn optional_number(&self, key: &str) -> Result<Option<usize>> {
        self.optional(key, "a whole number of 32 bits", |v| match *v {
            Value::U8(n) => Some(usize::from(n)),
            Value::U16(n) => Some(usize::from(n)),
            Value::U32(n) => Some(n as usize),
            Value::I32(n) => usize::try_from(n).ok(),
            Value::U64(n) => u32::try_from(n).ok().map(|n| n as usize),
            Value::I64(n) => u32::try_from(n).ok().map(|n| n as usize),
            _ => None,
        })
    }

    /// A number that must be there.
    pub fn float(&self, key: &str) -> Result<f64> {
        self.optional_float(key)?.ok_or_else(|| self.wrong(key, "it is missing"))
    }

    /// A number that may be there.
    pub fn optional_float(&self, key: &str) -> Result<Option<f64>> {
        self.optional(key, "a number", |v| match *v {
            Value::F32(x) => Some(f64::from(x)),
            Value::F64(x) => Some(x),
            Value::U32(n) => Some(f64::from(n)),
            Value::I32(n) => Some(f64::from(n)),
            _ => None,
        })
    }

    /// A flag that may be there.
    pub fn optional_flag(&self, key: &str) -> Result<Option<bool>> {
        self.optional(key, "true or false", |v| match *v {
            Value::Bool(flag) => Some(flag),
            _ => None,
        })
    }

    /// A list of texts that must be there.
    pub fn texts(&self, key: &str) -> Result<Vec<&'a str>> {
        let list = self.list(key)?.ok_or_else(|| self.wrong(key, "it is missing"))?;
        let text = |(at, value): (usize, &'a Value)| match value {
            Value::String(text) => Ok(text.as_str()),
            other => Err(self.wrong(key, &format!("entry {at} is {other:?}"))),
        };
        list.iter().enumerate().map(text).collect()
    }

    /// A list of whole numbers that may be there.
    pub fn optional_numbers(&self, key: &str) -> Result<Option<Vec<i64>>> {
        let Some(list) = self.list(key)? else { return Ok(None) };
        let number = |(at, value): (usize, &Value)| match *value {
            Value::I32(n) => Ok(i64::from(n)),
            Value::U32(n) => Ok(i64::from(n)),
            ref other => Err(self.wrong(key, &format!("entry {at} is {other:?}"))),
        };
        list.iter().enumerate().map(number).collect::<Result<_>>().map(Some)
    }

    fn list(&self, key: &str) -> Result<Option<&'a [Value]>> {
        self.optional(key, "a list", |v| match v {
            Value::Array(list) => Some(list.as_slice()),
            _ => None,
        })
    }

    fn optional<T>(&self, key: &str, kind: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        let found = || self.wrong(key, &format!("expected {kind}, found a {:?}", value.value_type()));
        read(value).map(Some).ok_or_else(found)
    }

    fn wrong(&self, key: &str, problem: &str) -> Error {
        Error::Config { path: self.path.to_owned(), field: key.to_owned(), problem: problem.to_owned() }
    }
}
