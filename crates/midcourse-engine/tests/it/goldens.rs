//! Rendered texts, ids and log-probabilities against what transformers gives.
//!
//! Source: `testdata/golden.py`, which also says how the references were made.

use std::path::Path;

use midcourse_core::template::{Mode, Tokenizer, prefill};
use midcourse_engine::local::{LoadOptions, LocalModel};

use crate::fixtures::{Conversation, Smollm2Golden, TinyGolden, golden, smollm2, testdata};

/// Bounds on the difference of log-probabilities: the same f32 weights; the same after GGUF's change of row
/// order or dequantisation; thirty layers of them. Measured: 2e-5, 2e-5 and 6e-5.
const SAFETENSORS: f64 = 1e-4;
const GGUF: f64 = 1e-3;
const SMOLLM2: f64 = 2e-3;

fn load(path: &Path) -> LocalModel {
    LocalModel::load(path, "golden", &LoadOptions::default()).unwrap()
}

#[test]
fn tiny_models_agree_with_transformers() {
    let models = golden::<TinyGolden>("tiny.json").models;
    assert_eq!(models.len(), 4);
    for expected in models {
        let path = testdata(&expected.path);
        let (model, bound) = (load(&path), if path.is_dir() { SAFETENSORS } else { GGUF });
        for conversation in &expected.conversations {
            check(&model, conversation, (expected.n_bos, bound));
        }
    }
}

#[test]
fn smollm2_agrees_with_transformers() {
    let model = load(&smollm2());
    let expected = golden::<Smollm2Golden>("smollm2.json");
    assert_eq!((expected.conversations.len(), expected.texts.len()), (4, 10));
    assert_eq!(expected.n_bos, 1, "its BOS id is the one that begins every turn");
    for conversation in &expected.conversations {
        check(&model, conversation, (expected.n_bos, SMOLLM2));
    }
    for expected in expected.texts {
        let found = model.tokenizer.encode(&expected.text, &[]).unwrap();
        assert_eq!(found.ids, expected.ids, "{:?}", expected.text);
        assert_eq!(model.tokenizer.decode(&found.ids).unwrap(), expected.text);
    }
}

fn check(model: &LocalModel, expected: &Conversation, (n_bos, bound): (usize, f64)) {
    let texts = (expected.prompt.as_str(), expected.response.as_str());
    let found = prefill(&model.template, &model.tokenizer, texts, Mode::OpenTurn).unwrap();
    assert_eq!(found.text, expected.rendered);
    assert_eq!(found.ids, expected.ids);
    assert_eq!(found.plain, expected.question.ids);
    let question = model.tokenizer.decode(&found.plain).unwrap();
    assert!(question.ends_with(&expected.question.rendered), "{question:?}");
    let proof = found.proof(&model.tokenizer, found.n_response_tokens()).unwrap();
    assert!(proof.holds() && proof.n_bos == n_bos, "{proof:?}");
    let logps = model.engine.logps(&found.ids).unwrap();
    assert_eq!(logps.len(), expected.logps.len());
    let differences = logps.iter().zip(&expected.logps).map(|(a, b)| (a - b).abs());
    let most = differences.fold(0.0, f64::max);
    assert!(most < bound, "{} differs by {most:e}, more than {bound:e}", expected.rendered);
}
