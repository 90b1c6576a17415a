"""The install record: what this machine was like before the formula first changed it."""

from __future__ import annotations

from typing import Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.uninstall import install_record


def record() -> dict[str, dict[str, dict[str, Any]]]:
    """Show the install record: component → kind → name → what was there.

    Raises CommandExecutionError if the record is corrupt.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_before.record
    """
    return install_record.record()


redaction.guard(globals())
