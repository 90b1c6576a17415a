"""Checks of pillar values: what passes, what does not, and what the message says."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from _modules import infra_schema as schema

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

CASES = yaml.safe_load("""
port: {good: [1, 80, 65535], bad: [0, 65536, -1, "80", true, 8.5, null]}
path: {good: [/www, /data/web.io], bad: [www, "", "/a b", "/a;b", "/a/../b", "/a{b", "/a\\nb", 7]}
domain:
  good: [i.pigsty, a, xn--bcher-kva.example, "*.pigsty", A.PIGSTY]
  bad: ["", "a b", "-a.b", "a-.b", "a..b", ".a", "a_b.c", "a;b", "10.10.10.10", "b.*", 7, true]
endpoint:
  good: ["127.0.0.1:80", "web:8080", "my_app:1", "[::1]:80", "unix:/run/a.sock", "a.b.c:65535"]
  bad: ["web", "web:", ":80", "web:0", "web:65536", "1.2.3:80", "256.1.1.1:80", "http://a:80",
        "[::g]:80", "unix:a", "a b:80", "a;b:80", "*.a:80", "a:80\\n", "a:٣", 8080, null]
duration: {good: [30s, 5m, 15d, 100ms, 1y], bad: ["", "30", s, 1h30m, 30 s, -1s, 5, null]}
days: {good: [397d, 1d], bad: [0d, 397, 1y, d, -1d]}
size: {good: [0, 400m, 1g, "10", 1024], bad: [-1, "", 1.5m, 4t, true]}
url: {good: ["http://a", "https://a.b:8443/c?d=e"], bad: [a, "ftp://a", "http://", "http://a b", "http://a:x", 1]}
ip: {good: [10.10.10.10, "::1"], bad: [10.10.10, a, "fe80::1%eth0", 1, null]}
name: {good: [a, pigsty.demo, a_b-c.d], bad: ["", .a, a/b, "a b", "a;b", ünicode]}
quoted: {good: ["", Auth wiki, 认证], bad: ['a"b', 'a\\\\b', "a$b", "a;b", "a{b", "a\\nb", 1]}
text: {good: ["a\\n\\tb"], bad: ["a\\0b", "a\\rb", 1]}
line: {good: ["a b"], bad: ["a\\nb", "a\\u2028b", 1, null]}
bool: {good: [true, false], bad: [1, "true", null]}
int: {good: [0, -5], bad: [true, "1", 1.0]}
"null": {good: [null], bad: ["", 0]}
""")
FLAT = [
    (kind, good, v)
    for kind, c in CASES.items()
    for good in (True, False)
    for v in c["good" if good else "bad"]
]


@pytest.mark.parametrize(("kind", "good", "value"), FLAT)
def test_scalar(kind, good, value):
    errors = schema.check("key", value, {"type": kind})
    assert (errors == []) is good
    if errors:
        assert errors[0].startswith("key: expected ")


def test_a_boolean_where_a_string_is_expected_is_explained():
    assert "YAML reads unquoted on" in schema.check("k", True, {"type": "line"})[0]
    assert "YAML" not in schema.check("k", "x", {"type": "bool"})[0]


def test_unknown_key_names_the_nearest():
    rule = {"type": "map", "keys": {"websocket": {"type": "bool"}}}
    assert schema.check("e", {"websockt": True}, rule) == [
        "e.websockt: unknown key; did you mean 'websocket'?"
    ]


def test_missing_key_is_named():
    rule = {"type": "map", "keys": {"infra_seq": {"type": "int"}}, "required": ["infra_seq"]}
    assert schema.check("infra_hosts.a", {}, rule) == ["infra_hosts.a.infra_seq: missing"]


def test_every_error_of_a_list_is_told_with_its_index():
    rule = {"type": "list", "items": {"type": "port"}}
    found = schema.check("ports", [80, "a", 0], rule)
    assert [e.split(":")[0] for e in found] == ["ports[1]", "ports[2]"]


def test_either_prefers_the_choice_of_the_same_kind():
    rule = {"either": [{"type": "endpoint"}, {"type": "list", "items": {"type": "endpoint"}}]}
    assert schema.check("e", ["a:1", "b"], rule)[0].startswith("e[1]: expected host:port")
    assert " or a list" in schema.check("e", 5, rule)[0]
    assert schema.check("e", ["a:1"], rule) == []


def test_limits_and_choices():
    assert "from 1 to 9" in schema.check("n", 10, {"type": "int", "min": 1, "max": 9})[0]
    assert "at least 1" in schema.check("n", 0, {"type": "int", "min": 1})[0]
    assert "at most 9" in schema.check("n", 10, {"type": "int", "max": 9})[0]
    found = schema.check("m", "enabel", {"type": "line", "enum": ["enable", "disable"]})[0]
    assert found.endswith("did you mean 'enable'?")


@given(ANYTHING, st.sampled_from(sorted(CASES)))
def test_any_value_gets_an_answer(value, kind):
    for error in schema.check("key", value, {"type": kind}):
        assert error.startswith("key: expected ")
        assert len(error) < 300


@given(ANYTHING)
def test_any_map_gets_an_answer(value):
    rule = {"type": "map", "keys": {"a": {"type": "list", "items": {"type": "port"}}}}
    assert all(e.startswith("p") for e in schema.check("p", value, rule))
