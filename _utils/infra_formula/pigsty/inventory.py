"""Inventories of Ansible in YAML, as Pigsty's ``pigsty.yml``: groups, hosts and their variables.

They are read by the rules of Ansible's YAML inventory plugin: groups below ``children``, ranges of
hosts, the tags ``!vault`` and ``!unsafe``. A value with such a tag is marked as by
``ansible-inventory --list``: ``{"__ansible_vault": …}`` (without its content),
``{"__ansible_unsafe": …}``. Nothing is decrypted. YAML is parsed by libyaml where Python has it, as
Ansible does: it takes tabs where blanks may stand, which PyYAML's own parser does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import yaml

from infra_formula.errors import InvalidInput

VAULT = "__ansible_vault"
UNSAFE = "__ansible_unsafe"
_MAX_NODES = 200_000  # of YAML with its aliases expanded: thousands of hosts; more is hostile
_MAX_HOSTS = 20_000
_RANGE = re.compile(r"\[([0-9]+|[A-Za-z]):([0-9]+|[A-Za-z])(?::([0-9]{1,4}))?\]")


class Group(TypedDict):
    """A group: its own children and hosts, and its longest distance from ``all``."""

    children: list[str]
    hosts: list[str]
    depth: int


class Variable(TypedDict):
    """One place that sets a variable.

    at, line
        Key path and line of the place.
    file
        The file of ``group_vars`` or ``host_vars`` that has it; empty for the inventory itself.
    group, host
        What it is set on; ``host`` is None for a group.
    """

    name: str
    value: Any
    at: str
    line: int
    file: str
    group: str
    host: str | None


class Inventory(TypedDict):
    """Groups by name, hosts and variables in the order of the file, and warnings of Ansible.

    unread
        Files of variables that exist and could not be read, each with the reason.
    """

    groups: dict[str, Group]
    hosts: list[str]
    variables: list[Variable]
    notes: list[str]
    unread: list[str]


class VariablesFile(TypedDict):
    """A file below ``group_vars`` or ``host_vars``: its path from there, text, group or host."""

    path: str
    text: str
    group: str
    host: str | None


if TYPE_CHECKING:
    _Base = yaml.SafeLoader
else:
    _Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """YAML as Ansible reads it; dates stay text."""


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
        None, None, f"{node.tag.rpartition(':')[2]} is not allowed in an inventory",
        node.start_mark,
    )  # fmt: skip


_Loader.add_constructor("!vault", _vault)
_Loader.add_constructor("!vault-encrypted", _vault)
_Loader.add_constructor("!unsafe", _unsafe)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text)
for _tag in ("binary", "set", "omap", "pairs"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _refused)


def read(text: str, files: Sequence[VariablesFile] = ()) -> Inventory:
    """Read an inventory.

    text
        Its YAML.
    files
        Files of variables beside it. One that cannot be read is in ``unread``.

    Raises InvalidInput that names the place of what cannot be read.
    """
    reader = _parsed(text, "the inventory", lambda: _Reader(text))
    for file in files:
        try:
            reader.add(file)
        except InvalidInput as err:
            reader.unread.append(f"{file['path']}: {err}")
    return reader.result()


def _parsed(text: str, name: str, parse: Callable[[], _Reader]) -> _Reader:
    """What a parser makes of a text; its errors as InvalidInput with the place."""
    if text.lstrip().startswith("$ANSIBLE_VAULT"):
        raise InvalidInput(
            f"{name} is encrypted as a whole with ansible-vault; convert what "
            "`ansible-vault view FILE` prints"
        )
    if _is_ini(text):
        raise InvalidInput(
            f"{name} is in Ansible's INI form; expected YAML; convert what "
            "`ansible-inventory -i FILE --list --yaml` prints"
        )
    try:
        return parse()
    except yaml.MarkedYAMLError as error:
        if "nesting depth" in str(error.problem):  # libyaml's word for it
            raise InvalidInput(f"{name} is nested too deeply to be read") from None
        err = _explained(text, error)
        mark = err.problem_mark or err.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = err.problem or err.context or "not YAML"
        raise InvalidInput(f"{where}{problem}{_tab_hint(text, mark)}") from None
    except RecursionError:
        raise InvalidInput(f"{name} is nested too deeply to be read") from None
    except (yaml.YAMLError, UnicodeError, ValueError) as err:
        first = (str(err).splitlines() or ["unknown fault"])[0]
        raise InvalidInput(f"{name} is not YAML: {first}") from None


def _explained(text: str, error: yaml.MarkedYAMLError) -> yaml.MarkedYAMLError:
    """PyYAML's own words for what libyaml refuses, if they are about the same line."""
    if isinstance(error, yaml.constructor.ConstructorError):
        return error
    try:
        yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as err:
        marks = err.problem_mark, error.problem_mark
        if marks[0] and marks[1] and marks[0].line == marks[1].line:
            return err
    except (yaml.YAMLError, RecursionError):
        pass
    return error


