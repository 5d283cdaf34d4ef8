"""Makes golden/jinja.json: what jinja2 writes for templates that try white space, values, scopes and filters.

    python testdata/jinja_snippets.py [--out DIR]

The environment is that of templates.py, which is set up as transformers sets its own up. A template that jinja2
refuses has no text.
"""

import argparse
import json
from pathlib import Path

from templates import plain_jinja

MESSAGES = [{"role": "user", "content": " Hi "}, {"role": "assistant", "content": "Yes"}]

WHITE_SPACE = [
    "a\n{% if true %}\nb\n{% endif %}\nc\n", "  {% if true %}  x{% endif %}", "\t{# gone #}\n\nx",
    "  {%+ if true %}x{% endif +%}\ny", "a  {{- ' b ' -}}  c", "a {{ 1 }}\nb", "x\r\ny\rz",
    "{% raw %}{{ x }}{% if %}{% endraw %}", "a{%- raw -%} {{ }} {%- endraw -%} b", "x{% generation %}\n y {% endgeneration %}z",
    "{{ 'a' }}\n  {% set x = 1 %}\n{{ x }}", "  {{ 1 }}  {% if 1 %} a {%- endif %} b", "a\n\n", "\n\n{#- c -#}\n\nb",
    "{% for i in [1,2] %}\n  {{ i }}\n{% endfor %}\n", "a{#+ c +#}\nb", "  {#- x #}y", "{% if 1 %}a{% endif %}\n\n  {% if 1 %}b{% endif %}",
    "{{ 1 -}}\n\n 2", "{{- 1 }} {%- if 1 -%} \n x \n{%- endif -%} y", "{% raw -%}  a  {%- endraw %}\n b", "{ {# #} }{ % }",
]

