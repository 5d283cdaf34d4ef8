//! Python's and Jinja's ways, and what strangers' templates may not do. Whole templates are held against
//! transformers and jinja2 by the engine's tests.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Date, FaultKind, Program, Run, Value};

fn render(source: &str) -> Run<String> {
    let message =
        |role: &str, content: &str| Value::dict([("role", role.into()), ("content", content.into())]);
    let messages = Value::list(vec![message("user", " Hi ")?, message("assistant", "Yes")?])?;
    let names = vec![("messages", messages), ("tools", Value::None), ("bos_token", "<s>".into())];
    Program::parse(source)?.render(names, "2024-02-09".parse().unwrap(), 7)
}

/// `golden/jinja.json`: templates, and what jinja2 writes for them unless it refuses them.
const GOLDEN: &str = include_str!("../../../../../testdata/golden/jinja.json");

#[derive(serde::Deserialize)]
struct Row {
    template: String,
    text: Option<String>,
}

#[test]
fn white_space_values_scopes_and_filters_are_those_of_jinja2() {
    let rows: Vec<Row> = serde_json::from_str(GOLDEN).unwrap();
    let differing = rows.iter().filter_map(|row| {
        let found = render(&row.template);
        (found.clone().ok() != row.text).then(|| format!("{}\n  {:?}\n  {found:?}", row.template, row.text))
    });
    let differing: Vec<String> = differing.collect();
    assert!(differing.is_empty(), "{} of {}:\n{}", differing.len(), rows.len(), differing.join("\n"));
}

#[test]
fn a_fault_names_its_line_and_kind() {
    let fault = |source: &str| render(source).unwrap_err();
    let raised = fault("\n\n{{ raise_exception('only one turn') }}");
    assert_eq!((raised.kind, raised.line, raised.problem.as_str()), (FaultKind::Raised, 3, "only one turn"));
    let syntax = fault("a\n{% for %}");
    assert_eq!((syntax.kind, syntax.line), (FaultKind::Syntax, 2));
    assert!(fault("{{ messages[0].name.first }}").problem.contains("no `name`"));
    for wrong in [
        "{% include 'x' %}",
        "{{ 'a' + 1 }}",
        "{{ 1 // 0 }}",
        "{{ x.y }}",
        "{{ [1].append(2) }}",
        "{{ f() }}",
        "{{ 1|f }}",
        "{{ 1 is f }}",
        "{{ 'a'.f() }}",
        "{{ [1|tojson(1,2,3,4,5)] }}",
        "{{ 9223372036854775807 + 1 }}",
        "{{ 'x' < 1 }}",
    ] {
        assert_ne!(fault(wrong).kind, FaultKind::Exhausted, "{wrong}");
    }
}

/// A namespace whose `x` and `y` double 60 times.
const DOUBLED: &str = "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(30) %}{% set n.x = [n.x, n.x] %}\
    {% set n.y = [n.y, n.y] %}{% endfor %}";

/// What may be done with shared lists: written, compared, converted.
const USES: [&str; 22] = [
    "{{ n.x }}",
    "{{ n.x|string }}",
    "{{ n.x ~ '' }}",
    "{{ n.x|tojson }}",
    "{{ n.x|join }}",
    "{{ ''.join(n.x) }}",
    "{{ n.x|upper }}",
    "{{ n.x == n.y }}",
    "{{ n.x < n.y }}",
    "{{ n.x in [n.y] }}",
    "{{ {n.x: 1, n.y: 2} }}",
    "{{ [n.x, n.y]|unique }}",
    "{{ [n.x, n.y]|sort }}",
    "{{ '{}'.format(n.x) }}",
    "{{ [n.x].count(n.y) }}",
    "{{ n.x is eq(n.y) }}",
    "{{ raise_exception(n.x) }}",
    "{{ n.x|trim }}",
    "{{ n.x|replace('1', '2') }}",
    "{{ 'a'.startswith(n.x|string) }}",
    "{{ [n.x, n.y]|max }}",
    "{{ n.x|map('string')|list }}",
];

/// What may grow at every turn of a loop.
const GROWTHS: [&str; 14] = [
    "{% set n.x = n.x + n.x %}",
    "{% set n.s = n.s + n.s %}",
    "{% set n.s = n.s ~ n.s %}",
    "{% set n.x = [n.x] %}",
    "{% set n.x = n.x * 9 %}",
    "{% set n.s = n.s * 9 %}",
    "{% set n.s = n.s|replace('x', 'xx') %}",
    "{% set n.s = n.s|indent(999, true) %}",
    "{% set n.s = n.s|tojson %}",
    "{% set n.s = [n.s, n.s]|join(n.s) %}",
    "{% set n.x = {'a': n.x} %}",
    "{% set n.x = (n.x, n.x) %}",
    "{% set n.x = n.x|map('list')|list %}",
    "{% for j in range(99999) %}{% for k in range(99999) %}{% endfor %}{% endfor %}",
];

