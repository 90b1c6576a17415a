"""Benchmarks are run, and docs/benchmarks.md is made of what they tell (test/bench/report.py)."""

from __future__ import annotations

import ast
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "test/bench/results.json"
PAGE = ROOT / "docs/benchmarks.md"
REPOSITORY = ROOT / "docs/repository.md"
BEGIN, END = "<!-- Written by `make bench BENCH=repo`. -->\n", "<!-- End of what it writes. -->\n"
VARIABLE = "INFRA_BENCH_REPORT"

INTRO = """\
<!-- Written by `make bench` from test/bench/results.json; run that. -->
# Benchmarks

For people who ask how fast the formula is. After this page you know what was measured, compared
with which other tool, and the result. `make bench` runs all benchmarks and writes this page;
`make bench BENCH="portal register"` runs two of them and keeps the other results.

If another tool does the same, both run one after the other on the same machine. Compare the ratio:
seconds depend on the machine. The tests do not run benchmarks and assert nothing about time.
"""


def benches() -> list[Path]:
    """Return the benchmarks: every executable bench_*.py."""
    return sorted(path for path in RESULTS.parent.glob("bench_*.py") if os.access(path, os.X_OK))


def read() -> dict[str, Any]:
    """Return the results that are kept, by the name of the benchmark."""
    return dict(json.loads(RESULTS.read_text(encoding="utf-8"))) if RESULTS.exists() else {}


def tables(path: Path) -> list[dict[str, Any]]:
    """Return the tables that a benchmark handed over."""
    return list(json.loads(path.read_text(encoding="utf-8")))


def write(results: dict[str, Any]) -> None:
    """Keep results, and write the page of them."""
    text = json.dumps(dict(sorted(results.items())), indent=1, ensure_ascii=False)
    RESULTS.write_text(text + "\n", encoding="utf-8")
    PAGE.write_text(document(results), encoding="utf-8")
    if "repo" in results:
        before, _, rest = REPOSITORY.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        text = "".join([before, BEGIN, "\n", repository_speed(results["repo"]), END, after])
        REPOSITORY.write_text(text, encoding="utf-8")


def repository_speed(told: dict[str, Any]) -> str:
    """Return what docs/repository.md says of speed: how many times as long as its peers ours takes.

    Args:
        told: the results of the benchmark of the repository.
    """
    parts = []
    for table in told["tables"]:
        rows = [[row[0], *row[3:]] for row in table["rows"] if row[3]]
        if rows:
            parts.append(_table({**table, "head": ["", *table["head"][3:]], "rows": rows}) + "\n")
    return "".join(parts) + f"{told['when']}, {told['machine']}.\n\n"


def document(results: dict[str, Any]) -> str:
    """Return the page.

    Args:
        results: by the name of a benchmark, its `tables`, `when` and `machine`.
    """
    parts = [INTRO]
    for bench in benches():
        name = bench.stem.removeprefix("bench_")
        summary, _, about = _docstring(bench).partition("\n\n")
        parts.append(f"## {_title(name)}\n\n{summary.strip()}\n")
        about = re.sub(r"(?m)^Usage: .*\n*", "", about).strip()
        if about:
            parts.append(f"{about}\n")
        told = results.get(name)
        if not told:
            parts.append(f"No result is recorded. `make bench BENCH={name}` records one.\n")
            continue
        parts += [_table(table) for table in told["tables"]]
        parts.append(f"{told['when']}, {told['machine']}.\n")
    return "\n".join(parts)


def circumstances() -> dict[str, str]:
    """Return when and on what this is run, as the page tells it."""
    model = re.search(r"(?m)^model name\s*: (.*)$", _text("/proc/cpuinfo"))
    memory = re.search(r"(?m)^MemTotal:\s*(\d+) kB", _text("/proc/meminfo"))
    system = re.search(r'(?m)^PRETTY_NAME="(.*)"$', _text("/etc/os-release"))
    facts = [
        f"{os.cpu_count()} x {model[1].strip() if model else platform.machine()}",
        f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "",
        system[1] if system else platform.system(),
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
        f"Salt {metadata.version('salt')}",
    ]
    return {
        "when": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "machine": ", ".join(fact for fact in facts if fact),
    }


def run(names: list[str]) -> list[str]:
    """Run benchmarks one after the other, and keep what they tell.

    Args:
        names: of benchmarks, `portal` for bench_portal.py; all if empty.

    Returns:
        Those that failed, or met no bar of theirs.

    Raises:
        ValueError: there is none of that name.
    """
    known = {bench.stem.removeprefix("bench_"): bench for bench in benches()}
    unknown = sorted(set(names) - set(known))
    if unknown or not known:
        raise ValueError(f"expected some of {', '.join(known)}, got {', '.join(unknown)}")
    kept = read()
    failed = []
    for name in names or known:
        print(f"== {known[name].name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            told = Path(folder, "tables.json")
            environment = {"PYTHONPATH": str(ROOT / "test"), VARIABLE: str(told)}
            done = subprocess.run(
                [sys.executable, known[name]], env={**os.environ, **environment}, check=False
            )
            if done.returncode:
                failed.append(name)
            if told.exists():
                kept[name] = {**circumstances(), "tables": tables(told)}
    write(kept)
    return failed


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _title(name: str) -> str:
    return {"apply": "An apply that changes nothing"}.get(name, name.capitalize())


def _table(table: dict[str, Any]) -> str:
    lines = [table["head"], ["---"] + ["--:"] * (len(table["head"]) - 1), *table["rows"]]
    return (
        "\n".join([f"{table['title']}:\n", *("| " + " | ".join(line) + " |" for line in lines)])
        + "\n"
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
