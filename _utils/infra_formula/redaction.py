"""No secret leaves the library: not in a return, not in an exception, not in a log.

Three sources tell which texts are secret:

* the pillar of a run, which ``state_tree.values`` passes to :func:`learn`;
* the arguments of a function, and what it reads itself and passes to :func:`add`;
* the form of a text: a user or a token in a URL, an ``Authorization`` header.

Each module that Salt loads calls :func:`guard` at its end, and each module of the library takes
its logger from :func:`logger`. A minion's process may live for months: the secrets of a run are
replaced by those of the next one, and are dropped when nothing has used them for some hours; those
of a call are dropped when it ends.
"""

from __future__ import annotations

import contextlib
import functools
import html
import inspect
import json
import logging
import re
import shlex
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

from salt.utils.context import func_globals_inject

from infra_formula import credentials

_Function = TypeVar("_Function", bound=Callable[..., Any])

PLACEHOLDER = "<secret>"
_HEAD = 4  # characters; a shorter value is not searched for, it would stand in every text
_SHORT = 8  # characters; a shorter value counts only as a word by itself
_CUT = 8  # characters of a value that is cut off by an ellipsis
_ENCODED = 8  # characters of a value in base64
_LIFETIME = 4 * 3600.0  # seconds since the last use
_OF_A_CALL = ("__low__", "__running__", "__lowstate__", "__instance_id__", "__env__")
_ELLIPSES = ("…", "...")
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")


class Scrubber:
    """Replaces secrets in texts and data.

    values
        The secrets. Each is found as it is, and as JSON, YAML, Python, HTML, a shell, a URL or
        base64 spell it. One of less than 4 characters is not searched for.
    """

    def __init__(self, values: Iterable[str]) -> None:
        # Most texts are short and hold no secret: one look per position, however many there are.
        self._spellings: dict[
            str, list[tuple[str, Callable[[str, int, int], tuple[int, int]]]]
        ] = {}
        rows: dict[str, Callable[[str, int, int], tuple[int, int]]] = {}
        for value in values:
            for spelling in _spellings(value):
                rows[spelling] = _as_word if _is_like_a_word(spelling) else _anywhere
            for core in _encoded(value):
                rows.setdefault(core, _whole_token)
        for spelling in sorted(rows, key=len, reverse=True):
            self._spellings.setdefault(spelling[:_HEAD], []).append((spelling, rows[spelling]))

    def __bool__(self) -> bool:
        return bool(self._spellings)

    def text(self, text: str) -> str:
        """A text without the secrets."""
        heads = self._spellings
        if not heads:
            return text
        spans = []
        end = 0
        for index in range(len(text) - _HEAD + 1):
            if index >= end and (rows := heads.get(text[index : index + _HEAD])):
                span = _span(text, index, rows)
                if span:
                    spans.append((max(span[0], end), span[1]))
                    end = span[1]
        for start, stop in reversed(spans):
            text = f"{text[:start]}{PLACEHOLDER}{text[stop:]}"
        return text


def _span(
    text: str, index: int, rows: list[tuple[str, Callable[[str, int, int], tuple[int, int]]]]
) -> tuple[int, int] | None:
    """Where the secret that begins at an index has to be cut out; None if there is none."""
    for spelling, extent in rows:
        if text.startswith(spelling, index):
            start, stop = extent(text, index, index + len(spelling))
            if start < stop:
                return start, stop
            continue
        length = 0
        for one, other in zip(spelling, text[index : index + len(spelling)], strict=False):
            if one != other:
                break
            length += 1
        if length >= _CUT and text.startswith(_ELLIPSES, index + length):
            return index, index + length
    return None


def _anywhere(text: str, start: int, stop: int) -> tuple[int, int]:
    return start, stop


def _as_word(text: str, start: int, stop: int) -> tuple[int, int]:
    """Only if it is no part of a longer word, name or path."""
    before, after = text[max(0, start - 2) : start], text[stop : stop + 2]
    if re.search(r"\w$|\w[./-]$", before) or re.match(r"\w|[./-]\w", after):
        return start, start
    return start, stop


def _whole_token(text: str, start: int, stop: int) -> tuple[int, int]:
    """With the rest of what is encoded."""
    while start and text[start - 1] in _BASE64:
        start -= 1
    while stop < len(text) and text[stop] in _BASE64:
        stop += 1
    return start, stop


def _is_like_a_word(spelling: str) -> bool:
    if len(spelling) < _SHORT:
        return re.fullmatch(r"[\w.-]+", spelling) is not None
    return re.fullmatch(r"[a-z]+|\d+", spelling) is not None


