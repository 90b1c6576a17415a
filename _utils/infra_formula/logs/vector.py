"""Vector: its configuration from templates below infra/vector/files, and where it sends logs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import salt.utils.path

from infra_formula import addresses, process, templates
from infra_formula.daemon import checks, configuration
from infra_formula.daemon.model import Daemon
from infra_formula.errors import InvalidInput, Refused
from infra_formula.fileset.contents import File
from infra_formula.minion import Minion
from infra_formula.registration import facts as own_facts
from infra_formula.state import Plan

TEMPLATES = "salt://infra/vector/files/"
INSERT = "/insert/jsonline"
_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "KB": 10**3, "MB": 10**6,
          "GB": 10**9, "TB": 10**12}  # fmt: skip
_SMALLEST = 268435488  # bytes: the least that Vector accepts


def receivers(endpoints: list[str], nodes: list[str], admin_ip: str) -> list[str]:
    """URLs that logs are sent to.

    endpoints
        The value of ``vector_log_endpoint``: ``infra`` stands for every INFRA node with
        VictoriaLogs; else URLs, in which ``${admin_ip}`` is replaced. One without a path gets that
        of VictoriaLogs.
    nodes
        Addresses of VictoriaLogs on those nodes, like ``10.10.10.10:9428``, or behind the portal,
        like ``10.10.10.10:80/vlogs``.
    """
    out: list[str] = []
    for endpoint in endpoints:
        if endpoint == "infra":
            out += [f"http://{node}{INSERT}" for node in nodes]
            continue
        url = endpoint.replace("${admin_ip}", addresses.in_url(admin_ip))
        out.append(url if urlsplit(url).path.strip("/") else url.rstrip("/") + INSERT)
    return list(dict.fromkeys(out))


def size(text: str) -> int:
    """Bytes of a size like ``1GiB``.

    Raises InvalidInput for another text, or less than Vector accepts.
    """
    match = re.fullmatch(r"(\d+)(" + "|".join(_UNITS) + r")?", text.strip())
    number = int(match[1]) * _UNITS.get(match[2] or "", 1) if match else 0
    if number < _SMALLEST:
        raise InvalidInput(
            f"vector_buffer_size: expected a size like 1GiB, at least 257MiB, got {text!r}"
        )
    return number


def problems(parameters: dict[str, Any]) -> list[str]:
    """Problems of the parameters of Vector.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.

    Returns one message per problem, each beginning with the key path.
    """
    errors = []
    for index, endpoint in enumerate(parameters.get("vector_log_endpoint") or []):
        plain = endpoint.replace("${admin_ip}", "10.10.10.10")
        if endpoint != "infra" and not re.fullmatch(r"https?://[^\s/]+\S*", plain):
            errors.append(
                f"vector_log_endpoint[{index}]: expected infra or an http:// or https:// URL, "
                f"got {endpoint!r}"
            )
    try:
        size(str(parameters.get("vector_buffer_size", "1GiB")))
    except InvalidInput as err:
        errors.append(str(err))
    return errors


def _vrl_string(value: str) -> str:
    """A string literal of VRL, Vector's language, in which ``{{`` would begin a template.

    Raises InvalidInput for a value with a control character, which YAML cannot represent.
    """
    if not value.isprintable():
        raise InvalidInput(f"vector: expected a name without control characters: {value!r}")
    escaped = re.sub(r'[\\"{]', r"\\\g<0>", value)
    return f'"{escaped}"'


def files(
    settings: dict[str, Any], sources: list[str], texts: Mapping[str, str]
) -> dict[str, File]:
    """Render Vector's configuration as a file set below ``/etc/vector``.

    settings
        ``data``, ``port``, ``receivers``, ``buffer_bytes``, ``read_from``, ``ip``, ``ins``,
        ``cls`` and ``seq``.
    sources
        Names of the files of sources: ``node``, ``nginx``, ``grafana``.
    texts
        Path of a template, see :func:`template_paths` → its text.

    Raises InvalidInput for a template that is broken, and for a name with control characters.
    """
    out: dict[str, File] = {}
    for name, path in template_paths(sources).items():
        text = templates.render(
            path, texts[path], {"settings": settings}, filters={"vrl": _vrl_string}
        )
        # The URL of a receiver may contain a password.
        owner = {"group": "vector", "mode": "0640", "secret": name == "vector"}
        out[f"{name}.yaml"] = {"text": text, **owner}
    return out


def template_paths(sources: list[str]) -> dict[str, str]:
    """Name of each file without its suffix → ``salt://`` path of its template."""
    return {name: f"{TEMPLATES}{name}.yaml.j2" for name in ("vector", *sources)}


def plan(
    minion: Minion,
    root: str,
    daemon: Daemon,
    settings: dict[str, Any],
    sources: list[str],
    infra_nodes: list[str],
    urls: list[str],
    buffer: str,
) -> Plan:
    """Plan Vector's configuration, checked by Vector.

    root
        ``/etc/vector``.
    settings, sources
        See :func:`files`. If ``ip`` is None it is the address from which this machine reaches the
        INFRA nodes.
    infra_nodes
        Addresses of the INFRA nodes.
    urls
        What :func:`receivers` returned.
    buffer
        Size of the buffer on disk of each receiver, like ``1GiB``.
    """
    rendered = _rendered(minion, settings, sources, infra_nodes, urls, buffer)
    destination = f"logs are sent to {', '.join(urls)}" if urls else "logs are sent nowhere"
    return configuration.plan(
        configuration.compare("vector", root, rendered, replace=["vector.yaml"]),
        [daemon],
        comment=f"Vector's configuration is up to date; {destination}.",
        would="Vector's configuration would change.",
        check_staged=lambda stage: check_staged(stage, daemon["program"]),
    )


def _rendered(
    minion: Minion,
    settings: dict[str, Any],
    sources: list[str],
    infra_nodes: list[str],
    urls: list[str],
    buffer: str,
) -> dict[str, File]:
    effective = {
        **settings,
        "ip": settings["ip"] or own_facts.address_towards(infra_nodes),
        "receivers": urls,
        "buffer_bytes": size(buffer),
    }
    texts = {path: templates.read(minion, path) for path in template_paths(sources).values()}
    return files(effective, sources, texts)


def check(
    minion: Minion,
    root: str,
    daemon: Daemon,
    *,
    settings: dict[str, Any],
    sources: list[str],
    towards: list[str],
    endpoints: list[str],
    nodes: list[str],
    admin_ip: str,
    buffer: str,
) -> None:
    """Have Vector check what the state is given (see ``infra_vector.managed``); changes nothing.

    Raises Refused that quotes it.
    """
    urls = receivers(endpoints, nodes, admin_ip)
    rendered = _rendered(minion, settings, sources, towards, urls, buffer)
    difference = configuration.compare("vector", root, rendered, replace=["vector.yaml"])
    if difference.has_changes and difference.file_set.managed_files():
        difference.check(lambda stage: check_staged(stage, daemon["program"]))


def check_staged(stage: str, program: str) -> None:
    """Have Vector check a staged copy of ``/etc/vector``, unmanaged files included.

    Nothing is checked if it is not installed yet.

    Raises Refused that quotes it.
    """
    if not salt.utils.path.which(program):
        return
    command = [program, "validate", "--no-environment", "--config-dir", stage]
    outcome = process.run(command, timeout=60)
    if outcome["retcode"]:
        lines = checks.extract_error_lines(f"{outcome['stdout']}\n{outcome['stderr']}")
        raise Refused(f"vector refuses it: {lines.replace(stage, '/etc/vector')}")
