//! Chat templates: broken, refusing, endless, and such that a forced prefix would not be what was asked for.

use super::{Cases, INPUT, gguf, safetensors};
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
        add(&mut cases, what, template, "");
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
    cases
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

const REFUSING: [(&str, &str, &str); 7] = [
    ("an exception", "{{ raise_exception('only one turn') }}", "only one turn"),
    (
        "a wish for a system prompt",
        "{% if messages[0].role != 'system' %}{{ raise_exception('no system prompt') }}{% endif %}",
        "no system prompt",
    ),
    ("a division by zero", "{{ 1 // 0 }}", "line 1: "),
    ("a field of nothing", "{{ messages[0].name.first }}", "line 1: "),
    ("another template", "{% include 'other' %}", "line 1: "),
    ("an import", "{% import 'other' as other %}", "line 1: "),
    ("a sum of text and number", "{{ messages[0].content + 1 }}", "line 1: "),
];

const ENDLESS: [(&str, &str); 7] = [
    (
        "a text that doubles",
        "{% set t = namespace(x='x') %}{% for i in range(60) %}{% set t.x = t.x ~ t.x %}{% endfor %}",
    ),
    ("loops in loops", "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"),
    ("a macro that calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
    ("a range without end", "{% for a in range(999999999999) %}x{% endfor %}"),
    ("a text repeated", "{{ 'x' * 99999999999 }}"),
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
