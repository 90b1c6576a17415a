"""Every option that is rendered for Vector, checked against Vector's own component reference."""

import copy
import re
import sys
from pathlib import Path

import pytest
import vector_samples
import yaml

STANDINS = Path(__file__).resolve().parents[1] / "lab/standins"
sys.path.insert(0, str(STANDINS))
import vector_reference  # noqa: E402 - it lies beside the stand-in, which is given it as a file

# Names in them are the site's, or another protocol's.
FREE = ("sources", "transforms", "sinks", "headers")


@pytest.mark.parametrize("sample", vector_samples.SAMPLES)
def test_every_configuration_that_is_rendered_is_as_the_reference_says(sample):
    assert vector_reference.problems(vector_samples.whole(**vector_samples.SAMPLES[sample])) == []


def paths(value, path=()):
    """Every key of a configuration that is an option, by its path."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if not path or path[-1] not in FREE:
            yield (*path, key)
        yield from paths(inner, (*path, key))


WHOLE = vector_samples.whole()
PATHS = [path for path in paths(WHOLE) if path[-1] not in FREE[:3]]


def changed(path, change):
    """A configuration with one option changed by `change(parent, key)`."""
    out = copy.deepcopy(WHOLE)
    parent = out
    for key in path[:-1]:
        parent = parent[key]
    change(parent, path[-1])
    return out


def misspell(parent, key):
    parent[f"{key}s_"] = parent.pop(key)


def mistype(parent, key):
    parent[key] = [["x"]] if isinstance(parent[key], (dict, str, int, bool)) else {"x": 1}


def test_there_are_options():
    assert len(PATHS) > 60


@pytest.mark.parametrize("change", [misspell, mistype])
@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_an_option_that_is_misspelt_or_of_another_type_is_refused_by_its_path(path, change):
    found = vector_reference.problems(changed(path, change))
    parent = ".".join(path[:-1] if path[-1] == "type" else path)
    assert [one for one in found if one.startswith(parent)]


BROKEN = yaml.safe_load(
    (Path(__file__).parent / "cases/vector_options.yaml").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case["refused"])
def test_what_the_reference_does_not_know_is_told(case):
    found = vector_reference.problems(case["config"])
    assert [one for one in found if one.startswith(case["refused"])], found


def test_the_reference_names_its_release():
    text = (STANDINS / "vector_reference.json").read_text(encoding="utf-8")
    assert re.search(r'"version": "0\.\d+\.\d+"', text)


def test_the_generated_form_is_read(tmp_path):
    text = '''package metadata
// said of it
generated: components: sources: a: configuration: {
	b: {
		description: """
			With "quotes" and { brackets }.
			"""
		required: true
		type: array: {
			default: []
			items: type: string: enum: {
				x: "one", "y-z": #"an \\(other)"#
			}
		}
	}
	"*": type: uint: default: 1.5e3
}
'''
    reader = vector_reference._Reader(text)
    options = reader.fields("")["generated"]["components"]["sources"]["a"]["configuration"]
    assert vector_reference._spec(options["b"]) == {
        "types": {"array": {"types": {"string": {"enum": ["x", "y-z"]}}}},
        "required": True,
        "default": [],
    }
    assert options["*"]["type"]["uint"]["default"] == 1500.0
    with pytest.raises(ValueError, match="not of the form"):
        vector_reference._Reader("a: b & c")
