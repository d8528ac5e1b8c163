# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of an answer: its field paths and their types, without any value.

A path is `items[].labels.*`, the whole is `$`. A type is `obj`, `list`, `bool`, `int`, `float`, `null` or `str`; a string
that is a number is `str:int`, a time `str:timeZ3` or `str:timeOff3` (with its digits), a link `str:url:HOST`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

Shape = dict[str, set[str]]
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")
_URL = re.compile(r"https://((?:www|storage)\.googleapis\.com)/")


def type_of(value: Any) -> str:
    """Return the type of a JSON value."""
    if isinstance(value, str):
        if re.fullmatch(r"\d+", value):
            return "str:int"
        if time := _TIME.fullmatch(value):
            return f"str:time{'Z' if time[2] == 'Z' else 'Off'}{len(time[1] or '')}"
        url = _URL.match(value)
        return f"str:url:{url[1]}" if url else "str"
    return {dict: "obj", list: "list", bool: "bool", int: "int", float: "float"}.get(type(value), "null")


def add_shape(shape: Shape, value: Any, maps: Collection[str] = (), path: str = "") -> None:
    """Add the fields of a JSON value to a shape; a path among `maps` has keys of its users' choice, all shown as `*`."""
    shape.setdefault(path or "$", set()).add(type_of(value))
    if isinstance(value, dict):
        for name, member in value.items():
            add_shape(shape, member, maps, f"{path}.{'*' if path in maps else name}".lstrip("."))
    elif isinstance(value, list):
        for member in value:
            add_shape(shape, member, maps, f"{path}[]")


def recorded(tree: Any, path: str = "") -> Shape:
    """Return the shape that a tree of types stands for: `{"items": [{"id": "str:int"}]}` for example.

    Types of one field are separated by `|`; further types of an object are those of its member with the empty name.
    """
    if isinstance(tree, str):
        return {path: set(tree.split("|"))}
    if isinstance(tree, list):
        shape = {path: {"list"}}
        for item in tree:
            shape |= recorded(item, f"{path}[]")
        return shape
    shape = {path or "$": {"obj", *filter(None, tree.get("", "").split("|"))}}
    for name, member in tree.items():
        if name:
            shape |= recorded(member, f"{path}.{name}".lstrip("."))
    return shape
