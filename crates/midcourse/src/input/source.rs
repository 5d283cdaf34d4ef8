//! Where rows come from: a file, or a data set of a hub.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::builder::{OsStringValueParser, TypedValueParser, ValueParserFactory};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Card;
use crate::hub::{self, DataName, dataset};

/// A path or `hf:datasets/ORG/NAME[@REVISION][:SPLIT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DataSource {
    File(PathBuf),
    Hub(DataName),
}

/// A source's files on this machine.
#[derive(Debug)]
pub(crate) struct Located {
    /// Names for messages, and paths, in the order of their rows.
    pub files: Vec<(String, PathBuf)>,
    /// The commit, of a hub's data set.
    pub commit: Option<String>,
    pub card: Card,
}

impl Located {
    /// Hands over the files in turn, each with its name for messages and its bytes, decompressed.
    pub(crate) fn each_file(&self, mut take: impl FnMut(&str, Vec<u8>) -> Result<()>) -> Result<()> {
        self.files.iter().try_for_each(|(name, path)| take(name, super::read_file(path)?))
    }
}

impl DataSource {
    /// Finds the files; those of a hub are fetched as far as they are not in the cache, at `commit` where one is
    /// recorded.
    pub(crate) fn locate(&self, commit: Option<&str>) -> Result<Located> {
        match self {
            Self::File(path) => {
                let card = Card::read(&path.parent().unwrap_or(Path::new("")).join("README.md"));
                Ok(Located { files: vec![(self.to_string(), path.clone())], commit: None, card })
            }
            Self::Hub(name) => {
                let dataset::Split { commit, files, card } = dataset::fetch(name, commit)?;
                let named = |(file, path): (String, PathBuf)| (format!("{self}: {file}"), path);
                Ok(Located { files: files.into_iter().map(named).collect(), commit: Some(commit), card })
            }
        }
    }

    fn parse(text: OsString) -> Result<Self, String> {
        match text.to_str().and_then(|text| text.strip_prefix(hub::SCHEME)) {
            Some(name) => DataName::parse(name).map(Self::Hub),
            None => Ok(Self::File(text.into())),
        }
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Hub(name) => name.fmt(f),
        }
    }
}

impl ValueParserFactory for DataSource {
    type Parser = clap::builder::TryMapValueParser<OsStringValueParser, fn(OsString) -> Result<Self, String>>;

    fn value_parser() -> Self::Parser {
        OsStringValueParser::new().try_map(Self::parse)
    }
}

impl Serialize for DataSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::File(path) => path.serialize(serializer),
            Self::Hub(name) => name.to_string().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for DataSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(text.into()).map_err(serde::de::Error::custom)
    }
}
