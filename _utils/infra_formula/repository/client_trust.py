"""What a client takes from the INFRA nodes: the CA, and where its packages come from.

``split_definition`` is pure.
"""

from __future__ import annotations

import http.client
import os
import random
import re
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError, SaltException

from infra_formula import credentials
from infra_formula.errors import CommandFailed
from infra_formula.fileset import root_only
from infra_formula.minion import Minion
from infra_formula.repository import (
    client_sources,
    logins,
    signing,
    upstream_keys,
)

_FIRST_PAUSE = 2.0  # seconds
_LONGEST_PAUSE = 30.0  # seconds
_LARGEST = 200_000  # bytes; a definition is a few kB


def definition_of(text: str, node: str, base: str, kind: str) -> str:
    """One INFRA node's own definition of its repository, out of what it publishes; pure.

    Each INFRA node builds, and signs, its own replica, so that a client knows each by itself: the
    others' addresses in the definition are left out.

    text
        The definition: deb822 or yum's.
    node
        What the source is to be called, e.g. ``pigsty-infra-1``.
    base
        Address of the repository on that node, e.g. ``http://10.10.10.10/pigsty``.
    kind
        ``sources`` or ``repo``.

    Raises CommandExecutionError where it is no definition.
    """
    if kind == "sources":
        out, replaced = re.subn(r"(?m)^URIs:.*$", f"URIs: {base}", text)
        out = re.sub(r"(?m)^X-Repolib-Name:.*$", f"X-Repolib-Name: {node}", out)
        whole = replaced == 1 and "Types: deb" in out
    else:
        # Each further section is the same repository on another node.
        first = re.match(r"(?s)[^\[]*\[.*?(?=\n\[|\Z)", text)
        text = f"{first[0].rstrip()}\n" if first else text
        out, replaced = re.subn(r"(?m)^\[[^\]\n]+\]$", f"[{node}]", text)
        out = re.sub(r"(?m)^name = \S+", f"name = {node}", out)
        whole = replaced == 1 and re.search(r"(?m)^baseurl = ", out) is not None
        for key in ("baseurl", "gpgkey"):
            out = _only(out, key, base)
    if not whole:
        raise CommandFailed(f"{base}: what it publishes is no definition of a repository")
    return out


def _only(text: str, key: str, base: str) -> str:
    """A yum definition in which the URLs of one key are those below one address, the first if none.

    The last path that follows the repository's own address in the first URL stays.
    """
    match = re.search(rf"(?m)^{key} = (\S+)((?:\n[ \t]+\S+)*)$", text)
    if match is None:
        return text
    urls = [match[1], *match[2].split()]
    name = base.rsplit("/", 1)[1]
    unique: dict[str, None] = {}
    for url in urls:
        tail = re.sub(rf"^[a-z]+://[^/]+/{re.escape(name)}", "", url)
        unique[base + tail] = None
    pad = "\n" + " " * (len(key) + 3)
    return text[: match.start()] + f"{key} = {pad.join(unique)}" + text[match.end() :]


