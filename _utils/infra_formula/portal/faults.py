"""nginx's errors about a staged portal, led back to the entry and the attribute of the pillar.

nginx names a file and a line where it can. What it finds only when it has read everything (buffers
that do not fit together, a zone that nobody defined) it reports without a place. Then the entry is
found by tests of a part of the portal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from infra_formula.parameters import schema
from infra_formula.portal import endpoints, http_config, locations, raw_config, rendering, streams

_MOST = 20
"""So many faulty entries are named at once."""

_OF_DIRECTIVE = {
    "alias": "path",
    "auth_basic": "realm",
    "auth_basic_user_file": "auth",
    "auth_request": "auth",
    "access_log": "log",
    "geo": "maintenance",
    "hash": "balance",
    "ip_hash": "balance",
    "least_conn": "balance",
    "limit_req_status": "limit_req",
    "limit_req_zone": "limit_req",
    "random": "balance",
    "proxy_pass": "endpoint",
    "grpc_pass": "endpoint",
    "grpc_set_header": "proxy_set_header",
    "proxy_buffers": "proxy_buffer_size",
    "proxy_busy_buffers_size": "proxy_buffer_size",
    "grpc_buffer_size": "proxy_buffer_size",
    "proxy_cache_path": "proxy_cache",
    "proxy_cache_key": "proxy_cache",
    "proxy_cache_valid": "proxy_cache",
    "proxy_ssl_verify_depth": "proxy_ssl_verify",
    "return": "redirect",
    "rewrite": "strip_prefix",
    "root": "path",
    "server": "endpoint",
    "server_name": "domain",
    "ssl_certificate": "cert",
    "ssl_certificate_key": "key",
    "try_files": "spa",
    "upstream": "endpoint",
}
"""Directive of a template → attribute, where they have different names."""

Test = Callable[[Collection[str]], str]
"""Tests a staged portal without some of its entries; returns nginx's errors, empty for none."""


def messages(stderr: str, stage: str, portal: dict[str, Any], test: Test) -> Iterator[str]:
    """Every fault of a staged portal that nginx refuses, one message each.

    stderr
        nginx's errors.
    stage
        Directory of the staged copy.
    portal
        What it was rendered from.
    test
        See :data:`Test`.
    """
    left_out: set[str] = set()
    for _ in range(_MOST):
        key, message = _led_back(stderr, stage, portal, test, left_out)
        # Who passes requests to an entry that was left out is not at fault.
        if not any(f'"{other}' in message for other in left_out):
            yield message
        if key is None:
            return
        left_out.add(key)
        stderr = test(left_out)
        if not stderr:
            return


def explain(stderr: str, stage: str, portal: dict[str, Any]) -> str:
    """One error of nginx, led back as far as its text allows."""
    return _led_back(stderr, stage, portal, None, set())[1]


