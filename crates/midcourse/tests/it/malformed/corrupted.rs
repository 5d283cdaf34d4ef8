//! Model files with random faults: they may be read or refused, but nothing may panic, take more than a second
//! of processor time or more than 256 MB beyond what the sound file takes.
//!
//! The models are those of `testdata/families`, so that every field a family reads is among what is changed.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use crate::fixtures::{self, MIDCOURSE, Output};
use crate::tiny_model::Noise;

/// Families that between them have every variant of the decoder.
const FAMILIES: [&str; 7] = ["llama3.1", "mistral", "qwen2-yarn", "glm", "phi3", "gemma3", "smollm3"];
/// Faults of each kind and family: over 500 files in all.
const N_EACH: usize = 9;

/// Kilobytes of address space: what a sound model takes (measured: 150 to 190 MB, most of it the binary and the
/// stacks of threads) and 256 MB more.
const ADDRESS_SPACE: usize = (190 << 10) + (256 << 10);

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/families").join(name)
}

/// Writes the model of a family with one fault into a directory and returns the model's path.
type Fault = fn(&str, &Path, &mut Noise) -> PathBuf;

const FAULTS: [(&str, Fault); 9] = [
    ("bytes of a GGUF header", |family, dir, noise| gguf(family, dir, |bytes| flip(bytes, noise))),
    ("a lying number in a GGUF header", |family, dir, noise| gguf(family, dir, |bytes| lie(bytes, noise))),
    ("a GGUF file cut or doubled", |family, dir, noise| gguf(family, dir, |bytes| splice(bytes, noise))),
    ("bytes of a safetensors header", |family, dir, noise| {
        directory(family, dir, "model.safetensors", |bytes| flip(bytes, noise))
    }),
    ("a lying safetensors header", |family, dir, noise| {
        directory(family, dir, "model.safetensors", |bytes| header(bytes, noise))
    }),
    ("a value of config.json", |family, dir, noise| {
        directory(family, dir, "config.json", |bytes| json(bytes, noise))
    }),
    ("a value of tokenizer.json", |family, dir, noise| {
        directory(family, dir, "tokenizer.json", |bytes| json(bytes, noise))
    }),
    ("bytes of tokenizer.json", |family, dir, noise| {
        directory(family, dir, "tokenizer.json", |bytes| splice(bytes, noise))
    }),
    ("a chat template", |family, dir, noise| {
        directory(family, dir, "tokenizer_config.json", |bytes| template(bytes, noise))
    }),
];

#[test]
fn faulty_model_files_are_read_or_refused_within_bounds() {
    let mut jobs = Vec::new();
    for (fault, (what, _)) in FAULTS.iter().enumerate() {
        let seeds = (0..N_EACH).map(|variant| (fault * 100 + variant) as u64);
        jobs.extend(seeds.flat_map(|seed| FAMILIES.map(|family| (*what, fault, family, seed))));
    }
    assert!(jobs.len() > 500, "{} faults", jobs.len());
    let (next, problems) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((what, fault, family, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let dir = TempDir::new().unwrap();
            let model = FAULTS[*fault].1(family, dir.path(), &mut Noise::new(*seed));
            let problem = problem(&model).map(|problem| format!("{what}, {family}, seed {seed}: {problem}"));
            problems.lock().unwrap().extend(problem);
        }
    };
    std::thread::scope(|scope| {
        (0..std::thread::available_parallelism().map_or(2, usize::from))
            .for_each(|_| drop(scope.spawn(work)));
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), jobs.len(), problems.join("\n"));
}

/// Each hostile piece at the start of a template, where it is sure to run.
#[test]
fn hostile_templates_end_within_bounds() {
    for piece in PIECES {
        let dir = TempDir::new().unwrap();
        let model = directory("gemma3", dir.path(), "tokenizer_config.json", |bytes| {
            let mut config: Value = serde_json::from_slice(bytes).unwrap();
            config["chat_template"] = [piece, config["chat_template"].as_str().unwrap()].concat().into();
            serde_json::to_vec(&config).unwrap()
        });
        assert_eq!(problem(&model), None, "{piece}");
    }
}

