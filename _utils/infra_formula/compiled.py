"""Compiled templates, kept in the process and beside Python's own compiled files of the library.

A template takes longer to compile than to render. The file of compiled templates lies in the
library's ``__pycache__``: whoever could change it could change the library's compiled modules,
which Python runs without a further look. It is used only if nobody but root can have changed it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
import sys
import tempfile
from pathlib import Path
from types import CodeType

import jinja2
import jinja2.bccache
from jinja2.filters import FILTERS
from salt.exceptions import CommandExecutionError, SaltInvocationError

import infra_formula
from infra_formula import redaction
from infra_formula.fileset import root_only

log = redaction.logger(__name__)

_LIMIT = 256
"""Templates in the file: more than the formula and a site have; then it is begun anew."""

_OPTIONS = (
    "variable_start_string", "variable_end_string", "block_start_string", "block_end_string",
    "comment_start_string", "comment_end_string", "line_statement_prefix", "line_comment_prefix",
    "trim_blocks", "lstrip_blocks", "newline_sequence", "keep_trailing_newline", "autoescape",
    "optimized",
)  # fmt: skip
"""What of an environment the compiled code depends on, besides its filters."""


def path() -> Path:
    """The file of compiled templates."""
    return Path(importlib.util.cache_from_source(__file__)).with_suffix(".templates")


def identity() -> bytes:
    """Changes with each file of the library and with what compiles a template."""
    parts = (jinja2.__version__, sys.version, marshal.version, infra_formula.loaded_files())
    return hashlib.sha256(repr(parts).encode()).digest()


class Cache(jinja2.BytecodeCache):
    """Code of templates by what it was compiled from: options, filters, name and text."""

    def __init__(self) -> None:
        self._codes: dict[str, CodeType] | None = None

    def get_bucket(
        self, environment: jinja2.Environment, name: str, filename: str | None, source: str
    ) -> jinja2.bccache.Bucket:
        """Return the place of a template's code, with the code if it is known."""
        filters = {
            key: _import_name(some)
            for key, some in sorted(environment.filters.items())
            if FILTERS.get(key) is not some
        }
        key = ""
        if None not in filters.values():
            options = [(option, getattr(environment, option)) for option in _OPTIONS]
            extensions = sorted(environment.extensions)
            whole = repr((options, extensions, filters, name, filename, source))
            key = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()
        bucket = jinja2.bccache.Bucket(environment, key, key)
        self.load_bytecode(bucket)
        return bucket

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        """Give a place its code if it is known."""
        bucket.code = self._known().get(bucket.key)

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        """Keep the code of a place, for this process and for others."""
        if bucket.code is None or not bucket.key:
            return
        codes = self._known()
        if len(codes) >= _LIMIT:
            codes.clear()
        codes[bucket.key] = bucket.code
        _write(codes)

    def _known(self) -> dict[str, CodeType]:
        if self._codes is None:
            self._codes = _read()
        return self._codes


def _import_name(function: object) -> str | None:
    """Where a function can be imported from; None for one that was made at run time.

    Filters of constants are applied when a template is compiled: what they do is part of the code.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if getattr(sys.modules.get(str(module)), str(name), None) is not function:
        return None
    return f"{module}.{name}"


def _read() -> dict[str, CodeType]:
    """The content of the file; nothing if it is missing, of another release, or not trusted."""
    try:
        fd = root_only.open_file(str(path()))
    except FileNotFoundError:
        return {}
    except (OSError, CommandExecutionError, SaltInvocationError) as err:
        log.debug("Compiled templates are not used: %s", err)
        return {}
    with os.fdopen(fd, "rb") as stream:
        content = stream.read()
    head, checksum, data = content[:32], content[32:64], content[64:]
    if head != identity() or checksum != hashlib.sha256(data).digest():
        return {}
    return dict(marshal.loads(data))  # noqa: S302 - root's own, and complete


def _write(codes: dict[str, CodeType]) -> None:
    """Replace the file whole. That it may be lost with the machine is of no harm: no flush."""
    data = marshal.dumps(codes)
    target = path()
    if sys.dont_write_bytecode or not target.parent.is_dir():
        return
    temporary = ""
    try:
        fd, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(fd, "wb") as stream:
            stream.write(identity() + hashlib.sha256(data).digest() + data)
        os.replace(temporary, target)
    except OSError as err:
        log.debug("Compiled templates are not kept: %s", err)
        if temporary:
            Path(temporary).unlink(missing_ok=True)


CACHE = Cache()
"""The one of this process."""
