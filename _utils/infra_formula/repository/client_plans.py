"""Plans of a client's states: it trusts the CA of the INFRA nodes, and installs from them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from salt.exceptions import CommandExecutionError

from infra_formula import paths
from infra_formula.errors import CommandFailed
from infra_formula.fileset import contents
from infra_formula.fileset.contents import File
from infra_formula.fileset.file_set import FileSet
from infra_formula.minion import Minion
from infra_formula.pki import authority, certificates
from infra_formula.registration import inventory
from infra_formula.repository import (
    catalogue,
    client_apt,
    client_sources,
    client_trust,
    other_sources,
    plans,
    signing,
    sufficiency,
)
from infra_formula.state import Plan

_GRACE = 30.0  # seconds


def plan_ca(
    minion: Minion,
    name: str,
    nodes: list[dict[str, Any]],
    certificate: str | None,
    fingerprints: list[str],
    wait: float,
    test: bool,
) -> Plan:
    """Plan to have the certificate of the site's CA, as the INFRA nodes publish it in the mine.

    See the state ``infra_node.authority``.
    """
    is_local = minion.opts.get("file_client") == "local"
    is_present = Path(name).is_file()
    latest: inventory.Authorities = {"trusted": {}, "unverified": {}}

    present = Path(name).read_text(encoding="utf-8", errors="replace") if is_present else ""

    def query() -> dict[str, str]:
        latest.update(inventory.authorities(minion, nodes, fingerprints, present))
        return latest["trusted"] or latest["unverified"]

    if certificate:
        latest["trusted"] = {"pillar": certificate}
    elif is_present or is_local or test:
        query()
    else:
        client_trust.wait_until(query, wait)
    if latest["trusted"]:
        return _plan_certificate(name, latest["trusted"])
    if latest["unverified"]:
        return _plan_unverified(name, latest["unverified"], fingerprints)
    if is_present:
        try:
            certificates.describe(name)
        except ValueError as err:
            raise CommandFailed(
                f"{name}: expected a PEM certificate, and no INFRA node publishes its CA now; set"
                " ca_crt in pillar, or apply infra through the master"
            ) from err
        return Plan(comment=f"No INFRA node publishes its CA now; {name} is left as it is.")
    if is_local:
        return Plan(
            comment="Without a master there is no mine: set ca_crt in pillar to trust a CA."
        )
    if test:
        would = "The CA of the first INFRA node would be trusted."
        return Plan({name: "created"}, would=would)
    keys = ", ".join(node["key"] for node in nodes)
    raise CommandFailed(f"No INFRA node ({keys}) published its CA within {wait} s")


def _plan_unverified(name: str, found: dict[str, str], fingerprints: list[str]) -> Plan:
    """Plan for certificates that nothing vouches for: none is trusted, and one that is stays."""
    path = Path(name)
    present = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if present.strip() and present.strip() in (pem.strip() for pem in found.values()):
        mode = contents.attribute_difference(path, {"mode": "0644"})
        return Plan(
            changes={name: mode} if mode else {},
            comment=f"The CA {name} is trusted already, and still published.",
            apply=lambda: path.chmod(0o644),
        )
    reason = (
        "none has the ca_fingerprint of the pillar"
        if fingerprints
        else "infra_hosts names the INFRA node by its address, which any minion can claim"
    )
    offers = ", ".join(
        f"{certificates.fingerprint(pem) or 'not a certificate'} ({minion_id})"
        for minion_id, pem in sorted(found.items())
    )
    message = (
        f"The CA that is published is not trusted: {reason}. Compare it with the INFRA node"
        " (openssl x509 -in /etc/pki/ca.crt -noout -fingerprint -sha256), then use the minion id as"
        f" key of infra_hosts, or set ca_fingerprint. Published: {offers}"
    )
    if not present:
        raise CommandFailed(message)
    return Plan(comment=f"The CA {name} stays trusted.", warnings=[message])


def _plan_certificate(name: str, found: dict[str, str]) -> Plan:
    """Put the first of several certificates in place, and warn if others differ."""
    publisher, certificate = next(iter(found.items()))
    text = certificate if certificate.endswith("\n") else f"{certificate}\n"
    differing = [who for who, pem in found.items() if pem.strip() != certificate.strip()]
    warnings = [
        f"{', '.join(differing)} has another CA than {publisher}, whose CA is trusted; set ca_crt"
        " and ca_key for all INFRA nodes"
    ]
    path = Path(name)
    if not path.is_file():
        change = "created"
    elif path.read_text(encoding="utf-8", errors="replace") != text:
        change = "replaced"
    else:
        change = contents.attribute_difference(path, {"mode": "0644"})

    def apply() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        authority.write_file(name, text, "0644")

    return Plan(
        changes={name: change} if change else {},
        comment=f"The CA of {publisher} is trusted.",
        would=f"The CA of {publisher} would be trusted.",
        apply=apply,
        warnings=warnings if differing else [],
    )


def plan_repository(
    minion: Minion,
    name: str,
    nodes: list[dict[str, Any]],
    ports: dict[str, Any],
    exclusive: bool,
    wait: float,
    request: dict[str, Any] | None,
    test: bool,
    needs: dict[str, list[str]] | None = None,
) -> Plan:
    """Plan to install from the repositories of the INFRA nodes, any of which is enough.

    See the state ``infra_node.repository``.
    """
    folder, suffix = plans.sources_directory(minion.grains["os_family"])
    target = None if request is None else catalogue.plan(request)["targets"][0]
    files, keys = ({}, {}) if target is None else _upstreams(minion, target, suffix, test)
    upstream_files = set(files)
    faults = _add_definitions(minion, files, nodes, ports, folder, suffix, wait, test)
    others = [fault for fault in faults if fault.is_for_another_system]
    if others and not any(f"{ports['repo']}-infra-" in rel for rel in files):
        raise CommandFailed("\n".join(fault.text for fault in others))
    if nodes and len(faults) == len(nodes) and not _is_defined(nodes, ports, folder, suffix):
        if test:
            return Plan({name: "defined"}, would="The INFRA nodes' definition would be fetched.")
        reasons = "; ".join(fault.text for fault in faults)
        raise CommandFailed(f"no repository within {wait} s: {reasons}")
    plan = FileSet("client-repo", folder).plan(files)
    plan.refuse_unmanaged()
    apt_files: dict[str, File] = {}
    if target is not None and target["family"] == "deb":
        definitions = {rel: file for rel, file in files.items() if rel not in upstream_files}
        apt_files = client_apt.files(target["upstreams"], definitions, not exclusive)
        if not test:
            client_apt.refuse_unreadable(target["upstreams"])
    apt_plans = client_apt.plans(apt_files)
    stale = _stale_keys(suffix, [] if target is None else target["upstreams"])
    managed = [Path(rel).name for rel in files]
    disable = exclusive and bool(files)
    switched = other_sources.switch(not disable, managed, test=True)
    warnings = [
        f"The repository of an INFRA node is not used: {fault.text}"
        if fault.is_for_another_system
        else f"An INFRA node does not answer; its definition stays: {fault.text}"
        for fault in faults
    ]
    sources = ", ".join(node["ip"] for node in nodes) or "its own sources"
    if disable and switched and needs is not None and not test:
        missing = sufficiency.lack(minion, needs, files, apt_files)
        if missing.required or missing.secured:
            raise CommandFailed(
                missing.text(f"The repository of {sources}", "node_repo_remove: false")
            )
    if files and not disable:
        sources += " and its other sources"

    def apply() -> None:
        for apt_plan in apt_plans:
            if apt_plan.has_changes:
                apt_plan.apply()
        plan.apply()
        for path in stale:
            path.unlink(missing_ok=True)
        other_sources.switch(not disable, managed)
        try:
            other_sources.read_lists(minion, failhard=bool(files) and not faults)
        except CommandExecutionError as err:
            if files:
                other_sources.switch(disable, managed)
                raise CommandFailed(f"the sources cannot be read: {err}") from err
            # After removal, the machine's own sources are not this formula's, readable or not.
            warnings[:] = [f"The machine's own sources cannot be read: {err}"]

    return Plan(
        changes={
            **plan.diff,
            **keys,
            **{str(path): "removed" for path in stale},
            **{rel: what for apt_plan in apt_plans for rel, what in apt_plan.diff.items()},
            **dict.fromkeys(switched, "disabled" if disable else "enabled"),
        },
        comment=f"This machine installs from {sources}.",
        would=f"This machine would install from {sources}.",
        apply=apply,
        warnings=warnings,
    )


def _key_folder(suffix: str) -> Path:
    return Path(client_apt.FOLDER, "keyrings") if suffix == "sources" else paths.PKI / "rpm-gpg"


def _stale_keys(suffix: str, upstreams: list[dict[str, Any]]) -> list[Path]:
    """Keys of upstreams that this machine does not use any more."""
    own = tuple(f"infra-{upstream['name']}." for upstream in upstreams)
    return [
        path
        for path in sorted(_key_folder(suffix).glob("infra-*"))
        if path.suffix in (".asc", ".gpg") and not path.name.startswith(own)
    ]


def _upstreams(
    minion: Minion, target: dict[str, Any], suffix: str, test: bool
) -> tuple[dict[str, File], dict[str, str]]:
    """The definitions of the upstreams that this machine fits, and which of their keys are new."""
    folder = str(_key_folder(suffix))
    files: dict[str, File] = {}
    keys: dict[str, str] = {}
    for upstream in target["upstreams"]:
        # Under test=True, a key that has to be fetched first is not.
        key = f"{folder}/infra-{upstream['name']}.asc"
        if not test or upstream["signed_by"] or upstream["trusted"]:
            before = {path: path.read_bytes() for path in Path(folder).glob("infra-*")}
            key = client_trust.upstream_key(minion, _for_target(upstream, target), folder)
            if target["family"] == "deb" and key not in ("", upstream["signed_by"]):
                key = signing.for_apt(key)
            keys |= {
                str(path): "replaced" if path in before else "created"
                for path in Path(folder).glob("infra-*")
                if before.get(path) != path.read_bytes()
            }
        text = client_trust.upstream_text(upstream, target["family"], key)
        is_secret = target["family"] == "rpm" and bool(upstream.get("logins"))
        files[f"infra-{upstream['name']}.{suffix}"] = (
            {"text": text, "mode": "0600", "secret": True} if is_secret else {"text": text}
        )
    return files, keys


def _for_target(upstream: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    """An upstream with the addresses of its keys for this machine."""
    variables = (("$releasever", target["releasever"]), ("$basearch", target["arch"]))
    keys = []
    for key in upstream["gpgkey"]:
        for name, value in variables:
            key = key.replace(name, value)
        keys.append(key)
    return {**upstream, "gpgkey": keys}


def _is_defined(
    nodes: list[dict[str, Any]], ports: dict[str, Any], folder: str, suffix: str
) -> bool:
    names = [f"{ports['repo']}-infra-{node['seq']}.{suffix}" for node in nodes]
    return any(Path(folder, name).is_file() for name in names)


class _Fault(NamedTuple):
    """Why the repository of an INFRA node is not used."""

    text: str
    is_for_another_system: bool


def _add_definitions(
    minion: Minion,
    files: dict[str, File],
    nodes: list[dict[str, Any]],
    ports: dict[str, Any],
    folder: str,
    suffix: str,
    wait: float,
    test: bool,
) -> list[_Fault]:
    """Add the definitions of the INFRA nodes to files; returns why some are not used."""
    codename = minion.grains.get("oscodename", "")
    names = [f"{ports['repo']}.{suffix}"]
    if suffix == "sources" and codename:
        names.insert(0, f"{ports['repo']}-{codename}.{suffix}")
    latest: dict[str, dict[str, str]] = {}

    def fetch(enough: Callable[[Iterable[bool]], bool]) -> bool:
        latest.update(client_trust.definitions(nodes, names, ports))
        for definition in latest.values():
            if "text" in definition:
                definition["text"], other = client_sources.for_machine(
                    definition["text"], suffix, minion
                )
                if other:
                    del definition["text"]
                    definition["other"] = other
        # One for another system is an answer, too: waiting does not change it.
        return enough("fault" not in definition for definition in latest.values())

    if nodes and (test or _is_defined(nodes, ports, folder, suffix)):
        fetch(any)
    elif nodes:
        # INFRA nodes that are applied at the same time are ready at about the same time: after the
        # first one, the others are waited for as long again.
        begun = time.monotonic()
        is_first = client_trust.wait_until(lambda: fetch(any), wait)
        if is_first and not all("fault" not in definition for definition in latest.values()):
            grace = min(wait, max(_GRACE, time.monotonic() - begun))
            client_trust.wait_until(lambda: fetch(all), grace)
    for source, definition in latest.items():
        rel = f"{source}.{suffix}"
        if "text" in definition:
            files[rel] = {"text": definition["text"]}
        elif "other" not in definition and Path(folder, rel).is_file():
            files[rel] = {"text": Path(folder, rel).read_text(encoding="utf-8")}
    faults = [
        _Fault(definition["fault"], False)
        for definition in latest.values()
        if "fault" in definition
    ]
    return faults + [
        _Fault(f"{source}: {definition['other']}", True)
        for source, definition in latest.items()
        if "other" in definition
    ]
