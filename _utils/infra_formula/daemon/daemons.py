"""Daemons of this formula: their units and flags as text, and what runs of them.

A *daemon* is a row of ``infra/daemons.yaml`` as ``infra/map/daemons.jinja`` fills it in: ``name``,
``title``, ``unit``, ``user``, ``program``, ``flags`` (each ``text`` and the ``template`` it came
from; one with ``help`` is conditional, see :func:`with_supported_flags`), ``options`` (further
flags, one string), ``options_parameter``, ``version`` (the flag that prints it), ``port``,
``port_parameter``, ``health`` (path), ``after`` (units), ``writes`` (directories),
``writes_parameter`` and ``service`` (directives of its own). With ``dropin`` the unit is its
package's own, flags and all, and what is ours is a drop-in; ``seconds`` is how long it may take to
start.
"""

from __future__ import annotations

import errno
import http.client
import ipaddress
import json
import os
import re
import shlex
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import salt.utils.path
import salt.utils.yaml

from infra_formula import process, systemd
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import atomic, manifest
from infra_formula.firewall import entitlements
from infra_formula.minion import Minion

_TRIAL_SECONDS = 30
SERVICE = {
    "Restart": "always",
    "RestartSec": "2",
    "TimeoutStopSec": "30",
    "LimitNOFILE": "65536",
    "UMask": "0027",
    "SupplementaryGroups": "infra",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectProc": "invisible",
    "ProcSubset": "pid",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "KeyringMode": "private",
    "RemoveIPC": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM",
}
"""What each unit says in [Service]; a daemon's own ``service`` overrides it, None drops it."""

_FILES = "salt://infra/daemon/files/"
_FILTERS = (
    "~@clock @cpu-emulation @debug @module @mount @obsolete @privileged @raw-io @reboot @swap",
)
"""System calls that no daemon may make, by systemd's groups (systemd.exec(5)).

A list of what is allowed would refuse the next call that a new release of a program makes:
VictoriaMetrics 1.131 calls mincore(2), which @system-service lacks, and dies of the refusal.
"""
_QUOTED_LINES = 6


# -- text ----------------------------------------------------------------------------------------


def arguments(daemon: dict[str, Any]) -> list[str]:
    """The command line of a daemon: its program, its flags, the operator's options; pure.

    An option takes the place of a flag of ours that has its name.

    Raises SaltInvocationError, naming the parameter, for options that are no list of arguments.
    """
    fault = options_problem(daemon["options"])
    if fault:
        raise InvalidInput(f"{daemon['options_parameter']}: {fault}")
    options = shlex.split(daemon["options"])
    given = {_flag_name(option) for option in options if option.startswith("-")}
    flags = [
        f["text"] for f in daemon["flags"] if "help" not in f and _flag_name(f["text"]) not in given
    ]
    return [daemon["program"], *flags, *options]


def with_supported_flags(daemon: dict[str, Any]) -> dict[str, Any]:
    """A daemon with those of its conditional flags that its installed program is to have.

    daemon
        See the module's own description. A flag with ``help`` is conditional: it stays where that
        regular expression is found in what the program prints for ``--help``. Releases of one
        program differ in the flags that they have, and in what these do by default.

    Returns the daemon with flags that all count; where the program is not installed, without the
    conditional ones.
    """
    if not any("help" in flag for flag in daemon["flags"]):
        return daemon
    printed = ""
    if salt.utils.path.which(daemon["program"]):
        outcome = process.run(
            [daemon["program"], "--help"],
            cwd="/",
            timeout=20,
        )
        printed = f"{outcome['stdout']}\n{outcome['stderr']}"
    flags = [
        {key: value for key, value in flag.items() if key != "help"}
        for flag in daemon["flags"]
        if "help" not in flag or re.search(flag["help"], printed)
    ]
    return {**daemon, "flags": flags}


def _flag_name(flag: str) -> str:
    return flag.lstrip("-").split("=", 1)[0] if flag.startswith("-") else ""


