"""The command line of a daemon: its flags, the site's options, and what its program supports."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import salt.utils.path

from infra_formula import process, program_facts
from infra_formula.daemon import checks
from infra_formula.daemon.model import Daemon, Flag
from infra_formula.errors import InvalidInput, Refused

_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")
_TIMEOUT = 20  # seconds for --help and --version


def command_line(daemon: Daemon) -> list[str]:
    """Program, flags and options of a daemon.

    An option replaces the flag of its name; if the program takes that flag several times, the
    option is added. An option that excludes a flag (``unless``) leaves it out.

    Raises InvalidInput, naming the parameter, for options that are no list of arguments.
    """
    problem = options_problem(daemon["options"])
    if problem:
        raise InvalidInput(f"{daemon['options_parameter']}: {problem}")
    options = words(daemon["options"])
    names = {_name(option) for option in options if option.startswith("-")}
    flags = [
        flag["text"]
        for flag in daemon["flags"]
        if "help" not in flag
        and (flag.get("repeatable") or _name(flag["text"]) not in names)
        and not names & {*flag.get("unless", [])}
    ]
    return [daemon["program"], *flags, *options]


def at_next_start(daemon: Daemon, given: list[str]) -> list[str]:
    """Flags for which a daemon is not restarted: it gets them at its next start.

    given
        What it runs with. A flag that it has, with another value, is none of these.
    """
    names = {_name(word) for word in given}
    return [
        flag["text"]
        for flag in daemon["flags"]
        if flag.get("at_next_start") and _name(flag["text"]) not in names
    ]


def words(options: str | list[str]) -> list[str]:
    """Arguments of a daemon's options, which are a line as a shell reads it, or a list of them."""
    return shlex.split(options) if isinstance(options, str) else list(options)


def options_named(options: str | list[str], *prefixes: str) -> list[str]:
    """Those of a daemon's options whose names begin with one of some prefixes.

    prefixes
        Without dashes.

    A program that checks a file has to read it as the daemon will, with the same options.
    """
    names: list[str] = []
    is_value = False
    for word in words(options):
        if word.startswith("-"):
            wanted = _name(word).startswith(prefixes)
            is_value = wanted and "=" not in word
        else:
            wanted, is_value = is_value, False
        if wanted:
            names.append(word)
    return names


def has_tls(options: str | list[str]) -> bool:
    """Whether options give a program a certificate, by the flag of exporters or VictoriaMetrics."""
    if options_problem(options):
        return False
    values = {_name(word): word.partition("=")[2] for word in words(options) if word[:1] == "-"}
    return "web.config.file" in values or values.get("tls") in ("", "true")


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
        _unconditional(flag)
        for flag in daemon["flags"]
        if "help" not in flag or re.search(flag["help"], printed)
    ]
    return supported


def _unconditional(flag: Flag) -> Flag:
    rest = flag.copy()
    rest.pop("help", None)
    return rest


def _help(program: str) -> str:
    outcome = process.run([program, "--help"], timeout=_TIMEOUT)
    printed = f"{outcome['stdout']}\n{outcome['stderr']}"
    if outcome["retcode"] in (0, 1, 2):  # a program may exit so after its help; not 124, in time
        program_facts.remember(program, "--help", printed)
    return printed


def options_problem(options: object) -> str | None:
    r"""Why options cannot stand in an environment file; None if they can.

    The environment file and systemd each interpret ``\``, ``"`` and ``$`` in their own way: in a
    line they are refused, because it is not clear who is to read them; in a list each element is
    one argument, and is escaped for both.
    """
    if isinstance(options, list):
        for index, word in enumerate(options):
            if not isinstance(word, str) or _CONTROL.search(word):
                return f"expected arguments, each on one line, got {word!r} as number {index + 1}"
        return None
    expected = "expected arguments separated by blanks, one with blanks in single quotes"
    if not isinstance(options, str) or _CONTROL.search(options):
        return f"{expected}, on one line, got {options!r}"
    if set(options) & set('\\"$`'):
        return (
            f'{expected}, without \\ " $ or `, got {options!r}; '
            "a list of arguments may have any of them"
        )
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
