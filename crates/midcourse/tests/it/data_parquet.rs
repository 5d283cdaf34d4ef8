//! Parquet files: those of another writer, and hostile ones.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fixtures::{self, Fixture, MIDCOURSE, Output};
use crate::tiny_model::Noise;

/// Tables of `testdata/parquet.py`, and the file with the same rows.
const TABLES: [(&str, &str); 11] = [
    ("own", "own"),
    ("own-groups", "own"),
    ("own-plain", "own"),
    ("own-delta", "own"),
    ("own-lengths", "own"),
    ("own-dictionary", "own"),
    ("own-large", "own"),
    ("own-view", "own"),
    ("pku", "pku"),
    ("turns", "turns"),
    ("turns-pages", "turns"),
];

/// Kilobytes of address space and seconds of processor time: 256 MB more than the binary and its stacks take.
const LIMITS: &str = "ulimit -v 460000 -t 5";

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/parquet").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(testdata(&format!("{name}.parquet"))).unwrap()
}

/// Runs `data check` within the limits.
fn check(path: &Path) -> Output {
    let mut command = fixtures::command("bash");
    command
        .args(["-c", &format!("{LIMITS}; exec \"$0\" \"$@\""), MIDCOURSE, "data", "check", "--json"])
        .arg(path);
    // One arena: each reserves address space that nobody uses.
    Output::of(command.env("MALLOC_ARENA_MAX", "1"))
}

/// The rows as they are written by `data split` into both sides, in midcourse's own format.
fn rows(path: &Path) -> Vec<Value> {
    let fixture = Fixture::new();
    let out = fixture.path("out");
    let args =
        ["data", "split", path.to_str().unwrap(), "--eval-share", "0.5", "--out", out.to_str().unwrap()];
    fixtures::run(&args).done();
    let text = fixture.read("out/train.jsonl") + &fixture.read("out/eval.jsonl");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn tables_of_another_writer_hold_the_rows_that_were_written() {
    for (table, expected) in TABLES.iter().chain([&("prompts", "prompts")]) {
        let of =
            |name: String| -> Value { serde_json::from_str(&check(&testdata(&name)).done().stdout).unwrap() };
        let (mut found, mut expected) = (of(format!("{table}.parquet")), of(format!("{expected}.jsonl")));
        assert_eq!((&found["container"], &expected["container"]), (&"parquet".into(), &"jsonl".into()));
        found["container"].take();
        expected["container"].take();
        assert_eq!(found, expected, "{table}");
    }
    let written = std::fs::read_to_string(testdata("own.jsonl")).unwrap();
    let mut expected: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for row in &mut expected {
        row.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    }
    let by_prompt = |mut rows: Vec<Value>| {
        rows.sort_by_key(|row| row["prompt"].to_string());
        rows
    };
    let expected = by_prompt(expected);
    for (table, _) in TABLES.iter().filter(|(_, rows)| *rows == "own") {
        assert_eq!(by_prompt(rows(&testdata(&format!("{table}.parquet")))), expected, "{table}");
    }
}

#[test]
fn what_is_no_table_of_rows_is_refused_by_name() {
    let fixture = Fixture::new();
    let cases = [
        (bytes("gzip"), "cannot be read as Parquet"),
        (bytes("bytes"), "the column `prompt`: expected texts"),
        (bytes("own")[..900].to_vec(), "the file ends before its footer does"),
        (b"PAR1".to_vec(), "the file ends before its footer does"),
        (b"PAR1\0\0\0\0PAR1".to_vec(), "the footer holds no schema of a table"),
    ];
    for (bytes, named) in cases {
        let path = fixture.write("rows.parquet", bytes);
        let output = check(&path);
        assert_eq!(output.code, 3, "{output:?}");
        assert!(output.stderr.contains(&format!("{}: ", path.display())), "{output:?}");
        assert!(output.stderr.contains(named) && output.stderr.contains("\nhint: "), "{output:?}");
    }
}

/// A footer with a schema of these numbers of children, depth first, in Thrift's compact form.
fn footer(children: &[u32]) -> Vec<u8> {
    let varint = |mut n: u32| {
        let mut bytes = Vec::new();
        while n >= 0x80 {
            bytes.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        bytes.push(n as u8);
        bytes
    };
    // Version 1; a list of structures, each with repetition, name and number of children.
    let mut footer = [&[0x15, 0x02, 0x19, 0xfc][..], &varint(children.len() as u32)].concat();
    for n in children {
        footer.extend([0x35, 0x00, 0x18, 0x01, b'x', 0x15]);
        footer.extend(varint(n * 2));
        footer.push(0);
    }
    footer.extend([0x16, 0x02, 0x19, 0x0c, 0x00]);
    let length = (footer.len() as u32).to_le_bytes();
    [b"PAR1", &footer[..], &length, b"PAR1"].concat()
}

#[test]
fn a_schema_can_neither_nest_nor_branch_without_end() {
    let fixture = Fixture::new();
    for children in [vec![1; 100_000], vec![i32::MAX as u32], vec![2, 1_000_000], vec![1, 1], vec![0, 0]] {
        let path = fixture.write("rows.parquet", footer(&children));
        let output = check(&path);
        assert_eq!(output.code, 3, "{output:?}");
        assert!(output.stderr.contains("the footer holds no schema of a table"), "{output:?}");
    }
}

/// Changes bytes, takes a piece out, or doubles one.
fn spoilt(bytes: &[u8], noise: &mut Noise) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let n = bytes.len();
    let (from, to) = (4 + noise.below(n - 8), 4 + noise.below(n - 8));
    let (from, to) = (from.min(to), from.max(to));
    match noise.below(6) {
        0 => [&bytes[..from], &bytes[to..]].concat(),
        1 => [&bytes[..to], &bytes[from..]].concat(),
        _ => {
            for _ in 0..=noise.below(3) {
                let at = 4 + noise.below(n - 8);
                bytes[at] = [0, 1, 0x7f, 0xff, bytes[at] ^ 0x10][noise.below(5)];
            }
            bytes
        }
    }
}

#[test]
fn spoilt_tables_are_read_or_refused_within_bounds() {
    let tables: Vec<Vec<u8>> = TABLES.iter().map(|(table, _)| bytes(table)).collect();
    let jobs: Vec<u64> = (0..330).collect();
    let work = &|jobs: &[u64]| -> Vec<String> {
        let fixture = Fixture::new();
        let problem = |seed: &u64| {
            let table = *seed as usize % tables.len();
            let path = fixture.write("rows.parquet", spoilt(&tables[table], &mut Noise::new(*seed)));
            let Output { code, stderr, .. } = check(&path);
            let is_clear = stderr.contains("error: ") && stderr.contains("\nhint: ") && stderr.len() < 2000;
            let is_good = (code == 0 || code == 3 && is_clear) && !stderr.contains("panicked");
            let start: String = stderr.chars().take(600).collect();
            (!is_good).then(|| format!("{}, seed {seed}: exit code {code}: {start}", TABLES[table].0))
        };
        jobs.iter().filter_map(problem).collect()
    };
    let problems: Vec<String> = std::thread::scope(|scope| {
        let shares: Vec<_> = jobs.chunks(165).map(|share| scope.spawn(move || work(share))).collect();
        shares.into_iter().flat_map(|share| share.join().unwrap()).collect()
    });
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}