def options_problem(options: Any) -> str | None:
    r"""Why a string of options cannot stand in an environment file; None where it can.

    The environment file and systemd's own splitting are the reason for what is refused: both have
    their own idea of ``\``, ``"`` and ``$``.
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


def files(daemon: dict[str, Any], template: str) -> dict[str, dict[str, Any]]:
    """Render the unit and the environment file of a daemon to an infra_files set; pure.

    daemon
        See the module's own description.
    template
        Text of the unit's template, or of the drop-in's.

    Returns path below ``/etc`` → file.
    """
    variable = variable_name(daemon["unit"])
    service = {**SERVICE, **daemon["service"]}
    # The first line makes it a list of what is denied; a later one takes calls off that list.
    allowed = service.pop("SystemCallFilter", None)
    lines = [(key, value) for key, value in service.items() if value is not None]
    lines += [("SystemCallFilter", value) for value in (*_FILTERS, allowed) if value is not None]
    environment = jinja2.Environment(  # noqa: S701 (the text of a unit, not of a page)
        trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    unit = environment.from_string(template).render(daemon=daemon, variable=variable, service=lines)
    if daemon.get("dropin"):
        return {f"systemd/system/{daemon['unit']}.service.d/infra.conf": {"text": unit}}
    words = " ".join(_word(argument) for argument in arguments(daemon)[1:])
    env = (
        f"# Managed by Salt (infra formula): flags of {daemon['unit']}.\n"
        f"# Changes here are overwritten; set {daemon['options_parameter'] or 'its parameters'}.\n"
        f'{variable}="{words}"\n'
    )
    return {
        f"systemd/system/{daemon['unit']}.service": {"text": unit},
        f"default/{daemon['unit']}": {"text": env},
    }


def concerns_running(current: str, wanted: str) -> bool:
    """Whether a running daemon has to be restarted for its changed unit or environment file; pure.

    A filter of system calls holds from the next start on: a daemon that runs makes no call that it
    did not make before, and is not interrupted for it.

    current
        Text of the file in place.
    wanted
        Text that replaces it.
    """
    return _without_filter(current) != _without_filter(wanted)


def _without_filter(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("SystemCallFilter=")]


def _word(argument: str) -> str:
    return f"'{argument}'" if not argument or re.search(r"[\s;]", argument) else argument


def variable_name(unit: str) -> str:
    """Name of the variable that holds a unit's flags, like ``VMETRICS_OPTS``."""
    return re.sub(r"[^A-Z0-9]", "_", unit.upper()) + "_OPTS"


def unit_template(minion: Minion, dropin: bool = False) -> str:
    """Text of the unit's template, or the drop-in's; a copy in your own file root replaces it."""
    source = _FILES + ("dropin.conf.j2" if dropin else "unit.service.j2")
    text = minion.call("cp.get_file_str", source)
    if not text:
        raise CommandFailed(f"{source} is not served; is the formula in file_roots?")
    return text


def package_problems(
    parameters: dict[str, Any],
    packages: dict[str, Any],
    rows: dict[str, Any],
    components: Iterable[str],
) -> list[str]:
    """Enabled daemons for which the packaging has no package; pure.

    parameters
        All parameters, defaults included.
    packages
        The family's part of ``infra/packages/<infra_packaging>.yaml``.
    rows
        ``infra/daemons.yaml``.
    components
        Names of the components that there are.

    Returns one message per error, each beginning with the parameter that turns the daemon off.
    """
    return [
        f"{row['switch']}: expected false with infra_packaging: {parameters['infra_packaging']}, "
        f"which has no package of {name} ({row['title'].split(',')[0]})"
        for name, row in rows.items()
        if name in components and parameters[row["switch"]] is True and not packages.get(name)
    ]


