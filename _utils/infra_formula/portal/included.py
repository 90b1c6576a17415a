"""Files that raw directives name by ``include``."""

from __future__ import annotations

from pathlib import Path

ROOT = "/etc/nginx"
PROXY_HEADERS = "infra-proxy-headers.conf"
CONSOLE_HEADERS = "infra-console-headers.conf"
CONSOLES = "conf.d/haproxy/"


def text(pattern: str) -> str:
    """Text of the files that an ``include`` names, without the formula's own.

    pattern
        As nginx has it: a path, absolute or below ``/etc/nginx``, in which ``*`` may stand.
    """
    if pattern in (PROXY_HEADERS, CONSOLE_HEADERS) or pattern.startswith(CONSOLES):
        return ""
    try:
        files = [path for path in sorted(Path(ROOT).glob(pattern)) if path.is_file()]
    except (NotImplementedError, ValueError):  # an absolute path, or none
        folder, name = Path(pattern).parent, Path(pattern).name
        files = [path for path in sorted(folder.glob(name)) if path.is_file()] if name else []
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)
