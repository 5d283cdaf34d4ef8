//! What is written is what the rankings say, whatever it is written as.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;

use midcourse_core::chat::Message;
use midcourse_core::synth::{Answer, AnswerEnd, AnswerKind, Origin};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// An answer of a rank; kinds do not matter to pairs.
fn answer(rank: usize, text: String, prefix_chars: usize) -> Answer {
    Answer {
        rank,
        kind: AnswerKind::Response,
        text,
        prefix_chars,
        forced: String::new(),
        origin: Origin::Model,
        end: AnswerEnd::EndOfTurn,
        candidate: None,
        seed: None,
        verdict: None,
    }
}

fn ranking(index: usize, prompt: Vec<Message>, answers: Vec<Answer>) -> Ranking {
    let set = if index.is_multiple_of(2) { Set::Harmful } else { Set::Benign };
    Ranking {
        index,
        set,
        sample: format!("sample {index}"),
        prompt,
        category: None,
        source: None,
        opener: String::new(),
        cuts: Vec::new(),
        answers,
        dropped: Vec::new(),
    }
}

/// Six answers to a prompt of its own.
fn plain(index: usize) -> Ranking {
    let answers = (0..6).map(|rank| answer(rank, format!("Answer {rank} to {index}."), rank)).collect();
    ranking(index, vec![Message::user(format!("Prompt {index}?"))], answers)
}

fn write(path: &Path, rankings: &[Ranking]) {
    let lines = rankings.iter().map(|ranking| serde_json::to_string(ranking).unwrap() + "\n");
    fs::write(path, lines.collect::<String>()).unwrap();
}

/// Rankings in a directory of their own.
fn dir_with(rankings: &[Ranking]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("rankings.jsonl"), rankings);
    dir
}

fn export_all(dir: &Path, sink: Box<dyn Sink>, share: TestShare) -> Result<PairCounts> {
    export(&dir.join("rankings.jsonl"), sink, (SplitChoice::All, share), (&Signals::listen()?, ""))
}

fn share(text: &str) -> TestShare {
    text.parse().unwrap()
}

fn rows_of_lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn rows_of_parquet(path: &Path) -> Vec<Value> {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let row = |row: parquet::record::Row| {
        let columns = row.get_column_iter().map(|(name, field)| (name.clone(), json_of(field)));
        Value::Object(columns.collect())
    };
    reader.get_row_iter(None).unwrap().map(|read| row(read.unwrap())).collect()
}

fn json_of(field: &Field) -> Value {
    match field {
        Field::Str(text) => json!(text),
        Field::Long(number) => json!(number),
        Field::ListInternal(list) => list.elements().iter().map(json_of).collect(),
        Field::Group(row) => {
            Value::Object(row.get_column_iter().map(|(name, field)| (name.clone(), json_of(field))).collect())
        }
        other => panic!("no such field was written: {other:?}"),
    }
}

/// The rows that rankings make, by two loops over ranks.
fn expected(rankings: &[Ranking]) -> Vec<Value> {
    let mut rows = Vec::new();
    for ranking in rankings {
        for chosen in &ranking.answers {
            for rejected in ranking.answers.iter().filter(|rejected| rejected.rank > chosen.rank) {
                rows.push(json!({
                    "prompt": ranking.prompt,
                    "chosen": [{"role": "assistant", "content": chosen.text}],
                    "rejected": [{"role": "assistant", "content": rejected.text}],
                    "sample_id": ranking.sample,
                    "chosen_rank": chosen.rank,
                    "rejected_rank": rejected.rank,
                    "chosen_prefix_chars": chosen.prefix_chars,
                    "rejected_prefix_chars": rejected.prefix_chars,
                    "set": ranking.set,
                }));
            }
        }
    }
    rows
}

#[test]
fn six_ranks_make_15_pairs_and_none_is_reversed() {
    let dir = dir_with(&[plain(0)]);
    let path = dir.path().join("pairs.jsonl");
    let sink = Box::new(Lines::new(RowFormat::Trl, Place::File(path.clone())));
    let counts = export_all(dir.path(), sink, share("0")).unwrap();
    let rows = rows_of_lines(&path);
    assert_eq!((counts.n_pairs, rows.len()), (15, 15));
    let rank = |row: &Value, of: &str| row[of].as_u64().unwrap();
    let ranks: BTreeSet<(u64, u64)> =
        rows.iter().map(|row| (rank(row, "chosen_rank"), rank(row, "rejected_rank"))).collect();
    assert_eq!(ranks.len(), 15);
    assert!(ranks.iter().all(|(chosen, rejected)| chosen < rejected), "{ranks:?}");
    for row in &rows {
        let said = |of: &str| row[of][0]["content"].as_str().unwrap().to_owned();
        assert_eq!(said("chosen"), format!("Answer {} to 0.", row["chosen_rank"]));
        assert_eq!(said("rejected"), format!("Answer {} to 0.", row["rejected_rank"]));
    }
}

