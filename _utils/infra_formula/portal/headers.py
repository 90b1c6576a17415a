"""Headers of a request that is handed on: those of the portal, with those of an entry in place."""

from __future__ import annotations

from collections.abc import Mapping


def merged(lines: str, own: Mapping[str, str], shared: str) -> str:
    """Lines of ``proxy_set_header`` or ``grpc_set_header``, with an entry's own in their place.

    lines
        Those of the portal; an ``include`` stands for the shared ones.
    own
        Header → value, of the entry. nginx would send both of two headers of a name.
    shared
        The lines that the ``include`` names.
    """
    if not own:
        return lines
    names = {name.lower() for name in own}
    out = []
    for line in lines.splitlines():
        words = line.split()
        if words[:1] != ["include"]:
            out += [line] if not _is_of(line, names) else []
        elif any(_is_of(other, names) for other in shared.splitlines()):
            pad = line[: len(line) - len(line.lstrip())]
            out += [
                pad + x.strip() for x in shared.splitlines() if x.strip() and not _is_of(x, names)
            ]
        else:
            out.append(line)
    directive = next(line.split()[0] for line in lines.splitlines() if "_set_header" in line)
    out += [f"        {directive} {name} {_quoted(value)};" for name, value in own.items()]
    return "\n".join(out)


def _is_of(line: str, names: set[str]) -> bool:
    words = line.split()
    return len(words) > 1 and words[0].endswith("_set_header") and words[1].lower() in names


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
