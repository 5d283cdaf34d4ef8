//! Chat templates: broken, refusing, endless, deep, and such that a forced prefix would not be what was asked for;
//! framings that a template cannot give; templates that are not there.

use super::{Cases, INPUT, UNSUPPORTED, USAGE, gguf, safetensors};
use crate::tiny_gguf::{Gguf, Value};
use crate::tiny_safetensors::ModelDir;

pub(super) fn cases() -> Cases {
    let mut cases = Cases::new();
    for (what, template) in BROKEN {
        add(&mut cases, what, template, "line 1: ");
    }
    for (what, template, named) in REFUSING {
        add(&mut cases, what, template, named);
    }
    for (what, template) in ENDLESS {
        add(&mut cases, what, template, "line 1: ");
    }
    for (what, template) in deep() {
        add(&mut cases, what, &template, "line 1: ");
    }
    for (what, template) in REWRITING {
        add(&mut cases, what, template, "it trims or rewrites the response");
    }
    // Only what stands in front of a response is trimmed visibly: a forced prefix never ends it.
    let trimmed = "{% for m in messages %}{{ m.content | trim }}<|end|>{% endfor %}";
    cases.write("model.gguf", with(trimmed));
    let args = gguf::PROBE.map(|arg| if arg == "Sure" { " Sure" } else { arg });
    let named = ["@/model.gguf", "it trims or rewrites the response"];
    cases.add("a trimmed response", &args, INPUT, &named);
    for (what, template) in LACKING {
        add(&mut cases, what, template, "it does not write both prompt and response");
    }
    framings(&mut cases);
    sources(&mut cases);
    cases
}

