"""The examples of the documents: found, so that tests can run them.

README.md and every page of docs/ are read. Their fenced blocks are

* `bash`: commands, run in the document's order on a machine of the lab (test/integration),
* `yaml`: a pillar, checked by the formula's own gate (test/functional), or a file,
* anything else: shown, not run.

What a reader would do by himself, and what a test cannot do, stands in an HTML comment before the
block. Each begins with one of these words:

    <!-- lab: NAME -->           from here on the blocks are run in this lab (test/integration)
    <!-- run: {machine: node-1, status: 1, soak: true} -->
                                 where (a machine of the lab, or `host`: the checkout), with which
                                 exit status it ends, whether only `make soak` runs it
    <!-- not run: REASON -->     it is counted, and printed with its reason
    <!-- first: COMMANDS -->     run before the block, at the same place
    <!-- pillar: {write: true} -->
                                 the block is merged over the lab's pillar, as a reader would do
    <!-- pillar: {at: KEY} -->   the block is the value of this parameter
    <!-- pillar: {with: {…}} --> parameters that it needs besides
    <!-- pillar: {files: true} --> it names files that only the machine has, so that only a lab,
                                 and not the gate, can judge it
    <!-- file: PATH -->          the block is written to this file of the machine
    <!-- not pillar: WHAT -->    YAML of something else: it has to parse, no more
    <!-- shows -->               each line of the block is part of what the commands before printed,
                                 in this order; `…` stands for anything

Comments before a block may be several; each holds for the next block only, apart from `lab`.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
TRANSLATED = {"README.zh.md": "README.md"}
"""Documents whose blocks are those of another, so that they need not be run twice."""

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w+-]*)\s*$")
COMMENT = re.compile(r"^ *<!--(?P<text>.*?)-->\s*?$", re.DOTALL | re.MULTILINE)
WORDS = ("lab", "run", "not run", "first", "pillar", "file", "not pillar", "shows", "prints",
         "unchecked")  # fmt: skip
RUN_OPTIONS = {"machine": str, "status": int, "soak": bool}
PILLAR_OPTIONS = {"write": bool, "at": str, "with": dict, "files": bool}
SILENT = re.compile(
    r"(mkdir|cp|mv|ln|rm|cd|install|sed -i|cat >|cat >>|tar|"
    r"systemctl (start|stop|restart|disable|enable)|timeout|sleep|\(umask|openssl req) |"
    r"if |while |until |for |make generate|jid=|"
    r".* >/dev/null$|gpg .*export.* > /|"
    r".* -o /dev/null [^%]*$|echo .* >|curl .*-o (?!/dev)\S+ [^%]*$"
)
"""Commands that print nothing where all is well."""
APPLIES = re.compile(r"state\.(apply|orchestrate) ")
SUMMARY = re.compile(r"^(?:\s|\w+:)*Failed:\s+(\d+)\s*$", re.MULTILINE)
PRELUDE = """\
set -euo pipefail
salt-call() { command salt-call --retcode-passthrough "$@"; }
salt() {
  local said status try
  for try in 1 2 3 4 5 6; do
    said=$(command salt --timeout=300 "$@" 2>&1) && status=0 || status=$?
    # A master that was just started is not there yet, which `salt` takes for success.
    case $said in
      *"could not be contacted"* | *"No minions matched"*) status=1; sleep 5 ;;
      *) break ;;
    esac
  done
  printf '%s\n' "$said"
  return "$status"
}
"""


class DocumentError(Exception):
    """A document that cannot be read; says where and what was expected."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a document.

    Attributes:
        document: path of the document below the checkout.
        line: number of its first line in the document, from 1.
        language: the fence's language.
        text: its content, without the fence's indentation.
        lab: the lab that the document named before it; empty is the default one.
        notes: what the comments before it say, by their first word.
    """

    document: str
    line: int
    language: str
    text: str
    lab: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Document and line, as an editor takes it."""
        return f"{self.document}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Each command of the block on one line, without comments and what continues others."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        bodies = re.sub(r"<<-?\s*['\"]?(\w+)['\"]?(.*?)\n.*?^\s*\1$", r"<<\1\2", joined,
                        flags=re.DOTALL | re.MULTILINE)  # fmt: skip
        ends = re.compile(r"(fi|done|esac|else|\})\b")
        lines = bodies.splitlines()
        return [line for line in lines if re.match(r"[^\s#]", line) and not ends.match(line)]

    @property
    def speaking(self) -> list[str]:
        """Commands that print something, apart from those whose summary is checked anyway."""
        return [c for c in self.commands if not SILENT.match(c) and not self._applies(c)]

    @property
    def applies(self) -> int:
        """Number of commands that print Salt's summary of an apply in which no state fails."""
        failing = self.notes.get("run", {}).get("status", 0)
        return 0 if failing else sum(self._applies(command) for command in self.commands)

    @staticmethod
    def _applies(command: str) -> bool:
        return bool(re.match(r"salt", command) and APPLIES.search(command) and " | " not in command)

    def difference(self, printed: str) -> str | None:
        """Return in what the output of the block differs from what is expected; None in nothing."""
        failed = [int(count) for count in SUMMARY.findall(printed)]
        if self.applies and (len(failed) < self.applies or any(failed)):
            return f"expected {self.applies} or more summaries of Salt without a failed state"
        absent = missing(self.notes.get("prints", ""), printed)
        return None if absent is None else f"{absent!r} was not printed"

    def script(self) -> str:
        """Return the block as a program of bash that ends at the first command that fails."""
        first = str(self.notes.get("first", "")).strip()
        head = f"{PRELUDE}{first}\n"
        # Bash counts lines of the whole program, a reader those of the document.
        offset = self.line - head.count("\n") - 2
        return f"{head}trap 'echo \"failed: line $((LINENO + {offset}))\" >&2' ERR\n{self.text}"


