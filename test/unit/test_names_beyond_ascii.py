"""Names with letters beyond ASCII: the error has the form that DNS takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula import punycode
from infra_formula.dns import records
from infra_formula.parameters import schema


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("*.例え.jp", "*.xn--r8jz45g.jp"),
        ("Köln.example", "xn--kln-sna.example"),
    ],
)
def test_the_form_in_ascii_is_suggested(name, form):
    assert punycode.ascii_form(name) == form
    assert form in schema.domain_problem(name)
    if not name.startswith("*"):
        assert form in records.name_problem(name)


@pytest.mark.parametrize("name", ["i.pigsty", "", "a b", "\u200b.x", "ü" * 70 + ".x", "💥..x"])
def test_a_name_without_such_a_form_has_no_suggestion(name):
    assert punycode.ascii_form(name) is None


@given(st.text(max_size=40))
def test_any_text_has_a_valid_form_or_none(text):
    form = punycode.ascii_form(text)
    assert form is None or form.isascii()
    assert (schema.domain_problem(text) is None) <= text.isascii()
