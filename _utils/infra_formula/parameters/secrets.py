"""Secrets among the parameters: which values are secret, and which of the two pillars holds them.

``infra`` is for all minions. ``infra_secrets`` is for INFRA nodes, and is merged over it there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from infra_formula import credentials
from infra_formula.parameters import schema

Rules = dict[str, Any]


def split(rules: Rules, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Divide parameters into those for every minion and the secrets of INFRA nodes.

    rules
        Rule of each parameter by its name.
    values
        The parameters, valid or not.

    Returns the former, the latter, and the key path of each secret. Merged again, the two are equal
    to ``values``. A list is not divided. A value that is the default, and one that clients need,
    is no secret.
    """
    public, secret, paths = _split({"type": "map", "keys": rules}, values, "")
    return public or {}, secret or {}, paths


def _split(rule: dict[str, Any], value: Any, path: str) -> tuple[Any, Any, list[str]]:
    mark = rule.get("secret")
    is_default = "default" in rule and value == rule["default"]
    if value in (None, "", [], {}) or rule.get("clients") or is_default:
        return value, None, []
    if mark is True or (mark == "maybe" and credentials.holds_credentials(value)):
        return None, value, [path]
    inner = _inner(rule, value)
    if isinstance(value, list):
        if any(_split(inner(i), item, "")[2] for i, item in enumerate(value)):
            return None, value, [path]
        return value, None, []
    if not isinstance(value, dict):
        return value, None, []
    public: dict[str, Any] = {}
    secret: dict[str, Any] = {}
    paths: list[str] = []
    for key, item in value.items():
        below = inner(key)
        left, right, secret_paths = _split(below, item, schema.join(path, key))
        if not secret_paths:
            public[key] = item
            continue
        secret[key] = right
        # A dictionary of secrets is named once, and not with each of its keys.
        paths += [path] if "secret" in below and "keys" not in rule else secret_paths
        if left is not None:
            public[key] = left
    return public or None, secret or None, list(dict.fromkeys(paths))


def _inner(rule: dict[str, Any], value: Any) -> Callable[[Any], dict[str, Any]]:
    """The rule of each element of a list or a dictionary, by its index or key."""
    kind = "list" if isinstance(value, list) else "map"
    entry = {name: {"secret": "maybe"} for name in rule.get("entries", {}).get("secret", [])}
    choices = [rule, *rule.get("either", [])]
    chosen: dict[str, Any] = next((choice for choice in choices if choice.get("type") == kind), {})
    items = {"type": "map", "keys": entry} if entry else chosen.get("items", {})
    return lambda key: chosen["keys"].get(key, {}) if "keys" in chosen else items


def is_secret(rules: Rules, keys: list[Any]) -> bool:
    """Whether no message may quote a value: it is a secret, holds one, or belongs to one.

    rules
        Rule of each parameter by its name.
    keys
        Parameter, key or index, … of the value.
    """
    rule: dict[str, Any] = {"type": "map", "keys": rules}
    for key in keys:
        rule = _inner(rule, [] if isinstance(key, int) else {})(key)
        if rule.get("secret"):
            return True
    return bool(keys) and schema.has_secret(rule)


def texts(rules: Rules, values: Any) -> set[str]:
    """The secrets in parameters, as texts.

    rules
        Rule of each parameter by its name.
    values
        The parameters, valid or not. Where one that may hold secrets is not valid, all of it is
        secret. A default is none.
    """
    return _texts({"type": "map", "keys": rules}, values)


def _texts(rule: dict[str, Any], value: Any) -> set[str]:
    if value in (None, "", [], {}) or ("default" in rule and value == rule["default"]):
        return set()
    mark = rule.get("secret")
    plain = {key: part for key, part in rule.items() if key != "secret"}
    if mark is True:
        return credentials.all_texts(value)
    if mark == "maybe":
        is_valid = not schema.check("", value, plain)
        secrets = credentials.recognized(value)
        return secrets if is_valid else secrets | credentials.all_texts(value, is_named=False)
    if not isinstance(value, (dict, list)):
        if schema.has_secret(rule) and schema.check("", value, plain):
            return credentials.all_texts(value, is_named=False)
        return credentials.recognized(value) if schema.has_secret(rule) else set()
    inner = _inner(rule, value)
    if not inner(0) and "keys" not in rule and schema.has_secret(rule):
        # A list in place of a dictionary, or the other way round.
        return credentials.recognized(value) | credentials.all_texts(value, is_named=False)
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return set().union(*(_texts(inner(key), item) for key, item in pairs))


