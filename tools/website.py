"""The static site: documents staged for MkDocs, in the order of README's table of documents.

The documents are written for a forge, which renders CommonMark from the files of the repository.
Staging changes what Python-Markdown reads in another way, and brings along files that are linked.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = ROOT / "tools" / "mkdocs.yml"
REQUIREMENTS = ROOT / "tools" / "requirements-docs.txt"
HOME = {"README.md": "index.md", "README.zh.md": "zh.md", "CHANGELOG.md": "changelog.md"}
"""Documents outside docs/, and their names in the site."""
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")
_FENCE = re.compile(r" *```")
_ITEM = re.compile(r"(?P<head> *(?:[*+-]|\d+\.) +)\S")


def navigation(readme: str) -> list[dict[str, Any]]:
    """Return MkDocs' navigation: a section for each row of README's table of documents.

    readme
        Text of README.md.

    Raises ValueError if it has no such table.
    """
    table = readme.partition("## Documents\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", table, re.MULTILINE)[1:]
    if not rows:
        raise ValueError("README.md: expected a table of documents below `## Documents`")
    sections: list[dict[str, Any]] = [{"Home": "index.md"}]
    seen: set[str] = set()
    for title, cell in rows:
        pages: list[dict[str, str]] = []
        for text, path in re.findall(r"\[([^]]+)\]\(([\w./-]+\.md)\)", cell):
            name = staged_name(ROOT / path)
            if name not in seen:
                seen.add(name)
                text = re.sub("`", "", text)
                pages.append({text[0].upper() + text[1:]: name})
        sections.append({title[0].upper() + title[1:]: pages})
    return [*sections, {"中文": "zh.md"}]


def staged_name(path: Path) -> str:
    """Return the path below the site's root of a file of the repository."""
    relative = path.resolve().relative_to(ROOT)
    if str(relative) in HOME:
        return HOME[str(relative)]
    if relative.parts[0] == "docs":
        return str(Path(*relative.parts[1:]))
    return f"files/{relative}" + ("" if relative.suffix else ".txt")


def documents() -> list[Path]:
    """Return every document that is a page of the site."""
    return [*(ROOT / name for name in HOME), *sorted((ROOT / "docs").glob("*.md"))]


def stage(folder: Path) -> Path:
    """Write what MkDocs reads to a folder, which is emptied before.

    folder
        Gets ``mkdocs.yml`` and ``pages``; the site is built to ``site`` in it.

    Returns the path of ``mkdocs.yml``. Raises ValueError that names a link to a missing file.
    """
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "pages"
    pages.mkdir(parents=True)
    shutil.copytree(ROOT / "docs" / "pictures", pages / "pictures")
    for path in documents():
        text, linked = page(path)
        pages.joinpath(staged_name(path)).write_text(text, encoding="utf-8")
        for file in linked:
            target = pages / staged_name(file)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    nav = {"nav": navigation((ROOT / "README.md").read_text(encoding="utf-8"))}
    config = folder / "mkdocs.yml"
    text = yaml.safe_dump(nav, allow_unicode=True, sort_keys=False)
    config.write_text(f"{SETTINGS.read_text(encoding='utf-8')}{text}", encoding="utf-8")
    return config


def page(path: Path) -> tuple[str, list[Path]]:
    """Return a document as MkDocs is to read it, and the files besides pages that it links to.

    path
        The document.

    Raises ValueError that names a link to a file that is missing.
    """
    linked: list[Path] = []

    def link(match: re.Match[str]) -> str:
        target, hash_, anchor = match[2].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        file = (path.parent / target).resolve()
        if not file.is_file():
            raise ValueError(f"{path.relative_to(ROOT)}: {match[2]}: expected a file")
        if file not in documents() and file.parent.name != "pictures":
            linked.append(file)
        return f"{match[1]}{staged_name(file)}{hash_}{anchor}{match[3]}"

    lines = []
    fenced = False
    for line in _python_markdown(path.read_text(encoding="utf-8").splitlines()):
        fenced ^= bool(_FENCE.match(line))
        lines.append(line if fenced else _LINK.sub(link, line))
    return "\n".join(lines) + "\n", linked


def _python_markdown(lines: list[str]) -> list[str]:
    """Return lines of CommonMark so that Python-Markdown reads the same from them.

    It wants an empty line before a list, and what belongs to an item four spaces further in.
    """
    out: list[str] = []
    fenced = in_list = False
    widths: list[int] = []  # where the text of each open item begins
    for line in lines:
        item = None if fenced else _ITEM.match(line)
        indent = len(line) - len(line.lstrip(" "))
        if line.strip() and not fenced:
            lazy = item is None and out[-1:] != [""] and not _FENCE.match(line)
            while widths and indent < widths[-1] and not lazy:
                widths.pop()
            in_list = in_list and (bool(widths) or item is not None)
        if item is not None:
            if not in_list and out and out[-1].strip():
                out.append("")
            out.append("    " * len(widths) + line.lstrip(" "))
            widths.append(len(item["head"]))
            in_list = True
        elif widths and line.strip():
            out.append("    " * len(widths) + line[min(indent, widths[-1]) :])
        else:
            out.append(line)
        fenced ^= bool(_FENCE.match(line))
    return out