def paths() -> list[Path]:
    """Return every document, README.md first."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks() -> list[Block]:
    """Return the blocks of every document, in their order.

    Raises:
        DocumentError: a document is not as it should be.
    """
    return [
        block
        for path in paths()
        for block in parse(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))
    ]


def parse(text: str, document: str) -> list[Block]:
    """Return the blocks of one document.

    Args:
        text: the document.
        document: its path, for messages.

    Raises:
        DocumentError: a fence is not closed, a comment is not understood or belongs to no block.
    """
    found: list[Block] = []
    waiting = Block(document, 0, "", "")
    lab = ""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        fence = FENCE.match(line)
        if fence:
            end = _end(lines, number, fence["indent"], document)
            body = textwrap.dedent("\n".join(lines[number + 1 : end])) + "\n"
            block = replace(
                waiting, line=number + 2, language=fence["language"], text=body, lab=lab
            )
            found.append(_checked(block))
            waiting = replace(waiting, notes={})
            number = end + 1
            continue
        comment = COMMENT.match("\n".join(lines[number:])) if "<!--" in line else None
        if comment:
            note = _note(comment["text"], f"{document}:{number + 1}")
            number += comment[0].count("\n") + 1
            if note and note[0] == "lab":
                lab = note[1]
            elif note:
                waiting = replace(waiting, notes={**waiting.notes, note[0]: note[1]})
            continue
        if line.strip() and waiting.notes:
            told = ", ".join(waiting.notes)
            raise DocumentError(f"{document}:{number + 1}: expected a block after `{told}`")
        number += 1
    if waiting.notes:
        told = ", ".join(waiting.notes)
        raise DocumentError(f"{document}: expected a block after `{told}`, got the end")
    return found


def pillar(block: Block) -> dict[str, Any] | None:
    """Return the pillar that a block of YAML is; None if it is something else.

    Raises:
        DocumentError: it does not parse, or is no pillar and does not say what it is.
    """
    if block.language != "yaml":
        return None
    try:
        data = yaml.safe_load(block.text)
    except yaml.YAMLError as error:
        raise DocumentError(f"{block.place}: {error}") from error
    ours = isinstance(data, dict) and bool(data) and set(data) <= {"infra", "infra_secrets"}
    if "not pillar" in block.notes or ("file" in block.notes and not ours):
        return None
    options = block.notes.get("pillar", {})
    if "at" in options:
        data = {"infra": {options["at"]: data}}
        ours = True
    if not ours:
        raise DocumentError(
            f"{block.place}: expected a pillar, `infra` or `infra_secrets`, or a comment `file`, "
            "`not pillar` or `pillar: {at: …}` before it"
        )
    return merged({"infra": options.get("with", {})}, data)


def merged(below: Any, above: Any) -> Any:
    """Return one pillar over another: dictionaries are merged, all else is replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: merged(below.get(key), value) for key, value in above.items()}}
    return above


def missing(shown: str, printed: str) -> str | None:
    """Return the first line of a shown output that was not printed, in order; None if all were.

    Args:
        shown: the block; `…` stands for anything within a line, a line of it alone for any lines,
            and `/EXPRESSION/` is a regular expression.
        printed: what the commands printed.
    """
    rest = printed
    for line in shown.splitlines():
        pieces = [piece.strip() for piece in line.split("…")]
        if not any(pieces):
            continue
        expression = re.fullmatch(r"\s*/(.+)/\s*", line)
        pattern = (
            expression[1]
            if expression
            else r"[^\n]*".join(re.sub(r"(\\ )+", r"\\s+", re.escape(p)) for p in pieces)
        )
        match = re.search(pattern, rest, re.MULTILINE)
        if not match:
            return line
        rest = rest[match.end() :]
    return None


def _end(lines: list[str], start: int, indent: str, document: str) -> int:
    for number in range(start + 1, len(lines)):
        if lines[number] == f"{indent}```":
            return number
    raise DocumentError(f"{document}:{start + 1}: this block is not closed")


def _note(text: str, place: str) -> tuple[str, Any] | None:
    """Return what a comment says: its word and its value; None for a comment to people."""
    word, colon, value = text.strip().partition(":")
    value = textwrap.dedent(value).strip()
    if word not in WORDS:
        if colon and re.fullmatch(r"[a-z]+( [a-z]+)?", word):
            raise DocumentError(f"{place}: expected one of {', '.join(WORDS)}, got {word!r}")
        return None
    if word != "shows" and not value:
        raise DocumentError(f"{place}: expected a value after `{word}:`")
    if word in ("run", "pillar"):
        options = yaml.safe_load(value)
        known = RUN_OPTIONS if word == "run" else PILLAR_OPTIONS
        for key, given in options.items() if isinstance(options, dict) else [("", options)]:
            if key not in known or not isinstance(given, known[key]):
                raise DocumentError(
                    f"{place}: expected {{{', '.join(known)}}} after `{word}:`, got {value}"
                )
        return word, options
    return word, value or True


def _checked(block: Block) -> Block:
    fits = {
        "bash": {"run", "not run", "first", "prints", "unchecked"},
        "yaml": {"pillar", "file", "not pillar"},
    }.get(block.language, {"shows", "file"})
    for word in block.notes:
        if word not in fits and not (word == "first" and "file" in block.notes):
            raise DocumentError(
                f"{block.place}: `{word}` does not go with {block.language or 'no language'}"
            )
    return block
