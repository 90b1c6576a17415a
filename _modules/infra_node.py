"""What a client takes from the INFRA nodes: the CA, and where its packages come from.

``split_definition`` is pure.
"""

from __future__ import annotations

import http.client
import re
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError

if TYPE_CHECKING:
    __salt__: dict[str, Any]

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
        out, found = re.subn(r"(?m)^URIs:.*$", f"URIs: {base}", text)
        out = re.sub(r"(?m)^X-Repolib-Name:.*$", f"X-Repolib-Name: {node}", out)
        whole = found == 1 and "Types: deb" in out
    else:
        out, found = re.subn(r"(?m)^\[[^\]\n]+\]$", f"[{node}]", text)
        out = re.sub(r"(?m)^name = \S+", f"name = {node}", out)
        whole = found == 1 and re.search(r"(?m)^baseurl = ", out) is not None
        for key in ("baseurl", "gpgkey"):
            out = _only(out, key, base)
    if not whole:
        raise CommandExecutionError(f"{base}: what it publishes is no definition of a repository")
    return out


def _only(text: str, key: str, base: str) -> str:
    """A yum definition in which the URLs of one key are those below one address, the first if none.

    The last path that follows the repository's own address in the first URL is kept.
    """
    match = re.search(rf"(?m)^{key} = (\S+)((?:\n[ \t]+\S+)*)$", text)
    if match is None:
        return text
    urls = [match[1], *match[2].split()]
    name = base.rsplit("/", 1)[1]
    kept: dict[str, None] = {}
    for url in urls:
        tail = re.sub(rf"^[a-z]+://[^/]+/{re.escape(name)}", "", url)
        kept[base + tail] = None
    pad = "\n" + " " * (len(key) + 3)
    return text[: match.start()] + f"{key} = {pad.join(kept)}" + text[match.end() :]


def fetch(address: str, path: str, port: int, ca: str | None, timeout: float = 5.0) -> str:
    """Get a small file from an INFRA node.

    address, port
        The node's web server.
    path
        Path of the URL.
    ca
        Absolute path of the CA that its certificate has to be of; None for plain HTTP.
    timeout
        Seconds.

    Raises CommandExecutionError where it cannot be had.
    """
    connection: http.client.HTTPConnection
    if ca:
        try:
            context = ssl.create_default_context(cafile=ca)
        except OSError as err:
            raise CommandExecutionError(f"{ca}: {err}") from err
        connection = http.client.HTTPSConnection(address, port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(address, port, timeout=timeout)
    shown = f"{'https' if ca else 'http'}://{address}:{port}{path}"
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read(_LARGEST + 1)
    except (OSError, http.client.HTTPException) as err:
        raise CommandExecutionError(f"{shown}: {err}") from err
    finally:
        connection.close()
    if response.status != 200 or len(body) > _LARGEST:
        raise CommandExecutionError(f"{shown}: answers {response.status}, {len(body)} bytes")
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
        base = __salt__["infra_repo_client.endpoint"](node["ip"], ports["http"]) + f"/{repo}"
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


def wait_until(ask: Callable[[], Any], seconds: float, pause: float = 2.0) -> Any:
    """Ask until there is an answer that is true, or the time is over; returns the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        found = ask()
        if found or time.monotonic() >= deadline:
            return found
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
