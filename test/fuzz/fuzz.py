#!/usr/bin/env python3
"""Fuzz every parser for a given time, and keep what is found.

Usage: test/fuzz/fuzz.py [MINUTES] [TARGET...]

Each target (test/fuzz/targets.py) gets the same share of the time, ten minutes in all if not told
otherwise. A finding is an exception that the parser does not document, a check that does not hold,
or an example that takes more than five seconds. The smallest example of each is written to
test/fuzz/found, from where test/unit/test_fuzz_found.py tries it again ever after. Ends with 1
where there is a new one.
"""

import contextlib
import hashlib
import json
import logging
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from targets import TARGETS, Target

FOUND = Path(__file__).resolve().parent / "found"
SLOW = 5.0  # seconds
BATCH = 400


class SlowError(Exception):
    """An example took too long."""


def attempt(target: Target, example: object) -> None:
    """Hand an example to a target; raises what is a finding."""
    begun = time.process_time()
    with contextlib.suppress(*target.refused, *target.raises):
        target.run(example)
    if time.process_time() - begun > SLOW:
        raise SlowError(f"took {time.process_time() - begun:.1f} s")


def place(error: BaseException) -> str:
    """Where in the formula an exception comes from; tells one finding from another."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if "/infra_formula/" in f.filename
    ]
    where = f"{Path(frames[-1].filename).stem}:{frames[-1].lineno}" if frames else "check"
    return f"{type(error).__name__} at {where}"


def keep(name: str, example: object, error: BaseException) -> Path:
    """Write an example where the tests find it."""
    text = json.dumps({"target": name, "why": f"{place(error)}: {error}"[:300], "example": example})
    path = FOUND / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    path.write_text(text + "\n", encoding="utf-8")
    return path


def fuzz(name: str, target: Target, seconds: float) -> tuple[int, dict[str, object]]:
    """Try examples for so long; returns how many, and the smallest of each finding."""
    deadline = time.monotonic() + seconds
    tried, found, number = 0, {}, 0

    def body(example: object) -> None:
        nonlocal tried
        tried += 1
        try:
            attempt(target, example)
        except Exception as error:
            what = place(error)
            known = found.get(what)
            text = json.dumps(example, default=repr)
            if known is None or len(text) < len(known[0]):
                found[what] = (text, example, error)

    while time.monotonic() < deadline:
        number += 1
        run = hypothesis_settings(
            max_examples=BATCH,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(given(target.examples)(body))
        seed(int(time.time()) * 1000 + number)(run)()
    return tried, {what: (example, error) for what, (_, example, error) in found.items()}


def main(argv: list[str]) -> int:
    """Fuzz, print the figures, and return 1 where something was found."""
    minutes = float(argv[0]) if argv else 10.0
    names = argv[1:] or list(TARGETS)
    logging.disable(logging.CRITICAL)  # each damaged manifest is told of in the log
    FOUND.mkdir(exist_ok=True)
    total, findings = 0, 0
    print(f"{'target':15} {'executions':>11} {'findings':>9}")
    for name in names:
        tried, found = fuzz(name, TARGETS[name], minutes * 60 / len(names))
        total += tried
        findings += len(found)
        print(f"{name:15} {tried:11} {len(found):9}", flush=True)
        for what, (example, error) in found.items():
            print(f"    {what}: {str(error)[:200]!r}\n    {keep(name, example, error)}", flush=True)
    print(f"{'in all':15} {total:11} {findings:9}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
