"""What fuzzing once found (test/fuzz/found): each is refused, or goes through, ever after."""

import importlib.util
import json
import logging
import sys
from pathlib import Path
from unittest.mock import create_autospec

import pytest

FUZZ = Path(__file__).resolve().parents[1] / "fuzz"
CASES = sorted((FUZZ / "found").glob("*.json"))


@pytest.fixture(scope="module")
def fuzz():
    """The fuzzer, as a module."""
    sys.path.insert(0, str(FUZZ))
    spec = importlib.util.spec_from_file_location("fuzz", FUZZ / "fuzz.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    logging.disable(logging.CRITICAL)
    yield module
    logging.disable(logging.NOTSET)
    sys.path.remove(str(FUZZ))


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


def test_the_seed_of_the_pillar_s_target_is_a_valid_pillar(fuzz):
    targets = sys.modules["targets"]
    found = targets.validation.check(targets.MINION, targets.PILLAR, all_minions=True)
    assert found["errors"] == []


def test_the_pillar_s_target_gets_past_the_check_of_types(fuzz, monkeypatch):
    """It once stopped at the first check: its seed held a key that is no parameter."""
    validation = sys.modules["targets"].validation
    deeper = create_autospec(validation._errors_of, side_effect=validation._errors_of)
    monkeypatch.setattr(validation, "_errors_of", deeper)
    tried, found = fuzz.fuzz("pillar", fuzz.TARGETS["pillar"], 0.01)
    assert found == {}
    assert deeper.call_count > tried / 20
