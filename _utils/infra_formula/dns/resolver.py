"""How this machine resolves names: ``/etc/resolv.conf`` or its owner's drop-in; ``/etc/hosts``."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from infra_formula import systemd
from infra_formula.dns import records
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import atomic
from infra_formula.fileset.file_set import FileSet
from infra_formula.state import Plan

HEAD = records.HEAD
HOSTS_MARK = "# pigsty dns"
RESOLV_CONF = Path("/etc/resolv.conf")
RECORD = Path("/var/lib/infra/resolver.json")
DROPINS = {
    "systemd-resolved": Path("/etc/systemd/resolved.conf.d/infra.conf"),
    "NetworkManager": Path("/etc/NetworkManager/conf.d/infra-dns.conf"),
}
"""Owners of resolv.conf, and the file that gives each our nameservers."""
_RELOAD = {
    "systemd-resolved": ("restart", "systemd-resolved"),
    "NetworkManager": ("reload", "NetworkManager"),
}
_UPLINKS = ("/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf")
_LIMIT = 3  # glibc reads the first three nameservers only
_OPTION = re.compile(r"(options|search|domain|sortlist)([ \t]+[!-~]+)+")


# -- parameters ----------------------------------------------------------------------------------


def problems(parameters: Mapping[str, Any]) -> list[str]:
    """Check the parameters of name resolution beyond their types.

    parameters
        The dictionary below ``infra:`` in pillar.

    Returns one message per error, each beginning with the key path.
    """
    admin_ip = str(parameters.get("admin_ip", "10.10.10.10"))
    options = parameters.get("node_dns_options")
    errors = [
        f"node_dns_options[{index}]: expected options, search, domain or sortlist and its values, "
        f"got {line!r}"
        for index, line in enumerate(options if isinstance(options, list) else [])
        if not isinstance(line, str) or not _OPTION.fullmatch(line.strip(" \t"))
    ]
    for key in ("node_default_etc_hosts", "node_etc_hosts"):
        if key in parameters:
            errors += records.parse(parameters[key], admin_ip, key)[1]
    for index, server in enumerate(parameters.get("node_dns_servers") or []):
        if not _is_address(server.replace("${admin_ip}", admin_ip)):
            errors.append(f"node_dns_servers[{index}]: expected an address, got {server!r}")
    return errors


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return False
    return True


# -- files ---------------------------------------------------------------------------------------


def nameservers(text: str) -> list[str]:
    """Nameservers in the text of a resolv.conf, in their order."""
    addresses = re.findall(r"^[ \t]*nameserver[ \t]+(\S+)", text, re.MULTILINE)
    return list(dict.fromkeys(address for address in addresses if _is_address(address)))


def choose(method: str, site: Iterable[str], external: Iterable[str]) -> list[str]:
    """Nameservers for this machine, three at most.

    method
        ``add`` (those of the site, then those that it had before) or ``overwrite`` (only those of
        the site).
    site, external
        Addresses.
    """
    servers = [*site, *(external if method == "add" else ())]
    return list(dict.fromkeys(servers))[:_LIMIT]


def resolv_conf(servers: Iterable[str], options: Iterable[str], current: str) -> str:
    """Render resolv.conf.

    servers
        What :func:`choose` returned.
    options
        ``node_dns_options``: lines at the top.
    current
        The text that is replaced. Its ``search``, ``domain``, ``sortlist`` and ``options`` lines
        stay, unless one of ``options`` is of their kind.
    """
    top = [line.strip() for line in options]
    kinds = {line.split()[0] for line in top}
    rest = []
    for line in current.splitlines():
        word = (line.split() or [""])[0]
        if word in ("search", "domain", "sortlist", "options") and word not in kinds:
            rest.append(line.strip())
    lines = [*top, *rest, *(f"nameserver {server}" for server in servers)]
    return HEAD + "".join(f"{line}\n" for line in dict.fromkeys(lines))


def resolved_conf(method: str, servers: Iterable[str]) -> str:
    """Render a drop-in of systemd-resolved, which sets its options itself."""
    text = f"{HEAD}[Resolve]\nDNS={' '.join(servers)}\n"
    # `~.`: these servers answer for every domain, whatever servers the links have.
    return text + ("Domains=~.\n" if method == "overwrite" else "")


def networkmanager_conf(servers: Iterable[str], options: Iterable[str]) -> str:
    """Render a drop-in of NetworkManager."""
    words: dict[str, list[str]] = {"options": [], "search": []}
    for line in options:
        kind, *values = line.split()
        words.get("search" if kind == "domain" else kind, []).extend(values)
    text = f"{HEAD}[global-dns]\n"
    if words["options"]:
        text += f"options={','.join(words['options'])}\n"
    if words["search"]:
        text += f"searches={','.join(words['search'])}\n"
    return f"{text}\n[global-dns-domain-*]\nservers={','.join(servers)}\n"


def hosts_text(current: str, lines: Iterable[str]) -> str:
    """Render /etc/hosts.

    current
        Its text; lines without our mark stay where they are.
    lines
        Entries of the formula. A mark at their end identifies them in the next run.
    """
    rest = [line for line in current.splitlines() if not line.rstrip().endswith(HOSTS_MARK)]
    while rest and not rest[-1].strip():
        rest.pop()
    entries = [f"{line.split('#', 1)[0].strip()} {HOSTS_MARK}" for line in lines]
    return "".join(f"{line}\n" for line in [*rest, *dict.fromkeys(entries)])


def hosts_entries(lines: list[str], admin_ip: str) -> list[str]:
    """Entries of ``node_etc_hosts``, for :func:`hosts_text`.

    Raises InvalidInput with every invalid line.
    """
    parsed, errors = records.parse(lines, admin_ip, "node_etc_hosts")
    if errors:
        raise InvalidInput("\n".join(errors))
    return [f"{record['address']} {' '.join(record['names'])}" for record in parsed]


# -- this machine --------------------------------------------------------------------------------


def owner() -> str:
    """Owner of resolv.conf: ``systemd-resolved``, ``NetworkManager``, or ``file`` if none."""
    target = os.path.realpath(RESOLV_CONF) if RESOLV_CONF.is_symlink() else ""
    if target.startswith(("/run/systemd/resolve/", "/usr/lib/systemd/resolv.conf")):
        return "systemd-resolved"
    if target.startswith("/run/NetworkManager/"):
        return "NetworkManager"
    return "NetworkManager" if "# Generated by NetworkManager" in _read(RESOLV_CONF) else "file"


def external_nameservers(site_addresses: Iterable[str]) -> list[str]:
    """Nameservers that this machine has from DHCP, its administrator or its image.

    site_addresses
        Addresses of this machine and of the INFRA nodes.
    """
    current = _read(RESOLV_CONF)
    addresses = [address for path in _UPLINKS for address in nameservers(_read(Path(path)))]
    # A resolv.conf of ours has three of them at most; the record has all.
    if any(_read(path).startswith(HEAD) for path in (RESOLV_CONF, *DROPINS.values())):
        addresses += recorded_nameservers() or []
    addresses += nameservers(current)
    own = {str(ipaddress.ip_address(address)) for address in site_addresses}
    candidates = [address for address in dict.fromkeys(addresses) if "%" not in address]
    return [a for a in candidates if a not in own and not ipaddress.ip_address(a).is_loopback]


def recorded_nameservers() -> list[str] | None:
    """External nameservers before the first change of ours; None if the record is corrupt."""
    if not RECORD.exists():
        return []
    try:
        recorded = json.loads(_read(RECORD))
    except ValueError:
        return None
    if not isinstance(recorded, list):
        return None
    return [a for a in recorded if isinstance(a, str) and _is_address(a)]


def plan(method: str, servers: list[str], options: list[str], site_addresses: list[str]) -> Plan:
    """Plan the nameservers of this machine.

    method
        ``add``, ``overwrite`` or ``none`` (nothing changes).
    servers
        Addresses of the site's name servers, in order.
    options
        Lines for the top of resolv.conf.
    site_addresses
        Addresses of this machine and of the INFRA nodes.
    """
    if method == "none" or not servers:
        return Plan(comment="Nameservers are not managed.")
    external = external_nameservers([*site_addresses, *servers])
    chosen = choose(method, servers, external)
    resolv_owner = owner()
    if resolv_owner == "file":
        text = resolv_conf(chosen, options, _read(RESOLV_CONF))
        files = {RESOLV_CONF.name: {"text": text}}
        file_plan = FileSet("resolver", RESOLV_CONF.parent, replace=files).plan(files)
        changes = {str(RESOLV_CONF): "\n".join(file_plan.diff.values())}
        has_changes, write = file_plan.has_changes, file_plan.apply
    else:
        dropin = DROPINS[resolv_owner]
        text = networkmanager_conf(chosen, options)
        if resolv_owner == "systemd-resolved":
            # It adds the links' own servers itself.
            text = resolved_conf(method, servers[:_LIMIT])
        changes = {str(dropin): text}
        has_changes, write = _read(dropin) != text, partial(_write_dropin, dropin, text)
    changes = changes if has_changes else {}
    recorded = recorded_nameservers()
    if recorded is None:
        changes[str(RECORD)] = "corrupt; rebuilt from the nameservers in use"

    def apply() -> None:
        try:
            if external != recorded:
                atomic.write(RECORD, json.dumps(external), 0o644)
            if has_changes:
                write()
        except (CommandFailed, OSError) as err:
            raise CommandFailed(
                f"{err}; if resolv.conf cannot be written, set node_dns_method: none"
            ) from err

    listed = f"{', '.join(chosen)} (by {resolv_owner})"
    return Plan(
        changes=changes,
        comment=f"Nameservers are {listed}.",
        would=f"Nameservers would be {listed}.",
        apply=apply,
    )


def _write_dropin(path: Path, text: str) -> None:
    before = _read(path)
    atomic.write(path, text, 0o644)
    try:
        reload()
    except CommandFailed:
        # The next run has to find a difference again.
        if before:
            atomic.write(path, before, 0o644)
        else:
            path.unlink()
        raise


def reload() -> None:
    """Have the owner of resolv.conf read its drop-in again.

    Raises CommandFailed if it cannot.
    """
    words = _RELOAD.get(owner())
    if words:
        systemd.systemctl(*words)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
