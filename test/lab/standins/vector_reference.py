"""Whether a configuration of Vector is what its component reference says, option by option.

`vector_reference.json` holds the names, types and values of the options: facts of Vector's own
component reference, of the release that it names. For another release: a checkout of Vector, and

    python3 test/lab/standins/vector_reference.py CHECKOUT v0.57.0
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DATA = Path(__file__).with_name("vector_reference.json")
KINDS = ("sources", "transforms", "sinks")
# What the formula's configuration is made of; another component is refused.
COMPONENTS = {
    "sources": ("file", "internal_metrics", "journald"),
    "transforms": ("filter", "remap"),
    "sinks": ("http", "prometheus_exporter"),
}
FOLDER = "website/cue/reference/"


def problems(config: dict[str, Any]) -> list[str]:
    """What of a configuration the reference does not know, or knows to be something else."""
    reference = json.loads(DATA.read_text(encoding="utf-8"))
    settings = {key: value for key, value in config.items() if key not in KINDS}
    found = list(_options(settings, reference["global"], ""))
    for kind in KINDS:
        for name, component in (config.get(kind) or {}).items():
            path = f"{kind}.{name}"
            if not isinstance(component, dict):
                found.append(f"{path}: expected options, got {component!r}")
                continue
            own = reference[kind].get(str(component.get("type")))
            if own is None:
                found.append(f"{path}.type: unknown variant {component.get('type')!r}")
                continue
            options = {key: value for key, value in component.items() if key != "type"}
            found += _options(options, {**reference["common"][kind], **own}, f"{path}.")
    return found


def _options(given: dict[str, Any], known: dict[str, Any], path: str) -> Iterator[str]:
    for key, value in given.items():
        spec = known.get(key) or known.get("*")
        if spec is None:
            yield f"{path}{key}: unknown field"
            continue
        if spec.get("deprecated"):
            yield f"{path}{key}: deprecated"
        if not _relevant(spec, given, known):
            yield f"{path}{key}: only when {spec['when']}"
        yield from _value(value, spec, f"{path}{key}")
    for key, spec in known.items():
        optional = key == "*" or not spec.get("required") or "default" in spec
        if key not in given and not optional and _relevant(spec, given, known):
            yield f"{path}{key}: missing field"


def _relevant(spec: dict[str, Any], given: dict[str, Any], known: dict[str, Any]) -> bool:
    """Whether an option means something beside the others, by `when` of the reference."""
    pairs = re.findall(r'(\w+) = "?(\w+)"?', spec.get("when", ""))
    if not pairs or any(key not in known for key, _ in pairs):
        return True
    return any(str(given.get(key, known[key].get("default"))) == value for key, value in pairs)


def _value(value: Any, spec: dict[str, Any], path: str) -> Iterator[str]:
    kinds = spec["types"]
    kind = next((one for one in kinds if _is(value, one)), None)
    if kind is None:
        yield f"{path}: expected {' or '.join(kinds)}, got {value!r}"
    elif kind == "object":
        yield from _options(
            value, kinds["object"].get("options", {"*": {"types": ANY}}), f"{path}."
        )
    elif kind == "array":
        for index, one in enumerate(value):
            yield from _value(one, kinds["array"], f"{path}[{index}]")
    elif value not in kinds[kind].get("enum", [value]):
        yield f"{path}: unknown variant {value!r}, expected one of {kinds[kind]['enum']}"


ANY: dict[str, dict[str, Any]] = {
    kind: {} for kind in ("bool", "string", "uint", "int", "float", "object")
}


def _is(value: Any, kind: str) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return {
        "bool": isinstance(value, bool),
        "string": isinstance(value, str),
        "uint": number and isinstance(value, int) and value >= 0,
        "int": number and isinstance(value, int),
        "float": number,
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
    }.get(kind, True)


# -- the reference is generated CUE: fields, strings, numbers, lists, and nothing that is computed

_TOKEN = re.compile(
    r"""(?P<space>(?:\s|//[^\n]*)+)
    | (?P<long>(?P<hash>\#*)\"{3}\n.*?\"{3}(?P=hash))
    | (?P<raw>\#+"(?:.*?)"\#+)
    | (?P<string>"(?:[^"\\\n]|\\.)*")
    | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<word>[A-Za-z_][\w-]*)
    | (?P<sign>[{}\[\]:,])
    """,
    re.VERBOSE | re.DOTALL,
)


class _Reader:
    """Reads one file into dictionaries; `a: b: c` nests, and a field that comes again is merged."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        position = 0
        while position < len(text):
            found = _TOKEN.match(text, position)
            if not found:
                raise ValueError(f"not of the form that is generated: {text[position:][:60]!r}")
            if found.lastgroup not in ("space", "hash"):
                self.tokens.append((str(found.lastgroup), found[0]))
            position = found.end()
        self.tokens.append(("end", ""))
        self.place = 0

    def fields(self, end: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        while self.tokens[self.place][1] != end:
            if self.tokens[self.place][1] == ",":
                self.place += 1
                continue
            if self.tokens[self.place][1] == "package":
                self.place += 2
                continue
            name = self.tokens[self.place][1].strip('"')
            if self.tokens[self.place + 1][1] != ":":
                raise ValueError(f"expected a colon after {name}")
            self.place += 2
            _merge(out, name, self.value())
        self.place += 1
        return out

    def value(self) -> Any:
        kind, text = self.tokens[self.place]
        self.place += 1
        if text == "{":
            return self.fields("}")
        if text == "[":
            return self.items()
        if self.tokens[self.place][1] == ":" and kind in ("word", "string"):
            self.place += 1
            return {text.strip('"'): self.value()}
        if kind == "number":
            return float(text) if re.search("[.eE]", text) else int(text)
        if kind == "string":
            return json.loads(text) if "\\(" not in text else text
        return {"true": True, "false": False, "null": None}.get(text, text)

    def items(self) -> list[Any]:
        out = []
        while self.tokens[self.place][1] != "]":
            if self.tokens[self.place][1] == ",":
                self.place += 1
            else:
                out.append(self.value())
        self.place += 1
        return out


def _merge(target: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(target.get(name), dict) and isinstance(value, dict):
        for key, inner in value.items():
            _merge(target[name], key, inner)
    else:
        target[name] = value


def _spec(option: dict[str, Any]) -> dict[str, Any]:
    """Of an option what matters: `types`, `required`, `default`, `when`, `deprecated`."""
    out: dict[str, Any] = {"types": {kind: _kind(one) for kind, one in option["type"].items()}}
    for name, key in (("required", "required"), ("deprecated", "deprecated"),
                      ("when", "relevant_when")):  # fmt: skip
        if option.get(key):
            out[name] = option[key]
    for one in option["type"].values():
        if isinstance(one, dict) and "default" in one:
            out["default"] = one["default"]
    return out


def _kind(kind: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if "enum" in kind:
        out["enum"] = list(kind["enum"])
    if "options" in kind:
        out["options"] = {name: _spec(one) for name, one in kind["options"].items()}
    if "items" in kind:
        out["types"] = {name: _kind(one) for name, one in kind["items"]["type"].items()}
    return out


def extract(checkout: str, tag: str) -> dict[str, Any]:
    """Read the reference of a release of Vector out of its repository."""

    def read(path: str) -> dict[str, Any]:
        words = ["git", "-C", checkout, "show", f"{tag}:{FOLDER}{path}.cue"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return _Reader(done.stdout).fields("")["generated"]  # type: ignore[no-any-return]

    def options(found: dict[str, Any]) -> dict[str, Any]:
        return {name: _spec(one) for name, one in found["configuration"].items()}

    whole = read("generated/configuration")["configuration"]
    out: dict[str, Any] = {
        "source": f"Vector's component reference, {FOLDER} of github.com/vectordotdev/vector",
        "version": tag.removeprefix("v"),
        "global": {name: one for name, one in options(whole).items() if name not in KINDS},
        "common": {},
    }
    for kind in KINDS:
        common = read(f"components/generated/{kind}")["components"][kind]
        out["common"][kind] = options(common)
        out[kind] = {
            name: options(read(f"components/{kind}/generated/{name}")["components"][kind][name])
            for name in COMPONENTS[kind]
        }
    # Global options with tables of components of their own, of which the formula has none.
    for name in ("enrichment_tables", "secret"):
        out["global"].pop(name, None)
    return out


def _written(value: Any, depth: int) -> str:
    """JSON with an option a line, so that a difference can be read."""
    if not depth or not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    inner = (f"{json.dumps(key)}: {_written(one, depth - 1)}" for key, one in value.items())
    return "{\n" + ",\n".join(inner) + "\n}"


if __name__ == "__main__":
    DATA.write_text(_written(extract(*sys.argv[1:]), 3) + "\n", encoding="utf-8")
