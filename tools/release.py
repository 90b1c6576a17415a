"""The digest of what Salt syncs to minions, by which an apply knows that it has it already.

Salt asks its master for the hash of each file, at each apply. A digest in `infra/map.py` and
`infra/map.jinja`, and in the library, takes the place of some 200 such requests.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tools import formula

FOLDERS = ("_modules", "_states", "_utils")
RELEASE = formula.ROOT / "_utils" / "infra_formula" / "release.py"
MAP = formula.ROOT / "infra" / "map.py"
IMPORTED = formula.ROOT / "infra" / "map.jinja"
_LINES = {
    MAP: re.compile(r'(?m)^(DIGEST = )"[0-9a-f]*"'),
    IMPORTED: re.compile(r'(?m)^({% set digest = )"[0-9a-f]*"'),
}


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

    Raises ValueError if a file below infra/ has no line for it.
    """
    current = digest()
    head = '"""The digest of this release; written by `make generate`."""\n\n'
    texts = {RELEASE: f'{head}DIGEST = "{current}"\n'}
    for path, line in _LINES.items():
        texts[path], count = line.subn(rf'\g<1>"{current}"', path.read_text("utf-8"))
        if count != 1:
            raise ValueError(f"{path.name}: expected one line that sets the digest")
    return texts


def stale() -> list[str]:
    """Return the files whose digest is not that of the synced files."""
    return [
        str(path.relative_to(formula.ROOT))
        for path, text in files().items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
