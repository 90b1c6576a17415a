"""The digest of what Salt syncs to minions, by which an apply knows that it has it already.

Salt asks its master for the hash of each file, at each apply. A digest in `infra/map.py`, and
in the library, takes the place of some 200 such requests.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tools import formula

FOLDERS = ("_modules", "_states", "_utils")
RELEASE = formula.ROOT / "_utils" / "infra_formula" / "release.py"
MAP = formula.ROOT / "infra" / "map.py"
_LINE = re.compile(r'(?m)^DIGEST = "[0-9a-f]*"')


def digest() -> str:
    """SHA-256, as 64 hexadecimal digits, over the names and contents of the synced files."""
    whole = hashlib.sha256()
    for folder in FOLDERS:
        for path in sorted((formula.ROOT / folder).rglob("*.py")):
            if path != RELEASE:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                whole.update(f"{path.relative_to(formula.ROOT)}\0{content}\n".encode())
    return whole.hexdigest()


def files() -> dict[Path, str]:
    """Return the text of each file that holds the digest.

    Raises ValueError if infra/map.py has no line for it.
    """
    current = digest()
    text, count = _LINE.subn(f'DIGEST = "{current}"', MAP.read_text("utf-8"))
    if count != 1:
        raise ValueError("infra/map.py: expected one line that sets the digest")
    head = '"""The digest of this release; written by `make generate`."""\n\n'
    return {RELEASE: f'{head}DIGEST = "{current}"\n', MAP: text}


def stale() -> list[str]:
    """Return the files whose digest is not that of the synced files."""
    return [
        str(path.relative_to(formula.ROOT))
        for path, text in files().items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
