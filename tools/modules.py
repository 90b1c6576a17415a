"""The formula's execution modules, through Salt's own loader, where Salt is not set up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import salt.config
import salt.loader

ROOT = Path(__file__).resolve().parent.parent


def load(folder: str) -> Any:
    """Execution modules of the formula and of Salt, with what Salt writes kept in a folder."""
    opts = salt.config.apply_minion_config(
        {
            "id": "convert",
            "root_dir": folder,
            "file_client": "local",
            "file_roots": {"base": []},
            "pillar_roots": {"base": []},
            "module_dirs": [str(ROOT / "_modules")],
            "log_level": "error",
        },
        defaults=salt.config.DEFAULT_MINION_OPTS.copy(),
    )
    opts["grains"] = salt.loader.grains(opts)
    known = salt.loader.minion_mods(opts)
    # Salt makes a new client for each file that it is asked for, the time of ten conversions.
    known["cp.get_file_str"] = _served
    return known


def _served(path: str) -> str | bool:
    """What Salt's own function answers: the text of a file of the formula, False for none."""
    file = ROOT / path.removeprefix("salt://")
    return file.read_text(encoding="utf-8") if file.is_file() else False
