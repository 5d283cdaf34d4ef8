//! The beginning of sequence: there when the tokenizer adds it or the template writes it, and never twice.

use midcourse_core::template::{Mode, Tokenizer, prefill};

use crate::fixtures::{CHATML, MODELS, template, tokenizer};

const PROMPT_FIRST: &str = "{% for m in messages %}{{ m.content }}{% endfor %}";

/// Beginnings of sequence before the answer and before the plain question.
fn n_bos(model: &str, source: &str, prompt: &str) -> [usize; 2] {
    let tokenizer = tokenizer(model);
    let found =
        prefill(&template(source, &tokenizer), &tokenizer, (prompt, "Ask first."), Mode::OpenTurn).unwrap();
    let bos = tokenizer.special().bos.unwrap();
    let proof = found.proof(&tokenizer, 2).unwrap();
    let count = |ids: &[u32]| ids.iter().filter(|id| **id == bos).count();
    let leading = |ids: &[u32]| ids.iter().take_while(|id| **id == bos).count();
    assert!(proof.holds(), "{model}: {proof:?}");
    assert_eq!((proof.n_bos, proof.n_bos), (leading(&found.ids), count(&found.ids)), "{model}");
    [proof.n_bos, count(&found.plain)]
}

#[test]
fn tokenizer_and_template_together_put_one_or_none() {
    let writes = ["{{ bos_token }}", CHATML].concat();
    for model in MODELS {
        let adds = ["tiny-llama-bos", "tiny-llama-q4.gguf"].contains(&model);
        assert_eq!(tokenizer(model).special().adds_bos, adds, "{model}");
        assert_eq!(n_bos(model, &writes, "May I?"), [1, 1], "{model}, template writes");
        assert_eq!(n_bos(model, CHATML, "May I?"), [usize::from(adds); 2], "{model}, template does not");
    }
}

#[test]
fn its_spelling_in_a_prompt_does_not_count() {
    for model in MODELS {
        let tokenizer = tokenizer(model);
        let prompt = format!("{} is how it is spelt.", tokenizer.bos_text());
        let expected = usize::from(tokenizer.special().adds_bos);
        assert_eq!(n_bos(model, PROMPT_FIRST, &prompt), [expected; 2], "{model}");
    }
}
