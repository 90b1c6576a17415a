"""Stores that vmagent writes to: their URLs, and the files of their credentials.

vmagent takes the credentials of several stores as lists in the order of their URLs. They are in
files that it alone reads, so that they are in no list of processes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from infra_formula import addresses, credentials
from infra_formula.daemon import configuration
from infra_formula.fileset.contents import File
from infra_formula.monitoring import cluster
from infra_formula.parameters.site import Site
from infra_formula.state import Plan

ROOT = "/etc/vmagent"
"""Directory of the credentials."""

_WRITE = "/api/v1/write"
_SECRETS = {"password": "password_file", "token": "token_file"}
_FLAGS = ("username", "password_file", "token_file", "ca_file", "cert_file", "key_file")
_QUOTED = re.compile(r"[,\"'(){}]")


def stores(here: Site) -> list[dict[str, Any]]:
    """The stores of ``vmetrics_remote_write``, each a dictionary with the ``url`` completed."""
    return [
        {**entry, "url": complete(entry["url"])}
        for entry in _entries(here["vmetrics_remote_write"])
    ]


def complete(url: str) -> str:
    """A URL, with the path of the remote write protocol if it has none."""
    return url.rstrip("/") + _WRITE if urlsplit(url).path in ("", "/") else url


def local_urls(here: Site) -> list[str]:
    """URLs of the site's own stores that this node's vmagent writes to.

    Each node scrapes all targets for its own store, unless the nodes share the targets.
    """
    urls = [cluster.write_url(here)] if cluster.is_there(here) else []
    if not here["vmetrics_enabled"]:
        return urls
    hosts = ["127.0.0.1", *(here.other_addresses if is_shared(here) else [])]
    port = here["vmetrics_port"]
    return urls + [f"http://{addresses.in_url(host)}:{port}{_WRITE}" for host in hosts]


def is_shared(here: Site) -> bool:
    """Whether each INFRA node scrapes a share of the targets."""
    replicas = here["vmagent_replicas"]
    return bool(here["vmagent_enabled"] and 0 < replicas < len(here.infra_nodes))


def member(here: Site) -> int:
    """Number of this INFRA node among those that share the targets, from 0, by ``infra_seq``."""
    numbers = sorted(node["seq"] for node in here.infra_nodes)
    return numbers.index(here.this_node["seq"]) if here.this_node else 0


def flag_values(here: Site) -> dict[str, Any]:
    """What the flags of vmagent in ``infra/components.yaml`` may name."""
    local, remote = local_urls(here), stores(here)
    listed: list[dict[str, str]] = [{} for _ in local]
    for store in remote:
        files = {to: path(store, name) for name, to in _SECRETS.items() if store.get(name)}
        listed.append({**{k: v for k, v in store.items() if v is not None}, **files})
    values: dict[str, Any] = {"write_urls": [_value(u) for u in local]}
    values["write_urls"] += [_value(store["url"]) for store in remote]
    for name in _FLAGS:
        words = [_value(str(store.get(name, ""))) for store in listed]
        values[f"write_{name}"] = ",".join(words) if any(words) else ""
    values["scrape_members"] = len(here.infra_nodes) if is_shared(here) else 0
    values["scrape_member"] = member(here)
    return values


def path(store: dict[str, Any], secret: str) -> str:
    """File of a store's ``password`` or ``token``. Its name stays if the stores are reordered."""
    digest = hashlib.sha256(store["url"].encode()).hexdigest()[:12]
    return f"{ROOT}/{digest}.{secret}"


def login_files(here: Site, user: str) -> dict[str, File]:
    """The files of all credentials, as a file set below :data:`ROOT`.

    user
        The account that vmagent runs as.
    """
    return {
        path(store, name).removeprefix(f"{ROOT}/"): {
            "text": store[name], "mode": "0600", "user": user, "secret": True,
        }
        for store in stores(here)
        for name in _SECRETS
        if store.get(name)
    }  # fmt: skip


def plan(files: dict[str, File]) -> Plan:
    """Plan the files of credentials; vmagent reads them every second.

    files
        What :func:`login_files` returned.
    """
    difference = configuration.compare("vmagent", ROOT, files)
    number = f"{len(files)} file{'' if len(files) == 1 else 's'}"
    return configuration.plan(
        difference,
        [],
        comment=f"{number} of credentials of stores are up to date.",
        would="Credentials of stores would change.",
    )


def problems(here: Site) -> list[str]:
    """Problems of the parameters, one message each, which begins with the key path."""
    errors = []
    value = here["vmetrics_remote_write"]
    seen: dict[str, str] = {}
    for index, entry in enumerate(_entries(value)):
        at = (
            f"vmetrics_remote_write[{index}]"
            if isinstance(value, list)
            else "vmetrics_remote_write"
        )
        key = f"{at}.url" if _is_mapping(value, index) else at
        errors += _entry_problems(at, key, entry)
        first = seen.setdefault(complete(entry["url"]), at)
        if first != at:
            errors.append(f"{key}: expected another URL than that of {first}")
    if value and not here["vmagent_enabled"]:
        errors.append("vmagent_enabled: expected true, because vmetrics_remote_write needs vmagent")
    if here["vmagent_enabled"] and not value and not local_urls(here):
        errors.append(
            "vmetrics_remote_write: expected a store, because vmagent scrapes and "
            "vmetrics_enabled is false"
        )
    return errors


def _entry_problems(at: str, key: str, entry: dict[str, Any]) -> list[str]:
    errors = []
    parts = urlsplit(entry["url"])
    if parts.username is not None:
        errors.append(f"{key}: expected a URL without a login; username and password are keys")
    if parts.fragment or credentials.holds_credentials(entry["url"]):
        errors.append(f"{key}: expected a URL without a token or #; token is a key")
    has = {name for name, value in entry.items() if value not in (None, "")}
    for one, other in (("username", "password"), ("cert_file", "key_file")):
        for name, missing in ((one, other), (other, one)):
            if name in has and missing not in has:
                errors.append(f"{at}.{missing}: missing; {at}.{name} needs it")
    if {"username", "token"} <= has:
        errors.append(f"{at}.token: expected a login or a token, not both")
    return errors


def _entries(given: Any) -> list[dict[str, Any]]:
    listed: Sequence[Any] = given if isinstance(given, list) else [given] if given else []
    return [{"url": entry} if isinstance(entry, str) else dict(entry) for entry in listed]


def _is_mapping(given: Any, index: int) -> bool:
    return isinstance(given[index] if isinstance(given, list) else given, dict)


def _value(text: str) -> str:
    """An element of a flag that takes a list, whose elements are divided by commas."""
    return json.dumps(text, ensure_ascii=False) if _QUOTED.search(text) else text
