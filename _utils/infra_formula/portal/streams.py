"""Streams: TCP and UDP ports of the portal (``infra_streams``), with TLS ended here or by SNI.

Unlike a site, a stream knows nothing of HTTP. Several that pass TLS on share a port: which one gets
a connection is told by the name (SNI) that it begins with.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from infra_formula.parameters import schema
from infra_formula.portal import access, hosts, named_certificates, upstreams

FILE = "infra-streams.conf"
"""Where they are, below ``/etc/nginx``."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OF_A_PORT = ("allow", "deny", "proxy_protocol", "proxy_connect_timeout", "proxy_timeout")
_PASSED_ON = ("ssl", "cert", "key")
_CERTIFICATE = ("conf.d/cert/pigsty.crt", "conf.d/cert/pigsty.key")

Stream = Mapping[str, Any]


def of_settings(settings: Mapping[str, Any]) -> dict[str, Stream]:
    """``infra_streams`` of settings; those of an older release have none."""
    return dict(settings.get("infra_streams") or {})


def listed(value: Any) -> list[str]:
    """A value that may be one string or a list of them, as a list."""
    return [value] if isinstance(value, str) else list(value or [])


def protocol(stream: Stream) -> str:
    """``tcp`` or ``udp``."""
    return str(stream.get("protocol", "tcp"))


def ports(streams: Mapping[str, Stream]) -> list[str]:
    """The ports of streams, like ``5432/tcp``."""
    return list(dict.fromkeys(f"{s['listen']}/{protocol(s)}" for s in streams.values()))


def problems(
    streams: Mapping[str, Stream], settings: Mapping[str, Any], keys: set[str]
) -> list[str]:
    """What is wrong with ``infra_streams``, of which each value has the right type.

    keys
        The entries of the portal, whose names a stream may not have.
    """
    errors: list[str] = []
    owners = dict(_taken(settings))
    folded: dict[str, str] = {}
    for name, stream in streams.items():
        path = schema.join("infra_streams", name)
        twin = folded.setdefault(name.lower(), name)
        if twin != name:
            errors.append(f"{path}: expected a name that differs from {twin!r} by more than case")
        if not _NAME.fullmatch(name):
            errors.append(f"{path}: expected a name of letters, digits, dots, hyphens as key")
        if name in keys:
            errors.append(f"{path}: expected another name than that of infra_portal.{name}")
        errors += _shape_problems(path, stream, settings)
        for key, shareable in _places(stream):
            owner, others = owners.setdefault(key, (path, shareable))
            if owner != path and not (shareable and others):
                port, kind, server_name = key
                if server_name:
                    errors.append(f"{path}.server_name: {server_name!r} is already {owner}'s")
                else:
                    errors.append(
                        f"{path}.listen: expected another port than {owner} has, got {port}/{kind}"
                    )
    return errors + _group_problems(streams) + _loop_problems(streams, settings)


def _loop_problems(streams: Mapping[str, Stream], settings: Mapping[str, Any]) -> list[str]:
    """Streams that lead back to themselves: one connection would take all that nginx has."""
    next_ones = {
        name: {
            other
            for endpoint in listed(stream["endpoint"])
            for other in streams
            if f"{streams[other]['listen']}" == endpoint.rpartition(":")[2]
            and protocol(streams[other]) == protocol(stream)
            and not endpoint.startswith("unix:")
            and hosts.is_this_node(endpoint.rpartition(":")[0], dict(settings))
        }
        for name, stream in streams.items()
    }
    errors = []
    for name in streams:
        reached: set[str] = set()
        waiting = set(next_ones[name])
        while waiting:
            other = waiting.pop()
            reached.add(other)
            waiting |= next_ones[other] - reached
        if name in reached:
            path = schema.join("infra_streams", name)
            errors.append(f"{path}.endpoint: expected one that does not lead back to this stream")
    return errors


def _group_problems(streams: Mapping[str, Stream]) -> list[str]:
    """What streams that share a port, for different names, have to have in common."""
    errors = []
    first: dict[int, tuple[str, Stream]] = {}
    for name, stream in streams.items():
        if not stream.get("server_name"):
            continue
        owner, other = first.setdefault(stream["listen"], (name, stream))
        errors += [
            f"{schema.join('infra_streams', name)}.{attribute}: expected what "
            f"infra_streams.{owner} has, which is on the same port"
            for attribute in _OF_A_PORT
            if stream.get(attribute) != other.get(attribute)
        ]
    return errors


def _taken(settings: Mapping[str, Any]) -> Iterator[tuple[tuple[int, str, str], tuple[str, bool]]]:
    """Ports of the portal and of the programs beside it: port, protocol, no name → their owner."""
    for name in (
        "nginx_port",
        "nginx_ssl_port",
        "nginx_proxy_protocol_port",
        "nginx_proxy_protocol_ssl_port",
    ):
        if settings.get(name):
            yield (settings[name], "tcp", ""), (name, False)
    for name, component in settings["components"].items():
        if component["port"]:
            yield (component["port"], "tcp", ""), (name, False)
    yield (22, "tcp", ""), ("sshd", False)


