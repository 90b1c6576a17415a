"""``locations`` of an entry: their paths, and which attributes each takes from around it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from infra_formula.parameters import schema
from infra_formula.portal.attributes import LOCATION

_FORM = re.compile(r"(?:(=|\^~|~\*|~)\s+)?(\S.*)")
_TARGET = ("endpoint", "path", "redirect")
_OF_TARGET = (
    *_TARGET,
    "accel_redirect",
    "balance",
    "host",
    "index",
    "proxy_cache",
    "proxy_http_version",
    "proxy_next_upstream",
    "proxy_set_header",
    "proxy_ssl_name",
    "proxy_ssl_trusted_certificate",
    "proxy_ssl_verify",
    "scheme",
    "spa",
    "websocket",
)
"""Attributes that belong to a target: a location with a target of its own takes none of them."""


@dataclass(frozen=True)
class Match:
    """Which requests a location is for, as nginx's ``location``.

    modifier
        ``''``, ``=``, ``^~``, ``~`` or ``~*``.
    text
        A path, or a regular expression.
    """

    modifier: str
    text: str

    @property
    def is_regex(self) -> bool:
        """Whether it is a regular expression."""
        return self.modifier.startswith("~")

    @property
    def is_prefix(self) -> bool:
        """Whether it is for a path and all that begins so."""
        return self.modifier in ("", "^~")

    def nginx(self) -> str:
        """The arguments of nginx's ``location``."""
        if not self.is_regex:
            return f"{self.modifier} {self.text}".lstrip()
        quoted = self.text.replace("\\", "\\\\").replace('"', '\\"')
        return f'{self.modifier} "{quoted}"'


@dataclass(frozen=True)
class Location:
    """A location of an entry.

    number
        Its place among the entry's, from 1; 0 for what answers where none of them does.
    attributes
        With those that it takes from its entry.
    own
        Those that it has itself.
    """

    key: str
    match: Match
    number: int
    attributes: dict[str, Any]
    own: dict[str, Any]

    @property
    def has_own_target(self) -> bool:
        """Whether it says itself what answers."""
        return bool(set(_TARGET) & set(self.own))


_ROOT = Match("", "/")


def parse(key: Any) -> Match | None:
    """The path of a location; None if it is none."""
    form = _FORM.fullmatch(key) if isinstance(key, str) and not schema.line_problem(key) else None
    if not form:
        return None
    match = Match(form[1] or "", form[2].rstrip())
    if match.is_regex:
        return match
    path = match.text
    is_plain = schema.path_problem(path) is None and "%" not in path
    return match if is_plain and posixpath.normpath(path) == (path.rstrip("/") or "/") else None


def upstream_name(key: str, number: int) -> str:
    """Name of nginx's ``upstream`` for a location; that of an entry itself is its key."""
    return f"_location_{number}_{key}" if number else key


def of_entry(entry: dict[str, Any]) -> list[Location]:
    """What answers in an entry, with ``/`` at the end; locations without a valid path are left out.

    A location without a target of its own takes that of the entry, with all that belongs to it.
    """
    around = {k: v for k, v in entry.items() if k in LOCATION and k != "auth"}
    own_locations = entry.get("locations")
    if not own_locations:
        return [Location("/", _ROOT, 0, around, {})]
    locations = []
    for number, (key, own) in enumerate(
        own_locations.items() if isinstance(own_locations, dict) else (), start=1
    ):
        match = parse(key)
        if match is None or not isinstance(own, dict):
            continue
        taken = dict(around)
        if set(_TARGET) & set(own):
            taken = {name: value for name, value in around.items() if name not in _OF_TARGET}
        attributes = {**taken, **own}
        headers = [part.get("proxy_set_header") for part in (taken, own)]
        if all(isinstance(part, dict) for part in headers):
            attributes["proxy_set_header"] = {**headers[0], **headers[1]}  # type: ignore[dict-item]
        locations.append(Location(key, match, number, attributes, own))
    if not any(location.match == _ROOT for location in locations):
        locations.append(Location("/", _ROOT, 0, {**around}, {}))
    return locations


def around(location: Location, locations: list[Location]) -> Iterator[Location]:
    """The locations whose path a location's is below, from the next to the outermost."""
    if location.match.is_regex:
        return
    text = location.match.text
    outer = [
        other
        for other in locations
        if other is not location
        and other.number
        and other.match.is_prefix
        and (text.startswith(other.match.text))
    ]
    yield from sorted(outer, key=lambda other: -len(other.match.text))
