"""Names with letters beyond ASCII, and the form of them that DNS and certificates have."""

from __future__ import annotations

try:
    import idna  # a dependency of requests, which Salt has
except ImportError:  # pragma: no cover - only where a distribution's Salt goes without it
    idna = None  # type: ignore[assignment]


def ascii_form(name: str) -> str | None:
    """The form of a name in ASCII (IDNA 2008, RFC 5891); None if it has none, or is ASCII.

    name
        A DNS name; a leading ``*.`` is kept.
    """
    star = "*." if name.startswith("*.") else ""
    bare = name.removeprefix(star)
    if bare.isascii() or idna is None:
        return None
    try:
        return star + idna.encode(bare, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return None
