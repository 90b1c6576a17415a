"""Whether a file is the package that its name says: what nothing verifies is looked into."""

from __future__ import annotations

import shutil
from pathlib import Path

from infra_formula import process

_KINDS = {
    # https://manpages.debian.org/deb.5, https://rpm-software-management.github.io/rpm/manual/format
    "deb": (b"!<arch>\ndebian-binary", "a Debian package"),
    "rpm": (b"\xed\xab\xee\xdb", "an rpm package"),
}
_SHOWN = 40


def fault(path: Path, name: str) -> str:
    """Why a file is no whole package; empty if it is one, or if its name is of no package.

    path
        The file.
    name
        Its name, which ends in ``.deb`` or ``.rpm``.
    """
    kind = name.rpartition(".")[2]
    if kind not in _KINDS:
        return ""
    magic, title = _KINDS[kind]
    with path.open("rb") as stream:
        start = stream.read(max(_SHOWN, len(magic)))
    if not start.startswith(magic):
        beginning = start[:_SHOWN].decode("utf-8", "replace")
        return f"it is not {title}: it begins with {beginning!r}"
    command = {
        "deb": ["dpkg-deb", "--contents", str(path)],
        "rpm": ["rpmkeys", "--checksig", "--nosignature", str(path)],
    }[kind]
    if shutil.which(command[0]) is None:
        return ""
    answer = process.run(command, timeout=600)
    if answer["retcode"]:
        words = (answer["stderr"] or answer["stdout"]).strip().replace(str(path), name)
        return f"it is not {title} that is whole: {words}"
    return ""
