"""What Vector ships, and where to: its configuration from templates below infra/vector/files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import jinja2
import salt.utils.path
from salt.exceptions import SaltInvocationError

from infra_formula import process
from infra_formula.daemon import checks
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.minion import Minion

TEMPLATES = "salt://infra/vector/files/"
INSERT = "/insert/jsonline"
_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "KB": 10**3, "MB": 10**6,
          "GB": 10**9, "TB": 10**12}  # fmt: skip
_SMALLEST = 268435488  # bytes: what Vector asks for at least


def receivers(endpoints: list[str], nodes: list[str], admin_ip: str) -> list[str]:
    """Addresses that logs are sent to; pure.

    endpoints
        The value of ``vector_log_endpoint``: ``infra`` stands for every INFRA node that takes logs;
        else URLs, in which ``${admin_ip}`` is replaced.
    nodes
        Where VictoriaLogs of those INFRA nodes is, like ``10.10.10.10:9428``, or behind the portal,
        like ``10.10.10.10:80/vlogs``.

    Returns URLs; one without a path gets that of VictoriaLogs.
    """
    out: list[str] = []
    for endpoint in endpoints:
        if endpoint == "infra":
            out += [f"http://{node}{INSERT}" for node in nodes]
            continue
        url = endpoint.replace("${admin_ip}", admin_ip)
        out.append(url if urlsplit(url).path.strip("/") else url.rstrip("/") + INSERT)
    return list(dict.fromkeys(out))


def size(text: str) -> int:
    """Bytes of a size like ``1GiB``; pure.

    Raises SaltInvocationError for what is no size, or less than Vector takes.
    """
    found = re.fullmatch(r"(\d+)(" + "|".join(_UNITS) + r")?", text.strip())
    number = int(found[1]) * _UNITS.get(found[2] or "", 1) if found else 0
    if number < _SMALLEST:
        raise InvalidInput(
            f"vector_buffer_size: expected a size like 1GiB, at least 257MiB, got {text!r}"
        )
    return number


def problems(parameters: dict[str, Any]) -> list[str]:
    """What is wrong with the parameters of Vector; pure.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.
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
    except SaltInvocationError as err:
        errors.append(str(err))
    return errors


def _vrl_string(value: str) -> str:
    """A string literal of VRL, Vector's language, in which ``{{`` would begin a template.

    Raises SaltInvocationError for a value with a control character, which YAML could not carry.
    """
    if not value.isprintable():
        raise InvalidInput(f"vector: expected a name without control characters: {value!r}")
    escaped = re.sub(r'[\\"{]', r"\\\g<0>", value)
    return f'"{escaped}"'


def files(
    settings: dict[str, Any], sources: list[str], load: Callable[[str], str]
) -> dict[str, dict[str, Any]]:
    """Render Vector's configuration to an infra_files set below /etc/vector; pure.

    settings
        ``data``, ``port``, ``receivers``, ``buffer_bytes``, ``read_from``, ``ip``, ``ins``,
        ``cls`` and ``seq``.
    sources
        Names of the files of sources: ``node``, ``nginx``, ``grafana``.
    load
        Returns the text of a template by its name.

    Raises SaltInvocationError for a template that is missing or broken, and for a name with control
    characters.
    """
    environment = jinja2.Environment(  # noqa: S701 (a configuration, not a page)
        loader=jinja2.FunctionLoader(lambda name: load(name) or None),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.filters["vrl"] = _vrl_string
    out = {}
    for name in ("vector", *sources):
        try:
            text = environment.get_template(f"{name}.yaml.j2").render(settings=settings)
        except jinja2.TemplateError as err:
            raise InvalidInput(f"{TEMPLATES}{name}.yaml.j2: {err}") from err
        # An endpoint may carry a password.
        own = {"group": "vector", "mode": "0640", "secret": name == "vector"}
        out[f"{name}.yaml"] = {"text": text, **own}
    return out


def rendered(
    minion: Minion, settings: dict[str, Any], sources: list[str]
) -> dict[str, dict[str, Any]]:
    """As :func:`files`, with the templates of this formula."""
    return files(settings, sources, lambda name: minion.call("cp.get_file_str", TEMPLATES + name))


def check_staged(stage: str, program: str) -> None:
    """Have Vector itself check a staged copy of ``/etc/vector``, files of others included.

    Raises CommandExecutionError that quotes it. Nothing is checked where it is not installed yet.
    """
    if not salt.utils.path.which(program):
        return
    outcome = process.run(
        [program, "validate", "--no-environment", "--config-dir", stage],
        timeout=60,
    )
    if outcome["retcode"]:
        said = checks.extract_error_lines(f"{outcome['stdout']}\n{outcome['stderr']}")
        raise CommandFailed(f"vector refuses it: {said.replace(stage, '/etc/vector')}")
