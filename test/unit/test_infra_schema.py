"""Checks of pillar values: what passes, what does not, and what the message says."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.parameters import schema

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

TABLE = Path(__file__).parent / "cases" / "schema_scalars.yaml"
CASES = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
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