def problems(minion: Minion, parameters: dict[str, Any], family: str) -> list[str]:
    """What is wrong with the parameters of the daemons: no package, options that are no arguments.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.
    family
        ``Debian`` or ``RedHat``.
    """
    given = {**_data(minion, "defaults.yaml"), **parameters}
    rows = _data(minion, "daemons.yaml")
    components = [row["name"] for row in _data(minion, "components.yaml")]
    packages = _data(minion, f"packages/{given['infra_packaging']}.yaml")[family]
    errors = package_problems(given, packages, rows, components)
    for row in rows.values():
        fault = options_problem(given[row["options"]]) if "options" in row else None
        if fault:
            errors.append(f"{row['options']}: {fault}")
    if given["infra_listen"] == "127.0.0.1" and len(given["infra_hosts"]) > 1:
        errors.append("infra_listen: expected auto or 0.0.0.0 with several INFRA nodes")
    reached = [
        *rows,
        *(row["service"] for row in _data(minion, "reach.yaml") if row["reached_by"] != "all"),
    ]
    errors += entitlements.problems(given, reached)
    for index, network in enumerate(given["node_firewall_intranet"]):
        try:
            ipaddress.ip_network(network)
        except ValueError as err:
            errors.append(
                f"node_firewall_intranet[{index}]: expected a network like 10.0.0.0/8 ({err})"
            )
    return errors


def _data(minion: Minion, name: str) -> Any:
    text = minion.call("cp.get_file_str", f"salt://infra/{name}")
    if not text:
        raise CommandFailed(f"salt://infra/{name} is not served")
    return salt.utils.yaml.safe_load(text)


# -- what the program says -----------------------------------------------------------------------


def refusal(daemon: dict[str, Any]) -> str | None:
    """Why a program does not accept its flags, naming the parameter; None where it does.

    The program itself is asked, with the flag behind them all that has it print its version. Where
    the program is not installed (yet) there is nothing to be said.
    """
    program = daemon["program"]
    if daemon.get("dropin") or not salt.utils.path.which(program):
        return None
    whole = arguments(daemon)
    said = _tried([*whole, daemon["version"]])
    if said is None:
        return None
    # A conditional flag that nobody asked the program about is not on its command line.
    flags = [flag for flag in daemon["flags"] if "help" not in flag]
    own = [flag["text"] for flag in flags]
    alone = _tried([program, *own, daemon["version"]])
    if alone is None:
        return f"{daemon['options_parameter']}: {Path(program).name} refuses it: {said}"
    for flag in flags:
        fault = _tried([program, flag["text"], daemon["version"]])
        if fault is not None:
            names = ", ".join(parameters_of(flag["template"])) or flag["text"]
            return f"{names}: {Path(program).name} refuses {flag['text']}: {fault}"
    return f"{Path(program).name} refuses its flags: {alone}"


def parameters_of(template: str) -> list[str]:
    """Names of the parameters in a flag's template."""
    return re.findall(r"\{(\w+)\}", template)


def _tried(command: list[str]) -> str | None:
    """The first words of a command that fails; None for one that does not."""
    outcome = process.run(command, cwd="/", timeout=20)
    if outcome["retcode"] == 0:
        return None
    return words_of(f"{outcome['stderr']}\n{outcome['stdout']}")


def tried(argv: list[str], name: str, text: str) -> tuple[bool, str]:
    """Have a program read a file before it is put in place.

    argv
        The program and its arguments; ``{path}`` in one of them stands for the file.
    name
        What the file is called in what the program says of it.
    text
        What stands in the file. It may be secret: only root reads it, and nothing of it is logged.

    Returns whether the program ended well, and what it said.
    """
    with tempfile.TemporaryDirectory(prefix="infra-") as folder:
        path = Path(folder, Path(name).name)
        path.write_text(text, encoding="utf-8")
        outcome = process.run(
            [word.replace("{path}", str(path)) for word in argv],
            cwd=folder,
            timeout=_TRIAL_SECONDS,
        )
    told = f"{outcome['stderr']}\n{outcome['stdout']}"
    return outcome["retcode"] == 0, told.replace(str(path), name)


_DIED = re.compile(r"\bpanic\b|\bfatal\b|SIGSEGV|SIGABRT|out of memory", re.IGNORECASE)
_FAILED = re.compile(
    r"error|cannot|could not|invalid|not defined|not found|unknown|unexpected|fail|denied|missing"
    r"|no such|refused|in use|line \d+:",
    re.IGNORECASE,
)
_HARMLESS = re.compile(
    r"error: Main process exited|\blevel=(info|warn|debug)|^\S+\s+(info|warn|debug)\b",
    re.IGNORECASE,
)
_STAMP = re.compile(r"^(time=|ts=)?\"?\d{4}[-/]\d\d[-/]\d\d[T ][\d:.,]+(Z|[+-]\d\d:?\d\d)?\"?\s*")