# -- messages ------------------------------------------------------------------------------------


def misplaced_on_client(rules: Rules, parameters: Any, secrets: Any) -> list[str]:
    """Secrets in the pillar of a minion that is no INFRA node, by their names.

    parameters
        The dictionary below ``infra:``.
    secrets
        The dictionary below ``infra_secrets:``, or its names.
    """
    misplaced = []
    paths = split(rules, parameters)[2] if isinstance(parameters, dict) else []
    if paths:
        misplaced.append(
            f"This minion is no INFRA node, but its pillar holds secrets: {', '.join(paths)}. "
            "Move them from `infra` to `infra_secrets`, and assign that to INFRA nodes only, in "
            "the pillar's top.sls."
        )
    if secrets:
        names = ", ".join(map(str, secrets if isinstance(secrets, (dict, list)) else ["?"]))
        misplaced.append(
            f"This minion is no INFRA node, but its pillar holds infra_secrets ({names}). Assign "
            "`infra_secrets` to INFRA nodes only, in the pillar's top.sls."
        )
    return misplaced


def overridden(parameters: Any, secrets: Any, path: str = "") -> list[str]:
    """Values of ``infra`` that ``infra_secrets`` replaces by others, by their key paths."""
    if not isinstance(parameters, dict) or not isinstance(secrets, dict):
        return []
    paths = []
    for key, value in secrets.items():
        here = schema.join(path, key)
        below = parameters.get(key, value)
        if isinstance(value, dict) and isinstance(below, dict):
            paths += overridden(below, value, here)
        elif below != value:
            paths.append(
                f"infra_secrets:{here} replaces another value of infra:{here} on this INFRA node; "
                "all other minions have that one. Remove one of the two."
            )
    return paths


def redact(
    rules: Rules,
    errors: list[str],
    parameters: Any,
    overrides: dict[str, Any] | None,
    secrets: dict[str, Any],
) -> list[str]:
    """Remove the values of secrets from errors; ``infra_secrets:`` precedes what comes from there.

    rules
        Rule of each parameter by its name.
    errors
        Messages that begin with a key path.
    parameters
        What was checked: ``infra`` with ``infra_secrets`` merged over it.
    overrides
        Values of one minion's ``nodes`` that were merged over that.
    secrets
        ``infra_secrets``.
    """
    whole = {**(parameters if isinstance(parameters, dict) else {}), **(overrides or {})}
    nodes = secrets.get("nodes")
    out = []
    for error in errors:
        keys = schema.locate(error, whole)
        in_secrets = schema.locate(error, secrets)
        prefix = "infra_secrets:" if _is_from(secrets, in_secrets, whole) else ""
        if keys and overrides and keys[0] in overrides and isinstance(nodes, dict):
            for node, values in nodes.items():
                if _is_from(values, schema.locate(error, values), overrides):
                    prefix = f"infra_secrets:{schema.join('nodes', node)}."
        if prefix or in_secrets or is_secret(rules, keys):
            error = without_value(error)
        out.append(prefix + error)
    return list(dict.fromkeys(out))


def without_value(error: str) -> str:
    """A message without the value that it quotes."""
    return error.split(", got ", 1)[0]


def _is_from(secrets: Any, keys: list[Any], whole: Any) -> bool:
    """Whether these secrets hold the value at a key path, and not only a part of it."""
    try:
        for key in keys:
            secrets, whole = secrets[key], whole[key]
    except (KeyError, IndexError, TypeError):
        return False  # a minion's `nodes` replace it
    return bool(keys) and (not isinstance(secrets, dict) or secrets == whole)
