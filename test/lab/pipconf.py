"""This host's settings of pip, for a pip that runs in a machine."""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator
from pathlib import Path

from .host import LabError


def _settings() -> dict[str, str]:
    """Return this host's settings of pip, from its files and the environment.

    As https://pip.pypa.io/en/stable/topics/configuration/ says, without asking a pip, which the
    Python that runs this need not have. What comes later wins.
    """
    home = Path.home()
    files = [
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".pip/pip.conf",
        Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf",
    ]
    if named := os.environ.get("PIP_CONFIG_FILE"):
        files.append(Path(named))
    parser = configparser.RawConfigParser()
    try:
        parser.read(files, encoding="utf-8")
    except configparser.Error as error:
        raise LabError(f"pip's settings cannot be read: {error}.") from error
    settings: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            settings |= {k.replace("_", "-"): v.strip() for k, v in parser.items(section)}
    for name, value in os.environ.items():
        if name.startswith("PIP_") and name not in ("PIP_CONFIG_FILE", "PIP_CACHE_DIR"):
            settings[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return settings


def binds() -> dict[Path, str]:
    """Return files and folders of the host that its pip settings name."""
    named = {Path(word) for value in _settings().values() for word in value.split()}
    there = sorted(path for path in named if path.is_absolute() and path.exists())
    return {path: f"pip-{number}" for number, path in enumerate(there)}


def environment() -> Iterator[tuple[str, str]]:
    """Yield pip's settings as environment variables that hold inside the image's build."""
    inside = {str(host): f"/run/lab/{name}" for host, name in binds().items()}
    for name, value in _settings().items():
        variable = "PIP_" + name.upper().replace("-", "_")
        yield variable, " ".join(inside.get(word, word) for word in value.split())
