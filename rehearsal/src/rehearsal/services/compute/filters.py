# SPDX-License-Identifier: GPL-3.0-or-later
"""List filters: `(labels.app = web) (status = RUNNING)`, `name eq vm-.*`, and what else Compute takes.

Grammar, after the text of the `filter` parameter in the discovery document:

    filter   := sequence
    sequence := factor { ["AND"] factor }        adjacent expressions are joined by AND
    factor   := term { "OR" term }               OR binds tighter than AND (AIP-160)
    term     := ["NOT" | "-"] ( "(" filter ")" | FIELD OPERATOR VALUE )
    OPERATOR := = != < <= > >= :  eq ne          eq and ne match a regular expression against the whole value
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from rehearsal.services.compute import clock, errors

Predicate = Callable[[dict[str, Any]], bool]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<paren>[()])
      | (?P<operator>!=|<=|>=|=|<|>|:)
      | (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<word>[^\s()=!<>:"']+(?:"[^"]*"[^\s()=!<>:"']*)*)
    )""",
    re.VERBOSE,
)
_COMPARATORS = ("=", "!=", "<", "<=", ">", ">=", ":", "eq", "ne")
_MINUS = re.compile(r"\s*-(?=[\w\"'])")
_REGEX_VALUE = re.compile(r"\s*(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^()]*(?:\([^()]*\)[^()]*)*)")


class _Syntax(Exception):
    """The filter is not of the grammar."""


def compile_filter(text: str | None) -> Predicate:
    """Return a function that says whether a resource matches.

    Raises ApiError 400 for a filter that Google would not understand. An empty filter matches everything.
    """
    if not text or not text.strip():
        return lambda resource: True
    try:
        return _Parser(text).parse()
    except (_Syntax, re.error):
        raise errors.invalid("filter", text, "Invalid list filter expression.") from None


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def parse(self) -> Predicate:
        predicate = self._sequence()
        if self._peek()[0]:
            raise _Syntax
        return predicate

    def _peek(self) -> tuple[str, str, int]:
        """Return (kind, text, end) of the next token; kind is empty at the end."""
        if not self.text[self.position :].strip():
            return "", "", self.position
        found = _TOKEN.match(self.text, self.position)
        if not found:
            raise _Syntax
        return found.lastgroup or "", found[found.lastgroup or 0], found.end()

    def _take(self) -> tuple[str, str]:
        kind, text, self.position = self._peek()
        return kind, text

    def _at(self, *words: str) -> bool:
        kind, text, _ = self._peek()
        return kind in ("word", "paren") and text in words

    def _sequence(self) -> Predicate:
        parts = [self._factor()]
        while self._peek()[0] and not self._at(")"):
            if self._at("AND"):
                self._take()
            parts.append(self._factor())
        return lambda resource: all(part(resource) for part in parts)

    def _factor(self) -> Predicate:
        parts = [self._term()]
        while self._at("OR"):
            self._take()
            parts.append(self._term())
        return lambda resource: any(part(resource) for part in parts)

    def _term(self) -> Predicate:
        negated = False
        if self._at("NOT", "-"):
            self._take()
            negated = True
        elif (found := _MINUS.match(self.text, self.position)) is not None:
            self.position = found.end()
            negated = True
        if self._at("("):
            self._take()
            inner = self._sequence()
            if self._take() != ("paren", ")"):
                raise _Syntax
        else:
            inner = self._comparison()
        return (lambda resource: not inner(resource)) if negated else inner

    def _comparison(self) -> Predicate:
        kind, name = self._take()
        if kind not in ("word", "quoted") or name in ("AND", "OR", "NOT"):
            raise _Syntax
        kind, operator = self._take()
        if operator not in _COMPARATORS:
            raise _Syntax
        path = _field_path(name)
        if operator in ("eq", "ne"):
            return _regex(path, self._regex_value(), operator == "eq")
        kind, value = self._take()
        if kind == "quoted":
            return _compare(path, operator, _unquote(value), literal=True)
        if kind != "word":
            raise _Syntax
        # A URL, an address or a time holds colons, which the tokeniser takes for the operator.
        while self.text[self.position : self.position + 1] == ":":
            self.position += 1
            kind, rest, end = self._peek()
            value += ":" + (rest if kind == "word" else "")
            self.position = end if kind == "word" else self.position
        return _compare(path, operator, value, literal=False)

    def _regex_value(self) -> str:
        """Read a regular expression, which may hold operators and parentheses, so not token by token."""
        found = _REGEX_VALUE.match(self.text, self.position)
        value = found[1].strip() if found else ""
        if not found or not value:
            raise _Syntax
        self.position = found.end()
        if value[0] not in "\"'":
            return value
        # A backslash before anything but a quotation mark belongs to the expression: gcloud sends `".*\bdebian.*"`.
        return re.sub(r"\\([\"'])", r"\1", value[1:-1])


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _field_path(name: str) -> list[str]:
    parts = re.findall(r'"([^"]*)"|([^."]+)', name.strip("'"))
    path = [quoted or plain for quoted, plain in parts]
    if not path:
        raise _Syntax
    return path


def _values(resource: Any, path: list[str]) -> Iterator[Any]:
    """Yield every value at the path; a list on the way means any of its members."""
    if isinstance(resource, list):
        for member in resource:
            yield from _values(member, path)
    elif not path:
        yield resource
    elif isinstance(resource, dict):
        if path[0] in resource:
            yield from _values(resource[path[0]], path[1:])
        elif (rest := ".".join(path)) in resource:  # a label key may hold no dot, a metadata key may
            yield resource[rest]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _regex(path: list[str], expression: str, wanted: bool) -> Predicate:
    pattern = re.compile(expression)

    def matches(resource: dict[str, Any]) -> bool:
        return any(pattern.fullmatch(_text(value)) for value in _values(resource, path)) == wanted

    return matches


def _compare(path: list[str], operator: str, wanted: str, *, literal: bool) -> Predicate:
    if operator == ":":
        if wanted == "*" and not literal:
            return lambda resource: any(True for _ in _values(resource, path))
        return lambda resource: any(_has(value, wanted) for value in _values(resource, path))
    if operator == "=":
        return lambda resource: any(_equal(value, wanted, literal) for value in _values(resource, path))
    if operator == "!=":
        return lambda resource: not any(_equal(value, wanted, literal) for value in _values(resource, path))
    return lambda resource: any(_ordered(value, operator, wanted) for value in _values(resource, path))


def _has(value: Any, wanted: str) -> bool:
    """`:` on an object asks for a key, on text for a part of it, with `*` as a wildcard."""
    if isinstance(value, dict):
        return wanted in value
    if "*" in wanted:
        return _glob(wanted).fullmatch(_text(value)) is not None
    if isinstance(value, str):
        return wanted.lower() in value.lower()
    return _text(value) == wanted.lower()


def _equal(value: Any, wanted: str, literal: bool) -> bool:
    if isinstance(value, bool):
        return _text(value) == wanted.lower()
    if isinstance(value, (int, float)):
        return _number(wanted) == value
    if not literal and "*" in wanted:
        return _glob(wanted).fullmatch(_text(value)) is not None
    return _text(value) == wanted


def _glob(wanted: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in wanted.split("*")), re.DOTALL)


def _ordered(value: Any, operator: str, wanted: str) -> bool:
    left: Any = _number(_text(value))
    right: Any = _number(wanted)
    if left is None or right is None:
        left, right = _moment(_text(value)), _moment(wanted)
    if left is None or right is None:
        left, right = _text(value), wanted
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _moment(text: str) -> float | None:
    try:
        return clock.parse(text)
    except ValueError:
        return None
