"""The site's name server: its configuration, and how it takes up changed records.

dnsmasq reads the files of records at its start and on SIGHUP, in one go: 100,000 records take it
about 0.2 seconds, in which queries wait in its socket. Its ``hostsdir``, which watches the
directory by itself, is not used: versions before 2.87 never forget a removed name with it, and
2.90 looks each line of a changed file up among all records (minutes for 100,000 lines).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from infra_formula import systemd, templates
from infra_formula.daemon import checks
from infra_formula.dns import client, known_names, records, resolver
from infra_formula.errors import CommandFailed, InvalidInput, Refused
from infra_formula.fileset.file_set import FilePlan, FileSet
from infra_formula.minion import Minion
from infra_formula.registration import domains
from infra_formula.state import Plan

TEMPLATE = "salt://infra/dns/files/dnsmasq.conf.j2"
_CONF_DIR = re.compile(r"(?m)^conf-dir=([^,\n]*).*$")
_UPSTREAM = re.compile(r"(?:/(?P<domain>[^/]+)/)?(?P<address>[^/#]+)(?:#(?P<port>\d{1,5}))?")
_RELOAD_PENDING = Path("/run/infra-formula/dns-reload-pending")


class Upstream(TypedDict):
    """A server that answers for other names; for those below ``domain``, or all if it is empty."""

    address: str
    port: int
    domain: str


# -- configuration -------------------------------------------------------------------------------


def problems(parameters: Mapping[str, Any]) -> list[str]:
    """Check the parameters of the name server beyond their types.

    parameters
        The dictionary below ``infra:`` in pillar.

    Returns one message per error, each beginning with the key path.
    """
    errors: list[str] = []
    admin_ip = parameters.get("admin_ip", "10.10.10.10")
    if isinstance(parameters.get("dns_records"), list) and isinstance(admin_ip, str):
        errors += records.parse(parameters["dns_records"], admin_ip)[1]
    for name, address in _items(parameters.get("dns_wildcards")):
        problem = records.name_problem(name.removeprefix("*.") if isinstance(name, str) else name)
        address = str(address).replace("${admin_ip}", str(admin_ip))
        if problem is None and records.normalize_address(address) is None:
            problem = f"expected an address, got {address!r}"
        if problem:
            errors.append(f"dns_wildcards[{name!r}]: {problem}")
    for alias, target in _items(parameters.get("dns_cnames")):
        faults = [records.name_problem(name) for name in (alias, target)]
        if alias == target:
            faults.append("expected another name than its own")
        errors += [f"dns_cnames[{alias!r}]: {problem}" for problem in faults if problem]
        if not any(faults) and not _may_be_known(target, parameters):
            errors.append(
                f"dns_cnames[{alias!r}]: expected a name in dns_records or dns_wildcards, or one "
                f"that a minion may register (register_domains), got {target!r}: the answer would "
                "have no address, since dnsmasq does not look up the target of an alias elsewhere"
            )
    for index, server in enumerate(_list(parameters.get("dns_upstream"))):
        if parse_upstream(server) is None:
            errors.append(
                f"dns_upstream[{index}]: expected an address, address#port or /domain/address, "
                f"got {server!r}"
            )
    for index, address in enumerate(_list(parameters.get("dns_listen"))):
        if records.normalize_address(address) is None:
            errors.append(f"dns_listen[{index}]: expected an address, got {address!r}")
    return errors


def _may_be_known(name: str, parameters: Mapping[str, Any]) -> bool:
    """Whether the name server has the addresses of a name, or may have them from a minion."""
    name = name.lower().rstrip(".")
    if "." not in name or name.rpartition(".")[2] in records.PRIVATE_TOP_LEVEL:
        return True
    parsed, _errors = records.parse(
        _list(parameters.get("dns_records")), str(parameters.get("admin_ip", "10.10.10.10"))
    )
    known = {known for record in parsed for known in record["names"]}
    known |= {str(key).lower() for key, _ in _items(parameters.get("dns_cnames"))}
    known |= {str(key).lower() for key, _ in _items(parameters.get("nodes"))}
    below = [
        str(key).lower().removeprefix("*.") for key, _ in _items(parameters.get("dns_wildcards"))
    ]
    entries = [entry for _, entry in _items(parameters.get("infra_portal"))]
    served = [str(e["domain"]) for e in entries if isinstance(e, dict) and e.get("domain")]
    below += domains.site_domains(served)
    return (
        name in known
        or any(name == domain or name.endswith(f".{domain}") for domain in below)
        or domains.problem(name, "", (), _list(parameters.get("register_domains"))) is None
    )


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def parse_upstream(text: Any) -> Upstream | None:
    """Parse an element of ``dns_upstream``; None if it is invalid."""
    match = _UPSTREAM.fullmatch(text) if isinstance(text, str) else None
    address = records.normalize_address(match["address"]) if match else None
    if match is None or address is None:
        return None
    port, domain = int(match["port"] or 53), match["domain"] or ""
    if not 1 <= port <= 65535 or (domain and records.name_problem(domain)):
        return None
    return {"address": address, "port": port, "domain": domain}


def upstreams(configured: list[str] | None, site_addresses: Iterable[str]) -> list[Upstream]:
    """Servers that this one forwards other names to.

    configured
        ``dns_upstream``. None means the nameservers that this machine had before; they are added
        as well if only servers of single domains are configured. An empty list means no server.
    site_addresses
        Addresses of this machine and of the INFRA nodes: never forwarded to, since two name
        servers would forward to each other for ever.
    """
    servers = [server for server in map(parse_upstream, configured or []) if server is not None]
    if configured == [] or any(not server["domain"] for server in servers):
        return servers
    own = {str(ipaddress.ip_address(address)) for address in site_addresses}
    external = resolver.external_nameservers(sorted(own))
    return [*servers, *(Upstream(address=a, port=53, domain="") for a in external)]


def config_text(
    template: str,
    settings: Mapping[str, Any],
    servers: list[Upstream],
    version: tuple[int, ...] = (2, 86),
) -> str:
    """Render dnsmasq's configuration.

    template
        Text of :data:`TEMPLATE`.
    settings
        ``port``, ``listen``, ``wildcards``, ``cnames``, ``options`` and ``admin_ip``.
    servers
        What :func:`upstreams` returned.
    version
        Of dnsmasq.

    Raises InvalidInput for a broken template.
    """
    wildcards = {
        name.removeprefix("*."): address.replace("${admin_ip}", settings["admin_ip"])
        for name, address in settings["wildcards"].items()
    }
    targets = {
        **{s["domain"]: [f"{s['address']}#{s['port']}"] for s in servers if s["domain"]},
        **{name: [known_names.ADDRESS] for name in wildcards},
    }
    context = {
        **settings,
        "root": records.ROOT,
        "names_file": known_names.path(),
        "alias_lines": [
            line
            for alias in sorted(settings["cnames"])
            for line in known_names.lines(alias.lower().rstrip("."), targets, version)
        ],
        "servers": servers,
        "isolated": not any(not server["domain"] for server in servers),
        "wildcards": wildcards,
    }
    return templates.render(TEMPLATE, template, context)


def desired(
    minion: Minion, settings: Mapping[str, Any], upstream: list[str] | None, own: Iterable[str]
) -> tuple[str, list[Upstream]]:
    """The text of dnsmasq's configuration, and the servers it forwards to.

    settings
        See :func:`config_text`.
    upstream, own
        See :func:`upstreams`.
    """
    servers = upstreams(upstream, own)
    template = templates.read(minion, TEMPLATE)
    return config_text(template, settings, servers, known_names.version()), servers


def check(
    minion: Minion, settings: Mapping[str, Any], upstream: list[str] | None, own: Iterable[str]
) -> None:
    """Have dnsmasq check its configuration. Nothing is checked if it is not installed yet.

    settings, upstream, own
        See :func:`desired`.

    Raises Refused that names the parameter and quotes dnsmasq.
    """
    check_text(desired(minion, settings, upstream, own)[0], settings)


def check_text(text: str, settings: Mapping[str, Any]) -> None:
    """As :func:`check`, of a text that was made already."""
    refusal = checks.refusal(
        ["dnsmasq", "--test", "-C", "{path}"], "dnsmasq.conf", _CONF_DIR.sub(_if_there, text)
    )
    if refusal is None:
        return
    where = re.search(r"line (\d+) of dnsmasq\.conf", refusal)
    line = text.splitlines()[int(where[1]) - 1] if where else ""
    for index, option in enumerate(settings["options"]):
        if option.strip() == line.strip():
            raise Refused(f"dns_options[{index}]: dnsmasq refuses it: {refusal}: {line}")
    raise Refused(f"dnsmasq refuses its configuration: {refusal}{': ' if line else ''}{line}")


def _if_there(line: re.Match[str]) -> str:
    """A ``conf-dir`` as it is; nothing of one that is yet to be made, which dnsmasq refuses."""
    return line[0] if Path(line[1]).is_dir() else ""


# -- records -------------------------------------------------------------------------------------


def plan_dns_records(minion: Minion, lines: list[str], admin_ip: str, port: int) -> Plan:
    """Plan the file of ``dns_records``.

    lines
        ``dns_records``.
    admin_ip
        Address that replaces ``${admin_ip}``.
    port
        Port of the server.

    Raises InvalidInput with every invalid line.
    """
    parsed, errors = records.parse(lines, admin_ip)
    if errors:
        raise InvalidInput("\n".join(errors))
    files = {"default": {"text": records.render(parsed)}}
    return _plan(
        minion, FileSet("dns", records.ROOT, replace=files, skip_unmanaged=True), files, port
    )


def plan_registered_records(
    minion: Minion, name: str, registered: Mapping[str, list[records.Record]], port: int
) -> Plan:
    """Plan the files of the records that minions registered.

    name
        Name of the file set.
    registered
        Registrant → records.
    port
        Port of the server.
    """
    files = {who: {"text": records.render(some)} for who, some in registered.items() if some}
    return _plan(minion, FileSet(name, records.ROOT, skip_unmanaged=True), files, port)


def _plan(minion: Minion, file_set: FileSet, files: Mapping[str, Any], port: int) -> Plan:
    plan = file_set.plan(files)
    names = known_names.plan(_texts_after(plan))
    changes = (plan if plan.has_changes else names).summary()
    if not changes and _RELOAD_PENDING.exists():
        changes = {"dnsmasq": "reloaded"}
    count = len(plan.files)
    return Plan(
        changes=dict(changes),
        comment=f"The records of {count} {'file' if count == 1 else 'files'} are served.",
        would="The records would change.",
        apply=lambda: apply(minion, plan, port, names),
        warnings=[
            f"{path}: an unmanaged file is in its place and stays"
            for path in plan.unmanaged_paths()
        ],
    )


def _texts_after(plan: FilePlan) -> list[str]:
    """The files of records, as they are once a plan has been applied."""
    present = [name for name in records.registrants() if name not in plan.remove]
    texts = [str(file["text"]) for file in plan.files.values()]
    return texts + [records.text_of_file(n) for n in present if n not in plan.files]


def apply(minion: Minion, plan: FilePlan, port: int, names: FilePlan | None = None) -> None:
    """Publish files of records, and verify that the server answers accordingly.

    plan
        Of a file set below :data:`records.ROOT`.
    port
        Port of the server. One that does not run reads the files when it starts.
    names
        Of the file of the known names, which the server reads with them.

    Raises CommandFailed if the server does not answer as expected; the old files are restored then.
    """
    if names is not None and names.has_changes:
        names.apply()
    if not plan.has_changes:
        reload_and_verify(minion, [], [], port)
        return
    touched = [*plan.create, *plan.change, *plan.remove]
    before = {pair for name in touched for pair in records.pairs_of_file(name)}
    after = {
        pair
        for name in touched
        if name in plan.files
        for pair in records.pairs(plan.files[name]["text"])
    }
    others = [name for name in records.registrants() if name not in touched]
    still_served = {pair for name in others for pair in records.pairs_of_file(name)}
    present, absent = _sample(after - before), _sample(before - after - still_served)
    _RELOAD_PENDING.parent.mkdir(parents=True, exist_ok=True)
    _RELOAD_PENDING.touch()
    plan.apply(reload=lambda: reload_and_verify(minion, present, absent, port))


def reload_and_verify(
    minion: Minion, present: Iterable[tuple[str, str]], absent: Iterable[tuple[str, str]], port: int
) -> None:
    """Have a running server read its records again, and wait until it answers accordingly.

    present, absent
        As for :func:`client.wait_for`.
    port
        Port of the server.
    """
    if minion.call("service.status", "dnsmasq"):
        # Not `reload`: a unit that others wrote need not have it; Pigsty's has not.
        systemd.systemctl("kill", "--kill-who=main", "--signal=SIGHUP", "dnsmasq")
        client.wait_for(present, absent, port=port)
    _RELOAD_PENDING.unlink(missing_ok=True)


def _sample(pairs: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """A few of many: the server reads all files in one go, so some stand for the rest."""
    ordered = sorted(pairs)
    return ordered[:: max(1, len(ordered) // 16)][:17]


def check_health(server: str, port: int, record: records.Record | None) -> str:
    """Check that a server answers over UDP and TCP.

    server, port
        Its address and port.
    record
        One of its records; None if it has none, then any answer counts.

    Returns what it answered for.

    Raises CommandFailed with what is wrong.
    """
    if record is None:
        for tcp in (False, True):
            client.query(client.ALWAYS_KNOWN, "PTR", server, port, tcp=tcp)
        return "it has no records"
    name, address = record["names"][0], record["address"]
    client.wait_for([(name, address)], [], server=server, port=port)
    answer = client.query(name, "AAAA" if ":" in address else "A", server, port, tcp=True)
    if address not in answer["values"]:
        raise CommandFailed(f"{name} over TCP: answers {answer['values']}, expected {address}")
    return f"{name} is {address}"