def _led_back(
    stderr: str, stage: str, portal: dict[str, Any], test: Test | None, left_out: set[str]
) -> tuple[str | None, str]:
    """The entry at fault, None if there is none, and the message about it."""
    lines = [line for line in stderr.splitlines() if "[emerg]" in line or "[crit]" in line]
    lines = lines or [line for line in stderr.splitlines() if "[" in line] or [stderr.strip()]
    message = re.sub(r"^nginx: \[\w+\] ", "", lines[0])
    message = re.sub(r"^[\d/]+ [\d:]+ \[\w+\] \d+#\d+: (?:\*\d+ )?", "", message)
    place = re.search(rf" in {re.escape(stage)}/(\S+?):(\d+)$", message)
    rel, number = (place[1], int(place[2])) if place else ("", 0)
    reason = (message[: place.start()] if place else message).replace(stage, rendering.ROOT)
    known = {"home", *portal}
    key = rel.removeprefix("conf.d/").removesuffix(".conf") if rel.startswith("conf.d/") else ""
    if key in known:
        text = _lines(stage, rel)
        line = text[number - 1].strip() if 0 < number <= len(text) else ""
        attribute = _attribute(key, _entry(portal, key), text, number, reason)
        return key, (
            f"infra_portal.{key}{attribute}: nginx refuses line {number} of {rel}: {reason}: {line}"
        )
    if rel == streams.FILE:
        text = _lines(stage, rel)
        line = text[number - 1].strip() if 0 < number <= len(text) else ""
        where = _stream_around(text, number - 1)
        return None, f"{where}: nginx refuses line {number} of {rel}: {reason}: {line}"
    if rel == http_config.FILE:
        text = _lines(stage, rel)
        line = text[number - 1].strip() if 0 < number <= len(text) else ""
        return None, f"nginx_http_config: nginx refuses its line {number - 1}: {reason}: {line}"
    stream = _stream_that_names(reason, stage)
    if stream:
        return None, f"{stream}: nginx refuses it: {reason}"
    match = next(_by_value(reason, portal), None)
    if match:
        return match[0], f"infra_portal.{match[0]}{match[1]}: nginx refuses it: {reason}"
    if test is not None:
        culprit = _by_tests(sorted(known - left_out), test, left_out)
        if culprit is not None:
            entry = _entry(portal, culprit)
            attribute = _attribute_by_words(entry, reason)
            # What the templates write fits together.
            attribute = attribute or (".config" if entry.get("config") else "")
            line = _line_of(entry.get("config", ""), reason) if attribute == ".config" else ""
            quote = f": {line}" if line else ""
            return culprit, f"infra_portal.{culprit}{attribute}: nginx refuses it: {reason}{quote}"
    if key:
        text = _lines(stage, rel)
        line = text[number - 1].strip() if 0 < number <= len(text) else ""
        return None, (
            f"nginx refuses {rel} line {number}, which is not of this portal: {reason}: {line}"
        )
    own = "\n".join(_lines(stage, http_config.FILE))
    words = re.findall(r'"\$?([^"]+)"', reason)
    if not rel and any(word in own for word in words):
        line = next(x.strip() for x in own.splitlines() if any(word in x for word in words))
        return None, f"nginx_http_config: nginx refuses it: {reason}: {line}"
    where = f" line {number} of {rel}" if rel else " the configuration"
    return None, f"nginx refuses{where}: {reason}"


def stream_of_port(message: str, root: str) -> str:
    """``infra_streams.NAME.listen: `` of the port that a message is about; empty if no stream's."""
    match = re.search(r"bind\(\) to \S+:(\d+) failed", message)
    if not match:
        return ""
    lines = _lines(root, streams.FILE)
    listen = re.compile(rf" *listen (?:\[::\]:)?{match[1]}[ ;]")
    numbers = [n for n, line in enumerate(lines) if listen.match(line)]
    names = dict.fromkeys(_stream_around(lines, n) for n in numbers)
    return f"{', '.join(f'{name}.listen' for name in names)}: " if names else ""


def _stream_around(lines: list[str], index: int) -> str:
    """Key path of the stream, or of those that share a port, that a line of their file is from."""
    group = "# By the name that a connection asks for: "
    for line in reversed(lines[: index + 1]):
        text = line.strip()
        if text.startswith("# infra_streams."):
            return text[2:]
        if text.startswith(group):
            return f"infra_streams.{text.removeprefix(group).split(',')[0]}"
    return "infra_streams"


def _stream_that_names(reason: str, stage: str) -> str:
    """``infra_streams.NAME.attribute`` of the only place that writes what a message quotes."""
    lines = _lines(stage, streams.FILE)
    attributes = {"ssl_certificate": "cert", "ssl_certificate_key": "key"}
    for word in re.findall(r'"(/[^"]{3,})"', reason):
        for index, line in enumerate(lines):
            name, _, value = line.strip().partition(" ")
            if name in attributes and value.rstrip(";") == word:
                return f"{_stream_around(lines, index)}.{attributes[name]}"
    return ""


def _entry(portal: dict[str, Any], key: str) -> dict[str, Any]:
    entry = portal.get(key, {})
    return entry if isinstance(entry, dict) else {}


def _lines(stage: str, rel: str) -> list[str]:
    path = Path(stage, rel)
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _attribute(key: str, entry: dict[str, Any], text: list[str], number: int, reason: str) -> str:
    """``.attribute`` that a line of an entry's file is from; empty if that cannot be said."""
    if "conf" in entry:
        return ".conf"
    marker = next((i for i, x in enumerate(text) if x.endswith(f"# infra_portal.{key}.config")), 0)
    line = text[number - 1].strip() if 0 < number <= len(text) else ""
    written = {x.strip() for x in entry.get("config", "").splitlines() if x.strip()}
    if line in written and (not marker or number > marker):
        return ".config"
    if (
        marker
        and number > marker + 1
        and "".join(text[marker:number]).count("}") <= "".join(text[marker:number]).count("{")
    ):
        return ".config"
    if "host not found in upstream" in reason or "no port in upstream" in reason:
        host = re.search(r'upstream "([^"]+)"', reason)
        match = next(_by_value(f'"{host[1]}"' if host else "", {key: entry}), None)
        return match[1] if match else ".endpoint"
    words = line.split()
    name = words[0] if words and line != "server {" else ""
    around = _location_around(entry, text, number)
    attributes, prefix = (around[1], around[0]) if around else (entry, "")
    if name == "location" and around:
        return prefix
    attribute = _OF_DIRECTIVE.get(name, name)
    if name == "access_log" and "log format" in reason:
        attribute = "log_format"
    if attribute == "spa" and not attributes.get("spa"):
        attribute = "path"
    if attribute in attributes:
        return f"{prefix}.{attribute}"
    return f".{attribute}" if attribute in entry else _attribute_by_words(entry, reason)


