"""Facts: what a minion publishes, and the contract that they have to fulfil (docs/fleet.md).

A minion publishes one mapping, its facts, through the Salt mine (``infra_register.facts``) and
refreshes it with every apply. Each publisher on the minion (this formula, other formulas, its
pillar) has a file in ``/var/lib/infra/register.d``; the facts are those files together.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import atomic
from infra_formula.minion import Minion
from infra_formula.registration import canonical, domains
from infra_formula.registration.canonical import host_address, is_dns_name, is_name

Facts = dict[str, Any]

CONTRACT = 1
"""Version of the contract; facts of another one are refused."""

ALIAS = "infra_register.facts"
"""Name of the facts in the mine."""

PUBLISHERS_DIR = Path("/var/lib/infra/register.d")
JOBS = (
    *("node", "ping", "docker", "etcd", "minio", "pgsql", "patroni", "pgrds", "redis", "mysql"),
    *("kafka", "juice"),
)
"""Jobs that a minion may have targets in; ``infra`` and ``probe`` belong to the INFRA nodes."""

_LABEL = re.compile(r"[a-z][a-z0-9_]{0,62}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_RESERVED_LABELS = ("ip", "cls", "ins", "job", "instance")
_MAX_ITEMS = 200  # targets, records or names of one minion; more is a mistake or an attack
_MAX_VALUES = 10_000
_MAX_DEPTH = 6
_MAX_LENGTH = 200_000  # characters of all texts together; a CA certificate has a few thousand
_MAX_NUMBER = 2**53
_PEM = re.compile(
    r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]{64,16000}-----END CERTIFICATE-----\n?"
)


def compose(publishers: Iterable[Facts]) -> Facts:
    """Merge the facts of several publishers.

    publishers
        Mappings of the contract; each may leave keys out. ``targets`` and ``dns`` add up; of any
        other key the first value counts.
    """
    facts: Facts = {"contract": CONTRACT, "targets": [], "dns": []}
    for published in publishers:
        for key, value in published.items():
            if key in ("targets", "dns"):
                facts[key] += [v for v in value if v not in facts[key]]
            elif value is not None:
                facts.setdefault(key, value)
    return facts


def problems(facts: Any) -> list[str]:
    """Validate facts; safe with anything that a minion may send.

    Returns one message per error, each beginning with the key path.
    """
    if not isinstance(facts, dict):
        return [f"expected a dictionary, got a {type(facts).__name__}"]
    excess = _excess(facts)
    if excess:
        return [excess]
    if facts.get("contract") != CONTRACT:
        return [f"contract: expected {CONTRACT}, got {_show(facts.get('contract'))}"]
    known = ("contract", "ip", "ins", "cls", "infra_seq", "ca", "haproxy", "targets", "dns")
    errors = [f"{_show(key)}: unknown key" for key in facts if key not in known]
    if not host_address(facts.get("ip")):
        errors.append(f"ip: expected the address of a machine, got {_show(facts.get('ip'))}")
    errors += [
        f"{key}: expected a name of letters, digits, dots, hyphens and underscores, "
        f"got {_show(facts.get(key))}"
        for key in ("ins", "cls")
        if not is_name(facts.get(key))
    ]
    if facts.get("haproxy") is not None and not _is_port(facts["haproxy"]):
        errors.append(f"haproxy: expected a port, got {_show(facts['haproxy'])}")
    seq = facts.get("infra_seq")
    if seq is not None and (not isinstance(seq, int) or isinstance(seq, bool) or seq < 0):
        errors.append(f"infra_seq: expected a number, got {_show(seq)}")
    ca = facts.get("ca")
    if ca is not None and (not isinstance(ca, str) or not _PEM.fullmatch(ca)):
        errors.append("ca: expected one PEM certificate")
    for key, check in (("targets", target_problem), ("dns", _record_problem)):
        value = facts.get(key, [])
        if not isinstance(value, list) or len(value) > _MAX_ITEMS:
            errors.append(f"{key}: expected a list of at most {_MAX_ITEMS}")
            continue
        for index, item in enumerate(value):
            fault = check(item)
            if fault:
                errors.append(f"{key}[{index}]{fault}")
    return errors


def _excess(facts: dict[Any, Any]) -> str | None:
    """Why facts are too large to look at; None if they are not."""
    values, length = 0, 0
    level: list[Any] = [facts]
    for _depth in range(_MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += [*value, *value.values()]
            elif isinstance(value, (list, tuple, set, frozenset)):
                below += value
            elif isinstance(value, (str, bytes)):
                length += len(value)
            elif isinstance(value, int) and abs(value) > _MAX_NUMBER:
                return "expected numbers of at most 2^53"
            values += 1
            if values + len(below) > _MAX_VALUES or length > _MAX_LENGTH:
                return f"expected at most {_MAX_VALUES} values and {_MAX_LENGTH} characters"
        level = below
    return f"expected at most {_MAX_DEPTH} levels of values" if level else None


def target_problem(target: Any) -> str | None:
    """Why a value is not a valid target of a minion; None if it is."""
    if not isinstance(target, dict):
        return f": expected a dictionary, got {_show(target)}"
    unknown = [k for k in target if k not in ("job", "port", "ins", "cls", "labels", "scheme")]
    if unknown:
        return f": unknown key {_show(unknown[0])}"
    if not is_name(target.get("job")) or target["job"] in ("infra", "probe"):
        return f".job: expected one of {', '.join(JOBS)}, got {_show(target.get('job'))}"
    if target.get("port") is not None and not _is_port(target["port"]):
        return f".port: expected a port, got {_show(target['port'])}"
    if target.get("scheme") not in (None, "http", "https"):
        return f".scheme: expected http or https, got {_show(target['scheme'])}"
    for key in ("ins", "cls"):
        if target.get(key) is not None and not is_name(target[key]):
            return f".{key}: expected a name, got {_show(target[key])}"
    labels = target.get("labels", {})
    if not isinstance(labels, dict) or len(labels) > 30:
        return f".labels: expected a dictionary of at most 30, got {_show(labels)}"
    for name, value in labels.items():
        if not isinstance(name, str) or not _LABEL.fullmatch(name) or name in _RESERVED_LABELS:
            return f".labels: {_show(name)} is not an allowed label"
        if not isinstance(value, str) or len(value) > 200 or _CONTROL.search(value):
            return f".labels.{name}: expected one line, got {_show(value)}"
    return None


def _record_problem(record: Any) -> str | None:
    if not isinstance(record, dict) or set(record) != {"address", "names"}:
        return f": expected address and names, got {_show(record)}"
    if not host_address(record["address"]):
        return f".address: expected the address of a machine, got {_show(record['address'])}"
    names = record["names"]
    if not isinstance(names, list) or not 1 <= len(names) <= _MAX_ITEMS:
        return f".names: expected a list of at most {_MAX_ITEMS} names, got {_show(names)}"
    for name in names:
        if not is_dns_name(name):
            return f".names: expected a DNS name, got {_show(name)}"
    return None


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def _show(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:59] + "…"


def pillar_problems(parameters: dict[str, Any]) -> list[str]:
    """Validate the parameters of registration: ``register`` and those that begin with it.

    parameters
        The dictionary below ``infra:``.

    Returns one message per error, each beginning with the key path.
    """
    errors = domains.problems(parameters.get("register_domains"))
    for index, network in enumerate(parameters.get("register_networks") or []):
        if not canonical.networks([network]):
            errors.append(
                f"register_networks[{index}]: expected a network like 10.0.0.0/8, got {network!r}"
            )
    base = {"contract": CONTRACT, "ip": "192.0.2.1", "ins": "x", "cls": "x"}
    for parameter in ("register", "register_others"):
        values = parameters.get(parameter)
        for name, value in values.items() if isinstance(values, dict) else ():
            path = f"{parameter}[{name!r}]"
            if not is_name(name):
                errors.append(f"{path}: expected a name of letters, digits, dots and hyphens")
                continue
            whole = {**base, **value} if parameter == "register" else external_host(name, value)
            errors += [f"{path}.{error}" for error in problems(whole)]
    return errors


def external_host(name: str, values: dict[str, Any]) -> Facts:
    """Facts of a machine that is not a minion, from its entry in ``register_others``."""
    return {"contract": CONTRACT, "ins": name, "cls": "others", **values}


# -- of this minion ------------------------------------------------------------------------------


def current() -> Facts:
    """Facts of this minion."""
    paths = PUBLISHERS_DIR.glob("*.json") if PUBLISHERS_DIR.is_dir() else ()
    # This formula's own first: they have the minion's name.
    ordered = sorted(paths, key=lambda p: (p.stem != "infra", p.stem))
    return compose(_published(path) for path in ordered)


def _published(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as err:
        raise CommandFailed(
            f"{path} is corrupt ({err}). The published facts are unchanged. Apply the formula that "
            "wrote it again, or remove it."
        ) from None
    if not isinstance(data, dict):
        raise CommandFailed(f"{path}: expected a dictionary; apply the formula that wrote it again")
    return data


def address_towards(infra_nodes: Iterable[str]) -> str:
    """The address of this machine on the route to the site.

    infra_nodes
        Addresses of the INFRA nodes: the first with a route decides. Nothing is sent.

    Raises CommandFailed without a route to any of them.
    """
    for address in infra_nodes:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((address, 9))
                local = host_address(sock.getsockname()[0])
        except OSError:
            continue
        if local:
            return local
    raise CommandFailed(f"no route to an INFRA node ({', '.join(infra_nodes)}); set node_ip")


def read_publisher(name: str) -> dict[str, Any] | None:
    """Facts of a publisher of this minion; None if there are none, empty if they are corrupt."""
    try:
        data = json.loads(publisher_path(name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def publisher_path(name: str) -> Path:
    """File of a publisher; raises InvalidInput for an invalid name."""
    if not is_name(name):
        raise InvalidInput(f"name: expected letters, digits, dots and hyphens, got {name!r}")
    return PUBLISHERS_DIR / f"{name}.json"


def write_publisher(name: str, data: dict[str, Any] | None) -> None:
    """Write the facts of a publisher of this minion; None removes them."""
    path = publisher_path(name)
    if data is None:
        path.unlink(missing_ok=True)
        return
    atomic.write(str(path), json.dumps(data, indent=1), 0o644)


def send(minion: Minion) -> None:
    """Send this minion's facts to the mine; raises CommandFailed if the master refuses them."""
    if not minion.call("mine.send", ALIAS):
        raise CommandFailed(f"the master did not take {ALIAS} into its mine; see the master's log")


def sent(minion: Minion) -> Any:
    """Facts of this minion in the mine; None if there are none."""
    minion_id = minion.opts["id"]
    # As a list: a pattern makes the master compare all of its keys.
    return minion.call("mine.get", [minion_id], ALIAS, "list").get(minion_id)
