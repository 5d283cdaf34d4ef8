//! What a hub, or a name, must not get past: each refusal has its code and one message with a hint.

use serde_json::json;

use super::server::{Fault, Hub, etag_of};
use super::{Cache, Files, MODEL, assert_refused, bytes, model};
use crate::fixtures::Output;

#[test]
fn refusals_of_the_hub_end_with_their_meaning() {
    let plain =
        |status: &'static str, headers: &str| Fault::Answer(status, headers.to_owned(), String::new());
    let cases: [(Fault, &[&str]); 5] = [
        (plain("401 Unauthorized", "X-Error-Code: GatedRepo"), &["gated", "accept its licence", "HF_TOKEN"]),
        (plain("403 Forbidden", ""), &["denies access", "HF_TOKEN"]),
        (plain("401 Unauthorized", "X-Error-Code: RepoNotFound"), &["no such repository", "HF_TOKEN"]),
        (plain("429 Too Many Requests", "Retry-After: 3600"), &["asks to wait 3600 s"]),
        (plain("418 I'm a teapot", ""), &["refuses"]),
    ];
    for (fault, named) in cases {
        for (request, what) in [("/api/models/", MODEL), ("HEAD /", "org/tiny: config.json")] {
            let (hub, cache) = (Hub::with(&model(1)), Cache::new());
            hub.spoil(request, 1, fault.clone());
            assert_refused(&cache.pull(&hub, MODEL), 4, &[&[what], named].concat());
            let asked = hub.requests().into_iter().filter(|asked| asked.line.contains(request));
            assert_eq!(asked.count(), 1, "asking again cannot help");
            assert!(!cache.path("").exists());
        }
    }
}

#[test]
fn what_the_hub_does_not_have_is_said() {
    let (hub, cache) = (Hub::with(&model(1)), Cache::new());
    assert_refused(&cache.pull(&hub, "hf:org/other"), 4, &["hf:org/other: the hub has no such repository"]);
    assert_refused(&cache.pull(&hub, "hf:org/tiny@v9"), 4, &["hf:org/tiny@v9: the hub has no such revision"]);
    assert_refused(&cache.pull(&hub, "hf:org/tiny/x.gguf"), 3, &["holds no x.gguf", "hf:org/tiny names"]);
    hub.list_also("generation_config.json");
    assert_refused(&cache.pull(&hub, MODEL), 4, &["generation_config.json", "no such file"]);
}

#[test]
fn a_page_in_place_of_an_answer_is_no_file() {
    let page = |status| Fault::Answer(status, "Content-Type: text/html".into(), "<html>log in</html>".into());
    let weights = etag_of(bytes(&model(1), "model.safetensors"));
    for text in ["/api/models/", "HEAD /org/tiny/resolve/", &format!("/cdn/blob/{weights}")] {
        let (hub, cache) = (Hub::with(&model(1)), Cache::new());
        hub.spoil(text, 1, page("200 OK"));
        assert_refused(&cache.pull(&hub, MODEL), 4, &["expected an answer of a model hub, found text/html"]);
        assert!(!cache.path("blobs").join(&weights).exists());
    }
}

#[test]
fn other_bytes_or_another_length_are_not_kept() {
    let weights = etag_of(bytes(&model(1), "model.safetensors"));
    let length = Fault::Header("Content-Length", Some("7".into()));
    for (fault, named) in [(Fault::OtherBytes, "expected SHA-256"), (length, "bytes, found 7")] {
        let (hub, cache) = (Hub::with(&model(1)), Cache::new());
        hub.spoil(&format!("GET /cdn/blob/{weights}"), 1, fault);
        assert_refused(&cache.pull(&hub, MODEL), 4, &["org/tiny: model.safetensors", named]);
        assert!(!cache.path("blobs").join(&weights).exists());
        cache.pull(&hub, MODEL).done();
    }
}

#[test]
fn names_that_lead_out_of_the_cache_are_refused() {
    for name in ["../../../x.json", "/etc/x.json", "a\\..\\x.json", "a/../../x.json"] {
        let (hub, cache) = (Hub::with(&model(1)), Cache::new());
        hub.list_also(name);
        assert_refused(&cache.pull(&hub, MODEL), 4, &[MODEL, "lists a file named"]);
        assert!(!cache.path("").exists());
        let mut files = model(2);
        let index = json!({"weight_map": {"model.norm.weight": name}}).to_string();
        files.iter_mut().find(|(name, _)| name.ends_with("index.json")).unwrap().1 = index.into_bytes();
        let (hub, cache) = (Hub::with(&files), Cache::new());
        assert_refused(&cache.pull(&hub, MODEL), 3, &["index.json: field weight_map.model.norm.weight"]);
    }
    let headers: [(&str, &str); 3] =
        [("X-Linked-Etag", "\"../../../x\""), ("X-Linked-Etag", "\"\""), ("X-Repo-Commit", "../../../x")];
    for (header, value) in headers {
        let (hub, cache) = (Hub::with(&model(1)), Cache::new());
        hub.spoil("model.safetensors", 9, Fault::Header(header, Some(value.into())));
        assert_refused(&cache.pull(&hub, MODEL), 4, &["model.safetensors: expected"]);
        assert!(!cache.fixture.path("x").exists());
    }
}

