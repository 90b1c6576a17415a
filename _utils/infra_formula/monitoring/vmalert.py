"""Recording and alert rules: rendered from templates and pillar, checked by vmalert.

The formula's rules are Jinja templates below ``salt://infra/vmalert/files/rules`` with ``[[ ]]``
and ``[% %]`` as delimiters, because ``{{ }}`` belongs to vmalert.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import salt.utils.yaml
import yaml

from infra_formula import templates
from infra_formula.daemon import checks, configuration, flags, local_ports
from infra_formula.daemon.model import Daemon
from infra_formula.errors import CommandFailed, InvalidInput, Refused
from infra_formula.fileset.contents import File
from infra_formula.minion import Minion
from infra_formula.monitoring import rule_overrides
from infra_formula.state import Plan

TEMPLATES = "salt://infra/vmalert/files/rules/"
METRICS = ("agent.yml", "infra.yml", "node.yml")
"""Files of rules over metrics."""

LOGS = ("logs/node.yml",)
"""Files of rules over logs."""

_MACROS = "macros.j2"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def files(
    settings: dict[str, Any],
    sources: Mapping[str, str],
    custom: dict[str, Any] | None = None,
    logs: dict[str, Any] | None = None,
    overrides: dict[str, Any] | None = None,
    served_rules: Mapping[str, str] | None = None,
) -> dict[str, File]:
    """Render the rules as a file set below ``/infra/rules``.

    settings
        Values for the templates: ports, ``portal_url``, ``nodes``, ``timeout_seconds``, ``logs``
        (whether rules over logs are evaluated) and ``dashboards`` (whether the portal has the
        dashboards that alerts link to).
    sources
        Name of a template → its text; those of :func:`template_names`.
    custom
        The value of ``vmalert_rules``: name of a file → its groups.
    logs
        The value of ``vmalert_logs_rules``, likewise.
    overrides
        The value of ``vmalert_rule_overrides``, see :mod:`rule_overrides`.
    served_rules
        ``salt://`` path in ``custom`` or ``logs`` → text of the file.

    Raises InvalidInput for a template that is broken, or a served file that has no rules.
    """
    imports = {_MACROS: sources[_MACROS]}
    out: dict[str, File] = {}
    for name in template_names(settings):
        if name != _MACROS:
            text = templates.render(
                TEMPLATES + name, sources[name], settings, imports=imports, square_brackets=True
            )
            if overrides:
                text = rule_overrides.applied(text, overrides)
            out[name.removesuffix(".j2")] = _file(text)
    texts = served_rules or {}
    for name, groups in (custom or {}).items():
        faults = _groups(f"vmalert_rules.{name}", groups, texts)
        out[f"site-{name}.yml"] = _groups_file(faults)
    for name, groups in (logs or {}).items() if settings["logs"] else ():
        faults = _groups(f"vmalert_logs_rules.{name}", groups, texts)
        typed = [{"type": "vlogs", **group} for group in faults]
        out[f"logs/site-{name}.yml"] = _groups_file(typed)
    return out


def template_names(settings: dict[str, Any]) -> list[str]:
    """Names of the templates that are rendered, and of what they import.

    settings
        See :func:`files`.
    """
    names = [*METRICS, *(LOGS if settings["logs"] else ())]
    return [_MACROS, *(f"{name}.j2" for name in names)]


def _file(text: str) -> File:
    return {"text": text, "group": "infra", "mode": "0640"}


def _groups_file(groups: list[dict[str, Any]]) -> File:
    return _file(templates.HEADER + templates.to_yaml({"groups": groups}))


def _groups(path: str, value: Any, texts: Mapping[str, str]) -> list[dict[str, Any]]:
    if isinstance(value, str):
        try:
            content = salt.utils.yaml.safe_load(texts[value])
        except yaml.YAMLError as err:
            raise InvalidInput(f"{path}: expected YAML in {value}: {err}") from err
        parameter, _, name = path.partition(".")
        errors = problems({parameter: {name: content}})
        if errors:
            raise InvalidInput(f"{errors[0]} (in {value})")
        value = content
    return list(value["groups"] if isinstance(value, dict) else value)


def problems(parameters: dict[str, Any]) -> list[str]:
    """Problems of the site's rules, as far as vmalert is not needed to find them.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.

    Returns one message per problem, each beginning with the key path.
    """
    errors = []
    for parameter in ("vmalert_rules", "vmalert_logs_rules"):
        for name, value in (parameters.get(parameter) or {}).items():
            path = f"{parameter}.{name}"
            if not _NAME.fullmatch(str(name)):
                errors.append(f"{path}: expected a name of letters, digits, - and _")
            if _is_served(value):
                continue
            groups = value.get("groups") if isinstance(value, dict) else value
            if not isinstance(groups, list) or not all(isinstance(g, dict) for g in groups):
                errors.append(
                    f"{path}: expected a list of groups, each with name and rules, "
                    "or the salt:// path of a file of them"
                )
                continue
            for index, group in enumerate(groups):
                if not isinstance(group.get("name"), str) or not isinstance(
                    group.get("rules"), list
                ):
                    errors.append(f"{path}[{index}]: expected a group with name and rules")
    errors += rule_overrides.problems(parameters.get("vmalert_rule_overrides") or {})
    elsewhere = parameters.get("vmetrics_url") or parameters.get("vmcluster_hosts")
    stored = parameters.get("vmetrics_enabled", True) or elsewhere
    if parameters.get("vmalert_enabled", True) and not stored:
        errors.append(
            "vmalert_enabled: expected false, because vmetrics_enabled is false and there is "
            "neither vmetrics_url nor vmcluster_hosts"
        )
    return errors


def plan(
    minion: Minion,
    root: str,
    daemons: Sequence[Daemon],
    settings: dict[str, Any],
    custom: dict[str, Any] | None = None,
    logs: dict[str, Any] | None = None,
    overrides: dict[str, Any] | None = None,
) -> Plan:
    """Plan the files of rules, checked by vmalert.

    root
        Directory of the rules.
    daemons
        vmalert, and the vmalert for logs if there is one.
    settings, custom, logs, overrides
        See :func:`files`.
    """
    rendered = served(minion, settings, custom, logs, overrides)
    difference = configuration.compare("rules", root, rendered)
    check({rel: rendered[rel] for rel in difference.create + difference.change}, daemons[0])
    return configuration.plan(
        difference,
        daemons,
        comment=f"{len(rendered)} files of rules are up to date.",
        would="Rules would change.",
    )


def served(
    minion: Minion,
    settings: dict[str, Any],
    custom: dict[str, Any] | None = None,
    logs: dict[str, Any] | None = None,
    overrides: dict[str, Any] | None = None,
) -> dict[str, File]:
    """As :func:`files`, with the served templates and the served files of rules.

    Raises CommandFailed, naming the key, if a file of rules is not served.
    """
    names = template_names(settings)
    sources = {name: templates.read(minion, TEMPLATES + name) for name in names}
    texts = {}
    for parameter, values in (("vmalert_rules", custom), ("vmalert_logs_rules", logs)):
        for name, value in (values or {}).items():
            if _is_served(value):
                try:
                    texts[value] = templates.read(minion, value)
                except CommandFailed as err:
                    raise CommandFailed(f"{parameter}.{name}: {err}") from err
    return files(settings, sources, custom, logs, overrides, texts)


def _is_served(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"salt://\S+", value))


def check(rules: Mapping[str, File], daemon: Daemon) -> None:
    """Have vmalert check rules. Nothing is checked if it is not installed yet.

    rules
        What :func:`files` returned.
    daemon
        vmalert.

    Raises Refused that names the parameter or file and quotes vmalert.
    """
    refusal = refusal_of(daemon)
    for rel, file in rules.items():
        lines = refusal(rel, file["text"])
        if lines is not None:
            site = re.fullmatch(r"(logs/)?site-(.+)\.yml", rel)
            parameter = "vmalert_logs_rules" if site and site[1] else "vmalert_rules"
            where = f"{parameter}.{site[2]}" if site else f"rules/{rel}"
            raise Refused(f"{where}: vmalert refuses it: {lines}")


def refusal_of(daemon: Daemon) -> Callable[[str, str], str | None]:
    """A function that has vmalert check a file of rules.

    It is called with the name and the text of the file, and returns the error lines if vmalert
    refuses it, else None.
    """
    options = flags.options_named(daemon.get("options", ""), "rule.", "external.")
    argv = [daemon["program"], "-rule={path}", "-dryRun", *options]
    return lambda name, text: checks.refusal(argv, name, text)


def firing(port: int = 8880) -> list[dict[str, Any]]:
    """Alerts of this node's vmalert; see ``infra_rules.firing``."""
    return [
        {
            "name": alert["name"],
            "state": alert["state"],
            "labels": alert["labels"],
            "value": alert["value"],
            "since": alert["activeAt"],
        }
        for alert in local_ports.get_json(port, "/api/v1/alerts", "vmalert")["data"]["alerts"]
    ]
