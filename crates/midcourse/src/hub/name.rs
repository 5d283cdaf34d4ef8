//! Names on a hub: of models `hf:ORG/NAME[/FILE.gguf][@REVISION]`, of data sets
//! `hf:datasets/ORG/NAME[@REVISION][:SPLIT]`.
//!
//! A name becomes parts of addresses and of paths in the cache, so its characters are few. The revision stands
//! last because a branch may hold slashes, and no repository or file may hold an `@`.

use std::path::Path;

use anyhow::Result;

use crate::failure::Failure;

/// What stands before every name on a hub.
pub(crate) const SCHEME: &str = "hf:";

/// What a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Model,
    Dataset,
}

impl Kind {
    /// What the hub calls repositories of the kind.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

/// A repository of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repo {
    pub kind: Kind,
    /// `ORG/NAME`.
    pub name: String,
}

impl Repo {
    pub(crate) fn model(name: &str) -> Self {
        Self { kind: Kind::Model, name: name.to_owned() }
    }

    pub(super) fn dataset(name: &str) -> Self {
        Self { kind: Kind::Dataset, name: name.to_owned() }
    }
}

impl std::fmt::Display for Repo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// A model on a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HubName {
    /// `ORG/NAME`.
    pub repo: String,
    /// Path of a GGUF file in the repository; without one, its safetensors are meant.
    pub file: Option<String>,
    /// Branch, tag or commit, where one is named.
    pub revision: Option<String>,
}

impl HubName {
    /// Reads what follows `hf:`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (path, revision) = text.split_once('@').map_or((text, None), |(p, r)| (p, Some(r.to_owned())));
        let mut segments = path.splitn(3, '/');
        let (org, name, file) = (segments.next(), segments.next(), segments.next());
        let repo = [org, name].map(Option::unwrap_or_default);
        let name = Self { repo: repo.join("/"), file: file.map(str::to_owned), revision };
        let is_sound = repo.iter().all(|segment| is_segment(segment))
            && name.revision.as_deref().is_none_or(is_revision)
            && name.file.as_deref().is_none_or(|file| is_path_within(file) && is_gguf(file));
        if is_sound {
            return Ok(name);
        }
        Err(Failure::Usage {
            problem: format!("{SCHEME}{text}: expected {SCHEME}ORG/NAME[/FILE.gguf][@REVISION]"),
            hint:
                "names are letters, digits, dots, dashes and underscores; a revision is a branch, a tag or \
                   a commit"
                    .into(),
        }
        .into())
    }

    /// The revision to ask for.
    pub(crate) fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }
}

impl std::fmt::Display for HubName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{SCHEME}{}", self.repo)?;
        self.file.iter().try_for_each(|file| write!(f, "/{file}"))?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

/// A data set on a hub, or a split of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataName {
    /// `ORG/NAME`.
    pub repo: String,
    /// Branch, tag or commit, where one is named.
    pub revision: Option<String>,
    /// `SPLIT` or `CONFIGURATION/SPLIT`, where one is named.
    pub split: Option<String>,
}

impl DataName {
    /// Reads what follows `hf:`; in words what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts = |text: &str, mark| {
            let (before, after) = text.split_once(mark).map_or((text, None), |(a, b)| (a, Some(b)));
            (before.to_owned(), after.map(str::to_owned))
        };
        let (rest, split) = parts(text, ':');
        let (path, revision) = parts(&rest, '@');
        let repo = path.strip_prefix("datasets/").unwrap_or_default().to_owned();
        let is_sound = repo.split('/').count() == 2
            && repo.split('/').all(is_segment)
            && revision.as_deref().is_none_or(is_revision)
            && split.as_deref().is_none_or(is_split);
        if is_sound {
            return Ok(Self { repo, revision, split });
        }
        Err(format!("{SCHEME}{text}: expected {SCHEME}datasets/ORG/NAME[@REVISION][:SPLIT]"))
    }

    /// The revision to ask for.
    pub(crate) fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }
}