def fetch(address: str, path: str, port: int, ca: str | None, timeout: float = 5.0) -> str:
    """Get a small file from an INFRA node.

    address, port, path
        Of its URL.
    ca
        Absolute path of the CA of its certificate; None for plain HTTP.
    timeout
        Seconds.
    """
    connection: http.client.HTTPConnection
    if ca:
        try:
            context = ssl.create_default_context(cafile=ca)
        except OSError as err:
            raise CommandFailed(f"{ca}: {err}") from err
        connection = http.client.HTTPSConnection(address, port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(address, port, timeout=timeout)
    url = f"{'https' if ca else 'http'}://{address}:{port}{path}"
    try:
        connection.request("GET", path, headers={"User-Agent": "infra-formula"})
        response = connection.getresponse()
        body = response.read(_LARGEST + 1)
    except (OSError, http.client.HTTPException) as err:
        raise CommandFailed(f"{url}: {err}") from err
    finally:
        connection.close()
    if response.status != 200 or len(body) > _LARGEST:
        raise CommandFailed(f"{url}: answers {response.status}, {len(body)} bytes")
    return body.decode("utf-8", "replace")


def definitions(
    nodes: list[dict[str, Any]], names: list[str], ports: dict[str, Any]
) -> dict[str, dict[str, str]]:
    """What the INFRA nodes publish for this client: source's name → ``text``, or ``fault``.

    nodes
        The INFRA nodes, each ``ip`` and ``seq``.
    names
        File names below the web root, the preferred one first, e.g. ``pigsty-bookworm.sources``.
    ports
        ``repo`` (name of the repository), ``http``, ``https`` (ports), ``ca`` (path, or None where
        there is no TLS).
    """
    repo = ports["repo"]
    kind = names[0].rpartition(".")[2]
    out: dict[str, dict[str, str]] = {}
    for node in nodes:
        name = f"{repo}-infra-{node['seq']}"
        base = client_sources.endpoint(node["ip"], ports["http"]) + f"/{repo}"
        faults = []
        for file in names:
            try:
                port = ports["https"] if ports["ca"] else ports["http"]
                text = fetch(node["ip"], f"/{file}", port, ports["ca"])
                out[name] = {"text": definition_of(text, name, base, kind)}
                break
            except CommandExecutionError as err:
                faults.append(str(err))
        else:
            out[name] = {"fault": faults[0]}
    return out


def upstream_text(upstream: dict[str, Any], family: str, key: str) -> str:
    """Definition of one upstream repository for a client; pure.

    upstream
        As ``catalogue.plan`` returns it.
    family
        ``deb`` or ``rpm``.
    key
        Absolute path of its key on this machine; empty where it has none.
    """
    if family == "deb":
        lines = [
            f"X-Repolib-Name: {upstream['name']}",
            "Types: deb",
            f"URIs: {upstream['url']}",
            f"Suites: {upstream['suite']}",
        ]
        if upstream["components"]:
            lines.append(f"Components: {' '.join(upstream['components'])}")
        lines.append(f"Signed-By: {key}" if key else "Trusted: yes")
        if upstream.get("check_valid_until") is False:
            lines.append("Check-Valid-Until: no")
        return client_sources.HEAD + "\n".join(lines) + "\n"
    meta = {
        "name": f"{upstream['name']} $releasever - $basearch",
        "baseurl": "\n          ".join(upstream["baseurls"]),
        **logins.dnf_options(upstream),
        "enabled": 1,
        "gpgcheck": 0 if upstream["trusted"] else 1,
        "repo_gpgcheck": 0 if upstream["trusted"] else 1,
        **({"gpgkey": f"file://{key}"} if key else {}),
        **upstream["meta"],
    }
    lines = [f"[{upstream['name']}]", *(f"{name} = {value}" for name, value in meta.items())]
    return client_sources.HEAD + "\n".join(lines) + "\n"


def upstream_key(minion: Minion, upstream: dict[str, Any], folder: str) -> str:
    """Have the key of an upstream repository on this machine.

    upstream
        As ``catalogue.plan`` returns it.
    folder
        Where a key that is fetched is stored; it is fetched once.

    Returns its absolute path; empty for an upstream that is trusted without one.

    Raises CommandFailed if it cannot be fetched, or has another fingerprint.
    """
    for source in [upstream["signed_by"], *upstream["gpgkey"]]:
        path = source.removeprefix("file://")
        if path.startswith("/") and os.path.lexists(path):
            fault = root_only.fault(path)
            if fault:
                raise CommandFailed(f"key of {upstream['name']}: {fault}")
    expected = upstream["fingerprint"]
    signed_by = str(upstream["signed_by"])
    is_usable = not signed_by or signing.is_readable_by_apt(signed_by)
    if not upstream["gpgkey"] and not (signed_by and expected) and is_usable:
        return signed_by
    if signed_by and is_usable and signing.is_expected(signed_by, expected):
        return signed_by
    stem = Path(folder, f"infra-{upstream['name']}")
    # What the pillar or this machine holds is no key to be kept: it may be another one now.
    is_kept = any("://" in url and "-----BEGIN PGP" not in url for url in upstream["gpgkey"])
    for path in (Path(f"{stem}.asc"), Path(f"{stem}.gpg")):
        if is_kept and path.is_file() and signing.is_expected(str(path), expected):
            return str(path)
    data = b""
    if upstream["signed_by"]:
        data = Path(upstream["signed_by"]).read_bytes()
    for url in upstream["gpgkey"]:
        tls = upstream_keys.tls_of_key(url, upstream)
        is_here = url.startswith("/") or "-----BEGIN PGP" in url
        if is_here or credentials.userinfo(url) or (tls and tls.ca):
            # Salt's cache has the address in the name of the file, and Salt knows no CA for a host.
            data += upstream_keys.key_data(minion, url, {}, tls)
            continue
        try:
            cached = minion.call("cp.cache_file", url)
        except (SaltException, OSError, ValueError) as err:
            raise CommandFailed(
                f"{url}: the key of {upstream['name']} cannot be fetched: {err}"
            ) from err
        if not cached:
            raise CommandFailed(f"{url}: the key of {upstream['name']} cannot be fetched")
        data += Path(cached).read_bytes()
    try:
        return signing.keyring(data, str(stem), upstream["fingerprint"])[0]
    except CommandExecutionError as err:
        raise CommandFailed(f"{upstream['name']}: {err}") from err


def pauses(seconds: float) -> Iterator[float]:
    """How long to pause between the attempts of one wait, in seconds; together no longer than it.

    seconds
        How long the wait may take.

    Each pause is half as long again as the one before, to 30 seconds, and shorter or longer by up
    to a quarter by chance: a thousand minions that started together do not ask together.
    """
    left, pause = seconds, _FIRST_PAUSE
    while left > 0:
        # S311 is about keys; this spreads requests over time.
        length = min(left, pause * random.uniform(0.75, 1.25))  # noqa: S311
        yield length
        left -= length
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def wait_until(ask: Callable[[], Any], seconds: float) -> Any:
    """Ask until there is an answer that is true, or the time is over; returns the last answer."""
    deadline = time.monotonic() + seconds
    for pause in pauses(seconds):
        answer = ask()
        left = deadline - time.monotonic()
        if answer or left <= 0:
            return answer
        time.sleep(min(pause, left))
    return ask()