def _spellings(value: str) -> set[str]:
    """A secret as programs quote it; of a text of several lines, each line."""
    parts = {value, value.strip()}
    if "\n" in value.strip():
        lines = map(str.strip, value.splitlines())
        parts |= {line for line in lines if len(line) >= _SHORT and not line.startswith("-----")}
    spellings = set(parts)
    for part in parts:
        escaped = [json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1]]
        quoted = [quote(part, safe=""), quote(part), quote_plus(part)]
        spellings |= {
            *escaped,
            *(json.dumps(text)[1:-1] for text in escaped),
            *quoted,
            *(re.sub("%..", lambda match: match[0].lower(), text) for text in quoted),
            repr(part)[1:-1],
            part.replace("'", "''"),
            part.replace("'", "\\'"),
            part.replace("\\", "\\\\").replace("'", "\\'"),
            part.replace("%", "%%"),
            part.replace("$", "$$"),
            re.sub(r'[\\"{]', r"\\\g<0>", part),
            html.escape(part),
            html.escape(part, quote=False),
            shlex.quote(part),
        }
    return {spelling for spelling in spellings if len(spelling) >= _HEAD}


def _encoded(value: str) -> Iterator[str]:
    """The characters of a base64 text that are a secret's own, whatever stands before and after."""
    raw = value.encode("utf-8", "surrogatepass")
    for before, start in ((0, 0), (1, 2), (2, 3)):
        text = b64encode(b"\0" * before + raw).decode()
        core = text[start : (before + len(raw)) * 8 // 6]
        if len(core) >= _ENCODED:
            yield core
            yield core.replace("+", "-").replace("/", "_")


# -- what is secret now ----------------------------------------------------------------------------


class _Run:
    """The secrets of the pillar of the latest run."""

    def __init__(self) -> None:
        self.values: frozenset[str] = frozenset()
        self.scrubber: Scrubber | None = None
        self.used = 0.0

    def learn(self, values: frozenset[str]) -> None:
        if self.scrubber is None or values != self.values:
            self.values, self.scrubber = values, Scrubber(values)
        self.used = time.monotonic()

    def forget(self) -> None:
        self.values, self.scrubber = frozenset(), None

    def current(self) -> Scrubber | None:
        now = time.monotonic()
        if self.scrubber is not None and now - self.used > _LIFETIME:
            self.forget()
        self.used = now
        return self.scrubber


class _Call:
    """The secrets of one call of a function that Salt called.

    arguments
        Returns its arguments by their names.
    """

    def __init__(self, arguments: Callable[[], Mapping[str, Any]] = dict) -> None:
        self._arguments: Callable[[], Mapping[str, Any]] | None = arguments
        self._values: set[str] = set()
        self._scrubber: Scrubber | None = None

    def add(self, values: Iterable[str]) -> None:
        self._values |= set(values)
        self._scrubber = None

    def scrubber(self) -> Scrubber:
        """Made when it is first needed: most calls change and log nothing."""
        if self._scrubber is None:
            if self._arguments is not None:
                self._values |= _in_arguments(self._arguments())
                self._arguments = None
            self._scrubber = Scrubber(self._values)
        return self._scrubber

    def known(self) -> Scrubber | None:
        """Without a look at the arguments."""
        return self.scrubber() if self._values else None


_RUN = _Run()
_CALLS: list[_Call] = []
"""Calls that have not ended, of any thread: what a thread of a call logs is of that call."""
_CALL: ContextVar[_Call | None] = ContextVar("infra_formula_call", default=None)


def _in_arguments(arguments: Mapping[str, Any]) -> set[str]:
    """Credentials in arguments; a JSON text, as the SLS pass long ones, counts as what it holds."""
    plain: dict[str, Any] = {}
    for name, value in arguments.items():
        plain[name] = value
        if isinstance(value, str) and value.startswith(("{", "[")):
            with contextlib.suppress(ValueError):
                plain[name] = json.loads(value)
    return credentials.recognized(plain)


def learn(values: Iterable[str]) -> None:
    """Secrets of the pillar of a run; they take the place of those of the run before."""
    _RUN.learn(frozenset(values))


def forget() -> None:
    """Forget the secrets of the latest run."""
    _RUN.forget()


def add(*values: Any) -> None:
    """Secrets that a call was given or has read, whatever they look like; dropped at its end.

    values
        Texts, or lists or dictionaries of them. In a dictionary, ordinary words count only below
        the name of a credential.
    """
    call = _CALL.get() or next(iter(_CALLS[-1:]), None)
    if call:
        texts: set[str] = set()
        call.add(texts.union(*map(credentials.all_texts, values)))


@contextlib.contextmanager
def _during(call: _Call) -> Iterator[None]:
    token = _CALL.set(call)
    _CALLS.append(call)
    try:
        yield
    finally:
        _CALLS.remove(call)
        _CALL.reset(token)


# -- where text leaves -----------------------------------------------------------------------------


def scrub(text: str, *, arguments: bool = True) -> str:
    """A text without secrets.

    arguments
        Whether credentials in the arguments of the current calls are searched for, too.
    """
    text = credentials.redact_urls(text, PLACEHOLDER)
    for call in tuple(_CALLS):
        scrubber = call.scrubber() if arguments else call.known()
        text = scrubber.text(text) if scrubber else text
    of_run = _RUN.current()
    return of_run.text(text) if of_run else text


def scrub_data(value: Any, *, arguments: bool = True) -> Any:
    """Data without secrets, in keys too. What holds none is returned as it is."""
    if isinstance(value, str):
        result = scrub(value, arguments=arguments)
        return value if result == value else result
    if isinstance(value, bytes):
        text = value.decode("utf-8", "surrogateescape")
        result = scrub(text, arguments=arguments)
        return value if result == text else result.encode("utf-8", "surrogateescape")
    if isinstance(value, dict):
        pairs = [
            (scrub_data(key, arguments=arguments), scrub_data(item, arguments=arguments))
            for key, item in value.items()
        ]
        same = all(
            key is old and item is value[old] for (key, item), old in zip(pairs, value, strict=True)
        )
        return value if same else _unique(pairs)
    if isinstance(value, (list, tuple)):
        items = [scrub_data(item, arguments=arguments) for item in value]
        if all(item is old for item, old in zip(items, value, strict=True)):
            return value
        return items if isinstance(value, list) else tuple(items)
    return value


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A dictionary of pairs; keys that are equal without their secrets are numbered."""
    result: dict[Any, Any] = {}
    for key, item in pairs:
        name, number = key, 1
        while name in result:
            number += 1
            name = f"{key} ({number})"
        result[name] = item
    return result


def scrub_exception(error: BaseException) -> None:
    """Remove secrets from an exception, and from those that it is a consequence of."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        err = pending.pop()
        if err is None or id(err) in seen:
            continue
        seen.add(id(err))
        pending += [err.__cause__, err.__context__, *getattr(err, "exceptions", ())]
        names = [*vars(err), *(("filename", "filename2", "strerror") if _is_os(err) else ())]
        for name in names:
            before = getattr(err, name, None)
            after = scrub_data(before)
            if after is not before:
                with contextlib.suppress(AttributeError, TypeError):
                    setattr(err, name, after)
        err.args = scrub_data(err.args)


def _is_os(err: BaseException) -> bool:
    return isinstance(err, OSError)


_VERBATIM: set[Callable[..., Any]] = set()


def verbatim(function: _Function) -> _Function:
    """Mark a function whose result is data for a program, such as the mine, and holds no secret.

    A part of it may look like one: each certificate whose names hold the word that is a password.
    """
    _VERBATIM.add(function)
    return function


def guard(namespace: dict[str, Any]) -> None:
    """Have the public functions of a module that Salt loads return, raise and log no secret.

    namespace
        ``globals()`` of the module, at its end.
    """
    for name, function in list(namespace.items()):
        is_own = inspect.isfunction(function) and function.__module__ == namespace["__name__"]
        if is_own and not name.startswith("_"):
            namespace[name] = guarded(function)


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that returns, raises and logs no secret."""

    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        def arguments() -> Mapping[str, Any]:
            try:
                return signature.bind(*args, **kwargs).arguments
            except TypeError:  # the function refuses them
                return {**{str(index): arg for index, arg in enumerate(args)}, **kwargs}

        # Salt leaves what it knows of a state's call in the globals of what it calls: those here.
        dunders = {name: globals()[name] for name in _OF_A_CALL if name in globals()}
        with _during(_Call(arguments)):
            try:
                with func_globals_inject(function, **dunders):
                    result = function(*args, **kwargs)
                if function in _VERBATIM:
                    return result
                return scrub_data(result, arguments=not is_quiet(result))
            except Exception as err:
                scrub_exception(err)
                raise

    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def is_quiet(result: Any) -> bool:
    """Whether a state changed nothing and failed in nothing, so that it quotes nothing either."""
    return isinstance(result, dict) and result.get("result") is True and not result.get("changes")


class _Filter(logging.Filter):
    """Removes secrets from what is logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = scrub(record.getMessage()), None
        if record.exc_info and record.exc_info[1] is not None:
            scrub_exception(record.exc_info[1])
        return True


def logger(name: str) -> logging.Logger:
    """A logger that logs no secret.

    name
        Of the module: ``__name__``.
    """
    log = logging.getLogger(name)
    # Loggers outlive the library that a process loads again.
    for old in [each for each in log.filters if type(each).__name__ == _Filter.__name__]:
        log.removeFilter(old)
    log.addFilter(_Filter())
    return log
