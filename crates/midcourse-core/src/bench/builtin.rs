//! The tasks that are built in: files of `bench/tasks`.

use super::task::TaskSpec;
use crate::Result;

/// Name and file of every task that is built in, in the order in which `general` runs them.
const FILES: [(&str, &str); 15] = [
    ("mmlu", include_str!("tasks/mmlu.toml")),
    ("hellaswag", include_str!("tasks/hellaswag.toml")),
    ("arc_easy", include_str!("tasks/arc_easy.toml")),
    ("arc_challenge", include_str!("tasks/arc_challenge.toml")),
    ("piqa", include_str!("tasks/piqa.toml")),
    ("winogrande", include_str!("tasks/winogrande.toml")),
    ("boolq", include_str!("tasks/boolq.toml")),
    ("openbookqa", include_str!("tasks/openbookqa.toml")),
    ("truthfulqa_mc1", include_str!("tasks/truthfulqa_mc1.toml")),
    ("truthfulqa_mc2", include_str!("tasks/truthfulqa_mc2.toml")),
    ("gsm8k", include_str!("tasks/gsm8k.toml")),
    ("nq_open", include_str!("tasks/nq_open.toml")),
    ("ceval", include_str!("tasks/ceval.toml")),
    ("lambada", include_str!("tasks/lambada.toml")),
    ("perplexity", include_str!("tasks/perplexity.toml")),
];

/// The names of all tasks that are built in.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// The built-in task of a name.
///
/// # Errors
/// When its file is wrong, which a test rules out.
pub fn task(name: &str) -> Option<Result<TaskSpec>> {
    let (name, source) = FILES.iter().find(|(known, _)| *known == name)?;
    Some(TaskSpec::parse(name, source))
}

/// The text of a built-in task's file.
pub fn source(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, source)| *source)
}