impl std::fmt::Display for DataName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{SCHEME}datasets/{}", self.repo)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))?;
        self.split.iter().try_for_each(|split| write!(f, ":{split}"))
    }
}

/// Whether `text` can be the name of a split, after that of a configuration or not.
pub(super) fn is_split(text: &str) -> bool {
    text.split('/').count() <= 2 && text.split('/').all(is_plain)
}

fn is_revision(text: &str) -> bool {
    text.split('/').all(is_plain)
}

/// Whether `segment` can be the first or the second half of a repository's name.
fn is_segment(segment: &str) -> bool {
    is_plain(segment) && !segment.contains("--")
}

/// Whether `segment` can be one segment of a name.
fn is_plain(segment: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !segment.is_empty()
        && segment.len() <= 96
        && !segment.starts_with(['.', '-'])
        && segment.chars().all(plain)
}

/// Whether `path` names something below the directory that it is joined to, on every system.
pub(crate) fn is_path_within(path: &str) -> bool {
    let is_name = |segment: &str| !matches!(segment, "" | "." | "..");
    path.len() <= 512 && path.split('/').all(is_name) && !path.chars().any(|c| c.is_control() || c == '\\')
}

/// Whether a file's name says that it is GGUF.
pub(crate) fn is_gguf(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|ending| ending == "gguf")
}

/// Whether `text` is a commit: 40 lower-case hex digits.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_repository_file_and_revision() {
        for text in [
            "HuggingFaceTB/SmolLM2-135M-Instruct",
            "org/name@v1.0",
            "org/name@refs/pr/1",
            "org/name/model-Q4_K_M.gguf",
            "org/name/quantised/model (new).gguf@0123456789abcdef0123456789abcdef01234567",
        ] {
            assert_eq!(HubName::parse(text).unwrap().to_string(), format!("hf:{text}"));
        }
        let name = HubName::parse("org/name/a/b.gguf@refs/pr/1").unwrap();
        assert_eq!((name.repo.as_str(), name.file.as_deref()), ("org/name", Some("a/b.gguf")));
        assert_eq!((name.revision(), HubName::parse("org/name").unwrap().revision()), ("refs/pr/1", "main"));
    }

    #[test]
    fn a_data_set_is_repository_revision_and_split() {
        for text in [
            "datasets/org/name",
            "datasets/org/name@refs/convert/parquet",
            "datasets/org/name:330k_train",
            "datasets/org/name@v1.0:behaviors/harmful",
        ] {
            assert_eq!(DataName::parse(text).unwrap().to_string(), format!("hf:{text}"));
        }
        let name = DataName::parse("datasets/org/name@v1:test").unwrap();
        let parts = (name.repo.as_str(), name.revision(), name.split.as_deref());
        assert_eq!(parts, ("org/name", "v1", Some("test")));
        for text in [
            "",
            "org/name",
            "datasets/name",
            "datasets/org/name/train.jsonl",
            "datasets/../name",
            "datasets/org/name:",
            "datasets/org/name:../x",
            "datasets/org/name:a/b/c",
            "datasets/org/name:a b",
            "datasets/org/name@:train",
            "datasets/org/name@a/../b",
            "datasets/org--x/name",
        ] {
            assert!(DataName::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_that_could_leave_the_cache_is_refused() {
        for text in [
            "",
            "name",
            "/name",
            "org/",
            "../name",
            "org/..",
            "org/.git",
            "org--x/name",
            "org/name@",
            "org/name@..",
            "org/name@a/../../b",
            "org/name@/etc",
            "org/name@a b",
            "org/name/",
            "org/name/../x.gguf",
            "org/name//x.gguf",
            "org/name/a\\x.gguf",
            "org/name/pytorch_model.bin",
            "org/na?me",
            "org/name@a?b",
        ] {
            assert!(HubName::parse(text).is_err(), "{text:?}");
        }
    }
}