def _location_around(
    entry: dict[str, Any], text: list[str], number: int
) -> tuple[str, dict[str, Any]] | None:
    """The path and the attributes of the item of ``locations`` that a line is in."""
    head = ""
    for line in reversed(text[:number]):
        if line.startswith("    location "):
            head = line.strip()
            break
        if line == "    }":
            return None
    for key, own in entry.get("locations", {}).items():
        match = locations.parse(key)
        if match is None or not head:
            continue
        forms = {match.nginx(), f"^~ {match.text}", f"{match.text}/", f"= {match.text}"}
        if head in {f"location {form} {{" for form in forms}:
            return f".{schema.join('locations', key)}", own
    return None


def _by_value(reason: str, portal: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Entries and attributes whose value a message quotes, if only one entry has it."""
    quoted = {word for word in re.findall(r'"([^"]{3,})"', reason)}
    quoted |= {word.rpartition(":")[0] for word in quoted if ":" in word}
    keys = []
    for key, entry in portal.items():
        for prefix, attributes in _parts(entry):
            for name, value in attributes.items():
                values = endpoints.addresses(value) if name == "endpoint" else [value]
                values += [v.removeprefix("unix:") for v in values if isinstance(v, str)]
                if name == "log":
                    values = [f"/var/log/nginx/{value}"]
                if any(isinstance(v, str) and v in quoted for v in values) or (
                    name == "endpoint" and any(v.rpartition(":")[0] in quoted for v in values)
                ):
                    keys.append((key, f"{prefix}.{name}"))
    if len({key for key, _ in keys}) == 1:
        yield from keys


def _parts(entry: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(entry, dict):
        return
    yield "", entry
    for key, own in entry.get("locations", {}).items():
        yield f".{schema.join('locations', key)}", own


def _by_tests(keys: list[str], test: Test, left_out: set[str]) -> str | None:
    """The first entry with which nginx refuses the portal; None if it does without any."""
    entries = [key for key in keys if key != "home"]
    if test({*left_out, *entries}):
        return "home" if "home" in keys and not test({*left_out, *keys}) else None
    low, high = 0, len(entries)  # accepted with the first `low`, refused with the first `high`
    while high - low > 1:
        middle = (low + high) // 2
        if test({*left_out, *entries[middle:]}):
            high = middle
        else:
            low = middle
    return entries[low] if entries else None


def _attribute_by_words(entry: dict[str, Any], reason: str) -> str:
    """The attribute that the words of a message are about; ``config`` if they stand in that."""
    words = set(re.findall(r'"([^"]+)"', reason))
    root = raw_config.parse(entry.get("config", ""))
    raw = [words for block in root.walk() for words in block.directives]
    names = {directive[0] for directive in raw}
    if words & names or any(word in " ".join(directive) for word in words for directive in raw):
        return ".config"
    for prefix, attributes in _parts(entry):
        for word in words:
            attribute = _OF_DIRECTIVE.get(word, word)
            if attribute in attributes:
                return f"{prefix}.{attribute}"
    for prefix, attributes in reversed([*_parts(entry)]):
        for name, value in attributes.items():
            if name != "locations" and any(f"${word}" in str(value) for word in words):
                return f"{prefix}.{name}"
    families = {word.split("_")[0] for word in words if "_" in word}
    if any(name.split("_")[0] in families for name in names):
        return ".config"
    return ""


def _line_of(config: str, reason: str) -> str:
    """The line of raw directives that has a word of a message, for the reader."""
    for word in re.findall(r'"([^"]+)"', reason):
        for line in config.splitlines():
            if word in line:
                return line.strip()
    return ""