/// Templates that ask for much at once.
const GREEDY: [&str; 19] = [
    "{{ 'x' * 99999999999 }}",
    "{{ [1] * 99999999999 }}",
    "{{ 99999999999 * 'x' }}",
    "{% for i in range(999999999999) %}{% endfor %}",
    "{{ range(0, 9223372036854775807, 9) }}",
    "{{ [[1]]|tojson(indent=99999999999) }}",
    "{{ [[1]]|tojson(indent='x' * 999999) }}",
    "{{ range(99999)|list|tojson(indent=99999) }}",
    "{{ 'a\\nb'|indent(99999999999) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f(x) %}{{ f([x, x]) }}{% endmacro %}{{ f(1) }}",
    "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ g() }}",
    "{% for a in range(9000) %}{{ 'x' * 9000 }}{% endfor %}",
    "{{ [[[[0] * 999] * 999] * 999] * 999 }}",
    "{{ [[[[0] * 999] * 999] * 999] * 999 == [[[[0] * 999] * 999] * 999] * 999 }}",
    "{% set s = 'x' * 999999 %}{% for i in range(99999) %}{{ s.count('y') }}{{ s|length }}{{ s == s ~ '' }}{% endfor %}",
    "{% set s = 'x' * 999999 %}{% for i in range(99999) %}{{ 'y' in s }}{{ s[-1:] }}{{ s[5] }}{{ s|upper|lower }}{% endfor %}",
    "{% set s = 'x' * 9999 %}{% for i in range(99999) %}{{ s.strip('y' * 9999) }}{{ s.split('x') }}{{ s|list }}{% endfor %}",
    "{% set s = range(9999)|list %}{% for i in range(99999) %}{{ s|unique }}{{ s|sort }}{{ s|reverse|list }}{% endfor %}",
];

/// Deep and long sources.
fn sources() -> Vec<String> {
    vec![
        "(".repeat(100_000),
        "{{ ".to_owned() + &"[".repeat(100_000),
        "{{ ".to_owned() + &"not ".repeat(60_000),
        "{{ ".to_owned() + &"-".repeat(200_000) + "1 }}",
        "{% if true %}".repeat(15_000),
        "{{ 1 if ".repeat(30_000),
        format!("{{{{ {} }}}}", "1 if 0 else ".repeat(20_000) + "1"),
        "{{ f(".repeat(40_000),
        "{% for a in ".repeat(20_000),
        "x".repeat(1 << 20),
        "{{ a }}".repeat(150_000),
        "{#".repeat(100_000),
        "{% raw %}{%".repeat(20_000),
        "{{ '\\".repeat(40_000),
        format!("{{{{ x{} }}}}", ".a".repeat(100_000)),
        format!("{{{{ {}1 }}}}", "1 + ".repeat(60_000)),
        format!("{{{{ range(90000)|map('string'{})|list }}}}", ", a=1".repeat(30_000)),
    ]
}

fn hostile() -> Vec<String> {
    let grown = |step: &str| {
        let start = "{% set n = namespace(x=['x'], s='x') %}{% for i in range(99999) %}";
        [start, step, "{% endfor %}{{ n.x }}"].concat()
    };
    let mut all = sources();
    all.extend(USES.map(|used| [DOUBLED, used].concat()));
    all.extend(GROWTHS.map(grown));
    all.extend(GREEDY.map(str::to_owned));
    all
}

#[test]
fn no_template_takes_long() {
    for source in hostile() {
        let started = Instant::now();
        let rendered = render(&source);
        let took = started.elapsed();
        let shown: String = source.chars().take(160).collect();
        assert!(took < Duration::from_secs(1), "{took:?} for {shown}");
        if let Ok(text) = rendered {
            assert!(text.len() <= 8 << 20, "{} bytes for {shown}", text.len());
        }
    }
}

#[test]
fn a_namespace_that_holds_itself_is_no_circle() {
    let cyclic = "{% set n = namespace(a=1) %}{% set n.me = n %}{{ n.me.me.a }}{{ n == n.me }}";
    assert_eq!(render(cyclic).unwrap(), "1True");
    for used in ["{{ n }}", "{{ n|tojson }}", "{{ [n] }}", "{{ n ~ '' }}"] {
        assert_eq!(render(&[cyclic, used].concat()).unwrap_err().kind, FaultKind::Run, "{used}");
    }
}

#[test]
fn linear_work_on_long_texts_is_allowed() {
    let long = "word ".repeat(200_000);
    let message = Value::dict([("content", long.as_str().into())]).unwrap();
    let source = "{% for m in messages %}{{ '<u>' + m.content|trim + '</u>' }}{{ m.content.split('</think>')[-1] }}{% endfor %}";
    let names = vec![("messages", Value::list(vec![message]).unwrap())];
    let text = Program::parse(source).unwrap().render(names, Date::default(), long.len()).unwrap();
    assert_eq!(text.len(), 2 * long.len() - 1 + 7);
}

