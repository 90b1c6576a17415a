"""Values of nginx's variables for one request, as far as the request alone decides them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from infra_formula.portal.nginx_config import Directive

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_MAX_DEPTH = 50  # of variables that are made of others; nginx has no limit, but no loop either


class UnknownValue(Exception):
    """A value that depends on more than name, path and scheme of a request."""


class Variables:
    """Variables of one request.

    known
        Name → value, of those that nginx has itself.
    maps
        ``map`` and ``geo`` blocks of the configuration.
    """

    def __init__(self, known: dict[str, str], maps: Iterable[Directive]) -> None:
        self.known = known
        self._maps = {d.arguments[-1].removeprefix("$"): d for d in maps if d.arguments}
        self._depth = 0

    def filled(self, text: str) -> str:
        """A text with the values of its variables.

        Raises UnknownValue if one of them is not known.
        """
        return _VARIABLE.sub(lambda m: self.value(m[1] or m[2]), text)

    def value(self, name: str) -> str:
        """The value of a variable.

        Raises UnknownValue if it is not known.
        """
        if name in self.known:
            return self.known[name]
        if name in self._maps and self._depth < _MAX_DEPTH:
            self._depth += 1
            try:
                return self._mapped(self._maps[name])
            finally:
                self._depth -= 1
        # A visitor without cookies, a login, a header of its own, or a proxy in front.
        if re.match(r"(?:http|cookie|arg|proxy_protocol)_", name) or name == "remote_user":
            return ""
        raise UnknownValue(f"${name}")

    def _mapped(self, block: Directive) -> str:
        if block.name == "geo":  # a visitor whose address is in none of its networks
            rows = [d.arguments[0] for d in block.all("default") if d.arguments]
            return self.filled(rows[0]) if rows else ""
        source = self.filled(block.arguments[0])
        default, patterns = "", []
        for row in block.inner or []:
            if not row.arguments:  # hostnames, volatile
                continue
            key, result = row.name, row.arguments[0]
            if key == "default":
                default = result
            elif key.startswith("~"):
                patterns.append((key, result))
            elif key.removeprefix("\\").lower() == source.lower():
                return self.filled(result)
        for key, result in patterns:
            fold = key.startswith("~*")
            if self.matches(key[2:] if fold else key[1:], source, fold):
                return self.filled(result)
        return self.filled(default)

    def matches(self, pattern: str, text: str, fold: bool = False) -> bool:
        """Whether a regular expression of nginx matches; its groups become variables then.

        Raises UnknownValue for one that Python does not understand.
        """
        match = regex(pattern, fold).search(text)
        if not match:
            return False
        for number in range(10):
            self.known.pop(str(number), None)
        self.known.update({str(i): g or "" for i, g in enumerate(match.groups(), 1)})
        self.known.update({k: v or "" for k, v in match.groupdict().items()})
        return True

    def holds(self, words: list[str]) -> bool:
        """Whether the condition of an ``if`` holds.

        words
            Its arguments, with the parentheses.

        Raises UnknownValue if that is not known.
        """
        words = _without_parentheses(words)
        if len(words) == 1:
            return self.filled(words[0]) not in ("", "0")
        if len(words) == 2 and words[0].lstrip("!") in ("-f", "-d", "-e"):
            path = Path(self.filled(words[1]))
            test = {"f": path.is_file, "d": path.is_dir, "e": path.exists}[words[0][-1]]
            return test() is not words[0].startswith("!")
        if len(words) != 3:
            raise UnknownValue(" ".join(words))
        left, operator, right = self.filled(words[0]), words[1], words[2]
        if operator in ("=", "!="):
            return (left == self.filled(right)) is (operator == "=")
        if operator in ("~", "~*", "!~", "!~*"):
            matches = self.matches(right, left, operator.endswith("*"))
            return matches is not operator.startswith("!")
        raise UnknownValue(" ".join(words))


def _without_parentheses(words: list[str]) -> list[str]:
    words = list(words)
    if words and words[0].startswith("("):
        words[0:1] = [words[0][1:]] if words[0] != "(" else []
    if words and words[-1].endswith(")"):
        words[-1:] = [words[-1][:-1]] if words[-1] != ")" else []
    return words


def regex(pattern: str, fold: bool = False) -> re.Pattern[str]:
    """A regular expression of nginx (PCRE) as one of Python.

    Raises UnknownValue for one that Python does not understand.
    """
    pattern = re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", pattern)
    pattern = re.sub(r"\\k<(\w+)>", r"(?P=\1)", pattern)
    try:
        return re.compile(pattern, re.IGNORECASE if fold else 0)
    except (re.error, OverflowError):
        raise UnknownValue(pattern) from None
