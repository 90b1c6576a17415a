"""What a site serves, in one form for Pigsty and for this formula, so that the two compare.

Names of programs are those of what they do: a Prometheus and a VictoriaMetrics are both `metrics`.
"""

from __future__ import annotations

from typing import TypedDict

PROGRAMS = ("metrics", "logs", "traces", "rules", "alerts", "grafana", "blackbox")


class Web(TypedDict):
    """What a name answers.

    upstream
        ``host:port``, the program and the host for one of an INFRA node, or a directory.
    scheme
        ``http`` or ``https``, of the upstream.
    websocket, login, https, redirect, listing
        Whether upgrades pass, a login is asked for, HTTPS is spoken, HTTP is redirected to it, and
        files are listed.
    """

    upstream: str
    scheme: str
    websocket: bool
    login: bool
    https: bool
    redirect: bool
    listing: bool


class Served(TypedDict):
    """What a site serves.

    parts
        INFRA node → programs that run there.
    names
        INFRA node → name → what it answers.
    records
        INFRA node → name → addresses, in its name server.
    hosts
        Host → lines of ``/etc/hosts``, as pairs of name and address.
    targets
        ``job cls ins address`` of each scrape target.
    """

    parts: dict[str, set[str]]
    names: dict[str, dict[str, Web]]
    records: dict[str, dict[str, set[str]]]
    hosts: dict[str, set[tuple[str, str]]]
    targets: set[str]


def target(job: str, cluster: str, instance: str, address: str) -> str:
    """A target as text."""
    return f"{job} {cluster} {instance} {address}"
