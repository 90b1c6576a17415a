"""Files that the formula reads as root."""

from __future__ import annotations

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.fileset import root_only


def root_only_fault(path: str, links: bool = True) -> str:
    """Report why root may not trust the content of a file.

    path
        Absolute path of a regular file.
    links
        Whether the path may be a symbolic link of root's, and the file may have several names (keys
        and certificates); otherwise neither is accepted (archives).

    Returns the reason; empty if nobody but root can have changed the file.

    CLI Example:

    .. code-block:: bash

        salt-call infra_files.root_only_fault /root/pkg.tgz
    """
    return root_only.fault(path, links)


redaction.guard(globals())
