"""A parser of LogsQL: whether VictoriaLogs could read a query, where it cannot be asked.

It knows the grammar of https://docs.victoriametrics.com/victorialogs/logsql/: all filters, and of
the pipes and the functions of `stats` those of PIPES and STATS. What it does not know it refuses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

DURATION = re.compile(r"-?(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d|w|y))+|\d+")
# Filters that read like a function: whether their arguments are a list of values, or a query.
FUNCTIONS = {
    "contains_all": "values",
    "contains_any": "values",
    "contains_common_case": "values",
    "eq_field": "one",
    "equals_common_case": "values",
    "exact": "one",
    "i": "one",
    "in": "values",
    "ipv4_range": "values",
    "json_array_contains_any": "values",
    "le_field": "one",
    "len_range": "values",
    "lt_field": "one",
    "pattern_match": "one",
    "pattern_match_full": "one",
    "range": "values",
    "re": "one",
    "seq": "values",
    "string_range": "values",
    "value_type": "one",
}
STATS = {
    "avg", "count", "count_empty", "count_uniq", "count_uniq_hash", "field_max", "field_min",
    "histogram", "json_values", "max", "median", "min", "quantile", "rate", "rate_sum",
    "row_any", "row_max", "row_min", "stddev", "sum", "sum_len", "uniq_values", "values",
}  # fmt: skip
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    | (?P<quoted>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
    | (?P<sign>!=~|!=|!~|=~|:=|>=|<=|[(){}\[\],:|!=~<>*])
    | (?P<word>[^\s"'`(){}\[\],:|!=~<>*\#]+)
    """,
    re.VERBOSE,
)
_GO_ESCAPES = re.compile(
    r"\\(?:[abfnrtv\\'\"]|x[0-9a-fA-F]{2}|[0-7]{3}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"
)


class LogsQLError(ValueError):
    """A query that VictoriaLogs would refuse."""


@dataclass(frozen=True)
class Token:
    """A piece of a query; `glued` if no blank is before it."""

    kind: str
    text: str
    at: int
    glued: bool


def parse(query: str) -> None:
    """Read a query.

    Raises LogsQLError, saying what was expected and where.
    """
    _Reader(query).whole()


