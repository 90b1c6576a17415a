"""The rules of ``infra/schema.yaml`` in the words of JSON Schema (draft 2020-12), for editors.

JSON Schema cannot say all that a rule does: what it lets pass, ``infra_pillar.valid`` may refuse,
never the other way round.
"""

from __future__ import annotations

from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_END = r"(?![\s\S])"  # `$` of Python's re lets a line break follow; JSON Schema's does not
_CONTROL = r"\u0000-\u001f\u007f\u0085\u2028\u2029"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_SITE_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_PATH = r"(?!(?:[^/]*/)*\.\.(?:/|(?![\s\S])))/[A-Za-z0-9/._@%+=:,~-]*"
_PORT = (
    r"(?=0*[1-9])(?:0{0,4}[0-9]|0{0,3}[0-9]{2}|0{0,2}[0-9]{3}|0?[0-9]{4}|[1-5][0-9]{4}|6[0-4][0-9]{3}"
    r"|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
)
_HOST = (
    rf"(?:{_OCTET}(?:\.{_OCTET}){{3}}|\[[0-9A-Fa-f:.]+\]|\$\{{admin_ip\}}"
    r"|(?![0-9.]+:)[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?)"
)


def _text(pattern: str, expected: str) -> dict[str, Any]:
    # patternErrorMessage is what yaml-language-server and VS Code show in place of the pattern.
    told = f"expected {expected}"
    return {"type": "string", "pattern": f"^(?:{pattern}){_END}", "patternErrorMessage": told}


SCALARS: dict[str, dict[str, Any]] = {
    "any": {},
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "string": {"type": "string"},
    "null": {"type": "null"},
    "line": _text(f"[^{_CONTROL}]*", "a string of one line"),
    "text": _text(rf"(?:[\n\t]|[^{_CONTROL}])*", "text without control characters"),
    "quoted": _text(rf'[^{_CONTROL}"\\$;{{}}]*', 'a line without " \\ $ ; { }'),
    "name": _text(
        "[A-Za-z0-9][A-Za-z0-9._-]{0,99}",
        "a name of letters, digits, dots, hyphens and underscores",
    ),
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "path": _text(_PATH, "an absolute path"),
    "domain": {
        **_text(
            rf"(?![0-9.]+{_END})(?:\*\.)?{_LABEL}(?:\.{_LABEL})*",
            "a domain name like i.pigsty",
        ),
        "maxLength": 253,
    },
    "site": {
        **_text(
            rf"(?:{_OCTET}\.){{3}}{_OCTET}"
            rf"|(?![0-9.]+{_END})(?:\*\.)?{_SITE_LABEL}(?:\.{_SITE_LABEL})*",
            "a domain name like i.pigsty, or an address",
        ),
        "maxLength": 253,
    },
    "endpoint": _text(rf"unix:{_PATH}|{_HOST}:{_PORT}", "host:port, [IPv6]:port or unix:/path"),
    "ip": {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
    "url": _text(rf"[Hh][Tt][Tt][Pp][Ss]?://[^{_CONTROL} ]+", "an http:// or https:// URL"),
    "fingerprint": _text(
        "[0-9A-Fa-f, ]{40,}", "whole fingerprints of keys, of 40 or 64 hexadecimal digits"
    ),
    "digest": _text(
        "[0-9A-Fa-f]{2}(?::?[0-9A-Fa-f]{2}){31}", "a SHA-256 fingerprint of 64 hexadecimal digits"
    ),
    "duration": _text("[0-9]{1,6}(?:ms|[smhdwy])", "a duration like 30s, 5m or 15d"),
    "network": _text("[0-9A-Fa-f.:]+(?:/[0-9]{1,3})?", "an address or a network like 10.0.0.0/8"),
    "rate": _text("[1-9][0-9]{0,5}r/[sm]", "a rate like 10r/s or 30r/m"),
    "timeout": _text("[0-9]{1,6}(?:ms|[smhdw])", "a duration like 30s or 5m"),
    "days": _text("[1-9][0-9]{0,4}d", "days, like 397d"),
    "size": {
        "anyOf": [
            {"type": "integer", "minimum": 0},
            _text("[0-9]{1,9}[kKmMgG]?", "a size like 400m or 1g"),
        ]
    },
}
"""JSON Schema for each scalar type of a rule (``infra_formula/parameters/schema.py``)."""


def of_rule(rule: dict[str, Any]) -> dict[str, Any]:
    """Return a rule in JSON Schema's words, with what it says about itself as description."""
    schema = _bare(rule)
    if "unset" in rule:
        schema = {"anyOf": [{"type": "null"}, schema]}
    return {**_described(rule), **schema}


def _bare(rule: dict[str, Any]) -> dict[str, Any]:
    if "either" in rule:
        return {"anyOf": [of_rule(choice) for choice in rule["either"]]}
    kind = rule.get("type", "any")
    if kind == "list":
        return {"type": "array", "items": of_rule(rule.get("items", {}))}
    if kind == "map":
        return _map(rule)
    if "enum" in rule:
        return {"enum": list(rule["enum"])}
    schema = dict(SCALARS[kind])
    limits = {"minimum": rule.get("min"), "maximum": rule.get("max")}
    return {**schema, **{key: value for key, value in limits.items() if value is not None}}


def _map(rule: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    if "keys" in rule:
        schema["properties"] = {key: of_rule(inner) for key, inner in rule["keys"].items()}
        schema["additionalProperties"] = False
    elif "items" in rule:
        schema["additionalProperties"] = of_rule(rule["items"])
    if "required" in rule:
        schema["required"] = list(rule["required"])
    return schema


def _described(rule: dict[str, Any]) -> dict[str, Any]:
    text = rule.get("about", "")
    if "unit" in rule:
        text += f" In {rule['unit']}."
    if "unset" in rule:
        text += f" null: {rule['unset']}."
    out: dict[str, Any] = {"description": text.strip()} if text.strip() else {}
    if "default" in rule:
        out["default"] = rule["default"]
    if "example" in rule:
        out["examples"] = [rule["example"]]
    return out
