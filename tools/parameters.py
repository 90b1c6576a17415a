"""What is written from ``infra/schema.yaml``: the defaults, the JSON Schema, the documentation."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

from tools import commands, formula, imports, json_schema, markdown, pages, reference

FOR_ALL = ("infra_hosts", "infra_secrets_strict")
"""Parameters that are not taken from `infra_secrets`: they tell a minion what it may have."""
ROOT = formula.ROOT
SCHEMA = ROOT / "infra" / "schema.yaml"
PIGSTY = ROOT / "infra" / "pigsty.yaml"
SECURITY = ROOT / "docs" / "security.md"
_NOTICE = "Written by `make generate` from infra/schema.yaml; change that."
_WIDTH = 100
_TYPES = {
    "any": "anything",
    "bool": "boolean",
    "int": "integer",
    "line": "string",
    "text": "text",
    "quoted": 'string without `" \\ $ ; { }`',
    "path": "absolute path",
    "ip": "IP address",
    "url": "URL",
    "fingerprint": "fingerprint of a key (40 or 64 hexadecimal digits)",
    "digest": "SHA-256 fingerprint (64 hexadecimal digits)",
    "duration": "duration (`30s`, `15d`)",
    "network": "address or network (`10.0.0.0/8`)",
    "rate": "rate (`10r/s`, `30r/m`)",
    "timeout": "duration (`30s`, `5m`)",
    "days": "days (`397d`)",
    "size": "size (`400m`)",
    "null": "`null`",
    "map": "dictionary",
}


def read(path: Path = SCHEMA) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the schema: title of a section → name of a parameter → what is said of it."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def files(schema: dict[str, dict[str, Any]]) -> dict[Path, str]:
    """Return the text of each file that is written from a schema."""
    return {
        ROOT / "infra" / "defaults.yaml": defaults(schema),
        ROOT / "infra" / "pillar.schema.json": json.dumps(pillar(schema), indent=1) + "\n",
        ROOT / "docs" / "parameters.md": document(schema),
        ROOT / "docs" / "pigsty-names.md": pages.pigsty_names(
            schema, yaml.safe_load(PIGSTY.read_text(encoding="utf-8"))
        ),
        ROOT / "docs" / "commands.md": commands.document(ROOT),
        reference.PAGE: reference.document(schema),
        imports.PAGE: imports.page(imports.PAGE.read_text(encoding="utf-8")),
        SECURITY: pages.security(schema, SECURITY.read_text(encoding="utf-8")),
    }


def entry_rule(parameter: dict[str, Any]) -> dict[str, Any] | None:
    """Return the rule of a parameter's entries, with what is said about each of their keys.

    Raises ValueError where the rule in Python and the texts are about different keys.
    """
    entries = parameter.get("entries")
    if entries is None:
        return None
    module, _, name = entries["rule"].rpartition(".")
    rule = getattr(importlib.import_module(f"infra_formula.{module}"), name)
    rule = rule if "keys" in rule and "type" in rule else {"type": "map", "keys": rule}
    texts = entries.get("about") or {key: inner["about"] for key, inner in rule["keys"].items()}
    different = set(rule["keys"]) ^ set(texts)
    if different:
        raise ValueError(f"{entries['rule']}: no rule, or no text, for {sorted(different)}")
    keys = {key: {**rule["keys"][key], "about": text} for key, text in texts.items()}
    return {**rule, "keys": keys}


# -- infra/defaults.yaml ---------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, as the project's own YAML does, and writes no aliases."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def defaults(schema: dict[str, dict[str, Any]]) -> str:
    """Return the defaults as YAML, each with the first sentence about it as comment."""
    lines = [f"# Every parameter with its default. {_NOTICE}", "---"]
    for title, section in schema.items():
        lines += [f"# --- {title}"]
        for name, parameter in section.items():
            lines += ["# " + _first_sentence(parameter["about"]), _assignment(name, parameter)]
        lines.append("")
    text = "\n".join(lines).rstrip("\n") + "\n"
    # Salt renders the file with Jinja before it reads it.
    if re.search(r"\{[{%#]", text):
        raise ValueError("infra/schema.yaml: a default or a text would be taken for Jinja")
    return text


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.;])\s", text, maxsplit=1)[0].rstrip(".;")


def _assignment(name: str, parameter: dict[str, Any]) -> str:
    value = parameter["default"]
    text = f"{name}: {_dumped(value, flow=True)}"
    if len(text) > _WIDTH and not isinstance(value, str):
        text = _dumped({name: value}, flow=False)
    return text


def _dumped(value: Any, flow: bool) -> str:
    text = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=flow,
        sort_keys=False,
        allow_unicode=True,
        width=10_000,
    )
    return text.removesuffix("...\n").strip()


# -- infra/pillar.schema.json ----------------------------------------------------------------------


def pillar(schema: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON Schema of a pillar, for editors."""
    properties = {}
    for section in schema.values():
        for name, parameter in section.items():
            rule, entry = dict(parameter), entry_rule(parameter)
            if entry is not None:
                rule["items"] = entry
            properties[name] = json_schema.of_rule(rule)
    properties["nodes"]["additionalProperties"] = {"$ref": "#/properties/infra"}
    return {
        "$schema": json_schema.DIALECT,
        "title": "Pillar of infra-formula",
        "$comment": _NOTICE,
        "type": "object",
        "properties": {
            "infra": {"type": "object", "properties": properties, "additionalProperties": False},
            "infra_secrets": {
                "type": "object",
                "properties": {
                    name: _partial(name, properties[name])
                    for name in properties
                    if name not in FOR_ALL
                },
                "additionalProperties": False,
            },
        },
    }