def words_of(output: str, last: bool = False) -> str:
    """Extract the lines of a program's output that tell what it died of, or complains of; pure.

    Lines of a panic come before all others; next come complaints, without those that are logged as
    mere warnings; where there are only warnings, those. A line that repeats but for its time is
    quoted once: a unit that keeps restarting writes the same each time.

    output
        What a program wrote.
    last
        Of many lines, quote the last ones: a journal ends with what a unit died of.

    Returns them as one line.
    """
    distinct: dict[str, str] = {}
    for line in filter(None, map(str.strip, output.splitlines())):
        text = _STAMP.sub("", line)
        if last:
            distinct.pop(text, None)  # it counts at its last place
        distinct[text] = line
    lines = list(distinct.values())
    died = [line for line in lines if _DIED.search(line) and not _HARMLESS.search(line)]
    complaints = [line for line in lines if _FAILED.search(line)]
    failed = [line for line in complaints if not _HARMLESS.search(line)]
    warned = [line for line in complaints if "error: Main process exited" not in line]
    telling = died or failed or warned or lines or ["(it said nothing)"]
    shown = telling[-_QUOTED_LINES:] if last else telling[:_QUOTED_LINES]
    return " | ".join(line[:500] for line in shown)


# -- what runs -----------------------------------------------------------------------------------


def running(unit: str) -> dict[str, Any]:
    """What systemd tells of a unit.

    unit
        Its name without ``.service``.

    Returns ``active`` (bool), ``state`` (``ActiveState/SubState``), ``pid`` (int, 0 for none),
    ``command`` (argument list of the main process), ``replaced`` (its program's file is another
    now), ``invocation`` (id that changes with each start), ``reload`` (units are to be re-read).
    """
    names = ("ActiveState", "SubState", "MainPID", "InvocationID", "NeedDaemonReload")
    found = systemd.show([unit], names, must=False)[unit]
    pid = int(found.get("MainPID") or 0)
    return {
        "active": found.get("ActiveState") == "active",
        "state": f"{found.get('ActiveState', 'unknown')}/{found.get('SubState', 'unknown')}",
        "pid": pid,
        "command": _command(pid),
        "replaced": _replaced(pid),
        "invocation": found.get("InvocationID", ""),
        "reload": found.get("NeedDaemonReload") == "yes",
    }


def _command(pid: int) -> list[str]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes() if pid else b""
    except OSError:
        return []
    return [part.decode("utf-8", "replace") for part in raw.split(b"\0")[:-1]]


def _replaced(pid: int) -> bool:
    """Whether a process runs a file that was deleted or replaced since: by an upgrade."""
    try:
        return bool(pid) and os.readlink(f"/proc/{pid}/exe").endswith(" (deleted)")
    except OSError:
        return False


def outdated(daemon: dict[str, Any], found: dict[str, Any]) -> str:
    """Why a running daemon is not the one wanted; empty where it is; pure.

    daemon
        See the module's own description.
    found
        What :func:`running` tells of its unit.
    """
    if not found["active"]:
        return ""
    if found["replaced"]:
        return "its program was upgraded"
    wanted = arguments(daemon)
    # A script's command line begins with its interpreter.
    other = bool(found["command"]) and found["command"][-len(wanted) :] != wanted
    if other and not daemon.get("dropin"):
        return "it runs with other flags"
    return "its unit changed" if found["reload"] else ""


def restart(daemon: dict[str, Any], seconds: float | None = None) -> None:
    """Have systemd re-read its units, restart a daemon, and wait until it is well.

    seconds
        How long to wait; the daemon's own where it is not given.

    Raises CommandExecutionError with the program's own words where it is not in time.
    """
    since = f"@{time.time():.3f}"
    systemctl("daemon-reload")
    systemctl("reset-failed", f"{daemon['unit']}.service", must=False)
    systemctl("restart", f"{daemon['unit']}.service")
    wait(daemon, daemon.get("seconds", 30.0) if seconds is None else seconds, since)


