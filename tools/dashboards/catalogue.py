"""Every dashboard, and the files that they are written to."""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache
from pathlib import Path

from . import build, home, infra, node, page
from .model import Board

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = Path("infra/grafana/dashboards")
PAGE = Path("docs/dashboards.md")


@lru_cache(maxsize=1)
def boards() -> tuple[Board, ...]:
    """The home, and then those of each folder, the overviews first."""
    found = [home.BOARD]
    for package in (infra, node):
        names = [module.name for module in pkgutil.iter_modules(package.__path__)]
        of_folder = [importlib.import_module(f"{package.__name__}.{name}").BOARD for name in names]
        found += sorted(
            of_folder, key=lambda board: (not board.uid.endswith("-overview"), board.uid)
        )
    return tuple(found)


def files() -> dict[Path, str]:
    """What is committed: path in the checkout → text."""
    titles = {board.uid: board.title for board in boards()}
    made = {FOLDER / board.path: build.text_of(board, titles) for board in boards()}
    return {**made, PAGE: page.text_of(boards())}