def _is_ini(text: str) -> bool:
    """Whether a text begins like an INI inventory: with a section, or a host and `name=value`."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and line[0] not in "#;"), "")
    section = re.fullmatch(r"\[[A-Za-z0-9_.:-]+\]\s*(?:#.*)?", first)
    host = re.fullmatch(r"[A-Za-z0-9_.:-]+(?:\s+[a-z_]+=\S+)+", first)
    return bool(section or host)


def _tab_hint(text: str, mark: yaml.Mark | None) -> str:
    lines = text.splitlines()
    if mark is None or mark.line >= len(lines) or "\t" not in lines[mark.line]:
        return ""
    return " (there is a tab; YAML is indented with spaces)"


class _Reader:
    def __init__(self, text: str) -> None:
        self.loader = _Loader(text)
        self.file = ""
        self.groups: dict[str, Group] = {}
        self.hosts: dict[str, None] = {}
        self.variables: list[Variable] = []
        self.notes: list[str] = []
        self.unread: list[str] = []
        self.written: dict[int, set[int]] = {}
        self.searched: set[int] = set()
        self.read()

    def result(self) -> Inventory:
        return {
            "groups": self.groups,
            "hosts": list(self.hosts),
            "variables": self.variables,
            "notes": self.notes,
            "unread": self.unread,
        }

    def add(self, file: VariablesFile) -> None:
        """Add the variables of a file beside the inventory."""
        if file["host"] is None and file["group"] not in self.groups:
            self.notes.append(f"{file['path']}: the inventory has no group {file['group']}")
            return
        if file["host"] is not None and file["host"] not in self.hosts:
            self.notes.append(f"{file['path']}: the inventory has no host {file['host']}")
            return

        def parse() -> _Reader:
            self.loader, self.file = _Loader(file["text"]), file["path"]
            node = self.loader.get_single_node()
            if node is not None:
                _measure(node)
                self._vars(node, "", file["group"], file["host"])
            return self

        known = len(self.variables)
        try:
            _parsed(file["text"], "the file", parse)
        except InvalidInput:
            del self.variables[known:]
            raise
        finally:
            self.file = ""

    def read(self) -> None:
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

    def _group_of(self, name: str) -> Group:
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
        where = f"line {node.start_mark.line + 1}: {at or self.file or 'the inventory'}"
        if not isinstance(node, yaml.MappingNode):
            raise InvalidInput(f"{where}: expected a dictionary with {expected}")
        # A key beside `<<` may override what that merges; a key that is written twice is a mistake.
        written = self.written.setdefault(id(node), {id(key) for key, _ in node.value})
        self.loader.flatten_mapping(node)
        seen: set[str] = set()
        for key, value in node.value:
            name = self.loader.construct_object(key, deep=True)
            if isinstance(name, (int, float)) and not isinstance(name, bool):
                name = str(getattr(key, "value", name))
            if not isinstance(name, str):
                raise InvalidInput(
                    f"line {key.start_mark.line + 1}: {at or 'the inventory'}: "
                    f"expected a name, got {name!r}; quote it"
                )
            if name in seen:
                self._twice(key, _below(at, name))
            if id(key) in written:
                seen.add(name)
            yield name, value, key.start_mark.line + 1

    def _twice(self, key: yaml.Node, at: str) -> None:
        place = f"{self.file} line" if self.file else "line"
        note = f"{place} {key.start_mark.line + 1}: {at} is set twice; the last one counts"
        self.notes.append(f"{note}, as in Ansible")

    def _search_twins(self, node: yaml.Node, at: str) -> None:
        """Report keys that a value of a variable has twice."""
        if id(node) in self.searched or not isinstance(node.value, list):
            return
        self.searched.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._search_twins(item, f"{at}[{index}]")
            return
        seen: set[str] = set()
        for key, item in node.value:
            name = str(key.value)
            if name in seen and name != "<<":
                self._twice(key, _below(at, name))
            seen.add(name)
            self._search_twins(item, _below(at, name))

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
                        if len(self.hosts) > _MAX_HOSTS:
                            raise InvalidInput(f"{here}: more than {_MAX_HOSTS} hosts")
                        self._vars(own, _below(here, host), name, host)
            elif part == "children":
                for child, own, _line in self._pairs(inner, here, "groups"):
                    self._child(name, child, _below(here, child))
                    self._group(child, own, _below(here, child))
            elif part == "vars":
                self._vars(inner, here, name, None)
            else:
                self.notes.append(
                    f"line {line}: {here} is none of hosts, children and vars; "
                    "it is ignored, as in Ansible"
                )

    def _vars(self, node: yaml.Node, at: str, group: str, host: str | None) -> None:
        for name, inner, line in self._pairs(node, at, "variables"):
            self._search_twins(inner, _below(at, name))
            value = self.loader.construct_object(inner, deep=True)
            self.variables.append(
                {
                    "name": name,
                    "value": value,
                    "at": _below(at, name),
                    "line": line,
                    "file": self.file,
                    "group": group,
                    "host": host,
                }
            )

    def _depths(self) -> None:
        """Compute the depth of each group; a circle is an error."""
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
    """Refuse YAML that contains itself, or that its aliases make huge."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in open_:
            line = node.start_mark.line + 1
            raise InvalidInput(f"line {line}: an alias contains itself")
        if id(node) not in sizes:
            open_.add(id(node))
            inner: list[Any] = node.value if isinstance(node.value, list) else []
            parts = [p for item in inner for p in (item if isinstance(item, tuple) else (item,))]
            sizes[id(node)] = 1 + sum(size(part) for part in parts)
            open_.discard(id(node))
            if sizes[id(node)] > _MAX_NODES:
                line = node.start_mark.line + 1
                raise InvalidInput(f"line {line}: its aliases make this too large to be read")
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
    if not 0 <= (high - low) // step < _MAX_HOSTS:
        raise InvalidInput(f"{where}: expected a range that goes up, of {_MAX_HOSTS} at most")
    out: list[str] = []
    for middle in middles:
        out += _expand(head + middle + tail, at)
        if len(out) > _MAX_HOSTS:
            raise InvalidInput(f"{where}: more than {_MAX_HOSTS} hosts")
    return out
