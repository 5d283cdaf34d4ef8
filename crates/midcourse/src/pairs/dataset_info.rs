//! LLaMA-Factory's list of data sets: an entry a file, beside the entries that are there.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use midcourse_core::chat::Role;
use midcourse_core::synth::Ranking;
use midcourse_engine::files;
use serde_json::{Map, Value, json};

use super::Sink;
use super::lines::{Lines, Place};
use super::rows::{RowFormat, tag};
use super::split::Split;
use crate::failure::Failure;
use crate::storage::{NewFile, at};

const NAME: &str = "dataset_info.json";
/// The longest list that is read.
const MAX_BYTES: u64 = 16 << 20;

/// Files of lines, and their entries in the list.
pub(crate) struct DatasetInfo {
    lines: Lines,
    place: Place,
    path: PathBuf,
    entries: Map<String, Value>,
}

impl DatasetInfo {
    /// Begins files at a place, and reads the list that is there.
    pub(crate) fn create(place: Place) -> Result<Self> {
        let path = match &place {
            Place::File(file) => file.with_file_name(NAME),
            Place::Directory(dir) => dir.join(NAME),
        };
        let entries = if path.exists() { read(&path)? } else { Map::new() };
        for split in Split::ALL {
            let name = entry_name(&place, split)?;
            if entries.contains_key(&name) {
                let problem = format!("{}: an entry `{name}` is already there", path.display());
                return Err(Failure::Input {
                    problem,
                    hint: "choose another --out, or remove the entry".into(),
                }
                .into());
            }
        }
        Ok(Self { lines: Lines::new(RowFormat::LlamaFactory, place.clone()), place, path, entries })
    }

    /// The names of the entries, as a training run names them.
    pub(crate) fn entry_names(
        place: &Place,
        splits: impl Iterator<Item = Split>,
    ) -> Result<Vec<String>, Failure> {
        splits.map(|split| entry_name(place, split)).collect()
    }
}

impl Sink for DatasetInfo {
    fn take(&mut self, split: Split, ranking: Ranking) -> Result<usize> {
        self.lines.take(split, ranking)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        for split in Split::ALL {
            let file = self.place.file(split);
            if self.lines.paths().any(|path| path == file) {
                self.entries.insert(entry_name(&self.place, split)?, entry(&file));
            }
        }
        let text = serde_json::to_string_pretty(&self.entries)? + "\n";
        // Both are on their way before one is there: an entry without its file would break other training runs.
        let mut info = NewFile::create(&self.path)?;
        info.write_all(text.as_bytes()).map_err(at(&self.path))?;
        Box::new(self.lines).finish()?;
        Ok(info.finish()?)
    }
}

/// The file's name, after that of its directory where it is `train` or `test`.
fn entry_name(place: &Place, split: Split) -> Result<String, Failure> {
    let name = match place {
        Place::File(file) => file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned),
        Place::Directory(dir) => {
            let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
            let name = dir.file_name().map_or(Some("pairs"), |name| name.to_str());
            name.map(|name| format!("{name}_{}", split.name()))
        }
    };
    name.ok_or_else(|| Failure::Usage {
        problem: "--out: expected a name in UTF-8, which dataset_info.json is written in".into(),
        hint: "choose another name".into(),
    })
}

fn entry(file: &Path) -> Value {
    json!({
        "file_name": file.file_name().unwrap_or_default().to_string_lossy(),
        "ranking": true,
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
        "tags": {
            "role_tag": "from",
            "content_tag": "value",
            "user_tag": tag(Role::User),
            "assistant_tag": tag(Role::Assistant),
            "system_tag": tag(Role::System),
        },
    })
}

fn read(path: &Path) -> Result<Map<String, Value>> {
    let refused = |problem: String| Failure::Input {
        problem: format!("{}: {problem}", path.display()),
        hint: "correct the file, or choose another --out".into(),
    };
    let mut text = String::new();
    let file = files::open(path).map_err(|error| refused(error.to_string()))?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| refused(error.to_string()))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(refused("expected a list of data sets, found more than 16 MiB".into()).into());
    }
    match serde_json::from_str(&text) {
        Ok(Value::Object(entries)) => Ok(entries),
        Ok(_) => {
            Err(refused("expected a JSON object with an entry a data set, found other JSON".into()).into())
        }
        Err(error) => {
            Err(refused(format!("expected a JSON object with an entry a data set: {error}")).into())
        }
    }
}
