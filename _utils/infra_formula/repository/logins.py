"""Logins of upstreams: user and password in an address, kept apart from it.

``catalogue.plan`` takes them out of the addresses. They reach apt and dnf in files of their own
that only root can read, and our own requests in memory; nothing that is published holds one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from infra_formula import credentials
from infra_formula.errors import InvalidInput
from infra_formula.fileset.contents import File
from infra_formula.repository import client_sources

Login = list[str]
"""User and password, decoded."""


def separate(urls: Iterable[str]) -> tuple[list[str], dict[str, Login]]:
    """Addresses without logins, and the logins by these addresses."""
    bare: list[str] = []
    logins: dict[str, Login] = {}
    for url in urls:
        login = credentials.userinfo(url)
        bare.append(credentials.without_userinfo(url))
        if login:
            logins[bare[-1]] = list(login)
    return bare, logins


def problem(urls: list[str], logins: dict[str, Login], family: str) -> str:
    """Why apt or dnf cannot be given these logins; empty if they can.

    urls, logins
        As :func:`separate` returns them.
    family
        ``deb`` or ``rpm``.
    """
    for user, password in logins.values():
        # They are words of apt's auth.conf, and of dnf's definition.
        if not user or re.search(r"[\s\x00-\x1f\x7f\x85\u2028\u2029]", user + password):
            return "expected a user and a password without blanks"
        if family == "rpm" and re.match(r"[\"']", password):
            return "expected a password that does not begin with a quote"
    different = {tuple(login) for login in logins.values()}
    if family == "rpm" and logins and (len(different) > 1 or set(logins) != set(urls)):
        return "expected one user and password in all of its addresses, as dnf has one for each"
    return ""


def without(value: Any) -> Any:
    """A plan without its logins: they decide nothing about what is in a repository."""
    if isinstance(value, dict):
        return {k: without(v) for k, v in value.items() if k not in ("login", "logins")}
    if isinstance(value, list):
        return [without(item) for item in value]
    return value


def of_url(url: str, upstreams: Iterable[dict[str, Any]]) -> Login | None:
    """The login that a file of one of several upstreams is fetched with; None for none.

    url
        Its address, without a login.
    """
    matches = [
        (base, login)
        for upstream in upstreams
        for base, login in upstream.get("logins", {}).items()
        if is_below(url, base)
    ]
    return max(matches, key=lambda pair: len(pair[0]))[1] if matches else None


def is_below(url: str, base: str) -> bool:
    """Whether an address is below another, as far as that has no variable of dnf."""
    here, there = urlsplit(url), urlsplit(base)
    if (here.scheme, here.netloc) != (there.scheme, there.netloc):
        return False
    path, dollar, _ = there.path.partition("$")
    path = path if dollar else f"{path.rstrip('/')}/"
    return here.path.startswith(path) and ".." not in here.path.split("/")


def apt_text(upstreams: Iterable[dict[str, Any]]) -> str:
    """Logins as apt's auth.conf has them; empty if there are none."""
    lines = []
    for upstream in upstreams:
        for url, (user, password) in upstream.get("logins", {}).items():
            # Without its scheme, it would hold for https alone.
            words = ["machine", url, "login", user]
            lines.append(" ".join([*words, *(["password", password] if password else [])]) + "\n")
    return "".join(lines)


def apt_file(upstream: dict[str, Any]) -> dict[str, File]:
    """The file below /etc/apt/auth.conf.d of an upstream with logins; none without."""
    text = apt_text([upstream])
    if not text:
        return {}
    name = f"infra-{upstream['name']}.conf"
    return {name: {"text": client_sources.HEAD + text, "mode": "0600", "secret": True}}


def dnf_options(upstream: dict[str, Any]) -> dict[str, str]:
    """Options of dnf for the logins of an upstream: ``username`` and ``password``."""
    for user, password in upstream.get("logins", {}).values():
        return {"username": user, "password": password}
    return {}


def refuse_published(upstreams: Iterable[dict[str, Any]], where: str) -> None:
    """Raise InvalidInput if a repository of an earlier release names an upstream with its login."""
    for upstream in upstreams:
        if any(credentials.userinfo(url) for url in str(upstream.get("url", "")).split()):
            raise InvalidInput(
                f"{where}: its repo_info.json holds the login of the upstream {upstream['name']}. "
                "Apply infra.repo, which builds the repository again, and change that login"
            )
