"""A client of the INFRA nodes: it trusts their CA, and installs from their repositories."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra_formula.fileset.file_set import FileSet
from infra_formula.minion import Minion
from infra_formula.pki import certificates
from infra_formula.registration import inventory
from infra_formula.repository import catalogue, client_trust, other_sources
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


_SET = "client-repo"
_GRACE = 30.0  # seconds


def authority(
    name: str, nodes: list[dict[str, Any]], given: str | None, wait: int
) -> dict[str, Any]:
    """The certificate of the site's CA is here, as the INFRA nodes publish it through the mine.

    name
        Absolute path of the certificate.
    nodes
        The INFRA nodes in their order, each ``key``, ``ip`` and ``seq``.
    given
        The certificate from pillar (``ca_crt``), which then counts.
    wait
        Seconds to wait for the first INFRA node, where there is no certificate here yet.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    local = __opts__.get("file_client") == "local"
    have = Path(name).is_file()

    def ask() -> dict[str, str]:
        return inventory.authorities(_minion(), nodes)

    if given:
        found = {"pillar": given}
    elif have or local or __opts__["test"]:
        found = ask()
    else:
        found = client_trust.wait_until(ask, wait)
    if not found and have:
        try:
            certificates.describe(name)
        except ValueError:
            comment = (
                f"{name} is damaged: expected a PEM certificate, and no INFRA node publishes its "
                "CA now; give ca_crt in pillar, or apply infra through the master"
            )
            return {**ret, "result": False, "comment": comment}
        return {**ret, "comment": "no INFRA node publishes its CA now; the one that is here stays"}
    if not found and local:
        comment = "without a master there is no mine: give ca_crt in pillar to have it trusted"
        return {**ret, "comment": comment, "skip_watch": True}
    if not found and __opts__["test"]:
        comment = "the CA would be taken from the first INFRA node"
        return {**ret, "result": None, "changes": {name: "created"}, "comment": comment}
    if not found:
        asked = ", ".join(node["key"] for node in nodes)
        comment = f"no INFRA node ({asked}) published its CA within {wait} s"
        return {**ret, "result": False, "comment": comment}
    publisher, certificate = next(iter(found.items()))
    strangers = [who for who, text in found.items() if text.strip() != certificate.strip()]
    if strangers:
        ret["warnings"] = [
            f"{', '.join(strangers)} has another CA than {publisher}, whose CA is trusted; "
            "give all INFRA nodes one with ca_crt and ca_key"
        ]
    done = __states__["file.managed"](
        name=name,
        contents=certificate,
        user="root",
        group="root",
        mode="0644",
        makedirs=True,
        show_changes=False,
    )
    return {**ret, **done, "comment": f"the CA of {publisher}: {done['comment']}"}


