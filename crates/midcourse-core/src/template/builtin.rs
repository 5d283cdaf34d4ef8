//! Chat templates for models that come without one, written from the formats that their makers document.
//!
//! A model is recognised by the name that its files or its directory give it, and only where that name leaves no
//! doubt; every other one must be named with `--chat-template builtin:NAME`.

/// A template that comes with midcourse.
#[derive(Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// What follows `builtin:`.
    pub name: &'static str,
    /// Its text.
    pub source: &'static str,
    /// Words that must all be in a model's name for it to be recognised; none for a template of many models.
    words: &'static [&'static str],
}

/// All of them, by name.
pub const ALL: [BuiltIn; 5] = [
    BuiltIn { name: "chatml", source: include_str!("builtin/chatml.jinja"), words: &[] },
    BuiltIn { name: "llama-2", source: include_str!("builtin/llama-2.jinja"), words: &["llama-2-", "-chat"] },
    BuiltIn {
        name: "mistral",
        source: include_str!("builtin/mistral.jinja"),
        words: &["mistral-7b-instruct-v0.2"],
    },
    BuiltIn { name: "vicuna", source: include_str!("builtin/vicuna.jinja"), words: &["vicuna-", "-v1.5"] },
    BuiltIn { name: "zephyr", source: include_str!("builtin/zephyr.jinja"), words: &["zephyr-7b-"] },
];

/// The template of this name.
pub fn find(name: &str) -> Option<&'static BuiltIn> {
    ALL.iter().find(|template| template.name == name)
}

/// The template of a model that one of these names leaves no doubt about.
pub fn recognise<'n>(model_names: impl IntoIterator<Item = &'n str>) -> Option<&'static BuiltIn> {
    let of_name = |name: &str| {
        let name = name.to_lowercase().replace(['_', ' '], "-");
        ALL.iter().find(|template| {
            !template.words.is_empty() && template.words.iter().all(|word| name.contains(word))
        })
    };
    model_names.into_iter().find_map(of_name)
}

/// Their names, for messages.
pub fn names() -> String {
    ALL.map(|template| format!("builtin:{}", template.name)).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Message;
    use crate::template::turn;
    use crate::template::{ChatTemplate, Framing, System};

    fn opened(name: &str, system: System) -> [String; 3] {
        let source = find(name).unwrap().source;
        let template = ChatTemplate::new(name, source, "<s>", "</s>").unwrap();
        let template = template.framed(Framing { system, ..Framing::default() });
        let turn = turn::open(&template, &[Message::user("May I?")], "Yes, ").unwrap();
        [turn.question.text, turn.answered.text, turn.lead]
    }

    #[test]
    fn each_writes_its_format_as_documented() {
        let plain = |name| opened(name, System::Default);
        assert_eq!(
            plain("chatml"),
            [
                "<|im_start|>user\nMay I?<|im_end|>\n<|im_start|>assistant\n",
                "<|im_start|>user\nMay I?<|im_end|>\n<|im_start|>assistant\nYes, ",
                "<|im_end|>\n<|im_start|>assistant\n"
            ]
        );
        assert_eq!(plain("llama-2"), ["<s>[INST] May I? [/INST]", "<s>[INST] May I? [/INST] Yes, ", " </s>"]);
        assert_eq!(plain("mistral"), ["<s>[INST] May I? [/INST]", "<s>[INST] May I? [/INST] Yes, ", "</s>"]);
        assert_eq!(
            plain("zephyr"),
            [
                "<|user|>\nMay I?</s>\n<|assistant|>\n",
                "<|user|>\nMay I?</s>\n<|assistant|>\nYes, ",
                "</s>\n<|assistant|>\n"
            ]
        );
        let before = "<s>A chat between a curious user and an artificial intelligence assistant. The assistant gives \
            helpful, detailed, and polite answers to the user's questions. USER: May I? ASSISTANT:";
        assert_eq!(plain("vicuna"), [before, &format!("{before} Yes, "), "</s>ASSISTANT:"]);
    }

    #[test]
    fn each_takes_a_system_prompt_or_none() {
        let with = |name, text: &str| opened(name, System::Text(text.into()))[0].clone();
        assert_eq!(with("llama-2", "Be kind."), "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nMay I? [/INST]");
        assert_eq!(with("vicuna", "Be kind."), "<s>Be kind. USER: May I? ASSISTANT:");
        assert_eq!(with("mistral", "Be kind."), "<s>[INST] Be kind.\n\nMay I? [/INST]");
        assert!(
            with("chatml", "Be kind.")
                .starts_with("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n")
        );
        assert!(with("zephyr", "Be kind.").starts_with("<|system|>\nBe kind.</s>\n<|user|>\n"));
        assert_eq!(opened("vicuna", System::None)[0], "<s>USER: May I? ASSISTANT:");
        for template in &ALL {
            assert!(!opened(template.name, System::None)[0].contains("curious"), "{}", template.name);
        }
    }

    #[test]
    fn only_names_without_doubt_are_recognised() {
        let found = |name| recognise([name]).map(|template| template.name);
        assert_eq!(found("lmsys/vicuna-7b-v1.5"), Some("vicuna"));
        assert_eq!(found("lmsys_vicuna-13b-v1.5-16k"), Some("vicuna"));
        assert_eq!(found("Llama-2-7b-chat-hf"), Some("llama-2"));
        assert_eq!(found("Mistral-7B-Instruct-v0.2"), Some("mistral"));
        assert_eq!(found("zephyr-7b-beta"), Some("zephyr"));
        for other in ["vicuna-7b-v0", "Llama-2-7b-hf", "llama", "Mistral-7B-v0.1", "chatml", "Qwen2-7B", ""] {
            assert_eq!(found(other), None, "{other}");
        }
        assert_eq!(recognise(["model", "vicuna-7b-v1.5"]).map(|template| template.name), Some("vicuna"));
    }
}
