//! What the card of a data set says: the YAML at the head of its `README.md`.
//!
//! A card is hostile and may be no card at all: it is read up to a limit, as events, so that no alias is followed, and
//! what is none of what is looked for is passed over.
//!
//! Source: the hub's documentation "Data files configuration" and "Dataset card".

use std::io::Read;
use std::path::Path;

use midcourse_engine::contain::contain;
use midcourse_engine::files;
use saphyr_parser::{Event, Parser};

/// Bytes of a card that are looked at.
const MAX_BYTES: u64 = 1 << 20;
/// Nesting of its values.
const MAX_DEPTH: usize = 32;
/// The longest name of a licence.
const MAX_LICENSE: usize = 64;

/// The head of a card, as far as midcourse reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Card {
    /// Licences by the names that the hub has for them.
    pub licenses: Vec<String>,
    pub configs: Vec<Config>,
}

/// A configuration: which files make which split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Config {
    pub name: String,
    /// Whether the card says that it is the default.
    pub is_default: bool,
    /// The directory in which its files are.
    pub dir: Option<String>,
    /// Splits with the patterns of their files; empty where paths tell them.
    pub splits: Vec<(String, Vec<String>)>,
}

impl Card {
    /// The card at a path; an empty one where there is none.
    pub(crate) fn read(path: &Path) -> Self {
        let mut bytes = Vec::new();
        let read = files::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
        read.map_or_else(|_| Self::default(), |_| Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// The card in a text.
    pub(crate) fn parse(text: &str) -> Self {
        let head = head(text.trim_start_matches('\u{feff}'));
        let read = head.and_then(|head| contain(|| Yaml::parse(&head)).ok().flatten());
        let Some(card) = read else { return Self::default() };
        let licenses = card.get("license").map(Yaml::texts).unwrap_or_default();
        let configs = card.get("configs").map(Yaml::items).unwrap_or_default();
        Self {
            licenses: licenses.into_iter().filter(|name| is_license(name)).collect(),
            configs: configs.iter().filter_map(Config::of).collect(),
        }
    }
}

/// What stands between the lines of dashes at the beginning.
fn head(text: &str) -> Option<String> {
    let mut lines = text.lines();
    lines.next().filter(|line| line.trim_end() == "---")?;
    let mut head = String::new();
    for line in lines {
        if line.trim_end() == "---" {
            return Some(head);
        }
        head.push_str(line);
        head.push('\n');
    }
    None
}

fn is_license(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte);
    !name.is_empty() && name.len() <= MAX_LICENSE && name.bytes().all(is_plain)
}

impl Config {
    fn of(yaml: &Yaml) -> Option<Self> {
        let text = |key: &str| yaml.get(key).and_then(Yaml::text);
        let files = yaml.get("data_files");
        let of_split = |item: &Yaml| Some((item.get("split")?.text()?, item.get("path")?.texts()));
        let named: Vec<_> = files.map(Yaml::items).unwrap_or_default().iter().filter_map(of_split).collect();
        let splits = match files.map(Yaml::texts).filter(|_| named.is_empty()) {
            // Files without a split are of the first.
            Some(patterns) if !patterns.is_empty() => vec![("train".to_owned(), patterns)],
            _ => named,
        };
        Some(Self {
            name: text("config_name")?,
            is_default: text("default").is_some_and(|value| value == "true"),
            dir: text("data_dir"),
            splits,
        })
    }
}

/// A value of YAML; aliases are empty texts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Yaml {
    Text(String),
    List(Vec<Yaml>),
    /// Keys and values in turn.
    Map(Vec<Yaml>),
}

impl Yaml {
    /// The first document of a text; none where it is no YAML, or nests too deeply.
    fn parse(text: &str) -> Option<Self> {
        let mut open: Vec<Self> = Vec::new();
        for event in Parser::new_from_str(text) {
            let done = match event.ok()?.0 {
                Event::SequenceStart(..) => {
                    open.push(Self::List(Vec::new()));
                    None
                }
                Event::MappingStart(..) => {
                    open.push(Self::Map(Vec::new()));
                    None
                }
                Event::Scalar(text, ..) => Some(Self::Text(text.into_owned())),
                Event::Alias(_) => Some(Self::Text(String::new())),
                Event::SequenceEnd | Event::MappingEnd => Some(open.pop()?),
                _ => None,
            };
            if open.len() > MAX_DEPTH {
                return None;
            }
            match (done, open.last_mut()) {
                (Some(done), Some(Self::List(items) | Self::Map(items))) => items.push(done),
                (Some(done), _) => return Some(done),
                (None, _) => {}
            }
        }
        None
    }

    fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        pairs.chunks_exact(2).find(|pair| pair[0] == Self::Text(key.to_owned())).map(|pair| &pair[1])
    }

    fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// The text, or the texts of the list.
    fn texts(&self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text.clone()],
            _ => self.items().iter().filter_map(Self::text).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_says_licence_and_files() {
        let card = Card::parse(
            "---\nlicense: cc-by-nc-4.0\ntags: [a, b]\nconfigs:\n- config_name: default\n  default: true\n  \
             data_files:\n  - split: train\n    path: \"data/train-*\"\n---\n# A set\n",
        );
        let splits = vec![("train".to_owned(), vec!["data/train-*".to_owned()])];
        let config = Config { name: "default".into(), is_default: true, dir: None, splits };
        assert_eq!(card, Card { licenses: vec!["cc-by-nc-4.0".into()], configs: vec![config] });
        let several = Card::parse("\u{feff}---\r\nlicense:\r\n- mit\r\n- \"apache-2.0\"\r\n---\r\n");
        assert_eq!(several.licenses, ["mit", "apache-2.0"]);
    }

    #[test]
    fn what_is_no_card_is_an_empty_one() {
        let bomb =
            format!("---\na: &a [x,x]\nb: &b [*a,*a]\nlicense: *b\n{}---\n", "c: [*b,*b]\n".repeat(999));
        let deep = format!("---\nx: {}\nlicense: mit\n---\n", "[".repeat(100_000));
        for text in [
            "",
            "# A set",
            "---\nlicense: mit\n",
            "---\n---\n",
            "---\nlicense: [\n---\n",
            "---\n- license\n---\n",
            "---\nlicense: \"a b\\e[31m\"\nconfigs: {a: b}\n---\n",
            "---\nconfigs:\n- x\n- {config_name: [a]}\n---\n",
            &bomb,
            &deep,
        ] {
            assert_eq!(Card::parse(text), Card::default(), "{}", text.get(..60).unwrap_or(text));
        }
    }
}
