"""Text of generated files: served templates and data in YAML."""

import pytest
import salt.utils.yaml
import yaml
from hypothesis import given
from hypothesis import strategies as st
from infra_formula import templates
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.minion import Minion


def test_a_file_is_read_where_salt_serves_it():
    served = {"salt://infra/a.j2": "text"}
    minion = Minion({"cp.get_file_str": lambda path: served.get(path, "")})
    assert templates.read(minion, "salt://infra/a.j2") == "text"
    with pytest.raises(CommandFailed, match=r"^salt://infra/b.j2 is not served"):
        templates.read(minion, "salt://infra/b.j2")


def test_values_filters_and_imports_are_rendered():
    text = (
        "{% import 'm' as m %}\n"
        "  {% if a %}\n"
        "{{ m.twice('ä') }} {{ a | tojson }} {{ a | up }}\n"
        "  {% endif %}\n"
    )
    macro = "{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}"
    rendered = templates.render(
        "x", text, {"a": "é<"}, imports={"m": macro}, filters={"up": str.upper}
    )
    assert rendered == 'ää "é<" É<\n'


def test_square_brackets_leave_braces_alone():
    text = "[# no #][% if a %]{{ $value }} [[ a ]][% endif %]"
    assert templates.render("x", text, {"a": 1}, square_brackets=True) == "{{ $value }} 1"


@pytest.mark.parametrize("text", ["{{ missing }}", "{% if %}", "{% import 'no' as n %}"])
def test_a_broken_template_is_named(text):
    with pytest.raises(InvalidInput, match=r"^salt://infra/x.j2: "):
        templates.render("salt://infra/x.j2", text, {})


def test_yaml_keeps_the_order_and_every_character_on_one_line():
    data = {"b": "ä " * 300, "a": [1, {"c": None}]}
    text = templates.to_yaml(data)
    assert text.splitlines()[0].startswith("b: ")
    assert "ä" in text
    assert yaml.safe_load(text) == data


TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def without_surrogates(value):
    """What a value is in YAML, which has no surrogates."""
    if isinstance(value, str):
        return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in value)
    if isinstance(value, list):
        return [without_surrogates(inner) for inner in value]
    if isinstance(value, dict):
        return {without_surrogates(k): without_surrogates(v) for k, v in value.items()}
    return value


@given(VALUE)
def test_any_character_is_the_same_in_yaml(value):
    wanted = without_surrogates(value)
    # Two keys may be one without their surrogates.
    if repr(wanted).count(":") == repr(value).count(":"):
        assert salt.utils.yaml.safe_load(templates.to_flow_yaml(value)) == wanted


@pytest.mark.parametrize("text", ["\U0001f600", "\\ud83d\\ude00", "\x7f", "\ue000\uffff", "a\\"])
def test_characters_that_json_and_yaml_write_differently(text):
    assert salt.utils.yaml.safe_load(templates.to_flow_yaml([text])) == [text]
