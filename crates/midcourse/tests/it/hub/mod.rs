//! Models and data sets of a hub, on a stand-in for it: what is fetched, what is kept, what is refused. No network.

mod dataset;
mod refused;
mod server;

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use server::{COMMIT, Fault, Hub, REPO, etag_of};

use crate::fixtures::{self, Fixture, MIDCOURSE, Output};
use crate::tiny_gguf::Gguf;
use crate::tiny_model as tiny;
use crate::tiny_safetensors::{self as safetensors, ModelDir};

const MODEL: &str = "hf:org/tiny";
const TOKEN: &str = "hf_aSecretOfMine";
const OTHER_COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";
const FAULT: &str = "503 Service Unavailable";

type Files = Vec<(&'static str, Vec<u8>)>;

/// The tiny model with its weights in one file, or in two with an index.
fn model(n_shards: usize) -> Files {
    let model = ModelDir::tiny();
    let mut files: Files = vec![
        ("config.json", model.config.to_string().into_bytes()),
        ("tokenizer.json", model.tokenizer.to_string().into_bytes()),
        ("tokenizer_config.json", model.tokenizer_config.to_string().into_bytes()),
        ("README.md", b"# a tiny model".to_vec()),
        ("pytorch_model.bin", b"pickle".to_vec()),
    ];
    if n_shards == 1 {
        files.push(("model.safetensors", shard(&model.weights)));
        return files;
    }
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let halves = model.weights.split_at(1);
    let entry = |weight: &tiny::Weight, name: &str| (format!("{}.weight", weight.name), json!(name));
    let map: serde_json::Map<_, _> = (halves.0.iter().map(|weight| entry(weight, names[0])))
        .chain(halves.1.iter().map(|weight| entry(weight, names[1])))
        .collect();
    files.push(("model.safetensors.index.json", json!({"weight_map": map}).to_string().into_bytes()));
    files.extend([(names[0], shard(halves.0)), (names[1], shard(halves.1))]);
    files
}

fn shard(weights: &[tiny::Weight]) -> Vec<u8> {
    safetensors::safetensors(&safetensors::header(weights), &safetensors::data(weights))
}

fn bytes<'a>(files: &'a Files, name: &str) -> &'a [u8] {
    &files.iter().find(|(there, _)| *there == name).unwrap().1
}

/// A cache, and commands that use it.
struct Cache {
    fixture: Fixture,
}

impl Cache {
    fn new() -> Self {
        Self { fixture: Fixture::new() }
    }

    fn command(&self, hub: &Hub, args: &[&str]) -> Command {
        let mut command = fixtures::command(MIDCOURSE);
        command.env("XDG_CACHE_HOME", self.fixture.path("cache")).env("HF_ENDPOINT", hub.endpoint());
        command.env("HF_TOKEN", TOKEN).args(args);
        command
    }

    /// Runs a command; whatever it does, it never prints the token.
    fn run(&self, hub: &Hub, args: &[&str]) -> Output {
        let output = Output::of(&mut self.command(hub, args));
        assert!(!output.stdout.contains(TOKEN) && !output.stderr.contains(TOKEN), "{output:?}");
        output
    }

    fn pull(&self, hub: &Hub, name: &str) -> Output {
        self.run(hub, &["models", "pull", name])
    }

    /// A path in the repository's part of the cache.
    fn path(&self, below: &str) -> std::path::PathBuf {
        self.fixture.path("cache/huggingface/hub/models--org--tiny").join(below)
    }

    /// The repository's contents that are there, whole or not.
    fn blobs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("blobs")).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// One message with a hint, the exit code, and nothing of the refused file in the cache.