/// Sources that are deep or long.
fn deep() -> [(&'static str, String); 5] {
    [
        ("brackets in brackets", format!("{{{{ {}", "[".repeat(9_000))),
        ("blocks in blocks", "{% if true %}".repeat(9_000)),
        ("signs before signs", format!("{{{{ {}1 }}}}", "-".repeat(90_000))),
        ("a choice in a choice", format!("{{{{ {}2 }}}}", "1 if 0 else ".repeat(9_000))),
        ("a source of a megabyte", "x".repeat(1 << 20)),
    ]
}

/// What a template cannot do.
fn framings(cases: &mut Cases) {
    let chatml = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<|end|>{% endfor %}";
    let no_system = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no such role') }}\
        {% endif %}<{{ m.role }}>{{ m.content }}<|end|>{% endfor %}";
    let deaf =
        "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}<|end|>{% endfor %}";
    let own = "{% if messages[0].role != 'system' %}You are kind. {% endif %}<|start|>\
        {% for m in messages %}{{ m.content }}<|end|>{% endfor %}";
    let thinks = "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}\
        {% if add_generation_prompt %}<think>{% endif %}";
    let given = [
        (
            "a system prompt refused",
            no_system,
            ["--system", "Be kind."],
            "it refuses a system prompt",
            "no such role",
        ),
        (
            "a system prompt left out",
            deaf,
            ["--system", "Be kind."],
            "it does not write the system prompt",
            "--system default",
        ),
        (
            "a system prompt that stays",
            own,
            ["--system", "none"],
            "it cannot leave its system prompt out",
            "--system default",
        ),
        (
            "a thought that begins always",
            thinks,
            ["--thinking", "off"],
            "it begins every answer with a thought",
            "--thinking empty",
        ),
    ];
    for (what, template, option, named, also) in given {
        cases.write("model.gguf", with(template));
        cases.add(what, &[&gguf::PROBE[..], &option].concat(), UNSUPPORTED, &[named, also]);
    }
    for (option, value) in [("--date", "2024-02-30"), ("--date", "today"), ("--rewritten-prefix", "yes")] {
        cases.write("model.gguf", with(chatml));
        cases.add(
            format!("{option} {value}"),
            &[&gguf::PROBE[..], &[option, value]].concat(),
            USAGE,
            &[option, value],
        );
    }
}

/// Templates that are not where they are said to be.
fn sources(cases: &mut Cases) {
    let probe = |name: &'static str| [&gguf::PROBE[..], &["--chat-template", name]].concat();
    let mut add = |what: &str, args: &[&str], code, named: &[&str]| {
        cases.write("model.gguf", Gguf::tiny().write().bytes);
        cases.write("binary.jinja", [0xff, 0xfe, 0x00]);
        cases.add(what, args, code, named);
    };
    add("no such template file", &probe("@/none.jinja"), INPUT, &["@/none.jinja: No such file"]);
    add("a directory for a template", &probe("@"), INPUT, &["@: expected a file of at most"]);
    add("a template of no text", &probe("@/binary.jinja"), INPUT, &["@/binary.jinja: expected UTF-8"]);
    add(
        "no such built-in",
        &probe("builtin:zebra"),
        INPUT,
        &["builtin:zebra: expected one of builtin:chatml"],
    );
    add("no such name", &probe("name:rag"), INPUT, &["named rag, found name:default"]);
    let scripted = ["--model", "scripted:~/script.jsonl", "--chat-template", "builtin:chatml"];
    let args = [&["probe", "--prompt", "Hi", "--response", "Sure", "--k", "1"][..], &scripted].concat();
    add("a template for a script", &args, USAGE, &["--chat-template: a script has one of its own"]);
    cases.write("model.gguf", Gguf::tiny().without("tokenizer.chat_template").write().bytes);
    let named = ["@/model.gguf: a model without a chat template", "--chat-template FILE", "builtin:vicuna"];
    let args = [&gguf::PROBE[..], &["--chat-template", "name:default"]].concat();
    cases.add("no template at all", &args, UNSUPPORTED, &named);
    for (what, list) in [
        ("a number for a template", serde_json::json!(7)),
        ("a list of texts", serde_json::json!(["x"])),
        ("a template without a name", serde_json::json!([{"template": "x"}])),
    ] {
        let mut model = ModelDir::tiny();
        model.tokenizer_config["chat_template"] = list;
        model.write(&cases.dir());
        let named = ["@/tokenizer_config.json: chat_template: expected a text, or a list"];
        cases.add(what, &safetensors::PROBE, INPUT, &named);
    }
}

/// Adds the template twice: in a GGUF file and as a file of its own.
fn add(cases: &mut Cases, what: &str, template: &str, named: &str) {
    cases.write(
        "model.gguf",
        Gguf::tiny().with("tokenizer.chat_template", Value::text(template)).write().bytes,
    );
    cases.add(what, &gguf::PROBE, INPUT, &["@/model.gguf", "chat template of ", named]);
    ModelDir::tiny().write(&cases.dir());
    cases.write("chat_template.jinja", template);
    cases.add(format!("{what}, in a file"), &safetensors::PROBE, INPUT, &["@", "chat template of ", named]);
}

fn with(template: &str) -> Vec<u8> {
    Gguf::tiny().with("tokenizer.chat_template", Value::text(template)).write().bytes
}

const BROKEN: [(&str, &str); 10] = [
    ("no loop variable", "{% for %}{% endfor %}"),
    ("an open loop", "{% for m in messages %}{{ m.content }}"),
    ("an end without a beginning", "{{ messages[0].content }}{% endif %}"),
    ("an open expression", "{{ messages[0].content"),
    ("an operand missing", "{{ 1 + }}"),
    ("an unknown tag", "{% gossip %}"),
    ("an unknown filter", "{{ messages | gossip }}"),
    ("an unknown test", "{% if messages is gossip %}{% endif %}"),
    ("an unknown function", "{{ gossip(messages) }}"),
    ("an unknown method", "{{ messages[0].content.gossip() }}"),
];

const REFUSING: [(&str, &str, &str); 10] = [
    ("an exception", "{{ raise_exception('only one turn') }}", "only one turn"),
    (
        "a wish for a system prompt",
        "{% if messages[0].role != 'system' %}{{ raise_exception('no system prompt') }}{% endif %}",
        "no system prompt",
    ),
    (
        "roles that must not take turns",
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ raise_exception('no answers') }}{% endif %}{% endfor %}",
        "no answers",
    ),
    ("a role that is not there", "{{ {'user': 'U'}[messages[1].role].first }}", "line 1: "),
    ("a list that is changed", "{{ messages.append(1) }}", "templates may not"),
    ("a division by zero", "{{ 1 // 0 }}", "line 1: "),
    ("a field of nothing", "{{ messages[0].name.first }}", "line 1: "),
    ("another template", "{% include 'other' %}", "line 1: "),
    ("an import", "{% import 'other' as other %}", "line 1: "),
    ("a sum of text and number", "{{ messages[0].content + 1 }}", "line 1: "),
];

