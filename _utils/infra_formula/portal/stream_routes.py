"""What answers at a port of a stream (``infra_streams``), as nginx's configuration has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra_formula.portal import streams
from infra_formula.portal.nginx_config import Directive


def chosen(name: str, scheme: str, settings: Mapping[str, Any]) -> str:
    """The stream that is meant: by its name, or for ``tcp`` and ``udp`` by port, or name and port.

    Returns its name; empty if none is meant.
    """
    known = streams.of_settings(settings)
    if name in known and scheme in ("", "tcp", "udp"):
        return name
    if scheme not in ("tcp", "udp"):
        return ""
    host, _, port = name.rpartition(":")
    candidates = [
        key
        for key, stream in known.items()
        if str(stream["listen"]) == port and streams.protocol(stream) == scheme
    ]
    by_name = [
        key
        for key in candidates
        if any(_fits(host, pattern) for pattern in streams.listed(known[key].get("server_name")))
    ]
    for_all = [key for key in candidates if not streams.listed(known[key].get("server_name"))]
    return next(iter([*by_name, *for_all]), "")


def _fits(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.lower().endswith(pattern[1:].lower())
    return host.lower() == pattern.lower()


def explain(name: str, config: Directive, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Explain a stream: where it listens, what it reaches, and who may."""
    stream = streams.of_settings(settings)[name]
    port, protocol = stream["listen"], streams.protocol(stream)
    blocks = [block for block in config.all("stream")]
    servers = [
        server
        for block in blocks
        for server in block.all("server")
        if any(_listens(line, port, protocol) for line in server.all("listen"))
    ]
    groups = [group for b in blocks for group in b.all("upstream") if group.arguments == [name]]
    members = [line.arguments[0] for group in groups for line in group.all("server")]
    result: dict[str, Any] = {
        "url": f"{protocol}://:{port}",
        "entry": name,
        "attribute": f"infra_streams.{name}.endpoint",
        "upstream": members or streams.listed(stream["endpoint"]),
    }
    names = streams.listed(stream.get("server_name"))
    result["matched_by"] = f"the port {port}/{protocol}"
    if names:
        result["matched_by"] += f" and the name that TLS asks for: {', '.join(names)}"
    for server in servers[:1]:
        passes = server.all("proxy_pass")
        line = passes[0] if passes else server
        result["file"] = f"{line.file}:{line.line}"
        certificates = server.all("ssl_certificate")
        result["certificate"] = _in_folder(certificates[0]) if certificates else ""
        result["addresses"] = [
            f"{rule.name} {rule.arguments[0]}" for rule in server.all("allow", "deny")
        ]
    return result


def _in_folder(line: Directive) -> str:
    return str((line.file.parent / line.arguments[0]).resolve())


def _listens(line: Directive, port: int, protocol: str) -> bool:
    is_udp = "udp" in line.arguments
    own = line.arguments[0].rpartition(":")[2] if line.arguments else ""
    return own == str(port) and is_udp == (protocol == "udp")