fn assert_refused(output: &Output, code: i32, named: &[&str]) {
    assert_eq!(output.code, code, "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let (before, hint) = output.stderr.split_once("hint: ").unwrap_or_else(|| panic!("{output:?}"));
    assert_eq!(before.matches("error: ").count(), 1, "{output:?}");
    assert!(!hint.trim().is_empty() && !output.stderr.contains("panicked"), "{output:?}");
    for named in named {
        assert!(output.stderr.contains(named), "expected {named:?} in {output:?}");
    }
}

#[test]
fn shards_are_fetched_into_the_hubs_own_cache_and_pickle_is_not() {
    let (hub, cache, files) = (Hub::with(&model(2)), Cache::new(), model(2));
    let pulled = cache.pull(&hub, MODEL).done();
    let snapshot = cache.path("snapshots").join(COMMIT);
    assert_eq!(pulled.stdout.trim_end(), snapshot.display().to_string());
    let mut names: Vec<_> = std::fs::read_dir(&snapshot)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut wanted: Vec<_> = files.iter().map(|(name, _)| *name).collect();
    wanted.retain(|name| !["README.md", "pytorch_model.bin"].contains(name));
    wanted.sort_unstable();
    assert_eq!(names, wanted);
    for name in names {
        let link = std::fs::read_link(snapshot.join(&name)).unwrap();
        let etag = etag_of(bytes(&files, &name));
        assert_eq!(link.to_str().unwrap(), format!("../../blobs/{etag}"));
        assert_eq!(std::fs::read(snapshot.join(&name)).unwrap(), bytes(&files, &name));
    }
    assert_eq!(std::fs::read_to_string(cache.path("refs/main")).unwrap(), COMMIT);
}

#[test]
fn a_second_pull_asks_for_the_commit_only() {
    let (hub, cache) = (Hub::with(&model(2)), Cache::new());
    cache.pull(&hub, MODEL).done();
    hub.requests();
    cache.pull(&hub, MODEL).done();
    let lines: Vec<_> = hub.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(lines, [format!("GET /api/models/{REPO}/revision/main")]);
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_the_content_server() {
    let (hub, cache) = (Hub::with(&model(1)), Cache::new());
    cache.pull(&hub, MODEL).done();
    let requests = hub.requests();
    let is_cdn = |line: &str| line.contains(" /cdn/");
    assert!(requests.iter().any(|request| is_cdn(&request.line)));
    for request in requests {
        let expected = (!is_cdn(&request.line)).then(|| format!("Bearer {TOKEN}"));
        assert_eq!(request.headers.get("authorization"), expected.as_ref(), "{}", request.line);
    }
}

#[test]
fn the_token_of_the_hubs_login_is_used_and_hf_token_wins() {
    let (hub, cache) = (Hub::with(&model(1)), Cache::new());
    std::fs::create_dir_all(cache.fixture.path("cache/huggingface")).unwrap();
    cache.fixture.write("cache/huggingface/token", "hf_ofTheLogin\n");
    cache.pull(&hub, MODEL).done();
    assert_eq!(hub.requests()[0].headers["authorization"], format!("Bearer {TOKEN}"));
    let without = cache.command(&hub, &["models", "pull", MODEL]).env_remove("HF_TOKEN").output().unwrap();
    assert!(without.status.success());
    assert_eq!(hub.requests()[0].headers["authorization"], "Bearer hf_ofTheLogin");
}

#[test]
fn a_cut_connection_is_continued_where_it_ended() {
    let (hub, cache, files) = (Hub::with(&model(1)), Cache::new(), model(1));
    let weights = bytes(&files, "model.safetensors");
    hub.spoil(&etag_of(weights), 1, Fault::CutAfter(weights.len() / 2));
    cache.pull(&hub, MODEL).done();
    let ranges: Vec<_> = hub
        .requests()
        .into_iter()
        .filter(|request| request.line.starts_with("GET /cdn/") && request.line.contains(&etag_of(weights)))
        .map(|request| request.headers.get("range").cloned())
        .collect();
    assert_eq!(ranges, [None, Some(format!("bytes={}-", weights.len() / 2))]);
    assert_eq!(std::fs::read(cache.path("blobs").join(etag_of(weights))).unwrap(), weights);
}

#[test]
fn what_an_interrupted_pull_left_is_continued_by_the_next() {
    let (hub, cache, files) = (Hub::with(&model(1)), Cache::new(), model(1));
    let weights = bytes(&files, "model.safetensors");
    hub.spoil(&etag_of(weights), 4, Fault::CutAfter(700));
    let page = Fault::Answer("200 OK", "Content-Type: text/html".into(), "<html>log in</html>".into());
    let cut = cache.pull(&hub, MODEL);
    let found = 4 * 700;
    assert_refused(
        &cut,
        4,
        &["model.safetensors", &format!("expected {} bytes, found {found}", weights.len())],
    );
    assert!(!cache.path("blobs").join(etag_of(weights)).exists());
    // A page in its place takes nothing away from what has come.
    hub.spoil(&etag_of(weights), 1, page);
    assert_refused(&cache.pull(&hub, MODEL), 4, &["found text/html"]);
    hub.requests();
    cache.pull(&hub, MODEL).done();
    let ranges: Vec<_> =
        hub.requests().into_iter().filter_map(|request| request.headers.get("range").cloned()).collect();
    // The hub is asked first, and redirects.
    assert_eq!(ranges, vec![format!("bytes={found}-"); 2]);
    assert_eq!(std::fs::read(cache.path("blobs").join(etag_of(weights))).unwrap(), weights);
    assert!(cache.blobs().iter().all(|name| !name.contains("incomplete")), "{:?}", cache.blobs());
}

#[test]
fn a_server_that_does_not_heed_ranges_makes_the_file_begin_anew() {
    let (hub, cache, files) = (Hub::with(&model(1)), Cache::new(), model(1));
    let weights = bytes(&files, "model.safetensors");
    hub.spoil(&etag_of(weights), 1, Fault::CutAfter(700));
    hub.spoil(&etag_of(weights), 1, Fault::Whole);
    cache.pull(&hub, MODEL).done();
    assert_eq!(std::fs::read(cache.path("blobs").join(etag_of(weights))).unwrap(), weights);
}

#[test]
fn offline_takes_the_cache_and_asks_nothing() {
    let (hub, cache) = (Hub::with(&model(2)), Cache::new());
    let offline =
        |name: &str| Output::of(cache.command(&hub, &["models", "pull", name]).env("HF_HUB_OFFLINE", "1"));
    assert_refused(&offline(MODEL), 4, &[MODEL, "HF_HUB_OFFLINE is set", "midcourse models pull"]);
    cache.pull(&hub, MODEL).done();
    hub.requests();
    for name in [MODEL, &format!("{MODEL}@main"), &format!("{MODEL}@{COMMIT}")] {
        assert_eq!(
            offline(name).done().stdout.trim_end(),
            cache.path("snapshots").join(COMMIT).display().to_string()
        );
    }
    let shard = cache.path("snapshots").join(COMMIT).join("model-00002-of-00002.safetensors");
    std::fs::remove_file(shard).unwrap();
    assert_refused(&offline(MODEL), 4, &["the cache lacks model-00002-of-00002.safetensors"]);
    assert_refused(&offline("hf:org/tiny/a.gguf"), 4, &["the cache lacks a.gguf"]);
    assert!(hub.requests().is_empty());
}

#[test]
fn without_a_network_the_cache_is_taken_and_said() {
    let (hub, cache) = (Hub::with(&model(1)), Cache::new());
    // Nothing listens at port 1.
    let unreachable = || {
        Output::of(cache.command(&hub, &["models", "pull", MODEL]).env("HF_ENDPOINT", "http://127.0.0.1:1"))
    };
    assert_refused(&unreachable(), 4, &[MODEL, "http://127.0.0.1:1 cannot be reached"]);
    cache.pull(&hub, MODEL).done();
    let output = unreachable().done();
    assert!(output.stderr.contains(&format!("taking commit {COMMIT} from the cache")), "{output:?}");
}

#[test]
fn the_cache_is_where_the_hubs_clients_are_told_to_put_it() {
    let (hub, cache) = (Hub::with(&model(1)), Cache::new());
    for (variable, dir) in [("HF_HUB_CACHE", "elsewhere"), ("HF_HOME", "home")] {
        let mut command = cache.command(&hub, &["models", "pull", MODEL]);
        Output::of(command.env(variable, cache.fixture.path(dir))).done();
    }
    for dir in ["elsewhere", "home/hub"] {
        assert!(cache.fixture.path(dir).join("models--org--tiny/snapshots").join(COMMIT).is_dir(), "{dir}");
    }
    assert!(!cache.path("").exists());
}

#[test]
fn a_busy_or_faulty_hub_is_asked_again() {
    let (hub, cache) = (Hub::with(&model(1)), Cache::new());
    let busy = Fault::Answer("429 Too Many Requests", "Retry-After: 1".into(), String::new());
    hub.spoil("/api/models/", 1, busy);
    hub.spoil("HEAD /org/tiny", 2, Fault::Answer(FAULT, String::new(), String::new()));
    let started = std::time::Instant::now();
    cache.pull(&hub, MODEL).done();
    assert!(started.elapsed().as_secs_f64() >= 1.0, "Retry-After was not waited for");
    let (hub, cache) = (Hub::with(&model(1)), Cache::new());
    hub.spoil("/api/models/", 4, Fault::Answer(FAULT, String::new(), String::new()));
    assert_refused(&cache.pull(&hub, MODEL), 4, &["has a fault", "503"]);
    assert_eq!(hub.requests().len(), 4);
    cache.pull(&hub, MODEL).done();
    hub.spoil("/api/models/", 4, Fault::Answer(FAULT, String::new(), String::new()));
    let output = cache.pull(&hub, MODEL).done();
    assert!(output.stderr.contains(&format!("taking commit {COMMIT} from the cache")), "{output:?}");
}

#[test]
fn two_pulls_at_once_fetch_every_file_once() {
    let (hub, cache) = (Hub::with(&model(2)), Cache::new());
    let pull = |()| {
        cache
            .command(&hub, &["models", "pull", MODEL])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    for pull in [(); 2].map(pull) {
        let output = pull.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let lines = hub.requests().into_iter().map(|request| request.line);
    let mut contents: Vec<_> = lines.filter(|line| line.starts_with("GET /cdn/")).collect();
    let n_contents = contents.len();
    contents.sort();
    contents.dedup();
    assert!(n_contents > 1 && contents.len() == n_contents, "{contents:?}");
}

#[test]
fn a_gguf_file_is_named_after_its_repository() {
    let file = Gguf::tiny().write().bytes;
    let (hub, cache) = (Hub::with(&[("q8/tiny model.gguf", file.clone())]), Cache::new());
    let pulled = cache.pull(&hub, "hf:org/tiny/q8/tiny model.gguf").done();
    let path = cache.path("snapshots").join(COMMIT).join("q8/tiny model.gguf");
    assert_eq!(pulled.stdout.trim_end(), path.display().to_string());
    assert_eq!(std::fs::read(path).unwrap(), file);
    assert!(hub.requests().iter().any(|request| request.line.ends_with("/q8/tiny%20model.gguf")));
}

#[test]
fn a_full_disk_ends_with_the_storage_code_and_the_pull_goes_on_later() {
    let (hub, cache, files) = (Hub::with(&model(1)), Cache::new(), model(1));
    let weights = bytes(&files, "model.safetensors").len();
    assert!(
        weights > 4096 && bytes(&files, "tokenizer.json").len() < weights,
        "the limit below is the weights'"
    );
    // Blocks of 512 bytes.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", weights / 512 - 2);
    let mut command = fixtures::command("sh");
    command.env("XDG_CACHE_HOME", cache.fixture.path("cache")).env("HF_ENDPOINT", hub.endpoint());
    let output = Output::of(command.args(["-c", &script, MIDCOURSE, "models", "pull", MODEL]));
    assert_refused(&output, 5, &["File too large", "disk has room"]);
    cache.pull(&hub, MODEL).done();
}

#[test]
fn an_evaluation_records_the_commit_and_resumes_at_it() {
    let (hub, cache) = (Hub::with(&model(1)), Cache::new());
    let (data, out) = (cache.fixture.path("data.jsonl"), cache.fixture.path("run"));
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    let options = ["--prefix-lengths", "5", "--paths", "2", "--max-new-tokens", "3", "--out", out];
    let eval = [&["eval", "--model", MODEL, "--data", data], &options[..]].concat();
    cache.run(&hub, &eval).done();
    let manifest = || -> Value { serde_json::from_str(&cache.fixture.read("run/manifest.json")).unwrap() };
    assert_eq!(manifest()["model"]["commit"], COMMIT);
    assert_eq!(manifest()["model"]["name"], MODEL);
    let mut moved = model(1);
    let mut other = tiny::weights();
    other[0].values.iter_mut().for_each(|value| *value = -*value);
    moved.iter_mut().find(|(name, _)| *name == "model.safetensors").unwrap().1 = shard(&other);
    hub.commit(OTHER_COMMIT, &moved);
    std::fs::remove_dir_all(cache.path("")).unwrap();
    let trials = cache.fixture.read("run/trials.jsonl");
    cache.run(&hub, &["eval", "--resume", "--out", out]).done();
    assert_eq!(manifest()["model"]["commit"], COMMIT);
    assert_eq!(cache.fixture.read("run/trials.jsonl"), trials);
    // Somebody else's fetch moved `main`; the pinned one must not move it back.
    cache.pull(&hub, MODEL).done();
    assert_eq!(std::fs::read_to_string(cache.path("refs/main")).unwrap(), OTHER_COMMIT);
}

#[test]
fn models_lists_shows_and_removes_what_the_cache_has() {
    let (hub, cache) = (Hub::with(&model(2)), Cache::new());
    cache.pull(&hub, MODEL).done();
    let listed: Value = serde_json::from_str(&cache.run(&hub, &["models", "--json"]).done().stdout).unwrap();
    let listed = listed.as_array().unwrap().iter().find(|model| model["name"] == MODEL).unwrap();
    let blobs: u64 =
        cache.blobs().iter().map(|name| cache.path("blobs").join(name).metadata().unwrap().len()).sum();
    assert_eq!(listed["bytes"], blobs + COMMIT.len() as u64);
    assert!(cache.run(&hub, &["models"]).done().stdout.contains("hf:org/tiny"));
    let removed = cache.run(&hub, &["models", "rm", MODEL]).done().stdout;
    assert!(
        removed.contains("models--org--tiny") && removed.contains(&format!("({} bytes)", listed["bytes"]))
    );
    assert!(!cache.path("").exists());
    assert_refused(&cache.run(&hub, &["models", "rm", MODEL]), 3, &["nothing of it is in the cache"]);
}

#[test]
fn show_tells_what_a_model_is_without_its_weights() {
    let (hub, cache) = (Hub::with(&model(1)), Cache::new());
    cache.pull(&hub, MODEL).done();
    let gguf = cache.fixture.write("tiny.gguf", Gguf::tiny().write().bytes);
    // The weights are gone: what is shown cannot have come from them.
    let weights = cache.path("snapshots").join(COMMIT).join("model.safetensors");
    std::fs::write(&weights, b"").unwrap();
    let n_parameters: usize = tiny::weights().iter().map(|weight| weight.values.len()).sum();
    for name in [MODEL, gguf.to_str().unwrap()] {
        let shown: Value =
            serde_json::from_str(&cache.run(&hub, &["models", "show", name, "--json"]).done().stdout)
                .unwrap();
        assert_eq!(shown["decoder"]["n_parameters"], n_parameters, "{shown}");
        assert_eq!(shown["decoder"]["memory"]["f32"], 4 * n_parameters);
        assert_eq!(shown["decoder"]["context"], tiny::CONTEXT);
        assert_eq!(shown["bos"]["text"], "<|bos|>");
        assert_eq!(shown["ends_of_turn"][0]["text"], "<|end|>");
        let [open, new] = [0, 1].map(|at| &shown["prefill"][at]);
        assert_eq!((&open["mode"], &open["n_proved"]), (&json!("open-turn"), &open["n_checked"]), "{shown}");
        assert!(open["n_checked"].as_u64().unwrap() > 10, "{shown}");
        assert_eq!((&new["mode"], &new["n_proved"]), (&json!("new-turn"), &json!(0)), "{shown}");
        let text = cache.run(&hub, &["models", "show", name]).done().stdout;
        for said in ["open-turn: proved", "new-turn: closes the turn", "512 tokens", "<|end|> ("] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }
    let shown = cache.run(&hub, &["models", "show", MODEL]).done().stdout;
    assert!(shown.contains(COMMIT) && shown.contains("tokenizer_config.json, SHA-256"), "{shown}");
}

#[test]
fn show_fetches_no_weights() {
    for n_files in [1, 2] {
        let (hub, cache) = (Hub::with(&model(n_files)), Cache::new());
        let shown = cache.run(&hub, &["models", "show", MODEL]).done().stdout;
        assert!(shown.contains("open-turn: proved") && shown.contains(COMMIT), "{shown}");
        assert!(hub.requests().iter().all(|request| !request.line.ends_with(".safetensors")));
    }
    let (hub, cache) = (Hub::with(&model(2)), Cache::new());
    cache.run(&hub, &["models", "show", MODEL]).done();
    let offline = Output::of(cache.command(&hub, &["models", "pull", MODEL]).env("HF_HUB_OFFLINE", "1"));
    assert_refused(&offline, 4, &["the cache lacks model-00001-of-00002.safetensors"]);
    cache.pull(&hub, MODEL).done();
    let (name, file) = ("hf:org/tiny/a.gguf", Gguf::tiny().write().bytes);
    let (hub, cache) = (Hub::with(&[("a.gguf", file)]), Cache::new());
    let named = [name, "not in the cache", "midcourse models pull"];
    assert_refused(&cache.run(&hub, &["models", "show", name]), 3, &named);
    cache.pull(&hub, name).done();
    cache.run(&hub, &["models", "show", name]).done();
}
