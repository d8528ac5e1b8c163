# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM conditions: the part of the Common Expression Language that policies on resources' names need.

Comparisons of `resource.name`, `resource.type` and `resource.service` (==, !=, startsWith, endsWith), joined by &&, ||, !
and parentheses. Whatever else Google would evaluate is refused when the policy is set, never taken for true or false.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TOKEN = re.compile(r"""\s*(?:(&&|\|\||==|!=|!|\(|\))|([A-Za-z_][\w.]*)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))""")
ATTRIBUTES = ("resource.name", "resource.type", "resource.service")
METHODS = {"startsWith": str.startswith, "endsWith": str.endswith}


class ConditionError(ValueError):
    """The expression is not one that is evaluated here."""


@dataclass(frozen=True)
class Target:
    """The resource that a request is about, in the words of a condition."""

    name: str
    type: str = ""
    service: str = ""

    def attribute(self, name: str) -> str:
        """Return the value of `resource.name` and its like."""
        return str(getattr(self, name.partition(".")[2]))


def target_of(resource: str) -> Target:
    """Return the target for a resource as policies name it; an object is `buckets/B/objects/O`."""
    if not resource.startswith("buckets/"):
        return Target(resource)
    kind = "Object" if "/objects/" in resource else "Bucket"
    return Target(f"projects/_/{resource}", f"storage.googleapis.com/{kind}", "storage.googleapis.com")


def holds(expression: str, target: Target) -> bool:
    """Evaluate the expression for the target. Raises ConditionError."""
    parser = _Parser(_tokens(expression), target)
    value = parser.parse_or()
    if parser.tokens:
        raise ConditionError(f"unexpected {parser.tokens[0]}")
    return value


def check(expression: str) -> None:
    """Raise ConditionError unless the expression can be evaluated."""
    holds(expression, Target(""))


def _tokens(expression: str) -> list[str]:
    found, position, text = [], 0, expression.rstrip()
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise ConditionError(f"unexpected {text[position : position + 20]!r}")
        found.append(match[1] or match[2] or match[3])
        position = match.end()
    return found


class _Parser:
    """Recursive descent that evaluates as it goes; both sides of every operator are parsed."""

    def __init__(self, tokens: list[str], target: Target) -> None:
        self.tokens = tokens
        self.target = target

    def take(self, *wanted: str) -> str:
        if not self.tokens or (wanted and self.tokens[0] not in wanted):
            raise ConditionError(f"expected {' or '.join(wanted) or 'more'}")
        return self.tokens.pop(0)

    def next_is(self, token: str) -> bool:
        return bool(self.tokens) and self.tokens[0] == token

    def parse_or(self) -> bool:
        value = self.parse_and()
        while self.next_is("||"):
            self.take()
            value = self.parse_and() or value
        return value

    def parse_and(self) -> bool:
        value = self.parse_not()
        while self.next_is("&&"):
            self.take()
            value = self.parse_not() and value
        return value

    def parse_not(self) -> bool:
        if self.next_is("!"):
            self.take()
            return not self.parse_not()
        if self.next_is("("):
            self.take()
            value = self.parse_or()
            self.take(")")
            return value
        return self.parse_comparison()

    def parse_comparison(self) -> bool:
        attribute, _, method = self.take().rpartition(".")
        if attribute in ATTRIBUTES and method in METHODS:
            self.take("(")
            text = self.text()
            self.take(")")
            return METHODS[method](self.target.attribute(attribute), text)
        name = f"{attribute}.{method}"
        if name not in ATTRIBUTES:
            raise ConditionError(f"{name} is not evaluated here")
        equal = self.take("==", "!=") == "=="
        return (self.target.attribute(name) == self.text()) == equal

    def text(self) -> str:
        token = self.take()
        if token[0] not in "\"'":
            raise ConditionError(f"expected a text instead of {token}")
        return re.sub(r"\\(.)", r"\1", token[1:-1])
