"""Variables of the hosts of an inventory: precedence, and values in Jinja."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jinja2
import jinja2.sandbox
from jinja2 import nodes

from infra_formula.pigsty.inventory import UNSAFE, VAULT, Inventory, Variable

Variables = dict[str, Variable]
"""Name of a variable → the place that sets it."""

_MAX_TEXT = 100_000  # characters that one string in Jinja may become
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


def members(inventory: Inventory, group: str) -> list[str]:
    """Hosts of a group and of the groups below it, in the order of the inventory."""
    names: set[str] = set()
    waiting, done = [group], set()
    while waiting:
        name = waiting.pop()
        if name in done or name not in inventory["groups"]:
            continue
        done.add(name)
        names.update(inventory["groups"][name]["hosts"])
        waiting += inventory["groups"][name]["children"]
    return inventory["hosts"] if group == "all" else [h for h in inventory["hosts"] if h in names]


def effective(inventory: Inventory) -> dict[str, Variables]:
    """The variables of each host, by Ansible's precedence.

    ``all`` comes first, then groups from the outermost to the innermost, those of one depth by
    ``ansible_group_priority`` and name, then the host. A file of ``group_vars`` counts more than
    all groups of the inventory, and one of ``host_vars`` more than the host.
    """
    parents: dict[str, list[str]] = {}
    for name, group in inventory["groups"].items():
        for child in group["children"]:
            parents.setdefault(child, []).append(name)
    on_group: dict[str, Variables] = {}
    in_group_files: dict[str, Variables] = {}
    on_host: dict[str, Variables] = {}
    in_host_files: dict[str, Variables] = {}
    for variable in inventory["variables"]:
        key, table = variable["group"], in_group_files if variable["file"] else on_group
        if variable["host"] is not None:
            key, table = variable["host"], in_host_files if variable["file"] else on_host
        table.setdefault(key, {})[variable["name"]] = variable
    direct: dict[str, list[str]] = {}
    for name, group in inventory["groups"].items():
        for host in group["hosts"]:
            direct.setdefault(host, []).append(name)
    layers: dict[tuple[str, ...], Variables] = {}
    out = {}
    for host in inventory["hosts"]:
        groups = tuple(direct.get(host, []))
        if groups not in layers:
            layers[groups] = {
                **_layered(inventory, groups, parents, on_group),
                **_layered(inventory, groups, parents, in_group_files),
            }
        out[host] = {**layers[groups], **on_host.get(host, {}), **in_host_files.get(host, {})}
    return out


def _layered(
    inventory: Inventory,
    direct: tuple[str, ...],
    parents: dict[str, list[str]],
    on_group: dict[str, Variables],
) -> Variables:
    above = {"all"}
    waiting = list(direct)
    while waiting:
        name = waiting.pop()
        if name not in above:
            above.add(name)
            waiting += parents.get(name, [])

    def rank(name: str) -> tuple[int, int, str]:
        variable = on_group.get(name, {}).get("ansible_group_priority")
        text = str(variable["value"]) if variable else ""
        priority = int(text) if text.isdigit() and len(text) < 9 else 1
        return inventory["groups"][name]["depth"], priority, name

    merged: Variables = {}
    for name in sorted(above, key=rank):
        merged.update(on_group.get(name, {}))
    return merged


# -- values in Jinja -------------------------------------------------------------------------------


class Unresolved(Exception):
    """Why a value cannot be computed without Ansible."""


def resolve(
    value: Any,
    host: str,
    variables: Variables,
    groups: dict[str, list[str]],
    all_hosts: Mapping[str, Variables] | None = None,
) -> tuple[Any, str | None]:
    """Render the strings of a value that are Jinja, if they only name other variables.

    value
        The value in the inventory.
    host
        ``inventory_hostname``.
    variables
        Variables of the host (of :func:`effective`).
    groups
        Name of each group → its hosts.
    all_hosts
        Each host → its variables, for ``hostvars``.

    Returns the value and None; or None and why it cannot be computed: it names a variable that is
    not in the inventory, is more than names and a few filters, or is encrypted.
    """
    try:
        return _resolved(value, _Scope(host, variables, groups, all_hosts or {}), ()), None
    except Unresolved as err:
        return None, str(err)
    except RecursionError:
        return None, "it is nested too deeply"


class _HostVars:
    """``hostvars``: the variables of each host, rendered when they are asked for."""

    def __init__(self, groups: dict[str, list[str]], all_hosts: Mapping[str, Variables]) -> None:
        self._groups, self._all_hosts = groups, all_hosts

    def __getitem__(self, host: str) -> Any:
        if host not in self._all_hosts:
            return jinja2.StrictUndefined(name=f"host {host}")
        scope = _Scope(host, self._all_hosts[host], self._groups, self._all_hosts)
        return _OfHost(scope, host)


class _OfHost:
    def __init__(self, scope: _Scope, host: str) -> None:
        self._scope, self._host = scope, host

    def __getitem__(self, name: str) -> Any:
        value = self._scope.lookup(name, ())
        if isinstance(value, jinja2.Undefined):
            return jinja2.StrictUndefined(name=f"{name} of {self._host}")
        return value


class _Scope:
    def __init__(
        self,
        host: str,
        variables: Variables,
        groups: dict[str, list[str]],
        all_hosts: Mapping[str, Variables],
    ) -> None:
        self.variables = variables
        self.magic = {
            "inventory_hostname": host,
            "inventory_hostname_short": host.split(".", 1)[0],
            "groups": groups,
            "hostvars": _HostVars(groups, all_hosts),
            "group_names": sorted(n for n, hosts in groups.items() if host in hosts and n != "all"),
        }
        self.rendered: dict[str, Any] = {}

    def lookup(self, name: str, trail: tuple[str, ...]) -> Any:
        """The rendered value of a variable; undefined if there is none."""
        if name in self.magic:
            return self.magic[name]
        if name in trail:
            raise Unresolved(f"it is in Jinja that leads back to itself, through {name}")
        if name not in self.variables:
            return jinja2.StrictUndefined(name=name)
        if name not in self.rendered:
            self.rendered[name] = _resolved(self.variables[name]["value"], self, (*trail, name))
        return self.rendered[name]


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
    except Unresolved:
        raise
    except Exception as err:  # filters raise whatever their arguments make them
        raise Unresolved(f"it is Jinja that fails ({type(err).__name__})") from None
    if isinstance(rendered, (_HostVars, _OfHost)):
        raise Unresolved("it is all variables of a host")
    if len(str(rendered)) > _MAX_TEXT:
        raise Unresolved("it is Jinja that becomes too long")
    return rendered


def _expression(text: str, values: dict[str, Any]) -> Any:
    inner = text[2:-2].strip("-+ ")
    result = _ENVIRONMENT.compile_expression(inner, undefined_to_none=False)(values)
    if isinstance(result, jinja2.Undefined):
        str(result)  # raises the error of a strict undefined
    return result