def systemctl(*words: str, must: bool = True) -> None:
    """Run systemctl.

    must
        False: it may fail.

    Raises CommandExecutionError that quotes it.
    """
    outcome = process.run(["systemctl", *words])
    if must and outcome["retcode"]:
        raise CommandFailed(f"systemctl {' '.join(words)}: {outcome['stderr'].strip()}")


def wait(daemon: dict[str, Any], seconds: float = 30.0, since: str = "-5min") -> None:
    """Wait until a daemon is well: its unit runs, owns its port, and answers its health path.

    since
        From when on the journal is quoted, in journalctl's words.

    Raises CommandExecutionError that names the parameter and quotes the program.
    """
    deadline = time.monotonic() + seconds
    fault = ""
    while True:
        fault = health(daemon)
        if not fault:
            return
        # Who has the port does not give it back while we wait; nor does a program heal.
        restarts = _restarts(daemon["unit"])
        if time.monotonic() > deadline or (restarts >= 3 and "active/running" not in fault):
            break
        time.sleep(0.1)
    raise CommandFailed(f"{daemon['unit']}: {fault}{_reason(daemon, since)}")


def _restarts(unit: str) -> int:
    return int(systemd.show([unit], ["NRestarts"], must=False)[unit].get("NRestarts") or 0)


def _reason(daemon: dict[str, Any], since: str) -> str:
    """What is known of why a daemon is not well: port, directory, its own last words."""
    parts = [port_problem(daemon), *(directory_problem(p) for p in daemon["writes"])]
    parts[1:] = [f"{daemon['writes_parameter']}: {part}" for part in parts[1:] if part]
    lines = journal(daemon["unit"], since)
    said = words_of(lines) if lines.strip() else ""
    told = "".join(f"; {part}" for part in parts if part)
    return told + (f"; it says: {said}" if said else "")


def journal(unit: str, since: str) -> str:
    """The last lines of a unit's journal.

    unit
        Its name.
    since
        From when on, in journalctl's words.
    """
    # What the unit wrote last may still be on its way into the journal.
    process.run(["journalctl", "--sync"])
    command = ["journalctl", "-u", unit, "--since", since, "-o", "cat", "--no-pager", "-n", "200"]
    return process.run(command)["stdout"]


def health(daemon: dict[str, Any], timeout: float = 3.0) -> str:
    """Why a daemon is not well; empty where it is.

    daemon
        See the module's own description.
    timeout
        Seconds to wait for its answer.
    """
    found = running(daemon["unit"])
    if not found["active"] or not found["pid"]:
        return f"its unit is {found['state']}"
    code, _body = ask(daemon["port"], daemon["health"], timeout)
    if code != 200:
        answered = "nothing answers" if code is None else f"HTTP {code} comes from"
        return f"{answered} port {daemon['port']}{daemon['health']}; its unit is {found['state']}"
    owners = listeners(daemon["port"])
    if owners and found["pid"] not in owners and not _of_unit(owners, daemon["unit"]):
        return f"port {daemon['port']} is answered by somebody else"
    return ""


def _of_unit(pids: Iterable[int], unit: str) -> bool:
    for pid in pids:
        try:
            if f"/{unit}.service" in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"):
                return True
        except OSError:
            continue
    return False


def ask(
    port: int,
    path: str,
    timeout: float = 3.0,
    method: str = "GET",
    body: str | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int | None, str]:
    """One HTTP request to this machine.

    Returns the status code (None where nothing answers, or no HTTP) and the body, or why not.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(4 * 1024 * 1024).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as err:
        return None, str(err)
    finally:
        connection.close()


def port_problem(daemon: dict[str, Any]) -> str:
    """Who else listens on a daemon's port, naming the parameter; empty where nobody does."""
    pid = running(daemon["unit"])["pid"]
    others = {
        p for p in listeners(daemon["port"]) if p != pid and not _of_unit([p], daemon["unit"])
    }
    if not others:
        return ""
    names = sorted(f"{_name(p)} (process {p})" for p in others)
    return (
        f"{daemon['port_parameter']}: port {daemon['port']} is taken by {', '.join(names)}; "
        "stop it or choose another port"
    )


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return "a process"