def _partial(name: str, rule: dict[str, Any]) -> dict[str, Any]:
    """What holds of a parameter of which a part stands below `infra`: nothing is required in it."""
    inner = rule.get("additionalProperties")
    if name == "nodes":
        return {**rule, "additionalProperties": {"$ref": "#/properties/infra_secrets"}}
    if isinstance(inner, dict) and "required" in inner:
        part = {key: value for key, value in inner.items() if key != "required"}
        return {**rule, "additionalProperties": part}
    return {"$ref": f"#/properties/infra/properties/{name}"}


# -- secrets ---------------------------------------------------------------------------------------


def secrets(schema: dict[str, dict[str, Any]]) -> list[tuple[str, str, bool, bool]]:
    """Return each secret: parameter, where in it, whether it always is one, if clients need it."""
    found = []
    for section in schema.values():
        for name, rule in section.items():
            for path, always in _marks(rule, ""):
                found.append((name, path, always, bool(rule.get("clients"))))
    return found


def _marks(rule: dict[str, Any], path: str) -> list[tuple[str, bool]]:
    if "secret" in rule:
        return [(path, rule["secret"] is True)]
    found = [
        (f"{path}.….{key}".lstrip("."), False) for key in rule.get("entries", {}).get("secret", [])
    ]
    if "items" in rule:
        inner = rule["items"]
        found += _marks(inner, path if "secret" in inner else f"{path}.…".lstrip("."))
    for key, inner in rule.get("keys", {}).items():
        found += _marks(inner, f"{path}.{key}".lstrip("."))
    for choice in rule.get("either", []):
        found += _marks(choice, path)
    return list(dict.fromkeys(found))


# -- docs/parameters.md ----------------------------------------------------------------------------

_INTRO = f"""\
<!-- {_NOTICE} -->
# Parameters

For operators who write the pillar. Parameters are set below `infra:`, in a pillar that is the same
for all minions. A value replaces the default as a whole. In endpoints and records, the text
`${{admin_ip}}` is replaced by the parameter of that name. Secrets are set below `infra_secrets:`,
which only INFRA nodes get: [Secrets](#secrets).

*Since* is the version that introduced a parameter: of Pigsty if Pigsty has it by this name
("Pigsty" without a version: before 4.0, or unknown), otherwise of this formula.

To validate a pillar:

<!-- prints:
/(?s)valid:\\s+True/
/(?s)valid:\\s+True/
-->
```bash
salt infra-1 infra_pillar.validate
salt-call --local infra_pillar.validate /srv/pillar/infra.sls
```

Editors with `yaml-language-server` complete names, show these texts and mark errors, with this line
at the top of a pillar:

<!-- not pillar: a comment for editors -->
```yaml
# yaml-language-server: $schema=<path of the formula>/infra/pillar.schema.json
```

Salt reads YAML 1.1, in which an unquoted `off` is a boolean. Set `yaml.yamlVersion: "1.1"` in the
editor.
"""


