"""Text of generated files: served templates and data in YAML."""

import functools
import os
import stat
import sys
import tempfile
from unittest.mock import create_autospec

import infra_formula
import jinja2
import pytest
import salt.utils.yaml
import yaml
from hypothesis import given
from hypothesis import strategies as st
from infra_formula import compiled, templates
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


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(VALUE)
def test_any_character_is_the_same_in_yaml(value):
    assert salt.utils.yaml.safe_load(templates.to_flow_yaml(value)) == value


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        *((text, text) for text in ("\U0001f600", "\\ud83d\\ude00", "\x7f", "\ue000\uffff", "a\\")),
        ("\ud83d", "\ufffd"),  # half a character
        ("\ude00\ud83d", "\ufffd\ufffd"),
    ],
)
def test_characters_that_json_and_yaml_write_differently(text, wanted):
    assert salt.utils.yaml.safe_load(templates.to_flow_yaml([text])) == [wanted]


@pytest.fixture
def compiled_file(tmp_path, monkeypatch):
    """The file of compiled templates, elsewhere, and a process that has read nothing yet."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "cache" / "compiled.templates"
    path.parent.mkdir(mode=0o700)
    monkeypatch.setattr(compiled, "path", create_autospec(compiled.path, return_value=path))
    monkeypatch.setattr(compiled, "CACHE", compiled.Cache())
    return path


@pytest.fixture
def compilations(monkeypatch):
    """Names of the templates that were compiled, in their order."""
    names = []
    compile_template = jinja2.Environment.compile

    def counted(self, source, name=None, filename=None, **options):
        names.append(name)
        return compile_template(self, source, name, filename, **options)

    monkeypatch.setattr(jinja2.Environment, "compile", counted)
    return names


def another_process(monkeypatch):
    monkeypatch.setattr(compiled, "CACHE", compiled.Cache())


def test_a_template_is_compiled_once_also_by_other_processes(
    compiled_file, compilations, monkeypatch
):
    for value in (1, 2):
        assert templates.render("x", "{{ a }}", {"a": value}) == str(value)
    another_process(monkeypatch)
    assert templates.render("x", "{{ a }}", {"a": 3}) == "3"
    assert compilations == ["x"]
    assert stat.S_IMODE(compiled_file.stat().st_mode) == 0o600
    assert [p.name for p in compiled_file.parent.iterdir()] == [compiled_file.name]


def test_what_a_template_is_compiled_from_is_what_it_is_found_by(compiled_file, compilations):
    text = "{{ a }}[[ a ]]"
    assert templates.render("x", text, {"a": 1}) == "1[[ a ]]"
    assert templates.render("x", text, {"a": 1}, square_brackets=True) == "{{ a }}1"
    loader = jinja2.DictLoader({"x": text})
    assert templates.make_environment(loader, autoescape=True).get_template("x").render(a="<") == (
        "&lt;[[ a ]]"
    )
    # A constant is filtered when the template is compiled: made at run time, no filter is known.
    for word in ("one", "two"):
        filters = {"say": functools.partial(str.format, word)}
        assert templates.render("y", "{{ 'a' | say }}", {}, filters=filters) == word
    assert compilations == ["x", "x", "x", "y", "y"]


def spoil_owner(path):
    os.chown(path, 65534, -1)


def spoil_mode(path):
    path.chmod(0o666)


def spoil_folder(path):
    path.parent.chmod(0o777)


def spoil_content(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def spoil_length(path):
    path.write_bytes(path.read_bytes()[:-1])


def spoil_link(path):
    target = path.rename(path.with_name("other"))
    path.symlink_to(target)


def spoil_all(path):
    path.write_bytes(b"")


@pytest.mark.skipif(os.geteuid() != 0, reason="a file is given to another user")
@pytest.mark.parametrize(
    "spoil",
    [
        spoil_owner,
        spoil_mode,
        spoil_folder,
        spoil_content,
        spoil_length,
        spoil_link,
        spoil_all,
    ],
)
def test_compiled_templates_that_another_may_have_written_are_not_run(
    compiled_file, compilations, monkeypatch, spoil
):
    """Code of the same key that renders something else is what an attacker would leave there."""
    templates.render("x", "{{ a }}", {"a": 1})
    (key,) = compiled.CACHE._codes
    poison = templates.make_environment(jinja2.DictLoader({}))
    compiled.CACHE._codes[key] = poison.compile("poisoned", "x")
    compiled._write(compiled.CACHE._codes)
    another_process(monkeypatch)
    assert templates.render("x", "{{ a }}", {"a": 1}) == "poisoned"  # the poison works
    spoil(compiled_file)
    another_process(monkeypatch)
    compilations.clear()
    assert templates.render("x", "{{ a }}", {"a": 1}) == "1"
    assert compilations == ["x"]


def test_compiled_templates_of_another_release_are_not_used(
    compiled_file, compilations, monkeypatch
):
    templates.render("x", "{{ a }}", {"a": 1})
    monkeypatch.setattr(infra_formula, "_LOADED", {**infra_formula._LOADED, "new.py": None})
    another_process(monkeypatch)
    templates.render("x", "{{ a }}", {"a": 1})
    assert compilations == ["x", "x"]


def test_a_template_renders_where_nothing_can_be_kept(compiled_file, monkeypatch):
    monkeypatch.setattr(tempfile, "mkstemp", create_autospec(tempfile.mkstemp, side_effect=OSError))
    assert templates.render("x", "{{ a }}", {"a": 1}) == "1"
    compiled_file.parent.rmdir()
    assert templates.render("y", "{{ a }}", {"a": 1}) == "1"


def test_compiled_templates_are_bounded(compiled_file, monkeypatch):
    monkeypatch.setattr(compiled, "_LIMIT", 3)
    for number in range(5):
        templates.render("x", f"{{{{ a }}}} {number}", {"a": 1})
    assert len(compiled._read()) == 2