/// A pipe would be waited for, and a device never ends.
#[test]
fn pipes_and_devices_are_refused_at_once() {
    let dir = TempDir::new().unwrap();
    let pipe = dir.path().join("pipe.gguf");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut models = vec![pipe.clone(), "/dev/zero".into()];
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
        let model = dir.path().join(name.replace('.', "-"));
        std::fs::create_dir(&model).unwrap();
        directory("qwen3", &model, name, <[u8]>::to_vec);
        std::fs::remove_file(model.join(name)).unwrap();
        std::os::unix::fs::symlink(&pipe, model.join(name)).unwrap();
        models.push(model);
    }
    for model in models {
        let output = probe(&model);
        assert!(output.code == 3 && output.stderr.contains("found a pipe or device"), "{output:?}");
    }
    for args in [["data", "check"], ["eval", "--config"]] {
        let output = fixtures::run(&[args[0], args[1], pipe.to_str().unwrap()]);
        assert!(output.code == 3 && output.stderr.contains("found a pipe or device"), "{output:?}");
    }
}

/// The bounds are no narrower than the sound files need.
#[test]
fn sound_model_files_stay_within_the_bounds() {
    for family in FAMILIES {
        for model in [testdata(family), testdata(&format!("{family}.gguf"))] {
            assert_eq!(probe(&model).code, 0, "{}", model.display());
        }
    }
}

fn probe(model: &Path) -> Output {
    let script = format!("ulimit -v {ADDRESS_SPACE} -t 1; exec \"$0\" \"$@\"");
    let mut command = fixtures::command("bash");
    command.args(["-c", &script, MIDCOURSE, "probe", "--prompt", "Hello there", "--response", "Sure, first"]);
    command.args(["--k", "2", "--model"]).arg(model);
    // One arena: each reserves address space that nobody uses.
    Output::of(command.env("MALLOC_ARENA_MAX", "1").env("RAYON_NUM_THREADS", "2"))
}

/// What is wrong with how a model was read or refused.
fn problem(model: &Path) -> Option<String> {
    let output = probe(model);
    let said = &output.stderr;
    let is_documented = [0, 2, 3, 6].contains(&output.code) && !said.contains("panicked");
    let is_clear = said.contains("error: ") && said.contains("\nhint: ") && said.len() < 2000;
    let start: String = said.chars().take(600).collect();
    let is_good = is_documented && (output.code == 0 || is_clear);
    (!is_good).then(|| format!("exit code {}, {} bytes: {start}", output.code, said.len()))
}

/// A family's GGUF file with a change to its bytes.
fn gguf(family: &str, dir: &Path, change: impl FnOnce(&[u8]) -> Vec<u8>) -> PathBuf {
    let bytes = std::fs::read(testdata(&format!("{family}.gguf"))).unwrap();
    let path = dir.join("model.gguf");
    std::fs::write(&path, change(&bytes)).unwrap();
    path
}

/// A family's directory with a change to the bytes of one file.
fn directory(family: &str, dir: &Path, name: &str, change: impl FnOnce(&[u8]) -> Vec<u8>) -> PathBuf {
    for entry in std::fs::read_dir(testdata(family)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
    }
    let path = dir.join(name);
    std::fs::write(&path, change(&std::fs::read(&path).unwrap())).unwrap();
    dir.to_owned()
}

/// Changes up to five bytes of what is likely the header.
fn flip(bytes: &[u8], noise: &mut Noise) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let header = bytes.len().min(12_000);
    for _ in 0..=noise.below(4) {
        let at = noise.below(header);
        bytes[at] = [0, 1, 0x7f, 0xff, bytes[at] ^ 0x10][noise.below(5)];
    }
    bytes
}

/// Numbers that sizes and offsets may not be.
const LIES: [u64; 8] = [0, 1, 1 << 20, (1 << 30) - 1, 1 << 32, 1 << 40, i64::MAX as u64, u64::MAX];

/// Overwrites eight bytes that stand where a number could.
fn lie(bytes: &[u8], noise: &mut Noise) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at =
        if noise.below(3) == 0 { 8 + 8 * noise.below(2) } else { noise.below(bytes.len().min(12_000) - 8) };
    bytes[at..at + 8].copy_from_slice(&LIES[noise.below(LIES.len())].to_le_bytes());
    bytes
}

