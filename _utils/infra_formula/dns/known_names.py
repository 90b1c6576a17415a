"""Names that the name server knows: it answers for them alone, for each type of record.

dnsmasq answers from a file of hosts(5) for the type of the address that is in it. A query for any
other type, such as ``AAAA`` or ``HTTPS``, it forwards, and a resolver waits for that answer. So
each known name also gets a line ``server=/NAME/``: nobody else is queried for it. Names below it
are still forwarded (``server=/*.NAME/#``, from dnsmasq 2.86 on; before, only names get a line below
which nobody else can have any).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from infra_formula import process, program_facts
from infra_formula.dns import records
from infra_formula.errors import CommandFailed
from infra_formula.fileset.file_set import FilePlan, FileSet

NAME = "dnsmasq.names"
CONFIG = Path("/etc/dnsmasq.conf")
CONFIG_DIRECTORY = Path("/etc/dnsmasq.d")
_IGNORED = ("*.rpmnew", "*.rpmsave", "*.rpmorig", "*.dpkg-*", "*~", ".*", "#*#")
WILDCARD_SERVERS = (2, 86)  # from here on, `*.` in a domain leaves the name itself out
_DOMAINS = re.compile(r"\s*(server|local|address)\s*=\s*/(.+)/\s*([^/\s]*)", re.ASCII)
ADDRESS = "address"
FILE_SET = "dns-known-names"


def path() -> Path:
    """The file; dnsmasq reads it at its start and on SIGHUP (``servers-file``)."""
    return Path(records.ROOT).parent / NAME


def version() -> tuple[int, ...]:
    """Version of the installed dnsmasq; before its installation, or if unknown, a current one."""
    known = program_facts.recall("dnsmasq", "--version")
    if known is None:
        try:
            known = process.run(["dnsmasq", "--version"])["stdout"]
        except CommandFailed:
            return WILDCARD_SERVERS
        program_facts.remember("dnsmasq", "--version", known)
    match = re.search(r"version (\d+)\.(\d+)", known)
    return (int(match[1]), int(match[2])) if match else WILDCARD_SERVERS


def plan(texts: Iterable[str]) -> FilePlan:
    """Plan the file.

    texts
        The files of records, as they will be.
    """
    names = {name.rstrip(".") for text in texts for name, _address in records.pairs(text)}
    text = render(names, _domains(_config_texts()), version())
    files = {NAME: {"text": text}} if text else {}
    return FileSet(FILE_SET, path().parent, replace=[NAME]).plan(files)


def render(names: Iterable[str], domains: Mapping[str, list[str]], dnsmasq: tuple[int, ...]) -> str:
    """Render the file; empty if there is no name.

    names
        In lower case.
    domains
        Domain → what the configuration says about names in it, as lines of :func:`lines`.
    dnsmasq
        Its version.
    """
    directives = [
        line
        for name in sorted(names)
        if records.name_problem(name) is None
        for line in lines(name, domains, dnsmasq)
    ]
    return (
        "".join(f"{line}\n" for line in [records.HEAD.rstrip(), *directives]) if directives else ""
    )


def lines(name: str, domains: Mapping[str, list[str]], dnsmasq: tuple[int, ...]) -> list[str]:
    """Lines of dnsmasq's configuration by which one name is known here alone.

    domains
        Domain → what the configuration says about it: targets of ``server=/DOMAIN/TARGET``, or
        ``address`` for ``address=/DOMAIN/…``, which answers for all names below. Names in such a
        domain need no line.
    """
    labels = name.split(".")
    around = (".".join(labels[i:]) for i in range(len(labels)))
    targets = next((domains[domain] for domain in around if domain in domains), ["#"])
    if ADDRESS in targets:
        return []
    if dnsmasq >= WILDCARD_SERVERS:
        return [f"server=/{name}/", *(f"server=/*.{name}/{target}" for target in targets)]
    is_private = len(labels) == 1 or labels[-1] in records.PRIVATE_TOP_LEVEL
    return [f"server=/{name}/"] if is_private and targets == ["#"] else []


def _domains(texts: Iterable[str]) -> dict[str, list[str]]:
    """What the configuration says about whole domains: domain → targets (see :func:`lines`)."""
    result: dict[str, list[str]] = {}
    for text in texts:
        for line in text.splitlines():
            match = _DOMAINS.match(line)
            if match is None:
                continue
            kind, domains, target = match.groups()
            for domain in domains.lower().split("/"):
                if domain and domain != "#":
                    value = ADDRESS if kind == "address" else target
                    result.setdefault(domain.removeprefix("*."), []).append(value)
    return result


def _config_texts() -> list[str]:
    files = [CONFIG]
    if CONFIG_DIRECTORY.is_dir():
        files += [
            file
            for file in sorted(CONFIG_DIRECTORY.iterdir())
            if file.is_file() and not any(fnmatch.fnmatch(file.name, p) for p in _IGNORED)
        ]
    return [f.read_text(encoding="utf-8", errors="replace") for f in files if f.is_file()]
