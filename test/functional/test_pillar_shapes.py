"""Whatever a pillar gives, all SLS render: what is wrong with it the gate tells, by its key.

A template that fails ends the run before the gate, with a line of Jinja in the place of a key.
"""

from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).resolve().parent.parent.parent
SHAPES = yaml.safe_load((REPO / "infra/map/shapes.yaml").read_text(encoding="utf-8"))
EXAMPLE = yaml.safe_load((REPO / "pillar.example").read_text(encoding="utf-8"))["infra"]
OF_SHAPE = {"list": [1, {"a": 1}], "mapping": {"a": [1]}, "scalar": "x y", "nothing": None}
HOSTS = {"infra-1": {"infra_seq": 1}}
# The map itself refuses another packaging, by name: it says which files there are to read.
NAMES = set(SHAPES) - {"infra_packaging", "infra_hosts"}


def render(modules, **given):
    infra = {**EXAMPLE, "infra_packaging": "distro", "infra_hosts": HOSTS, **given}
    found = modules.state.show_low_sls("infra", pillar={"infra": infra})
    assert [chunk for chunk in found if not isinstance(chunk, dict)] == []
    (gate,) = (chunk for chunk in found if chunk["__id__"] == "infra-pillar-valid")
    assert gate["failhard"]
    return modules.infra_pillar.validate(pillar={"infra": infra})["errors"]


@pytest.mark.parametrize("shape", OF_SHAPE)
def test_a_value_of_a_shape_that_is_not_expected_is_told_of_by_its_key(modules, shape):
    wrong = {name: OF_SHAPE[shape] for name in NAMES if shape not in SHAPES[name]}
    assert len(wrong) > 20
    errors = render(modules, **wrong)
    untold = [name for name in wrong if not any(error.startswith(name) for error in errors)]
    assert untold == []


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        ("scalar", 'a: "b\n{'),
        ("scalar", "x'y: ["),
        ("list", [1, {"a": 1}]),
        ("list", [None, "x", ["y"]]),
        ("mapping", {"a": [1]}),
        ("mapping", {"a": "x"}),
        ("mapping", {"a": None}),
    ],
)
def test_what_is_in_a_value_breaks_no_template(modules, shape, value):
    assert render(modules, **{name: value for name in NAMES if shape in SHAPES[name]})


@pytest.mark.parametrize(
    "given",
    [
        {"infra_hosts": {"infra-1": {"infra_seq": "x"}, "10.10.10.11": {"infra_seq": 1}}},
        {"infra_hosts": {"infra-1": {"infra_seq": [1]}}},
        {"infra_hosts": {"infra-1": {"infra_seq": 1}, "10.10.10.11": {"infra_seq": 1}}},
        {"infra_hosts": [1]},
        {"dns_records": ["10.10.10.10"]},
        {"nodes": {"infra-1": {"infra_portal": "x"}}},
    ],
)
def test_a_slip_of_one_parameter_is_told_of_by_its_key(modules, given):
    errors = render(modules, **given)
    assert any(error.startswith(tuple(given)) for error in errors), errors