VALUES = [
    "{{ [true, none, 1, 1.0, 'it\\'s', \"q\\\"\", (1,), {'a': -2}] }}", "{{ 1e16 }} {{ 1e-5 }} {{ 0.1 + 0.2 }} {{ 3.0 }} {{ 1e300 }} {{ 123456.789 }}",
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ -7 % -3 }} {{ 7 // -2 }} {{ -7 // -2 }} {{ 6 // -3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }}",
    "{{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1 + 1.5 }} {{ 2 * 'ab' }} {{ [1] * 3 }} {{ 'ab' * -1 }}", "{{ true + 1 }} {{ 1 == true }} {{ 1 == 1.0 }} {{ '1' == 1 }}",
    "{{ 'abc'[::-1] }} {{ [1,2,3][1:] }} {{ 'abc'[-2:] }} {{ [1,2,3][5:] }} {{ 'abcdef'[1:-1:2] }} {{ [1,2,3][-1] }} {{ [1,2,3][-4] }} {{ 'abc'[-1] }} {{ 'abc'[5] }}|",
    "{{ nope }}|{{ messages[9] }}|{{ messages[0].nope }}|{{ messages[0]['nope'] }}", "{{ 'a' 'b' ~ 1 ~ none ~ 2.50 }}", "{{ 1 < 2 < 3 }} {{ 'a' in 'cat' }} {{ 2 not in [1] }} {{ not 0 }} {{ 'role' in messages[0] }}",
    "{{ 'x' or 'y' }} {{ '' or 'y' }} {{ 1 and 2 }} {{ 0 and 2 }} {{ 'a' if false }}| {{ 'a' if 1 else 'b' }} {{ 'a' if 0 else 'b' if 0 else 'c' }}", "{{ {'a': {'b': 1}} }} {{ {'a': 1}.a }} {{ {'a': 1}['a'] }} {{ {} }} {{ [] }} {{ () }} {{ (1, 2) }}",
    "{{ '\\n\\t\\x41\\u00e9\\q\\\\' }}", "{{ -1|abs }} {{ -(2) }} {{ - 3 + 1 }} {{ +4 }} {{ 2 - -1 }}", "{{ [1, 2] + [3] }} {{ (1,) + (2,) }} {{ 'a' + 'b' }}", "{{ [1, 2] == [1, 2] }} {{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }} {{ (1, 2) < (1, 3) }} {{ 'b' > 'a' }}",
    "{{ ['a\\nb', '\u00e9', '\U0001f60a', '\\x07'] }}", "{{ 1_000 }} {{ 0.5e3 }} {{ 1.5E-7 }} {{ 100000000000000000.0 }} {{ 5 is divisibleby 5 }}", "{{ 1, 2 }} {{ (1, 2)[0] }} {{ messages[0].content.strip() }}", "{{ a.b }}", "{{ nope + 1 }}", "{{ 1 + 'a' }}", "{{ 'a' + 1 }}", "{{ 1 // 0 }}", "{{ 1 < 'a' }}", "{{ none < 1 }}", "{{ 1 in 5 }}", "{{ 1 in 'a' }}", "{{ nope() }}", "{{ none.x }}|", "{{ none['x'] }}|", "{{ 5.x }}|",
]

SCOPES = [
    "{{ strftime_now is defined }} {{ raise_exception is defined }} {{ range is callable }} {{ namespace is undefined }} {{ f is callable }}",
    "{% if strftime_now %}a{% endif %}{% set range = 5 %}{{ range }}",
    "{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{% endfor %}", "{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}",
    "{% set n = namespace(x=1) %}{% for i in [1,2] %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}", "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}{% if i > 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% for i in [] %}x{% else %}none{% endfor %}",
    "{% for i in range(6) if i is even %}{{ i }}{{ loop.length }}{% endfor %}", "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{{ loop.last }}{% endfor %}", "{% for k in {'a': 1} %}{{ k }}{% endfor %}", "{% for c in 'ab' %}{{ c }}.{% endfor %}", "{% for i in nope %}x{% else %}y{% endfor %}",
    "{% macro f(x, y='d') %}[{{ x }}{{ y }}]{% endmacro %}{{ f(1) }}{{ f(1, y=2) }}{{ f(x=3) }}{{ f() }}", "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}in{% endcall %}", "{% macro f() %}<{{ caller(1, 2) }}>{% endmacro %}{% call(a, b) f() %}{{ a }}{{ b }}{% endcall %}", "{% set x = 1 %}{% macro f() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ f() }}",
    "{% set x %}a{{ 1 }}{% endset %}{{ x|upper }}", "{% set x | upper %}a{{ 1 }}{% endset %}{{ x }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% with c = 3, d = a %}{{ c }}{{ d }}{% endwith %}{{ c }}", "{% filter upper %}x{% endfilter %}", "{% if 0 %}a{% elif 1 %}b{% else %}c{% endif %}{% if none %}{% else %}d{% endif %}",
    "{% for a in [1, 2] %}{% for b in [3, 4] %}{{ loop.index }}{{ a }}{{ b }} {% endfor %}{{ loop.index }}{% endfor %}", "{% for i in [1,2,3] %}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% if true %}{% set y = 5 %}{% endif %}{{ y }}", "{% set n = namespace() %}{% set n.a = [1] %}{% set n.a = n.a + [2] %}{{ n.a }}{{ n.b is defined }}", "{% for (a, b) in [(1, 2)] %}{{ a }}{{ b }}{% endfor %}", "{% for a in 1, 2 %}{{ a }}{% endfor %}", "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}", "{% break %}", "{{ raise_exception('no') }}", "{% for a, b in [1] %}{% endfor %}", "{% set x.y = 1 %}", "{% set messages = messages[1:] %}{{ messages|length }}", "{% for i in 5 %}{% endfor %}",
]

FILTERS = [
    "{{ (range(50)|list + ['a'] + range(50)|list)|sort }}", "{{ ['b', 'A', 'a', 'B']|max }} {{ ['b', 'A', 'a', 'B']|min }} {{ ['b', 'A', 'a', 'B']|sort(reverse=true) }}",
    "{{ ['b', 'A', 'a']|sort(case_sensitive=true) }} {{ [{'k': 2}, {'k': 1}]|sort(attribute='k') }} {{ {'a': 2, 'B': 1}|dictsort(false, 'value') }} {{ {'a': 2, 'B': 1}|dictsort(reverse=true) }}",
    "{{ ' a '|trim }}|{{ 'xax'.strip('x') }}|{{ ' a '.lstrip() }}|{{ ' a '.rstrip() }}|{{ 'xxa'|trim('x') }}", "{{ 'ab'.startswith(('b', 'a')) }} {{ 'ab'.endswith('b') }} {{ 'ab'.startswith('b') }}", "{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|join('-') }}", "{{ messages|rejectattr('role', 'in', ['user'])|list|length }}", "{{ messages|selectattr('role')|list|count }}",
    "{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a-b-c'.rsplit('-', 1) }} {{ 'a-b-c'.split('-', 1) }} {{ ' a b  c '.split(none, 1) }} {{ ''.split('x') }} {{ ''.split() }}", "{{ 'x</think>y'.split('</think>')[-1].lstrip('\\n') }}", "{{ 'a\\nb\\n\\nc'.splitlines() }} {{ 'aXbX'.replace('X', '-') }} {{ 'aXbX'.replace('X', '-', 1) }} {{ 'ab'|replace('', '.') }}",
    "{{ none is none }} {{ tools is defined }} {{ nope is defined }} {{ 'a' is string }} {{ {} is mapping }} {{ [] is sequence }} {{ 'a' is sequence }} {{ 1 is number }} {{ true is boolean }} {{ 1.5 is float }} {{ 1 is integer }} {{ true is integer }} {{ [] is iterable }} {{ 5 is iterable }}", "{{ nope is none }} {{ tools is none }} {{ false is false }} {{ 0 is false }} {{ 3 is odd }} {{ 'a' is eq 'a' }} {{ 1 is in [1] }} {{ not 1 is none }} {{ 1 is not none }} {{ 'A' is upper }} {{ 'a1' is lower }} {{ 2 is gt 1 }}",
    "{{ nope|default('d') }} {{ ''|default('d', true) }} {{ none|default('d') }} {{ nope|d }}| {{ {'b': 1, 'a': 2}|dictsort }} {{ {'a': 1}|items|list }}", "{{ [3, 1, 2]|sort }} {{ [3, 1, 2]|sort(reverse=true) }} {{ ['b', 'A', 'c']|sort }} {{ [1, 1, 2]|unique|list }} {{ [1, 2]|sum }} {{ [1, 5, 2]|max }} {{ [4, 1]|min }} {{ [1, 2]|first }} {{ [1, 2]|last }} {{ []|first }}|",
    "{{ 'a\\nb\\n\\nc'|indent(2) }}|{{ 'a\\nb'|indent }}|{{ 'a\\nb'|indent(1, true) }}|{{ 'a\\n\\nb'|indent(1, blank=true) }}", "{{ '{} {x} {{}} {0}'.format(1, x=2) if false else '{} {x}'.format(1, x=2) }} {{ 'hELLO wORLD'|title }} {{ 'aB cD'|capitalize }} {{ 'ab'.upper() }} {{ 'AB'.lower() }} {{ 'aB'.capitalize() }}", "{{ 'abcabc'.find('c') }} {{ 'abcabc'.rfind('c') }} {{ 'a'.find('z') }} {{ 'abab'.count('ab') }} {{ '12'.isdigit() }} {{ 'a1'.isalnum() }} {{ 'a'.isalpha() }} {{ ' '.isspace() }} {{ 'A'.isupper() }} {{ 'a'.islower() }}",
    "{{ messages[0].get('nope', 'd') }} {{ messages[0].get('nope') }} {{ messages[0].get('role') }} {{ {'a': 1}.keys()|list }} {{ {'a': 1}.values()|list }}", "{{ '3'|int }} {{ '3.7'|int }} {{ 'x'|int }} {{ 'x'|int(5) }} {{ 3.9|int }} {{ '2.5'|float }} {{ 'x'|float }} {{ 2.567|round(2) }} {{ 2.5|round }} {{ 7|string + '' }}", "{{ [1, 2]|map('string')|join(',') }} {{ ['a', 'b']|map('upper')|list }} {{ [1, 2, 3]|select('odd')|list }} {{ [0, 1]|select|list }} {{ [1, 2, 3]|reject('odd')|list }} {{ [{'a': 1}, {}]|map(attribute='a', default=0)|list }}",
    "{{ 'abc'|reverse }} {{ [1, 2]|reverse|list }} {{ 'abc'|length }} {{ 'a b c'|wordcount }} {{ '<a & b>'|e }} {{ '<a>'|safe }} {{ 'abc'|list }} {{ [1, [2]]|string }}", "{{ ['a', 'b', 'a'].count('a') }} {{ ['a', 'b'].index('b') }} {{ ','.join(['a', 'b']) }} {{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('c') }}", "{{ strftime_now('%Y-%m-%d %d %b %Y %B %A %j %H:%M') }}",
    "{{ {'b': [1, 2.5, none, true], 'a': '<\u00e9\\n\\\"\\\\'}|tojson }}", "{{ {'b': [1], 'a': '\u00e9\U0001f60a'}|tojson(ensure_ascii=true, sort_keys=true) }}", "{{ {'a': [1, {}], 'b': []}|tojson(indent=2) }}", "{{ [1, {'a': 2}]|tojson(separators=(',', ':')) }}", "{{ messages|tojson(indent=4) }}", "{{ 'x'|tojson }} {{ none|tojson }} {{ 1.0|tojson }} {{ [1, 2]|tojson(indent='--') }}", "{{ nope|tojson }}", "{{ [1].append(2) }}", "{{ 'a'.nope() }}", "{{ 1|nope }}", "{{ 1 is nope }}", "{{ nope|length }} {{ nope|trim }}|{{ nope|upper }}|{{ nope|list }} {{ nope|join }}", "{{ 5|length }}", "{{ 5|trim }} {{ 5|upper }} {{ none|trim }}", "{{ ['a', 1]|join('-') }} {{ 'abc'|join('-') }}", "{{ range(3)|list }} {{ range(1, 7, 2)|list }} {{ range(3, 0, -1)|list }} {{ dict(a=1) }} {{ dict({'a': 1}, b=2) }}",
]


def text(source):
    try:
        return plain_jinja(source).render(
            messages=MESSAGES, tools=None, documents=None, bos_token="<s>", add_generation_prompt=True
        )
    except Exception:  # what jinja2 and Python raise is theirs; that they do is what counts
        return None


def write_all(out):
    """The golden below `out`."""
    sources = WHITE_SPACE + VALUES + SCOPES + FILTERS
    rows = [{"template": source, "text": text(source)} for source in sources]
    (out / "golden" / "jinja.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write")
    write_all(parser.parse_args().out)