def document(schema: dict[str, dict[str, Any]]) -> str:
    """Return the documentation of all parameters as Markdown."""
    parts = [_INTRO]
    titles = ["Secrets", *schema]
    parts.append("\n".join(f"* [{title}](#{markdown.anchor(title)})" for title in titles) + "\n")
    parts.append(_secrets(schema))
    for title, section in schema.items():
        rows = [_row(name, parameter) for name, parameter in section.items()]
        head = ["parameter", "what it does", "type", "default", "since"]
        parts.append(f"## {title}\n\n{markdown.table(head, rows)}")
        for name, parameter in section.items():
            parts += _nested(name, entry_rule(parameter) or _entries(parameter))
    return "\n".join(parts)


_SECRETS = """\
## Secrets

An INFRA node merges `infra_secrets` over `infra`. Dictionaries are merged key by key, so a part of
an entry may be in `infra_secrets`. A list or any other value replaces the one below `infra`. The
`nodes` of a minion override both. Names and types are the same in both, except that `infra_hosts`
and `infra_secrets_strict` have to be in `infra`: by them a minion finds out whether it is an INFRA
node.

A value that "may hold one" counts as a secret if it has a URL with a password, a private key, or a
setting, a flag or a header whose name ends in `password`, `token`, `secret`, `credentials`,
`api_key` or the like. A minion that is no INFRA node and has a secret in its pillar warns at every
apply; with `infra_secrets_strict` it refuses the pillar.
[How to keep secrets](security.md#secrets).
"""


def _secrets(schema: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, path, always, clients in secrets(schema):
        where = f"`{name}`" + (f", `{path}`" if path else "")
        kind = "a secret" if always else "may hold one"
        place = "`infra`: clients need it" if clients else "`infra_secrets`"
        rows.append([where, kind, place])
    return f"{_SECRETS}\n" + markdown.table(
        ["parameter, and where in it", "", "belongs below"], rows
    )


def _entries(rule: dict[str, Any]) -> dict[str, Any]:
    """The innermost rule of a list or a dictionary: the one whose keys have names."""
    while "keys" not in rule and "items" in rule:
        rule = rule["items"]
    return rule


def _nested(name: str, rule: dict[str, Any]) -> list[str]:
    """Tables of the keys in an entry of a parameter, and of the keys below them."""
    keys = rule.get("keys", {})
    if not any("about" in inner for inner in keys.values()):
        return []
    required = rule.get("required", [])
    rows = [
        [f"`{key}`" + (" (required)" if key in required else ""), inner.get("about", ""),
         _type(inner)]
        for key, inner in keys.items()
    ]  # fmt: skip
    parts = [
        f"Keys in an entry of `{name}`:\n",
        markdown.table(["key", "what it does", "type"], rows),
    ]
    for key, inner in keys.items():
        parts += _nested(f"{name}.….{key}", _entries(inner))
    return parts


def _row(name: str, parameter: dict[str, Any]) -> list[str]:
    about = parameter["about"]
    if "example" in parameter:
        about += f" Example: `{markdown.flow(parameter['example'])}`"
    default = f"`{markdown.flow(parameter['default'])}`"
    if "unset" in parameter:
        default = f"`null`: {parameter['unset']}"
    return [f"`{name}`", about, _type(parameter), default, str(parameter["since"])]


def _type(rule: dict[str, Any]) -> str:
    if "either" in rule:
        return " or ".join(_type(choice) for choice in rule["either"])
    kind = rule.get("type", "any")
    text = " \\| ".join(f"`{markdown.flow(v)}`" for v in rule["enum"]) if "enum" in rule else None
    text = text or _TYPES.get(kind, kind)
    if kind == "list" and rule.get("items", {}).get("type", "any") != "any":
        text = f"list of {_type(rule['items'])}"
    low, high = rule.get("min"), rule.get("max")
    if low is not None:
        text += f" from {low}" + (f" to {high}" if high is not None else "")
    return text + (f", {rule['unit']}" if "unit" in rule else "")