#[test]
fn redirects_without_an_end_or_to_something_else_are_refused() {
    for place in ["/org/tiny/resolve/again/config.json", "file:///etc/passwd", "nowhere"] {
        let (hub, cache) = (Hub::with(&model(1)), Cache::new());
        hub.spoil("config.json", 99, Fault::Answer("302 Found", format!("Location: {place}"), String::new()));
        assert_refused(
            &cache.pull(&hub, MODEL),
            4,
            &["org/tiny: config.json", "redirects in circles or to no address"],
        );
    }
}

#[test]
fn repositories_without_weights_that_are_read_are_refused() {
    let config = || ("config.json", b"{}".to_vec());
    let cases: [(Files, i32, &[&str]); 3] = [
        (
            vec![config(), ("pytorch_model.bin", vec![0])],
            6,
            &["found pickle (pytorch_model.bin)", "safetensors"],
        ),
        (vec![config(), ("adapter.txt", vec![0])], 3, &["found none of them"]),
        (
            vec![("q4/a.gguf", vec![0]), ("b.gguf", vec![0])],
            2,
            &["none is named", "hf:org/tiny/b.gguf, hf:org/tiny/q4/a.gguf"],
        ),
    ];
    for (files, code, named) in cases {
        let (hub, cache) = (Hub::with(&files), Cache::new());
        assert_refused(&cache.pull(&hub, MODEL), code, named);
        assert!(hub.requests().iter().all(|request| request.line.contains("/api/")), "a file was asked for");
    }
    let mut files = model(2);
    files.retain(|(name, _)| *name != "model-00002-of-00002.safetensors");
    let (hub, cache) = (Hub::with(&files), Cache::new());
    assert_refused(&cache.pull(&hub, MODEL), 3, &["\"model-00002-of-00002.safetensors\"", "does not hold"]);
}

#[test]
fn a_model_that_the_engine_does_not_run_is_refused_before_its_weights_are_fetched() {
    let mut files = model(1);
    files[0].1 = json!({"model_type": "gossip"}).to_string().into_bytes();
    let (hub, cache) = (Hub::with(&files), Cache::new());
    assert_refused(&cache.pull(&hub, MODEL), 6, &["config.json", "gossip"]);
    let split = cache.pull(&hub, "hf:org/tiny/big-00001-of-00003.gguf");
    assert_refused(&split, 6, &["in several files", "llama-gguf-split"]);
    assert!(hub.requests().iter().all(|request| !request.line.contains("model.safetensors")));
}

#[test]
fn a_file_of_authorities_that_holds_none_is_refused() {
    let (hub, cache) = (Hub::with(&model(1)), Cache::new());
    let data = cache.fixture.path("data.jsonl");
    for (file, named) in [(&data, "found none"), (&cache.fixture.path("none.pem"), "No such file")] {
        let mut command = cache.command(&hub, &["models", "pull", MODEL]);
        let output = Output::of(command.env("SSL_CERT_FILE", file));
        assert_refused(&output, 2, &["SSL_CERT_FILE: ", file.to_str().unwrap(), named]);
    }
}

#[test]
fn removing_never_leaves_the_cache() {
    let (hub, cache) = (Hub::with(&model(1)), Cache::new());
    let kept = cache.fixture.path("data.jsonl");
    let path = kept.to_str().unwrap();
    for (name, code) in [(path, 2), ("hf:../..", 2), ("hf:org/tiny@main", 2), ("scripted:x", 2), (".", 2)] {
        assert_refused(&cache.run(&hub, &["models", "rm", name]), code, &[name]);
    }
    let elsewhere = cache.fixture.path("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("kept"), "mine").unwrap();
    std::fs::create_dir_all(cache.path("").parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&elsewhere, cache.path("").to_str().unwrap().trim_end_matches('/')).unwrap();
    cache.run(&hub, &["models", "rm", MODEL]).done();
    assert!(!cache.path("").exists() && elsewhere.join("kept").exists() && kept.exists());
}