const ENDLESS: [(&str, &str); 19] = [
    (
        "a text that doubles",
        "{% set t = namespace(x='x') %}{% for i in range(60) %}{% set t.x = t.x ~ t.x %}{% endfor %}",
    ),
    (
        "a list that doubles",
        "{% set t = namespace(x=[1]) %}{% for i in range(60) %}{% set t.x = t.x + t.x %}{% endfor %}",
    ),
    (
        "a list in itself twice, written",
        "{% set t = namespace(x=[1]) %}{% for i in range(30) %}{% set t.x = [t.x, t.x] %}{% endfor %}{{ t.x }}",
    ),
    (
        "a list in itself twice, compared",
        "{% set t = namespace(x=[1], y=[1]) %}{% for i in range(30) %}{% set t.x = [t.x, t.x] %}\
            {% set t.y = [t.y, t.y] %}{% endfor %}{{ t.x == t.y }}",
    ),
    (
        "a list in itself twice, as JSON",
        "{% set t = namespace(x=[1]) %}{% for i in range(30) %}{% set t.x = [t.x, t.x] %}{% endfor %}{{ t.x | tojson }}",
    ),
    (
        "lists in lists",
        "{% set t = namespace(x=[1]) %}{% for i in range(9999) %}{% set t.x = [t.x] %}{% endfor %}",
    ),
    ("a namespace in itself, written", "{% set t = namespace() %}{% set t.t = t %}{{ t }}"),
    ("loops in loops", "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"),
    ("a macro that calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
    (
        "macros that call one another",
        "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
    ),
    ("a range without end", "{% for a in range(999999999999) %}x{% endfor %}"),
    ("a text repeated", "{{ 'x' * 99999999999 }}"),
    ("a list repeated", "{{ [1] * 99999999999 }}"),
    ("a great indent", "{{ messages | tojson(indent=99999999999) }}"),
    ("a great indent of text", "{{ 'a\n b' | indent(99999999999) }}"),
    ("a text replaced by longer ones", "{{ ('x' * 9999) | replace('x', 'y' * 9999) }}"),
    (
        "a text searched again and again",
        "{% set t = 'x' * 999999 %}{% for a in range(99999) %}{{ 'y' in t }}{% endfor %}",
    ),
    ("much text", "{% for a in range(90000) %}{{ 'x' * 9000 }}{% endfor %}"),
    ("the response repeated", "{% for a in range(90000) %}{{ messages[1].content * 900 }}{% endfor %}"),
];

const REWRITING: [(&str, &str); 5] = [
    ("a lower case letter", "{% for m in messages %}{{ m.content | replace('S', 's') }}<|end|>{% endfor %}"),
    (
        "a space put before it",
        "{% for m in messages %}{{ m.content | replace('Su', ' Su') }}<|end|>{% endfor %}",
    ),
    ("a letter escaped", "{% for m in messages %}{{ m.content | replace('S', '&#83;') }}<|end|>{% endfor %}"),
    ("a letter removed", "{% for m in messages %}{{ m.content.lstrip('S') }}<|end|>{% endfor %}"),
    (
        "a word put into it",
        "{% for m in messages %}{{ m.content | replace('Su', 'Su, OK, ') }}<|end|>{% endfor %}",
    ),
];

const LACKING: [(&str, &str); 8] = [
    ("capitals", "{% for m in messages %}<|start|>{{ m.content | upper }}<|end|>{% endfor %}"),
    ("empty", ""),
    ("a constant", "Hello."),
    ("the prompt only", "{{ messages[0].content }}"),
    ("the response only", "{% if messages | length > 1 %}{{ messages[1].content }}{% endif %}"),
    ("the response first", "{% for m in messages | reverse %}{{ m.content }}{% endfor %}"),
    ("roles only", "{% for m in messages %}{{ m.role }}{% endfor %}"),
    ("user turns only", "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"),
];