def listeners(port: int) -> set[int]:
    """Processes of this machine that listen on a TCP port."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    return _holders(inodes) if inodes else set()


def _holders(sockets: set[str]) -> set[int]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) in sockets for fd in (folder / "fd").iterdir()):
                found.add(int(folder.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def directory_problem(path: str) -> str:
    """Why nothing can be written to a directory (read-only, full); empty where it can."""
    try:
        stat = os.statvfs(path)
    except FileNotFoundError:
        return ""
    except OSError as err:
        return f"{path}: {os.strerror(err.errno or errno.EIO)}"
    if stat.f_flag & os.ST_RDONLY:
        return f"{path} is on a read-only file system"
    if stat.f_blocks and stat.f_bavail == 0:
        return f"{path} is on a full file system"
    return ""


def metrics(port: int, path: str = "/metrics") -> dict[str, float]:
    """Metrics without labels that a daemon tells of itself, by name; empty where none answers."""
    code, body = ask(port, path)
    if code != 200:
        return {}
    found = {}
    for line in body.splitlines():
        match = re.fullmatch(r"([a-zA-Z_:][\w:]*) (\S+)(?: \d+)?", line)
        if match:
            found[match.group(1)] = float(match.group(2))
    return found


def reload(daemon: dict[str, Any], seconds: float = 20.0) -> None:
    """Have a running daemon read its configuration again, and see that it took it.

    daemon
        See the module's own description. Its ``reload`` names ``good``, the metric that is 1 after
        a reload that went well, and ``signs``, those that change with each reload, and
        ``said``, if it is there, what its journal says after one. Nothing happens where the daemon
        does not run.

    Raises CommandExecutionError with the program's own words where it did not.
    """
    if not running(daemon["unit"])["active"]:
        return
    since = f"@{time.time():.3f}"
    names = (daemon["reload"]["good"], *daemon["reload"]["signs"])
    # A stamp in whole seconds does not change within one: the reload before may be that near.
    before = {n: v for n, v in metrics(daemon["port"]).items() if n in names}
    systemctl("reload", f"{daemon['unit']}.service")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        after = {n: v for n, v in metrics(daemon["port"]).items() if n in names}
        good = after.get(names[0], 1) == 1
        if not good:
            break
        if any(after.get(n) != before.get(n) for n in names[1:]):
            return
        said = journal(daemon["unit"], since)
        if "nothing changed" in said or _stamped(after, names, since):
            return
        if "said" in daemon["reload"] and daemon["reload"]["said"] in said:
            return
        time.sleep(0.1)
    raise CommandFailed(
        f"{daemon['unit']} did not take its new configuration up{_reason(daemon, since)}"
    )


def _stamped(after: dict[str, float], names: Iterable[str], since: str) -> bool:
    stamps = [after.get(n, 0.0) for n in names if n.endswith("_timestamp_seconds")]
    return any(stamp >= int(float(since[1:])) for stamp in stamps)


# -- destroying ----------------------------------------------------------------------------------


def cleaned_path(name: str) -> Path:
    """Where it is remembered that a daemon's data was destroyed as asked."""
    return manifest.manifest_path(f"cleaned-{name}")


def cleaned(name: str) -> str | None:
    """What was asked for when a daemon's data was destroyed last; None if that switch is off.

    Raises CommandExecutionError where what is remembered of it is damaged: nothing is destroyed
    twice for that.
    """
    path = cleaned_path(name)
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["confirm"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise CommandFailed(
            f"{path} is damaged: nobody can tell whether the data was destroyed before, so it is "
            f"kept; set {name}_clean: false for one run"
        ) from None


def remember_cleaned(name: str, confirm: str | None) -> None:
    """Remember, or with None forget, that a daemon's data was destroyed as asked."""
    path = cleaned_path(name)
    if confirm is None:
        path.unlink(missing_ok=True)
        return
    atomic.write(str(path), json.dumps({"confirm": confirm}), 0o644)
