"""The command line of a daemon: its flags, the site's options, and what its program supports."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import salt.utils.path

from infra_formula import process, program_facts
from infra_formula.daemon import checks
from infra_formula.daemon.model import Daemon
from infra_formula.errors import InvalidInput, Refused

_TIMEOUT = 20  # seconds for --help and --version


def command_line(daemon: Daemon) -> list[str]:
    """Program, flags and options of a daemon.

    An option replaces the flag of its name.

    Raises InvalidInput, naming the parameter, for options that are no list of arguments.
    """
    problem = options_problem(daemon["options"])
    if problem:
        raise InvalidInput(f"{daemon['options_parameter']}: {problem}")
    options = shlex.split(daemon["options"])
    replaced = {_name(option) for option in options if option.startswith("-")}
    flags = [
        flag["text"]
        for flag in daemon["flags"]
        if "help" not in flag and _name(flag["text"]) not in replaced
    ]
    return [daemon["program"], *flags, *options]


def _name(flag: str) -> str:
    return flag.lstrip("-").split("=", 1)[0] if flag.startswith("-") else ""


def with_supported_flags(daemon: Daemon) -> Daemon:
    """A daemon without the conditional flags that its installed program does not support.

    A flag with ``help`` is conditional: it stays if that regular expression matches what the
    program prints for ``--help``. Releases of one program differ in their flags and defaults. If
    the program is not installed, no conditional flag stays.
    """
    if not any("help" in flag for flag in daemon["flags"]):
        return daemon
    printed = ""
    if salt.utils.path.which(daemon["program"]):
        known = program_facts.recall(daemon["program"], "--help")
        printed = _help(daemon["program"]) if known is None else known
    supported = daemon.copy()
    supported["flags"] = [
        {"text": flag["text"], "template": flag["template"]}
        for flag in daemon["flags"]
        if "help" not in flag or re.search(flag["help"], printed)
    ]
    return supported


def _help(program: str) -> str:
    outcome = process.run([program, "--help"], timeout=_TIMEOUT)
    printed = f"{outcome['stdout']}\n{outcome['stderr']}"
    if outcome["retcode"] in (0, 1, 2):  # a program may exit so after its help; not 124, in time
        program_facts.remember(program, "--help", printed)
    return printed


def options_problem(options: object) -> str | None:
    r"""Why a string of options cannot stand in an environment file; None if it can.

    The environment file and systemd each interpret ``\``, ``"`` and ``$`` in their own way, so
    that these are refused.
    """
    expected = "expected arguments separated by blanks, one with blanks in single quotes"
    if not isinstance(options, str) or re.search(r"[\x00-\x1f\x7f\u0085\u2028\u2029]", options):
        return f"{expected}, on one line, got {options!r}"
    if set(options) & set('\\"$`'):
        return f'{expected}, without \\ " $ or `, got {options!r}'
    try:
        shlex.split(options)
    except ValueError as err:
        return f"{expected}, got {options!r} ({err})"
    return None


def validate_flags(daemon: Daemon) -> None:
    """Have a program parse its own flags, followed by the one that prints its version.

    Nothing is checked if the program is not installed yet, or if its unit is the package's.

    Raises Refused that names the parameter and quotes the program.
    """
    program = daemon["program"]
    if daemon.get("use_package_unit") or not salt.utils.path.which(program):
        return
    refusal = _refusal([*command_line(daemon), daemon["version"]])
    if refusal is None:
        return
    name = Path(program).name
    # Conditional flags that are not selected yet are not on the command line.
    flags = [flag for flag in daemon["flags"] if "help" not in flag]
    without_options = _refusal([program, *(flag["text"] for flag in flags), daemon["version"]])
    if without_options is None:
        raise Refused(f"{daemon['options_parameter']}: {name} refuses it: {refusal}")
    for flag in flags:
        refusal = _refusal([program, flag["text"], daemon["version"]])
        if refusal is not None:
            parameters = ", ".join(parameters_in(flag["template"])) or flag["text"]
            raise Refused(f"{parameters}: {name} refuses {flag['text']}: {refusal}")
    raise Refused(f"{name} refuses its flags: {without_options}")


def parameters_in(template: str) -> list[str]:
    """Names of the parameters in a flag's template."""
    return re.findall(r"\{(\w+)\}", template)


def _refusal(command: list[str]) -> str | None:
    """The error lines of a command that fails; None if it succeeds."""
    outcome = process.run(command, timeout=_TIMEOUT)
    if outcome["retcode"] == 0:
        return None
    return checks.extract_error_lines(f"{outcome['stderr']}\n{outcome['stdout']}")
