"""What this machine was like before this formula first changed it; the way back goes there."""

from __future__ import annotations

from typing import Any

from infra_formula.uninstall import install_record


def record() -> dict[str, dict[str, dict[str, Any]]]:
    """What was noted: component → kind → name → what was there.

    Raises CommandExecutionError where the record is there and cannot be read.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_before.record
    """
    return install_record.record()
