"""What fuzzing once found (test/fuzz/found): each is refused, or goes through, ever after."""

import importlib.util
import json
import logging
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parents[1] / "fuzz"
CASES = sorted((FUZZ / "found").glob("*.json"))


@pytest.fixture(scope="module")
def fuzz():
    """The fuzzer, as a module; the modules of the formula are given their dunders back after it."""
    sys.path.insert(0, str(FUZZ))
    spec = importlib.util.spec_from_file_location("fuzz", FUZZ / "fuzz.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names = ("__salt__", "__opts__", "__grains__", "__context__", "_served", "_data")
    missing = object()
    kept = [
        (some, name, getattr(some, name, missing))
        for some in module.MODULES.values()
        for name in names
    ]
    module.wire()
    logging.disable(logging.CRITICAL)
    yield module
    logging.disable(logging.NOTSET)
    sys.path.remove(str(FUZZ))
    for some, name, value in kept:
        if value is not missing:
            setattr(some, name, value)
        elif hasattr(some, name):
            delattr(some, name)


def test_there_are_cases():
    assert CASES


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_what_was_found_is_no_finding_any_more(fuzz, path):
    case = json.loads(path.read_text(encoding="utf-8"))
    fuzz.attempt(fuzz.TARGETS[case["target"]], case["example"])


def test_a_parser_that_lets_an_error_through_is_found(fuzz):
    def bad(example):
        return [][len(example)]

    target = fuzz.Target(bad, fuzz.TARGETS["size"].examples)
    tried, found = fuzz.fuzz("bad", target, 0.01)
    assert tried > 100
    assert list(found) == ["IndexError at check"]