/// Cuts the file short, takes a piece out, or doubles a piece.
fn splice(bytes: &[u8], noise: &mut Noise) -> Vec<u8> {
    let (from, to) = (noise.below(bytes.len()), noise.below(bytes.len()));
    let (from, to) = (from.min(to), from.max(to));
    match noise.below(3) {
        0 => bytes[..from].to_vec(),
        1 => [&bytes[..from], &bytes[to..]].concat(),
        _ => [&bytes[..to], &bytes[from..]].concat(),
    }
}

/// A safetensors file whose header has one value changed, its length made right again or not.
fn header(bytes: &[u8], noise: &mut Noise) -> Vec<u8> {
    let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let changed = json(&bytes[8..8 + n], noise);
    let length = if noise.below(4) == 0 { LIES[noise.below(LIES.len())] } else { changed.len() as u64 };
    [&length.to_le_bytes(), changed.as_slice(), &bytes[8 + n..]].concat()
}

/// One value of a JSON document, anywhere in it, replaced by one of another kind or size, or removed.
fn json(bytes: &[u8], noise: &mut Noise) -> Vec<u8> {
    let mut document: Value = serde_json::from_slice(bytes).unwrap();
    change(&mut document, noise);
    serde_json::to_vec(&document).unwrap()
}

fn change(value: &mut Value, noise: &mut Noise) {
    let deeper = noise.below(4) > 0;
    match value {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let key = fields.keys().nth(noise.below(fields.len())).unwrap().clone();
            if noise.below(12) == 0 {
                fields.remove(&key);
            } else {
                change(&mut fields[&key], noise);
            }
        }
        Value::Array(entries) if deeper && !entries.is_empty() => {
            let at = noise.below(entries.len());
            change(&mut entries[at], noise);
        }
        other => *other = other_value(noise),
    }
}

fn other_value(noise: &mut Noise) -> Value {
    match noise.below(14) {
        0 => Value::Null,
        1 => Value::Bool(true),
        2 => 0.into(),
        3 => (-1).into(),
        4 => 3.into(),
        5 => u64::MAX.into(),
        6 => (1u64 << 32).into(),
        7 => 1e308.into(),
        8 => "".into(),
        9 => "x".repeat(100_000).into(),
        10 => "(a+)+$|\\p{L}{1000}{1000}".into(),
        11 => vec![Value::from(7); 50_000].into(),
        12 => (0..100).fold(Value::Null, |inner, _| vec![inner].into()),
        _ => serde_json::json!({ "type": "Nothing", "content": {} }),
    }
}

/// Pieces that a hostile template is made of.
const PIECES: [&str; 16] = [
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{{ 'x' * 999999999 }}",
    "{{ messages | tojson(indent=999999999) }}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
    "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
    "{{ '%999999999s' | format('x') }}",
    "{{ 'x'.ljust(999999999) }}{{ 'x' | center(999999999) }}",
    "{{ messages[99].content }}",
    "{{ messages[0].content[::0] }}",
    "{% for m in messages %}{{ m.role.nothing.at.all }}{% endfor %}",
    "{{ raise_exception('no') }}",
    "{% if",
    "{{ range(999999999) | list | length }}",
    "{{ [[1] * 9999] * 9999 }}",
    "{{ ('a,' * 100000).split(',') | join('x' * 10000) }}",
];

/// A chat template with a hostile piece somewhere, or itself cut or doubled.
fn template(bytes: &[u8], noise: &mut Noise) -> Vec<u8> {
    let mut config: Value = serde_json::from_slice(bytes).unwrap();
    let whole = config["chat_template"].as_str().unwrap().to_owned();
    let changed = if noise.below(4) == 0 {
        String::from_utf8_lossy(&splice(whole.as_bytes(), noise)).into_owned()
    } else {
        let at = (noise.below(whole.len())..whole.len()).find(|at| whole.is_char_boundary(*at)).unwrap_or(0);
        let at = if noise.below(2) == 0 { 0 } else { whole[..at].rfind("{%").unwrap_or(0) };
        [&whole[..at], PIECES[noise.below(PIECES.len())], &whole[at..]].concat()
    };
    config["chat_template"] = changed.into();
    serde_json::to_vec(&config).unwrap()
}
