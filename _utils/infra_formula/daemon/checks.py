"""Programs that check a file before it is put in place, and the error lines of their output."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import salt.utils.path
import salt.utils.yaml
import yaml

from infra_formula import credentials, process, redaction

_TIMEOUT = 30  # seconds
_QUOTED_LINES = 6
_LINE_LENGTH = 500
_CRASH = re.compile(r"\bpanic\b|\bfatal\b|SIGSEGV|SIGABRT|out of memory", re.IGNORECASE)
_ERROR = re.compile(
    r"error|cannot|could not|invalid|not defined|not found|unknown|unexpected|fail|denied|missing"
    r"|no such|refused|in use|line \d+:",
    re.IGNORECASE,
)
_EXIT_NOTICE = "error: Main process exited"
_HARMLESS = re.compile(
    rf"{_EXIT_NOTICE}|\blevel=(info|warn|debug)|^\S+\s+(info|warn|debug)\b", re.IGNORECASE
)
_TIMESTAMP = re.compile(
    r"^(time=|ts=)?\"?\d{4}[-/]\d\d[-/]\d\d[T ][\d:.,]+(Z|[+-]\d\d:?\d\d)?\"?\s*"
)


def run_check(
    argv: list[str], name: str, text: str, beside: Mapping[str, str] | None = None
) -> tuple[bool, str]:
    """Have a program check a file before it is put in place.

    argv
        The program and its arguments; ``{path}`` in one of them stands for the file.
    name
        Name of the file in the output, in place of that of the temporary copy.
    text
        Content of the file. It may be secret: only root can read the copy, and it is not logged.
    beside
        Further files that it refers to, by their paths relative to it.

    Returns whether the program succeeded, and its output without the secrets of the file. A
    program that is not installed yet counts as one that succeeded.
    """
    if not salt.utils.path.which(argv[0]):
        return True, ""
    with tempfile.TemporaryDirectory(prefix="infra-") as folder:
        path = Path(folder, Path(name).name)
        path.write_text(text, encoding="utf-8")
        for relative, content in (beside or {}).items():
            other = Path(folder, relative)
            other.parent.mkdir(parents=True, exist_ok=True)
            other.write_text(content, encoding="utf-8")
        command = [word.replace("{path}", str(path)) for word in argv]
        outcome = process.run(command, cwd=folder, timeout=_TIMEOUT)
    output = f"{outcome['stderr']}\n{outcome['stdout']}"
    output = redaction.Scrubber(_secrets(text)).text(output)
    return outcome["retcode"] == 0, output.replace(str(path), name)


def _secrets(text: str) -> set[str]:
    """Credentials in a file, which the program that refuses it may quote in part."""
    secrets = credentials.recognized(text)
    try:
        return secrets | credentials.recognized(salt.utils.yaml.safe_load(text))
    except yaml.YAMLError:
        return secrets


def refusal(argv: list[str], name: str, text: str) -> str | None:
    """As :func:`run_check`; returns the error lines if the program fails, None if it succeeds."""
    succeeded, output = run_check(argv, name, text)
    return None if succeeded else extract_error_lines(output)


def _whole_lines(output: str) -> list[str]:
    """Lines without blanks around them, each with those that its colon announces.

    Such a line is indented, or follows the last words of a program that ends.
    """
    lines: list[str] = []
    for line in output.splitlines():
        belongs = line[:1].isspace() or (lines and _CRASH.search(lines[-1]))
        is_announced = lines and lines[-1].endswith(":") and belongs
        if is_announced and line.strip() and not _TIMESTAMP.match(line):
            lines[-1] += f" {line.strip()}"
        elif line.strip():
            lines.append(line.strip())
    return lines


def extract_error_lines(output: str, last: bool = False) -> str:
    """Extract the lines of a program's output that name its fault.

    Lines of a crash come before all others. Next come lines that report an error, except those
    that are logged as mere warnings; if there are only warnings, those. A line that repeats except
    for its timestamp is quoted once: a unit that keeps restarting writes the same each time.

    output
        What a program wrote.
    last
        Of many lines, quote the last ones: a journal ends with the reason why a unit failed.

    Returns them as one line, without secrets.
    """
    distinct: dict[str, str] = {}
    for line in _whole_lines(redaction.scrub(output)):
        text = _TIMESTAMP.sub("", line)
        if last:
            distinct.pop(text, None)  # it counts at its last place
        distinct[text] = line
    lines = list(distinct.values())
    crashes = [line for line in lines if _CRASH.search(line) and not _HARMLESS.search(line)]
    reports = [line for line in lines if _ERROR.search(line)]
    errors = [line for line in reports if not _HARMLESS.search(line)]
    warnings = [line for line in reports if _EXIT_NOTICE not in line]
    selected = crashes or errors or warnings or lines or ["(no output)"]
    quoted = selected[-_QUOTED_LINES:] if last else selected[:_QUOTED_LINES]
    return " | ".join(line[:_LINE_LENGTH] for line in quoted)
