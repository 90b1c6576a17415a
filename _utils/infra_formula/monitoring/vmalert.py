"""Recording and alert rules: rendered from templates and pillar, checked by vmalert.

Rules of ours are Jinja2 templates below ``salt://infra/vmalert/files/rules`` with ``[[ ]]`` and
``[% %]`` as delimiters, so that vmalert's own ``{{ }}`` stand in them as they are; a copy in your
own file root takes the place of one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import jinja2
import salt.utils.path
import salt.utils.yaml

from infra_formula.daemon import checks, local_ports
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.minion import Minion

TEMPLATES = "salt://infra/vmalert/files/rules/"
METRICS = ("agent", "infra", "node")
"""Names of our files of rules over metrics."""

LOGS = ("node",)
"""Names of our files of rules over logs."""

_HEAD = "# Managed by Salt (infra formula). Changes here are overwritten.\n"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def files(
    settings: dict[str, Any],
    load: Callable[[str], str],
    custom: dict[str, Any] | None = None,
    logs: dict[str, Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """Render the rules to an infra_files set below /infra/rules; pure.

    settings
        What the templates name: ports, ``portal_url``, ``nodes``, ``timeout_seconds``, ``logs``
        (whether rules over logs are evaluated) and ``dashboards`` (whether the portal has the
        dashboards that alerts link to).
    load
        Returns the text of a template by its name.
    custom
        The site's own rules over metrics (``vmalert_rules``): name of a file → its groups.
    logs
        The site's own rules over logs (``vmalert_logs_rules``), the same way.

    Raises SaltInvocationError for a template that is missing or broken.
    """
    environment = jinja2.Environment(  # noqa: S701 (rules, not pages)
        loader=jinja2.FunctionLoader(lambda name: load(name) or None),
        undefined=jinja2.StrictUndefined,
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    wanted = {f"{name}.yml": f"{name}.yml.j2" for name in METRICS}
    if settings["logs"]:
        wanted.update({f"logs/{name}.yml": f"logs/{name}.yml.j2" for name in LOGS})
    out = {}
    for rel, name in wanted.items():
        try:
            text = environment.get_template(name).render(settings)
        except jinja2.TemplateError as err:
            raise InvalidInput(f"{TEMPLATES}{name}: {err}") from err
        out[rel] = _file(text)
    for name, groups in (custom or {}).items():
        out[f"site-{name}.yml"] = _file(_HEAD + _yaml({"groups": _groups(groups)}))
    for name, groups in (logs or {}).items() if settings["logs"] else ():
        typed = [{"type": "vlogs", **group} for group in _groups(groups)]
        out[f"logs/site-{name}.yml"] = _file(_HEAD + _yaml({"groups": typed}))
    return out


def _file(text: str) -> dict[str, Any]:
    return {"text": text, "group": "infra", "mode": "0640"}


def _groups(given: Any) -> list[dict[str, Any]]:
    return list(given["groups"] if isinstance(given, dict) else given)


def _yaml(data: Any) -> str:
    return salt.utils.yaml.safe_dump(
        data, default_flow_style=False, sort_keys=False, allow_unicode=True, width=4096
    )


def problems(parameters: dict[str, Any]) -> list[str]:
    """What is wrong with the rules that pillar gives, as far as it can be told without vmalert.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.

    Returns one message per error, each beginning with the key path; pure.
    """
    errors = []
    for parameter in ("vmalert_rules", "vmalert_logs_rules"):
        for name, given in (parameters.get(parameter) or {}).items():
            path = f"{parameter}.{name}"
            if not _NAME.fullmatch(str(name)):
                errors.append(f"{path}: expected a name of letters, digits, - and _")
            groups = given.get("groups") if isinstance(given, dict) else given
            if not isinstance(groups, list) or not all(isinstance(g, dict) for g in groups):
                errors.append(f"{path}: expected a list of groups, each with name and rules")
                continue
            for index, group in enumerate(groups):
                if not isinstance(group.get("name"), str) or not isinstance(
                    group.get("rules"), list
                ):
                    errors.append(f"{path}[{index}]: expected a group with name and rules")
    if parameters.get("vmalert_enabled", True) and parameters.get("vmetrics_enabled") is False:
        errors.append("vmalert_enabled: expected false where vmetrics_enabled is")
    return errors


def template(minion: Minion, name: str) -> str:
    """Text of a template of rules, empty where there is none."""
    return minion.call("cp.get_file_str", TEMPLATES + name) or ""


def rendered(
    minion: Minion,
    settings: dict[str, Any],
    custom: dict[str, Any] | None = None,
    logs: dict[str, Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """As :func:`files`, with the templates of this formula."""
    return files(settings, partial(template, minion), custom, logs)


def check(rules: dict[str, dict[str, Any]], program: str) -> None:
    """Have vmalert itself check rules.

    rules
        What :func:`files` returned.
    program
        Absolute path of vmalert; nothing is checked where it is not installed yet.

    Raises CommandExecutionError that names the parameter or file and quotes vmalert.
    """
    if not salt.utils.path.which(program):
        return
    for rel, spec in rules.items():
        fault = _refused(rel, spec["text"], program)
        if fault is not None:
            found = re.fullmatch(r"(logs/)?site-(.+)\.yml", rel)
            kind = "vmalert_logs_rules" if found and found[1] else "vmalert_rules"
            where = f"{kind}.{found[2]}" if found else f"rules/{rel}"
            raise CommandFailed(f"{where}: vmalert refuses it: {fault}")


def _refused(rel: str, text: str, program: str) -> str | None:
    argv = [program, "-rule={path}", "-dryRun"]
    good, told = checks.run_check(argv, rel, text)
    return None if good else str(checks.extract_error_lines(told))


def firing(port: int = 8880) -> list[dict[str, Any]]:
    """Alerts that this node's vmalert has now.

    port
        The value of ``vmalert_port``.

    Returns one mapping per alert: ``name``, ``state`` (``pending``, ``firing``), ``labels``,
    ``value`` and ``since``.

    Raises CommandExecutionError where it does not answer.
    """
    code, body = local_ports.request(port, "/api/v1/alerts")
    if code != 200:
        raise CommandFailed(f"vmalert on port {port}: {body or code}")
    return [
        {
            "name": alert["name"],
            "state": alert["state"],
            "labels": alert["labels"],
            "value": alert["value"],
            "since": alert["activeAt"],
        }
        for alert in json.loads(body)["data"]["alerts"]
    ]
