"""JSON that somebody else wrote: an archive's, a program's, an upstream's."""

from __future__ import annotations

import json
from typing import Any


def parse(text: str | bytes) -> Any:
    """Parse JSON.

    Raises ValueError for what is none, and for what is nested deeper than Python's parser goes.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