class _Reader:
    def __init__(self, query: str) -> None:
        self.query = query
        self.tokens: list[Token] = []
        self.place = 0
        at, glued = 0, False
        while at < len(query):
            found = _TOKEN.match(query, at)
            if not found:
                raise LogsQLError(f"at {at}: cannot read {query[at : at + 20]!r}")
            if found.lastgroup == "space":
                glued = False
            else:
                self.tokens.append(Token(found.lastgroup or "", found[0], at, glued))
                glued = True
            at = found.end()
        self.tokens.append(Token("end", "", at, False))

    # -- tokens

    @property
    def next(self) -> Token:
        return self.tokens[self.place]

    def take(self) -> Token:
        token = self.next
        self.place += token.kind != "end"
        return token

    def fail(self, expected: str) -> NoReturn:
        token = self.next
        raise LogsQLError(f"at {token.at}: expected {expected}, found {token.text or 'the end'!r}")

    def sees(self, *texts: str) -> bool:
        """Whether the next token is one of these; keywords are so in any case."""
        return self.next.kind != "quoted" and self.next.text.lower() in texts

    def accept(self, *texts: str) -> bool:
        if self.sees(*texts):
            self.take()
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            self.fail(repr(text))

    def value(self, what: str) -> str:
        """A word or a quoted string."""
        token = self.next
        if token.kind not in ("word", "quoted"):
            self.fail(what)
        if token.kind == "quoted" and token.text[0] != "`":
            rest = _GO_ESCAPES.sub("", token.text[1:-1])
            if "\\" in rest:
                self.fail(f"{what} without the escape {rest[rest.index(chr(92)) :][:2]!r}")
        return self.take().text

    def number(self) -> None:
        if not re.fullmatch(r"\d+", self.value("a number")):
            self.place -= 1
            self.fail("a number")

    def listed(self, what: str) -> list[str]:
        """Values in parentheses, with commas between."""
        self.expect("(")
        found = []
        while not self.accept(")"):
            found.append("*" if self.accept("*") else self.value(what))
            if self.next.text == "*" and self.next.glued:
                self.take()
            if not self.sees(")"):
                self.expect(",")
        return found

    # -- a query

    def whole(self) -> None:
        self.piped()
        if self.next.kind != "end":
            self.fail("the end")

    def piped(self) -> None:
        self.either()
        while self.accept("|"):
            self.pipe()

    # -- filters

    def either(self) -> None:
        self.all_of()
        while self.accept("or"):
            self.all_of()

    def all_of(self) -> None:
        self.negated()
        while True:
            if self.accept("and"):
                self.negated()
            elif self.next.kind == "end" or self.sees("|", ")", "or", ","):
                return
            else:
                self.negated()

    def negated(self) -> None:
        while self.accept("!", "not"):
            pass
        self.filter()

    def filter(self) -> None:
        if self.sees("("):
            self.grouped()
        elif self.sees("{"):
            self.stream()
        elif self.sees("and", "or", "|"):
            self.fail("a filter")
        elif self.named():
            field = self.value("a field")
            if self.accept(":="):
                self.exact()
            else:
                self.expect(":")
                self.after_field(field)
        else:
            self.plain()

    def named(self) -> bool:
        """Whether a field's name and a colon come next."""
        after = self.tokens[min(self.place + 1, len(self.tokens) - 1)]
        return self.next.kind in ("word", "quoted") and after.text in (":", ":=")

    def grouped(self) -> None:
        self.expect("(")
        self.either()
        self.expect(")")

    def after_field(self, field: str) -> None:
        if field == "_time":
            self.time()
        elif field == "_stream" and self.sees("{"):
            self.stream()
        elif self.sees("("):
            self.grouped()
        else:
            while self.accept("!", "not"):
                pass
            self.plain()

    def plain(self) -> None:
        """What a field, or the message, is compared with."""
        token = self.next
        if self.accept("*"):
            return
        if self.accept(">", ">=", "<", "<="):
            self.value("a value")
        elif self.accept("=", "!="):
            self.exact()
        elif self.accept("~", "!~", "=~"):
            self.regex(self.value("a regular expression"))
        elif (
            token.kind == "word"
            and token.text in FUNCTIONS
            and self.tokens[self.place + 1].text in "(["
        ):
            self.function()
        else:
            self.value("a word or a phrase")
            if self.next.text == "*" and self.next.glued:
                self.take()

    def exact(self) -> None:
        if not self.accept("*"):
            if self.sees("("):
                self.grouped()
                return
            self.value("a value")
            if self.next.text == "*" and self.next.glued:
                self.take()

    def regex(self, text: str) -> None:
        body = text[1:-1] if text[0] in "\"'`" else text
        if text[0] in "\"'":
            body = body.replace("\\\\", "\\")
        try:
            re.compile(body)
        except re.error as err:
            raise LogsQLError(f"{body!r} is no regular expression: {err}") from err

    def function(self) -> None:
        name = self.take().text
        if name == "range" and (self.accept("[") or self.accept("(")):
            self.value("a number")
            self.expect(",")
            self.value("a number")
            if not self.accept("]", ")"):
                self.fail("']' or ')'")
            return
        mark = self.place
        try:
            given = self.listed("a value")
        except LogsQLError:
            self.place = mark  # the values of another query
            self.expect("(")
            self.either()
            self.expect("|")
            self.pipe()
            while self.accept("|"):
                self.pipe()
            self.expect(")")
            return
        if FUNCTIONS[name] == "one" and len(given) != 1:
            self.fail(f"one argument of {name}()")
        if name == "re":
            self.regex(given[0])

    def time(self) -> None:
        if self.accept("[", "("):
            self.value("a time")
            self.expect(",")
            self.value("a time")
            if not self.accept("]", ")"):
                self.fail("']' or ')'")
        elif not self.accept(">", ">=", "<", "<=", "="):
            text = self.value("a duration or a time")
            if not DURATION.fullmatch(text) and not re.match(r"\d{4}(-\d\d)*", text):
                self.place -= 1
                self.fail("a duration or a time")
        else:
            self.value("a time")
        if self.accept("offset"):
            self.value("a duration")

    def stream(self) -> None:
        """`{label="value", …  or …}`"""
        self.expect("{")
        while not self.accept("}"):
            self.value("a label")
            if self.accept("in"):
                self.listed("a value")
            elif self.accept("=~", "!~", "!=~"):
                self.regex(self.quoted())
            elif self.accept("=", "!="):
                self.quoted()
            elif self.accept("not"):
                self.expect("in")
                self.listed("a value")
            else:
                self.fail("=, !=, =~ or !~")
            if not self.sees("}") and not self.accept(",", "or"):
                self.fail("',' or '}'")

    def quoted(self) -> str:
        if self.next.kind != "quoted":
            self.fail("a value in quotes")
        return self.value("a value")

    # -- pipes

    def pipe(self) -> None:
        name = self.value("a pipe").lower()
        reader = PIPES.get(name)
        if reader is None:
            self.place -= 1
            self.fail("a pipe that is known")
        reader(self)

    def stats(self) -> None:
        if self.accept("by") or self.sees("("):
            self.buckets()
        while True:
            if not self.sees(*STATS):
                self.fail("a function of stats")
            self.take()
            self.listed("a field")
            if self.accept("if"):
                self.grouped()
            self.accept("as")
            if self.next.kind in ("word", "quoted"):
                self.value("a name")
            if not self.accept(","):
                return

    def buckets(self) -> None:
        """Fields in parentheses, each perhaps with the width of a bucket: `_time:5m`."""
        self.expect("(")
        while not self.accept(")"):
            self.value("a field")
            if self.accept(":"):
                self.value("a width")
                if self.accept("offset"):
                    self.value("an offset")
            if not self.sees(")"):
                self.expect(",")

    def sort(self) -> None:
        self.accept("by")
        if self.accept("("):
            while not self.accept(")"):
                self.value("a field")
                self.accept("desc", "asc")
                if not self.sees(")"):
                    self.expect(",")
        self.accept("desc")
        while self.accept("limit", "offset"):
            self.number()

    def top(self) -> None:
        if self.next.text.isdigit():
            self.number()
        self.accept("by")
        self.listed("a field")
        if self.accept("hits"):
            self.accept("as")
            self.value("a name")

    def uniq(self) -> None:
        self.accept("by")
        self.listed("a field")
        if self.accept("with"):
            self.expect("hits")
        if self.accept("limit"):
            self.number()

    def fields(self) -> None:
        while True:
            self.value("a field")
            if self.next.text == "*" and self.next.glued:
                self.take()
            if not self.accept(","):
                return

    def collapse(self) -> None:
        if self.accept("if"):
            self.grouped()
        if self.accept("at"):
            self.value("a field")
        self.accept("prettify")

    def limit(self) -> None:
        if self.next.kind != "end" and not self.sees("|", ")"):
            self.number()


PIPES = {
    "collapse_nums": _Reader.collapse,
    "count": lambda reader: reader.listed("a field"),
    "delete": _Reader.fields,
    "fields": _Reader.fields,
    "filter": _Reader.either,
    "head": _Reader.limit,
    "keep": _Reader.fields,
    "limit": _Reader.limit,
    "order": _Reader.sort,
    "sort": _Reader.sort,
    "stats": _Reader.stats,
    "top": _Reader.top,
    "uniq": _Reader.uniq,
    "where": _Reader.either,
}
"""The pipes that are known."""