def _lower_names(stream: Stream) -> list[str]:
    """Its names as nginx compares them, each once."""
    return list(dict.fromkeys(name.lower() for name in listed(stream.get("server_name"))))


def _places(stream: Stream) -> Iterator[tuple[tuple[int, str, str], bool]]:
    """What a stream takes: its port, which those with names share, and its names on it."""
    names = listed(stream.get("server_name"))
    yield (stream["listen"], protocol(stream), ""), bool(names)
    for name in names:
        yield (stream["listen"], protocol(stream), name.lower()), False


def _shape_problems(path: str, stream: Stream, settings: Mapping[str, Any]) -> list[str]:
    errors = []
    endpoints = listed(stream["endpoint"])
    if not endpoints:
        errors.append(f"{path}.endpoint: expected at least one endpoint, got []")
    if protocol(stream) == "udp":
        errors += [
            f"{path}.{name}: expected protocol tcp beside it"
            for name in ("server_name", "proxy_protocol", *_PASSED_ON)
            if stream.get(name)
        ]
        errors += [
            f"{path}.endpoint: expected host:port beside protocol udp, got {e!r}"
            for e in endpoints
            if e.startswith("unix:")
        ]
    elif stream.get("server_name"):
        errors += [
            f"{path}.{name}: expected nothing beside server_name, which passes TLS on"
            for name in _PASSED_ON
            if stream.get(name)
        ]
    elif "cert" in stream and not stream.get("ssl"):
        errors.append(f"{path}.ssl: expected true beside cert")
    errors += [
        f"{path}.endpoint: expected a path outside /tmp and /var/tmp: nginx has private ones"
        for e in endpoints
        if re.match(r"unix:(/var)?/tmp(/|$)", e)
    ]
    if len(endpoints) > 1:
        errors += [
            f"{path}.endpoint: expected addresses where there are several, got the name {e!r}"
            for e in endpoints
            if not e.startswith("unix:") and hosts.address(e.rpartition(":")[0]) is None
        ]
    if settings["portal_auth"] and hosts.leads_to_tool({"endpoint": endpoints}, dict(settings)):
        errors.append(
            f"{path}.endpoint: expected none of a program without a login of its own, to which "
            "portal_auth closes the way"
        )
    if stream.get("ssl") and "cert" not in stream and settings["nginx_sslmode"] == "disable":
        errors.append(f"{path}.cert: expected a certificate: with nginx_sslmode disable the portal")
    return errors + _certificate_problems(path, stream, settings)


def _certificate_problems(path: str, stream: Stream, settings: Mapping[str, Any]) -> list[str]:
    cert = stream.get("cert")
    if cert is None:
        return [f"{path}.cert: expected beside key"] if "key" in stream else []
    if not named_certificates.is_name(cert):
        return [] if "key" in stream else [f"{path}.key: expected beside cert"]
    if "key" in stream:
        return [f"{path}.key: expected none: nginx_certificates has the key of {cert}"]
    known = named_certificates.of_settings(settings)
    return named_certificates.reference_problem(f"{path}.cert", cert, known)


# -- as nginx has them -----------------------------------------------------------------------------


def own_certificates(settings: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Streams with a certificate in files of their own → the paths of it and of its key."""
    return {
        name: (stream["cert"], stream["key"])
        for name, stream in of_settings(settings).items()
        if "key" in stream and "cert" in stream and not named_certificates.is_name(stream["cert"])
    }


def views(
    settings: Mapping[str, Any], service: upstreams.NameService, broken: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Streams as their template sees them, in the order of the pillar.

    broken
        Streams whose own certificate cannot be served; they get the portal's own.
    """
    result = []
    for name, stream in of_settings(settings).items():
        endpoints = listed(stream["endpoint"])
        resolved = [upstreams.run_time_name(e, settings, service) for e in endpoints]
        pair = (stream.get("cert", _CERTIFICATE[0]), stream.get("key", _CERTIFICATE[1]))
        if named_certificates.is_name(pair[0]) and "cert" in stream:
            pair = named_certificates.paths(pair[0])
        if name in broken:
            pair = _CERTIFICATE
        result.append(
            {
                "name": name,
                "listen": stream["listen"],
                "protocol": protocol(stream),
                "endpoints": endpoints,
                # A name is resolved while nginx runs: it stands behind a variable, not in a group.
                "run_time_name": resolved[0] if any(resolved) else "",
                "server_names": _lower_names(stream),
                "ssl": stream.get("ssl", False),
                "cert": pair[0],
                "cert_key": pair[1],
                "proxy_protocol": stream.get("proxy_protocol", False),
                "rules": access.rules(listed(stream.get("allow")), listed(stream.get("deny"))),
                "connect_timeout": stream.get("proxy_connect_timeout", "5s"),
                "timeout": stream.get("proxy_timeout", "10m"),
            }
        )
    return result


def by_name(all_views: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """The ports at which the name of a connection decides → the streams behind them."""
    groups: dict[int, list[dict[str, Any]]] = {}
    for view in all_views:
        if view["server_names"]:
            groups.setdefault(view["listen"], []).append(view)
    return groups
