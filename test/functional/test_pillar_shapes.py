"""Whatever a pillar gives, all SLS render, and pillar validation reports what is wrong by its key.

A template that fails ends the run before validation, with a line of Jinja in the place of a key.
"""

from pathlib import Path

import pytest
import yaml
from infra_formula.parameters import merging

REPO = Path(__file__).resolve().parent.parent.parent
EXAMPLE = yaml.safe_load((REPO / "pillar.example").read_text(encoding="utf-8"))["infra"]
OF_SHAPE = {"list": [1, {"a": 1}], "mapping": {"a": [1]}, "scalar": "x y", "nothing": None}
HOSTS = {"infra-1": {"infra_seq": 1}}
OFF = {f"{name}_enabled": False for name in ("vlogs", "vtraces", "grafana", "vector")}
ODD = "\U0001f600 \u00fc \u2028 '\"{%}{{ }}\\ #: - [x] &y *z !t | > %@`\u0085"


def shapes(rule):
    """The shapes that a rule lets pass."""
    found = {shape for choice in rule.get("either", []) for shape in shapes(choice)}
    found |= {"nothing"} if "unset" in rule else set()
    kind = rule.get("type", "any" if not found else None)
    known = {"map": {"mapping"}, "list": {"list"}, "null": {"nothing"}, None: set()}
    return found | {**known, "any": set(OF_SHAPE)}.get(kind, {"scalar"})


SHAPES = {
    name: shapes(rule) for name, rule in merging.rules().items() if name not in ("infra_hosts",)
}


def render(modules, **given):
    infra = {**EXAMPLE, "infra_packaging": "distro", "infra_hosts": HOSTS, **OFF, **given}
    found = modules.state.show_low_sls("infra", pillar={"infra": infra})
    assert [chunk for chunk in found if not isinstance(chunk, dict)] == []
    (valid,) = (chunk for chunk in found if chunk["__id__"] == "infra-pillar-valid")
    assert valid["failhard"]
    errors = modules.infra_pillar.validate(pillar={"infra": infra})["errors"]
    assert bool(valid["errors"]) == bool(errors)
    return errors


@pytest.mark.parametrize("shape", OF_SHAPE)
def test_a_value_of_a_shape_that_is_not_expected_is_reported_by_its_key(modules, shape):
    wrong = {name: OF_SHAPE[shape] for name in SHAPES if shape not in SHAPES[name]}
    assert len(wrong) > 20
    errors = render(modules, **wrong)
    missing = [name for name in wrong if not any(error.startswith(name) for error in errors)]
    assert missing == []


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        ("scalar", 'a: "b\n{'),
        ("scalar", "x'y: ["),
        ("scalar", ODD),
        ("scalar", b"\xff"),
        ("list", [1, {"a": 1}]),
        ("list", [None, "x", ["y"]]),
        ("list", [ODD]),
        ("mapping", {"a": [1]}),
        ("mapping", {"a": "x"}),
        ("mapping", {"a": None}),
        ("mapping", {1: 2, ODD: ODD, None: b"\xff"}),
    ],
)
def test_what_is_in_a_value_breaks_no_template(modules, shape, value):
    assert render(modules, **{name: value for name in SHAPES if shape in SHAPES[name]})


@pytest.mark.parametrize(
    "given",
    [
        {"infra_hosts": {"infra-1": {"infra_seq": "x"}, "10.10.10.11": {"infra_seq": 1}}},
        {"infra_hosts": {"infra-1": {"infra_seq": [1]}}},
        {"infra_hosts": {"infra-1": {"infra_seq": 1}, "10.10.10.11": {"infra_seq": 1}}},
        {"infra_hosts": [1]},
        # Seen from a client, which is given less.
        {"infra_hosts": {"elsewhere": {}}},
        {"infra_hosts": {"elsewhere": {"ip": "10.10.10.10"}, "other": {"infra_seq": 2}}},
        {"dns_records": ["10.10.10.10"]},
        {"nodes": {"infra-1": {"infra_portal": "x"}}},
        {"infra_packaging": "other"},
    ],
)
def test_a_slip_of_one_parameter_is_reported_by_its_key(modules, given):
    errors = render(modules, **given)
    assert any(error.startswith(tuple(given)) for error in errors), errors