def repository(
    name: str,
    nodes: list[dict[str, Any]],
    ports: dict[str, Any],
    exclusive: bool,
    wait: int,
    request: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """This client installs from the repositories of the INFRA nodes, any of which will do.

    name
        Any name for the state.
    nodes
        The INFRA nodes in their order; none where their repository is not asked for.
    ports
        See ``infra_node.definitions`` among the execution modules.
    exclusive
        Other sources are disabled in place; otherwise those that we had disabled are enabled.
    wait
        Seconds to wait for the first INFRA node, where no definition is here yet.
    request
        What other upstreams are wanted, as for ``infra_repo_catalogue.plan``; None for none.

    What an INFRA node that does not answer published before stays as it is.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        folder, kind = _place()
        files = {} if request is None else _upstreams(request, kind)
        faults = _defined(files, nodes, ports, folder, kind, wait)
        silent = [fault for fault in faults.values()]
        if nodes and len(faults) == len(nodes) and not _present(nodes, ports, folder, kind):
            if __opts__["test"]:
                comment = "the INFRA nodes' definition would be fetched"
                return {**ret, "result": None, "changes": {name: "defined"}, "comment": comment}
            told = "; ".join(silent)
            return {**ret, "result": False, "comment": f"no repository within {wait} s: {told}"}
        plan = FileSet(_SET, folder).plan(files)
        plan.refuse_unmanaged()
        own = [Path(rel).name for rel in files]
        switch = exclusive and bool(files)
        switched = other_sources.switch(not switch, own, test=True)
        ret["changes"] = dict(plan.diff)
        for path in switched:
            ret["changes"][path] = "disabled" if switch else "enabled"
        told = ", ".join(node["ip"] for node in nodes) or "its own sources"
        if silent:
            ret["warnings"] = [f"does not answer, and stays as it was: {s}" for s in silent]
        if not ret["changes"]:
            return {**ret, "comment": f"installs from {told}"}
        if __opts__["test"]:
            return {**ret, "result": None, "comment": f"would install from {told}"}
        plan.apply()
        other_sources.switch(not switch, own)
        try:
            _minion().call("pkg.refresh_db", failhard=bool(files) and not silent)
        except CommandExecutionError as err:
            if not files:
                # On the way back the sources are the machine's own affair again, reached or not.
                ret["warnings"] = [f"its own sources cannot be read: {err}"]
                return {**ret, "comment": f"installs from {told}"}
            other_sources.switch(switch, own)
            return {**ret, "result": False, "comment": f"the sources cannot be read: {err}"}
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": f"installs from {told}"}


def _upstreams(request: dict[str, Any], kind: str) -> dict[str, dict[str, str]]:
    """Definitions of the upstreams that this machine fits, as files of a set."""
    plan = catalogue.plan(request)["targets"][0]
    folder = "/etc/apt/keyrings" if kind == "sources" else "/etc/pki/rpm-gpg"
    files = {}
    for upstream in plan["upstreams"]:
        # A key that would have to be fetched first is named as it will be.
        key = f"{folder}/infra-{upstream['name']}.asc"
        if not __opts__["test"] or upstream["signed_by"] or upstream["trusted"]:
            key = client_trust.upstream_key(_minion(), upstream, folder)
        text = client_trust.upstream_text(upstream, plan["family"], key)
        files[f"infra-{upstream['name']}.{kind}"] = {"text": text}
    return files


def _place() -> tuple[str, str]:
    if __grains__["os_family"] == "Debian":
        return "/etc/apt/sources.list.d", "sources"
    return "/etc/yum.repos.d", "repo"


def _names(repo: str, kind: str) -> list[str]:
    codename = __grains__.get("oscodename", "")
    if kind == "repo" or not codename:
        return [f"{repo}.{kind}"]
    return [f"{repo}-{codename}.{kind}", f"{repo}.{kind}"]


def _present(nodes: list[dict[str, Any]], ports: dict[str, Any], folder: str, kind: str) -> bool:
    return any(Path(folder, f"{ports['repo']}-infra-{n['seq']}.{kind}").is_file() for n in nodes)


def _defined(
    files: dict[str, Any],
    nodes: list[dict[str, Any]],
    ports: dict[str, Any],
    folder: str,
    kind: str,
    wait: int,
) -> dict[str, str]:
    """Add the definitions of the INFRA nodes to files; returns those that did not answer."""
    names = _names(ports["repo"], kind)
    latest: dict[str, dict[str, str]] = {}

    def ask(enough: Callable[[Iterable[bool]], bool]) -> bool:
        latest.update(client_trust.definitions(nodes, names, ports))
        return enough("text" in found for found in latest.values())

    until = client_trust.wait_until
    if nodes and (__opts__["test"] or _present(nodes, ports, folder, kind)):
        ask(any)
    elif nodes:
        # INFRA nodes that are applied at the same time are ready at about the same time: when the
        # first one is, the others are given as long again.
        begun = time.monotonic()
        if until(lambda: ask(any), wait) and not all("text" in f for f in latest.values()):
            until(lambda: ask(all), min(wait, max(_GRACE, time.monotonic() - begun)))
    for source, found in latest.items():
        rel = f"{source}.{kind}"
        if "text" in found:
            files[rel] = {"text": found["text"]}
        elif Path(folder, rel).is_file():
            files[rel] = {"text": Path(folder, rel).read_text(encoding="utf-8")}
    return {source: found["fault"] for source, found in latest.items() if "fault" in found}


def linked(name: str, target: str) -> dict[str, Any]:
    """A link leads to a file, if there is that file.

    name
        Absolute path of the link.
    target
        Absolute path of the file.
    """
    if not Path(target).is_file():
        comment = f"{target} does not exist; nothing to link."
        return {"name": name, "changes": {}, "result": True, "comment": comment}
    return __states__["file.symlink"](name, target=target, makedirs=True)
