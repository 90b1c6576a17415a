"""What the YAML files below ``infra/`` say, as data of the library.

Salt brings only Python to a minion with a library, so ``make generate`` writes one module of each.
"""

from __future__ import annotations

import functools
import importlib
import json
from typing import Any


@functools.cache
def load(name: str) -> Any:
    """The data of one file; it is shared, and never changed.

    name
        Name of a module of this package, e.g. ``components``.
    """
    return json.loads(importlib.import_module(f"{__name__}.{name}").JSON)
