"""Inventories of Ansible in YAML, as Pigsty's ``pigsty.yml``: groups, hosts and their variables.

Reads what Ansible reads, by Ansible's rules: the YAML inventory plugin (groups below ``children``,
ranges of hosts), the tags ``!vault`` and ``!unsafe``, precedence of variables (``all``, then groups
from the outermost to the innermost, those of one depth by ``ansible_group_priority`` and name, then
the host), and strings in Jinja as far as they name other variables.

A value that is not to be read, or not to be rendered, is marked as ``ansible-inventory --list``
does it: ``{"__ansible_vault": …}`` (its content is left out), ``{"__ansible_unsafe": …}``.

Everything here is pure: text comes in, data goes out, nothing is decrypted, run or looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jinja2
import jinja2.sandbox
import yaml
from jinja2 import nodes

from infra_formula.errors import InvalidInput

VAULT = "__ansible_vault"
UNSAFE = "__ansible_unsafe"
_MOST_NODES = 200_000  # of YAML, its aliases written out: thousands of hosts; more is an attack
_MOST_HOSTS = 20_000
_MOST_TEXT = 100_000  # characters that one string in Jinja may become
_RANGE = re.compile(r"\[([0-9]+|[A-Za-z]):([0-9]+|[A-Za-z])(?::([0-9]{1,4}))?\]")
_FILTERS = (
    "default",
    "d",
    "lower",
    "upper",
    "trim",
    "int",
    "string",
    "first",
    "last",
    "length",
)
_NODES = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Filter,
    nodes.Concat,
    nodes.List,
)


# -- reading ---------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML as Ansible reads it; what would become an object of Python's stays text."""


def _vault(loader: _Loader, node: yaml.Node) -> dict[str, str]:
    return {VAULT: ""}


