"""The pillar that machines get: from a file in YAML or JSON, or from data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .host import LabError

TOP = "base:\n  '*':\n    - infra\n"


def files(pillar: Mapping[str, Any] | Path | None) -> dict[str, str]:
    """Return a pillar as the files below /srv/pillar of the machine that serves it.

    Args:
        pillar: data, or a file: `.json` is JSON and nothing else; anything else is Salt's own
            form, YAML in which Jinja works.

    Returns:
        Text by absolute path; without a pillar, an empty one.

    Raises:
        LabError: the file cannot be read, or is no JSON though it says so.
    """
    return {"/srv/pillar/top.sls": TOP, "/srv/pillar/infra.sls": _text(pillar)}


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