/// Templates in use, to be damaged.
const WHOLE: [&str; 6] = [
    include_str!("../../../../../testdata/templates/glm-4.5.jinja"),
    include_str!("../../../../../testdata/templates/llama-3.1.jinja"),
    include_str!("../../../../../testdata/templates/mistral-v3.jinja"),
    include_str!("../../../../../testdata/templates/phi-3.jinja"),
    include_str!("../../../../../testdata/templates/qwen3.jinja"),
    include_str!("../../../../../testdata/templates/smollm3.jinja"),
];

/// Pieces that change what a template means.
const PIECES: [&str; 16] = [
    "{%",
    "%}",
    "{{",
    "}}",
    "{#",
    "-",
    "'",
    "\"",
    "(",
    "]",
    "{% for i in range(99999) %}",
    "{% endfor %}",
    " * 9999999 ",
    "|tojson(indent=999999)",
    "{% set messages = [messages, messages] %}",
    "\u{1f370}",
];

/// A template with some pieces taken out, doubled or put in.
fn damaged() -> impl Strategy<Value = String> {
    let change = (any::<proptest::sample::Index>(), 0..40_usize, 0..=PIECES.len());
    let changes = proptest::collection::vec(change, 1..6);
    (proptest::sample::select(&WHOLE[..]), changes).prop_map(|(whole, changes)| {
        let mut chars: Vec<char> = whole.chars().collect();
        for (place, n, piece) in changes {
            let at = place.index(chars.len());
            let end = (at + n).min(chars.len());
            match PIECES.get(piece) {
                Some(piece) => drop(chars.splice(at..at, piece.chars())),
                None if n % 2 == 0 => drop(chars.drain(at..end)),
                None => {
                    let doubled: Vec<char> = chars[at..end].to_vec();
                    chars.splice(at..at, doubled);
                }
            }
        }
        chars.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn damaged_templates_end_soon_and_never_panic(source in damaged()) {
        let started = Instant::now();
        let rendered = render(&source);
        prop_assert!(started.elapsed() < Duration::from_secs(1));
        prop_assert!(rendered.is_ok_and(|text| text.len() <= 8 << 20) || render(&source).is_err());
    }
}

/// Levels within the parser's bound, which macros multiply, on the stack of a thread.
#[test]
fn what_goes_deep_in_a_macro_that_calls_itself_ends_in_an_error() {
    for [open, inside, close] in [
        ["{{ [", "f()", "] }}"],
        ["{{ 1|default(", "f()", ") }}"],
        ["{{ 'x'.f(", "f()", ") }}"],
        ["{% if true %}", "{{ f() }}", "{% endif %}"],
        ["{% for x in [1] %}", "{{ f() }}", "{% endfor %}"],
        ["{% set x %}", "{{ f() }}", "{% endset %}"],
    ] {
        let repeated = |part: &str, tag: &str| match part.strip_prefix(tag) {
            Some(rest) => format!("{tag}{}", rest.repeat(50)),
            None => part.repeat(50),
        };
        let closed = close.strip_suffix(" }}").map_or_else(|| close.repeat(50), |end| end.repeat(50) + " }}");
        let body = [repeated(open, "{{ ").as_str(), inside, &closed].concat();
        let source = format!("{{% macro f() %}}{body}{{% endmacro %}}{{{{ f() }}}}");
        assert_eq!(render(&source).unwrap_err().kind, FaultKind::Exhausted, "{source}");
    }
    let filters = format!("{{{{ 'a'|map({}'list')|list }}}}", "'map', ".repeat(900));
    assert_eq!(render(&filters).unwrap_err().kind, FaultKind::Exhausted);
}

/// jinja2 writes `[a]` for the first three: they see what stands around them.
#[test]
fn macros_see_the_top_of_a_template_or_are_refused() {
    for inner in [
        "{% for m in ['a'] %}{% macro f() %}[{{ m }}]{% endmacro %}{{ f() }}{% endfor %}",
        "{% with m = 'a' %}{% macro f() %}[{{ m }}]{% endmacro %}{{ f() }}{% endwith %}",
        "{% macro f() %}{{ caller() }}{% endmacro %}{% for m in ['a'] %}{% call f() %}[{{ m }}]{% endcall %}{% endfor %}",
    ] {
        assert_eq!(render(inner).unwrap_err().kind, FaultKind::Run, "{inner}");
    }
    let top = "{% set m = 'a' %}{% macro f(x) %}{{ caller() }}{% endmacro %}{% call f('b') %}[{{ m }}{{ x }}]{% endcall %}";
    assert_eq!(render(top).unwrap(), "[a]");
}