/// Texts with everything that JSON, Parquet and their readers treat apart.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z ]{0,30}x", "\\PC{1,20}x", any::<String>().prop_map(|text| text + "x\u{2028}\0\"\\\n東")]
}

fn conversation() -> impl Strategy<Value = Vec<Message>> {
    (proptest::option::of(text()), proptest::collection::vec((text(), text()), 0..3), text()).prop_map(
        |(system, turns, last)| {
            let turns = turns
                .into_iter()
                .flat_map(|(said, answered)| [Message::user(said), Message::assistant(answered)]);
            system.map(Message::system).into_iter().chain(turns).chain([Message::user(last)]).collect()
        },
    )
}

/// Rankings of two to six answers, with gaps between their ranks.
fn rankings() -> impl Strategy<Value = Vec<Ranking>> {
    let answers = proptest::collection::btree_map(0..9_usize, text(), 2..7).prop_map(|texts| {
        let answer = |(rank, text): (usize, String)| {
            let prefix_chars = text.chars().count() * rank / 9;
            answer(rank, text, prefix_chars)
        };
        texts.into_iter().map(answer).collect::<Vec<_>>()
    });
    proptest::collection::vec((conversation(), answers), 1..12).prop_map(|all| {
        all.into_iter().enumerate().map(|(i, (prompt, answers))| ranking(i, prompt, answers)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lines_and_parquet_hold_every_pair_of_any_rankings(rankings in rankings()) {
        let dir = dir_with(&rankings);
        let [lines, parquet] = ["pairs.jsonl", "pairs.parquet"].map(|name| dir.path().join(name));
        let sink = Box::new(Lines::new(RowFormat::Trl, Place::File(lines.clone())));
        let counts = export_all(dir.path(), sink, share("0.5")).unwrap();
        let of_parquet =
            export_all(dir.path(), Box::new(ParquetFile::create(&parquet).unwrap()), share("0.5")).unwrap();
        prop_assert_eq!(&counts, &of_parquet);
        let expected = expected(&rankings);
        prop_assert_eq!(counts.n_pairs, expected.len());
        prop_assert_eq!(&rows_of_lines(&lines), &expected);
        prop_assert_eq!(&rows_of_parquet(&parquet), &expected);
    }

    #[test]
    fn a_data_set_holds_every_pair_once_and_a_prompt_in_one_split(rankings in rankings()) {
        let dir = dir_with(&rankings);
        export_all(dir.path(), Box::new(Dataset::create(dir.path()).unwrap()), share("0.5")).unwrap();
        let mut by_split: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (name, rows) in files_of(&dir.path().join("data")) {
            by_split.entry(name.split_once('-').unwrap().0.to_owned()).or_default().extend(rows);
        }
        let prompts = |rows: &Vec<Value>| rows.iter().map(|row| row["prompt"].to_string()).collect::<BTreeSet<_>>();
        let splits: Vec<BTreeSet<String>> = by_split.values().map(prompts).collect();
        prop_assert!(splits.len() < 2 || splits[0].is_disjoint(&splits[1]));
        prop_assert_eq!(sorted(by_split.into_values().flatten()), sorted(expected(&rankings)));
    }
}

/// Rows by their files' names.
fn files_of(data: &Path) -> BTreeMap<String, Vec<Value>> {
    let paths = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    paths
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), rows_of_parquet(&path)))
        .collect()
}

fn sorted(rows: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut rows: Vec<String> = rows.into_iter().map(|row| row.to_string()).collect();
    rows.sort();
    rows
}