def _unsafe(loader: _Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return {UNSAFE: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return [_unsafe(loader, item) for item in node.value]
    if not isinstance(node, yaml.MappingNode):
        return None
    loader.flatten_mapping(node)
    return {loader.construct_object(k, deep=True): _unsafe(loader, v) for k, v in node.value}


def _text(loader: _Loader, node: yaml.Node) -> Any:
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None


def _refused(loader: _Loader, node: yaml.Node) -> None:
    raise yaml.constructor.ConstructorError(
        None, None, f"{node.tag.rpartition(':')[2]} is nothing that an inventory may hold",
        node.start_mark,
    )  # fmt: skip


_Loader.add_constructor("!vault", _vault)
_Loader.add_constructor("!vault-encrypted", _vault)
_Loader.add_constructor("!unsafe", _unsafe)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text)
for _tag in ("binary", "set", "omap", "pairs"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _refused)


def read(text: str) -> dict[str, Any]:
    """Read an inventory.

    text
        Its YAML.

    Returns ``groups`` (name → ``children``, ``hosts``, ``depth``), ``hosts`` (names, in the order
    in which they appear), ``variables`` (every place in which one is set, in the order of the file:
    ``name``, ``value``, ``line``, ``at`` as a key path, ``group`` and ``host`` it is set on) and
    ``notes`` (what Ansible would warn of).

    Raises SaltInvocationError that names the place of what cannot be read.
    """
    try:
        return _Reader(text).read()
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        told = err.problem or err.context or "not YAML"
        raise InvalidInput(f"{where}{told}{_tab_hint(text, mark)}") from None
    except RecursionError:
        raise InvalidInput("the inventory is nested too deeply to be read") from None
    except (yaml.YAMLError, UnicodeError, ValueError) as err:
        first = (str(err).splitlines() or ["unknown fault"])[0]
        raise InvalidInput(f"the inventory is not YAML: {first}") from None


def _tab_hint(text: str, mark: yaml.Mark | None) -> str:
    lines = text.splitlines()
    if mark is None or mark.line >= len(lines) or "\t" not in lines[mark.line]:
        return ""
    return " (there is a tab; YAML is indented by blanks)"


class _Reader:
    def __init__(self, text: str) -> None:
        self.loader = _Loader(text)
        self.groups: dict[str, dict[str, Any]] = {}
        self.hosts: dict[str, None] = {}
        self.variables: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.written: dict[int, set[int]] = {}

    def read(self) -> dict[str, Any]:
        node = self.loader.get_single_node()
        if node is None:
            raise InvalidInput("the inventory is empty; expected groups, like all or infra")
        _measure(node)
        self._group_of("all")
        for name, inner, _line in self._pairs(node, "", "groups, like all or infra"):
            self._group(name, inner, name)
            if name != "all":
                self._child("all", name, name)
        self._depths()
        return {
            "groups": self.groups,
            "hosts": list(self.hosts),
            "variables": self.variables,
            "notes": self.notes,
        }

    def _group_of(self, name: str) -> dict[str, Any]:
        return self.groups.setdefault(name, {"children": [], "hosts": [], "depth": 0})

    def _child(self, parent: str, child: str, at: str) -> None:
        if child == "all":
            raise InvalidInput(f"{at}: the group all cannot be the child of another")
        children = self._group_of(parent)["children"]
        if child not in children:
            children.append(child)

    def _pairs(
        self, node: yaml.Node, at: str, expected: str
    ) -> Iterator[tuple[str, yaml.Node, int]]:
        """Keys, values and lines of a mapping; nothing for null, as Ansible takes it."""
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
            return
        where = f"line {node.start_mark.line + 1}: {at or 'the inventory'}"
        if not isinstance(node, yaml.MappingNode):
            raise InvalidInput(f"{where}: expected a dictionary with {expected}")
        # What `<<` brings in may be set anew beside it; what is written twice is a slip.
        written = self.written.setdefault(id(node), {id(key) for key, _ in node.value})
        self.loader.flatten_mapping(node)
        seen: set[str] = set()
        for key, value in node.value:
            name = self.loader.construct_object(key, deep=True)
            if not isinstance(name, str):
                raise InvalidInput(
                    f"line {key.start_mark.line + 1}: {at or 'the inventory'}: "
                    f"expected a name, got {name!r}; quote it"
                )
            if name in seen:
                self.notes.append(
                    f"line {key.start_mark.line + 1}: {_below(at, name)} is there twice; "
                    "as in Ansible the last one counts"
                )
            if id(key) in written:
                seen.add(name)
            yield name, value, key.start_mark.line + 1

    def _group(self, name: str, node: yaml.Node, at: str) -> None:
        group = self._group_of(name)
        for part, inner, line in self._pairs(node, at, "hosts, children or vars"):
            here = _below(at, part)
            if part == "hosts":
                for pattern, own, _line in self._pairs(inner, here, "hosts"):
                    for host in _expand(pattern, here):
                        if host not in group["hosts"]:
                            group["hosts"].append(host)
                        self.hosts[host] = None
                        if len(self.hosts) > _MOST_HOSTS:
                            raise InvalidInput(f"{here}: more than {_MOST_HOSTS} hosts")
                        self._vars(own, _below(here, host), name, host)
            elif part == "children":
                for child, own, _line in self._pairs(inner, here, "groups"):
                    self._child(name, child, _below(here, child))
                    self._group(child, own, _below(here, child))
            elif part == "vars":
                self._vars(inner, here, name, None)
            else:
                self.notes.append(
                    f"line {line}: {here} is none of hosts, children and "
                    "vars; Ansible passes over it, too"
                )

    def _vars(self, node: yaml.Node, at: str, group: str, host: str | None) -> None:
        for name, inner, line in self._pairs(node, at, "variables"):
            value = self.loader.construct_object(inner, deep=True)
            self.variables.append(
                {
                    "name": name,
                    "value": value,
                    "at": _below(at, name),
                    "line": line,
                    "group": group,
                    "host": host,
                }
            )

    def _depths(self) -> None:
        """Depth of each group, the longest way from ``all``; a circle is an error."""
        state: dict[str, int] = {}

        def visit(name: str, trail: tuple[str, ...]) -> int:
            if name in trail:
                circle = " > ".join([*trail[trail.index(name) :], name])
                raise InvalidInput(f"{name}: groups are children of each other: {circle}")
            if name not in state:
                parents = [p for p, g in self.groups.items() if name in g["children"]]
                depths = [visit(p, (*trail, name)) + 1 for p in parents]
                state[name] = max(depths, default=0)
            return state[name]

        for name, group in self.groups.items():
            group["depth"] = visit(name, ())


def _below(at: str, key: str) -> str:
    plain = re.fullmatch(r"[A-Za-z0-9_-]+", key)
    if not at:
        return key if plain else f"[{key!r}]"
    return f"{at}.{key}" if plain else f"{at}[{key!r}]"


def _measure(root: yaml.Node) -> None:
    """Refuse what holds itself, and what its aliases would make huge."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in open_:
            line = node.start_mark.line + 1
            raise InvalidInput(f"line {line}: an alias holds what it is part of")
        if id(node) not in sizes:
            open_.add(id(node))
            inner: list[Any] = node.value if isinstance(node.value, list) else []
            parts = [p for item in inner for p in (item if isinstance(item, tuple) else (item,))]
            sizes[id(node)] = 1 + sum(size(part) for part in parts)
            open_.discard(id(node))
            if sizes[id(node)] > _MOST_NODES:
                line = node.start_mark.line + 1
                raise InvalidInput(f"line {line}: aliases make more than can be read of this")
        return sizes[id(node)]

    size(root)


def _expand(pattern: str, at: str) -> list[str]:
    """Hosts that a pattern like ``10.10.10.[11:13]`` or ``node[a:c]`` stands for."""
    match = _RANGE.search(pattern)
    if match is None:
        return [pattern]
    first, last, step = match[1], match[2], int(match[3] or 1)
    head, tail = pattern[: match.start()], pattern[match.end() :]
    where = f"{at}[{pattern!r}]"
    if step < 1 or first.isdigit() != last.isdigit():
        raise InvalidInput(f"{where}: expected a range like [11:13]")
    if first.isdigit():
        low, high, width = int(first), int(last), len(first) if first.startswith("0") else 0
        middles = (str(n).zfill(width) for n in range(low, high + 1, step))
    else:
        low, high = ord(first), ord(last)
        middles = (chr(n) for n in range(low, high + 1, step))
    if not 0 <= (high - low) // step < _MOST_HOSTS:
        raise InvalidInput(f"{where}: expected a range that goes up, of {_MOST_HOSTS} at most")
    out: list[str] = []
    for middle in middles:
        out += _expand(head + middle + tail, at)
        if len(out) > _MOST_HOSTS:
            raise InvalidInput(f"{where}: more than {_MOST_HOSTS} hosts")
    return out


# -- what a host is given --------------------------------------------------------------------------


def members(inventory: dict[str, Any], group: str) -> list[str]:
    """Hosts of a group and of those below it, in the order of the inventory.

    inventory
        What :func:`read` returned.
    group
        Its name; nothing is in one that is not there.
    """
    found: set[str] = set()
    waiting, done = [group], set()
    while waiting:
        name = waiting.pop()
        if name in done or name not in inventory["groups"]:
            continue
        done.add(name)
        found.update(inventory["groups"][name]["hosts"])
        waiting += inventory["groups"][name]["children"]
    return inventory["hosts"] if group == "all" else [h for h in inventory["hosts"] if h in found]


def effective(inventory: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """What each host is given of each variable: the place in which it is set that counts.

    inventory
        What :func:`read` returned.

    Returns host → name → an element of the inventory's ``variables``.
    """
    parents: dict[str, list[str]] = {}
    for name, group in inventory["groups"].items():
        for child in group["children"]:
            parents.setdefault(child, []).append(name)
    on_group: dict[str, dict[str, dict[str, Any]]] = {}
    on_host: dict[str, dict[str, dict[str, Any]]] = {}
    for variable in inventory["variables"]:
        key, table = (variable["group"], on_group)
        if variable["host"] is not None:
            key, table = variable["host"], on_host
        table.setdefault(key, {})[variable["name"]] = variable
    direct: dict[str, list[str]] = {}
    for name, group in inventory["groups"].items():
        for host in group["hosts"]:
            direct.setdefault(host, []).append(name)
    layers: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    out = {}
    for host in inventory["hosts"]:
        groups = tuple(direct.get(host, []))
        if groups not in layers:
            layers[groups] = _layered(inventory, groups, parents, on_group)
        out[host] = {**layers[groups], **on_host.get(host, {})}
    return out


def _layered(
    inventory: dict[str, Any],
    direct: tuple[str, ...],
    parents: dict[str, list[str]],
    on_group: dict[str, dict[str, dict[str, Any]]],
) -> dict[str, dict[str, Any]]:
    above = {"all"}
    waiting = list(direct)
    while waiting:
        name = waiting.pop()
        if name not in above:
            above.add(name)
            waiting += parents.get(name, [])

    def rank(name: str) -> tuple[int, int, str]:
        given = on_group.get(name, {}).get("ansible_group_priority", {}).get("value", 1)
        priority = int(given) if str(given).isdigit() and len(str(given)) < 9 else 1
        return inventory["groups"][name]["depth"], priority, name

    merged: dict[str, dict[str, Any]] = {}
    for name in sorted(above, key=rank):
        merged.update(on_group.get(name, {}))
    return merged


# -- strings in Jinja ------------------------------------------------------------------------------


class Unresolved(Exception):
    """Why a value cannot be told without Ansible."""


def resolve(
    value: Any, host: str, given: dict[str, dict[str, Any]], groups: dict[str, list[str]]
) -> tuple[Any, str | None]:
    """Render the strings in a value that are Jinja, as far as they only name other variables.

    value
        As it stands in the inventory.
    host
        ``inventory_hostname``.
    given
        What the host is given (of :func:`effective`).
    groups
        Name of each group → its hosts.

    Returns the value and None, or None and why it cannot be told: it names what is not in the
    inventory, is more than names and a few filters, or is encrypted.
    """
    try:
        return _resolved(value, _Scope(host, given, groups), ()), None
    except Unresolved as err:
        return None, str(err)
    except RecursionError:
        return None, "it is nested too deeply"


class _Scope:
    def __init__(
        self, host: str, given: dict[str, dict[str, Any]], groups: dict[str, list[str]]
    ) -> None:
        self.given = given
        self.magic = {
            "inventory_hostname": host,
            "inventory_hostname_short": host.split(".", 1)[0],
            "groups": groups,
            "group_names": sorted(n for n, hosts in groups.items() if host in hosts and n != "all"),
        }
        self.known: dict[str, Any] = {}

    def lookup(self, name: str, trail: tuple[str, ...]) -> Any:
        """Value of a variable, rendered; jinja2's undefined where there is none."""
        if name in self.magic:
            return self.magic[name]
        if name in trail:
            raise Unresolved(f"it is in Jinja that leads back to itself, through {name}")
        if name not in self.given:
            return jinja2.StrictUndefined(name=name)
        if name not in self.known:
            self.known[name] = _resolved(self.given[name]["value"], self, (*trail, name))
        return self.known[name]


def _resolved(value: Any, scope: _Scope, trail: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        if VAULT in value:
            raise Unresolved("it is encrypted with ansible-vault")
        if UNSAFE in value and len(value) == 1:
            return value[UNSAFE]
        return {k: _resolved(v, scope, trail) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolved(item, scope, trail) for item in value]
    if isinstance(value, str) and re.search(r"\{[{%#]", value):
        return _rendered(value, scope, trail)
    return value


_ENVIRONMENT = jinja2.sandbox.SandboxedEnvironment(
    undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True
)


def _rendered(text: str, scope: _Scope, trail: tuple[str, ...]) -> Any:
    try:
        tree = _ENVIRONMENT.parse(text)
    except jinja2.TemplateError:
        raise Unresolved("it is Jinja that cannot be read") from None
    for node in tree.find_all(nodes.Node):
        if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
            raise Unresolved(f"it is in Jinja with the filter {node.name}, which needs Ansible")
        if not isinstance(node, (*_NODES, nodes.EvalContextModifier, nodes.Pair, nodes.Keyword)):
            kind = type(node).__name__.lower()
            raise Unresolved(f"it is Jinja that does more than name variables ({kind})")
    names = sorted({node.name for node in tree.find_all(nodes.Name)})
    values = {name: scope.lookup(name, trail) for name in names}
    parts = [part for output in tree.body for part in getattr(output, "nodes", [])]
    try:
        alone = len(parts) == 1 and text.startswith("{{") and text.endswith("}}")
        if alone and not isinstance(parts[0], nodes.TemplateData):
            # One expression and nothing else: Ansible keeps its type.
            rendered: Any = _expression(text, values)
        else:
            rendered = _ENVIRONMENT.from_string(text).render(values)
    except jinja2.UndefinedError as err:
        raise Unresolved(f"it names what is not in the inventory: {err.message}") from None
    except Exception as err:  # filters raise whatever their arguments make them
        raise Unresolved(f"it is Jinja that fails ({type(err).__name__})") from None
    if len(str(rendered)) > _MOST_TEXT:
        raise Unresolved("it is Jinja that becomes too long")
    return rendered


def _expression(text: str, values: dict[str, Any]) -> Any:
    inner = text[2:-2].strip("-+ ")
    found = _ENVIRONMENT.compile_expression(inner, undefined_to_none=False)(values)
    if isinstance(found, jinja2.Undefined):
        str(found)  # which a strict one answers with its error
    return found
