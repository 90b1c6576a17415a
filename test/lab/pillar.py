"""The pillars that machines get: from files in YAML or JSON, or from data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .host import LabError

if TYPE_CHECKING:
    from .machine import Machine

TOP = "base:\n  '*':\n    - infra\n"
SECRETS = "  'infra-*':\n    - infra_secrets\n"
"""What INFRA nodes get besides: in labs their names begin so."""


def files(pillar: Mapping[str, Any] | Path | None, secrets: Path | None = None) -> dict[str, str]:
    """Return a pillar as the files below /srv/pillar of the machine that serves it.

    Args:
        pillar: data, or a file: `.json` is JSON and nothing else; anything else is Salt's own
            form, YAML in which Jinja works. `infra_secrets` of data is for INFRA nodes only.
        secrets: a file with the pillar `infra_secrets`, likewise.

    Returns:
        Text by absolute path; without a pillar, an empty one.

    Raises:
        LabError: the file cannot be read, or is no JSON though it says so.
    """
    apart: Mapping[str, Any] | Path | None = secrets
    if isinstance(pillar, Mapping) and "infra_secrets" in pillar:
        apart = {"infra_secrets": pillar["infra_secrets"]}
        pillar = {key: value for key, value in pillar.items() if key != "infra_secrets"}
    made = {"/srv/pillar/top.sls": TOP, "/srv/pillar/infra.sls": _text(pillar)}
    if apart is not None:
        made["/srv/pillar/top.sls"] += SECRETS
        made["/srv/pillar/infra_secrets.sls"] = _text(apart)
    return made


def check(path: Path) -> None:
    """Check that a file is a pillar in form, before anything is booted for it.

    Args:
        path: as `files` takes it. One that Salt renders first is not looked into.

    Raises:
        LabError: it cannot be read, or is not YAML, with line and column; or no `infra` is in it.
    """
    text = _text(path)
    if path.suffix == ".json" or re.search(r"\A#!|\{[%{#]", text):
        return
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        said = getattr(error, "problem", None) or error
        raise LabError(f"The pillar {path}{where} is not YAML: {said}.") from error
    if not isinstance(data, dict) or not isinstance(data.get("infra"), dict):
        raise LabError(f"The pillar {path} has no mapping `infra` at its top.")


def problems(machine: Machine) -> list[str]:
    """Return what is wrong with the pillar of a machine, one line each; empty if nothing is.

    Args:
        machine: one that has the pillar's files, or whose master has them.
    """
    machine.salt_call("saltutil.sync_all", check=False)
    where = machine.run(["sh", "-c", "ls /srv/pillar/infra.sls"], check=False).stdout.split()
    checked: dict[str, Any] = {}
    for words in (*([path] for path in where), []):
        # First the file itself: Salt hides from a minion why one does not render.
        checked = machine.salt_call("infra_pillar.validate", *words, check=False) or {}
        if checked.get("errors"):
            break
    return list(checked.get("errors", []))


def _text(pillar: Mapping[str, Any] | Path | None) -> str:
    if pillar is None:
        return "{}\n"
    if isinstance(pillar, Path):
        try:
            text = pillar.read_text()
        except OSError as error:
            raise LabError(f"The pillar {pillar} cannot be read: {error.strerror}.") from error
        if pillar.suffix != ".json":
            return text
        try:
            pillar = json.loads(text)
        except ValueError as error:
            raise LabError(f"The pillar {pillar} is not JSON: {error}.") from error
    # Without Jinja: braces in data are data.
    return "#!json\n" + json.dumps(pillar, indent=2) + "\n"