#[test]
fn the_share_of_tests_is_the_one_asked_for_and_a_smaller_one_lies_in_a_larger() {
    let is_test =
        |share: TestShare, i: usize| share.split(&[Message::user(format!("Prompt {i}?"))]) == Split::Test;
    let n_tests = |text: &str| (0..10_000).filter(|i| is_test(share(text), *i)).count();
    assert_eq!(n_tests("0"), 0);
    // Four standard deviations of 10,000 draws at 0.1.
    assert!((880..1120).contains(&n_tests("0.1")), "{}", n_tests("0.1"));
    assert!((0..10_000).all(|i| !is_test(share("0.1"), i) || is_test(share("0.3"), i)));
    for refused in ["1", "-0.1", "NaN", "inf", "a tenth"] {
        assert!(refused.parse::<TestShare>().is_err(), "{refused}");
    }
}

#[test]
fn a_split_is_the_hash_of_roles_and_texts() {
    // printf '\4\0\0\0\0\0\0\0user\3\0\0\0\0\0\0\0Hi?' | sha256sum | head -c 16
    let first = 0x8619_789d_3d31_c3b0_u64 as f64 / 2_f64.powi(64);
    let prompt = [Message::user("Hi?")];
    assert_eq!(share(&(first - 1e-9).to_string()).split(&prompt), Split::Train);
    assert_eq!(share(&(first + 1e-9).to_string()).split(&prompt), Split::Test);
}

#[test]
fn a_large_data_set_has_several_numbered_files() {
    let rankings: Vec<Ranking> = (0..40).map(plain).collect();
    let dir = dir_with(&rankings);
    // Row groups are written when they are full; a byte makes every one of them a file.
    let sink = Dataset::create(dir.path()).unwrap().in_parts(Limits { group_bytes: 600, shard_bytes: 1 });
    export_all(dir.path(), Box::new(sink), share("0")).unwrap();
    let files = files_of(&dir.path().join("data"));
    let n_files = files.len();
    assert!(n_files > 3, "{n_files}");
    let names: Vec<String> = (0..n_files).map(|i| format!("train-{i:05}-of-{n_files:05}.parquet")).collect();
    assert_eq!(files.keys().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
    assert_eq!(files.into_values().flatten().collect::<Vec<_>>(), expected(&rankings));
}

#[test]
fn the_same_rankings_make_the_same_bytes_and_replace_what_was_there() {
    let rankings: Vec<Ranking> = (0..30).map(plain).collect();
    let dir = dir_with(&rankings);
    let bytes = || {
        export_all(dir.path(), Box::new(Dataset::create(dir.path()).unwrap()), share("0.3")).unwrap();
        let names = ["train", "test"].map(|split| format!("data/{split}-00000-of-00001.parquet"));
        names.map(|name| fs::read(dir.path().join(name)).unwrap())
    };
    let first = bytes();
    fs::write(dir.path().join("data/train-00000-of-00002.parquet"), "of an earlier run").unwrap();
    assert_eq!(bytes(), first);
    assert_eq!(names_in(dir.path()), ["data", "rankings.jsonl"]);
    assert_eq!(names_in(&dir.path().join("data")).len(), 2);
}

fn names_in(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn an_error_leaves_the_data_set_that_is_there() {
    let dir = dir_with(&[plain(0)]);
    export_all(dir.path(), Box::new(Dataset::create(dir.path()).unwrap()), share("0")).unwrap();
    let old = files_of(&dir.path().join("data"));
    let text = fs::read_to_string(dir.path().join("rankings.jsonl")).unwrap();
    fs::write(dir.path().join("rankings.jsonl"), format!("{text}{{}}\n")).unwrap();
    let error =
        export_all(dir.path(), Box::new(Dataset::create(dir.path()).unwrap()), share("0")).unwrap_err();
    assert!(error.to_string().contains("rankings.jsonl:2: expected a ranking"), "{error}");
    assert_eq!(names_in(dir.path()), ["data", "rankings.jsonl"]);
    assert_eq!(files_of(&dir.path().join("data")), old);
}

#[test]
fn a_data_set_that_a_crash_left_between_two_names_is_found_again() {
    let dir = dir_with(&[plain(0)]);
    export_all(dir.path(), Box::new(Dataset::create(dir.path()).unwrap()), share("0")).unwrap();
    let old = files_of(&dir.path().join("data"));
    fs::rename(dir.path().join("data"), dir.path().join("data.old")).unwrap();
    drop(Dataset::create(dir.path()).unwrap());
    assert_eq!(files_of(&dir.path().join("data")), old);
    assert_eq!(names_in(dir.path()), ["data", "rankings.jsonl"]);
}
