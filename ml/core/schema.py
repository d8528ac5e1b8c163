# SPDX-License-Identifier: GPL-3.0-or-later
"""The description of a table: the fields of a context, what they may be, and the sponsors that can answer.

It is data: ``schema.json`` and ``sponsors.json`` beside this module are the default, a site may bring files of its own, and
a release carries what it was trained with. Everything else follows from it: data checks, encoding, API, OpenAPI and page.
Standard library only, so that everything may import it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as member
from functools import cache, cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

SCHEMA_FILE = Path(__file__).with_name("schema.json")
CATALOGUE_FILE = Path(__file__).with_name("sponsors.json")

LANGUAGES = ("en", "fr")
KINDS: dict[str, type[int] | type[float] | type[str]] = {"integer": int, "number": float, "choice": str}
#: Units with a meaning: added time is read (90+3), a sign is shown, a share is shown in percent. Others are shown as they are.
MINUTE, SIGNED, SHARE = "minute", "signed", "share"
LARGEST_INTEGER = 2**24  # a feature is a float32, which holds no larger one exactly
LARGEST_NUMBER = 1e30
MOST_COLUMNS, MOST_SPONSORS = 1000, 250

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_SHOWN = 50  # values that a message lists
_RESERVED = ("instances",)  # a body with it is a batch

Context = dict[str, Any]  # a complete, valid context: an int, a float or a str for every field


class SchemaError(ValueError):
    """A description that cannot be used; the message is one line with the remedy."""


@dataclass(frozen=True)
class Field:
    """One member of the context: what it means and which values it may have."""

    name: str
    description: str
    kind: type[int] | type[float] | type[str]
    default: int | float | str | None  # None: the member is required
    minimum: float = 0
    maximum: float = 0
    values: tuple[str, ...] = ()
    example: int | float | str = ""
    unit: str = ""

    @property
    def allowed(self) -> str:
        """The accepted values, in words."""
        if self.kind is str:
            others = f" or {len(self.values) - _SHOWN:,} others" if len(self.values) > _SHOWN else ""
            return "one of " + ", ".join(self.values[:_SHOWN]) + others
        what = "an integer" if self.kind is int else "a number"
        return f"{what} from {self.minimum:.12g} to {self.maximum:.12g}"


@dataclass(frozen=True)
class Sponsor:
    """One sponsor: its name, its branch, and the line that the screens show."""

    name: str
    category: str = ""
    campaign_message: str = ""


@dataclass(frozen=True)
class Schema:
    """A description that was checked. ``document`` is its JSON form with every member filled in, as a release carries it."""

    fields: tuple[Field, ...]
    target: Field  # the column of a data file that names the sponsor
    sponsors: tuple[Sponsor, ...]
    document: dict[str, Any] = member(repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is derived: it is made again where it is needed."""
        return {name: self.__dict__[name] for name in ("fields", "target", "sponsors", "document")}

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the fields."""
        return frozenset(field.name for field in self.fields)

    @cached_property
    def table(self) -> tuple[Field, ...]:
        """The columns of a data file: the fields and the target."""
        return (*self.fields, self.target)

    @cached_property
    def required(self) -> tuple[Field, ...]:
        """The fields without a default."""
        return tuple(field for field in self.fields if field.default is None)

    @cached_property
    def numbers(self) -> tuple[Field, ...]:
        """The fields that are numbers; each is a column of the encoding, as it is."""
        return tuple(field for field in self.fields if field.kind is not str)

    @cached_property
    def choices(self) -> tuple[Field, ...]:
        """The fields that are names; each of their values but the default is a column of the encoding, 0 or 1."""
        return tuple(field for field in self.fields if field.kind is str)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of the encoding in their order: the numbers, then the values of each choice."""
        return (
            *(field.name for field in self.numbers),
            *(f"{field.name}_{value}" for field in self.choices for value in field.values if value != field.default),
        )

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The sponsors by class index: sorted, as scikit-learn sorts the labels it is given."""
        return tuple(sorted(sponsor.name for sponsor in self.sponsors))

    @cached_property
    def catalogue(self) -> dict[str, Sponsor]:
        """The sponsors by name, in the order of the file."""
        return {sponsor.name: sponsor for sponsor in self.sponsors}

    @cached_property
    def places(self) -> dict[str, dict[str, int]]:
        """For each choice its values -> their place in ``values``."""
        return {field.name: {value: place for place, value in enumerate(field.values)} for field in self.choices}

    @cached_property
    def indicators(self) -> dict[str, list[int]]:
        """For each choice the column of each of its values, by place; -1 for the default, which has none."""
        known = {name: place for place, name in enumerate(self.columns)}
        return {
            f.name: [known.get(f"{f.name}_{v}", -1) if v != f.default else -1 for v in f.values] for f in self.choices
        }

    @cached_property
    def example(self) -> Context:
        """A context to show to people."""
        return {field.name: field.example for field in self.fields}

    @cached_property
    def short_example(self) -> Context:
        """A short one: the choices, or what is required."""
        return {f.name: f.example for f in self.choices} or {
            f.name: f.example for f in self.required or self.fields[:1]
        }

    # What encodes one context is a plain table, made once.

    @cached_property
    def take_numbers(self) -> Any:
        """Return the numbers of a context, in the order of their columns: a function of the context."""
        names = [field.name for field in self.numbers]
        if len(names) > 1:
            return itemgetter(*names)
        return lambda context: tuple(context[name] for name in names)

    @cached_property
    def take_columns(self) -> tuple[tuple[str, dict[str, int]], ...]:
        """For each choice its name, and its values -> their columns; the default is left out."""
        return tuple(
            (f.name, {v: c for v, c in zip(f.values, self.indicators[f.name], strict=True) if c >= 0})
            for f in self.choices
        )


def from_documents(
    schema: Any, catalogue: Any, where: str = "model_schema", beside: str = "sponsor_catalogue"
) -> Schema:
    """Return the description that two JSON documents hold; ``where`` and ``beside`` are what messages call them.

    Raises SchemaError.
    """
    _members(schema, where, "an object with the member fields", {"fields"}, {"target", "title"})
    _members(catalogue, beside, "an object with the member sponsors", {"sponsors"}, {"categories"})
    entries = schema["fields"]
    if not isinstance(entries, list) or not entries:
        raise SchemaError(f"{where}: fields must be a list; write at least one field")
    documents = [_field(entry, f"{where}: field {place}") for place, entry in enumerate(entries, 1)]
    target = schema.get("target", {"name": "sponsor"})
    _members(target, f"{where}: target", "an object with the member name", {"name"}, {"label", "description"})
    target = {
        "name": _identifier(target["name"], f"{where}: target"),
        "label": _words(target.get("label", target["name"]), f"{where}: target: label"),
        "description": _words(target.get("description", target["name"]), f"{where}: target: description"),
    }
    _distinct([*(d["name"] for d in documents), target["name"]], f"{where}: fields and target")
    sponsors, categories = _sponsors(catalogue, beside)
    document = {
        "title": _words(schema.get("title", {"en": "Which one now?", "fr": "Lequel maintenant ?"}), f"{where}: title"),
        "fields": documents,
        "target": target,
        "sponsors": sponsors,
        "categories": categories,
    }
    found = _build(document)
    if len(found.columns) > MOST_COLUMNS:
        raise SchemaError(f"{where}: {len(found.columns):,} columns; give at most {MOST_COLUMNS:,}")
    if len(set(found.columns)) < len(found.columns):
        twice = next(name for name in found.columns if found.columns.count(name) > 1)
        raise SchemaError(
            f"{where}: two columns of the encoding would be called {twice}; name a field or a value otherwise"
        )
    return found


def from_manifest(manifest: Mapping[str, Any]) -> Schema:
    """Return the description that a release carries; one that an older version made has none, and gets the default.

    Raises SchemaError.
    """
    document = manifest.get("model_schema")
    if document is None:
        return default()
    try:
        schema = {name: document[name] for name in ("title", "fields", "target")}
        return from_documents(schema, {name: document[name] for name in ("sponsors", "categories")}, "the release")
    except (KeyError, TypeError) as error:
        raise SchemaError(f"the release carries no description that can be read ({error!r}); train again") from error


def read(schema: Path | None = None, catalogue: Path | None = None) -> Schema:
    """Return the description in two files; None is the default. Raises SchemaError."""
    schema, catalogue = schema or SCHEMA_FILE, catalogue or CATALOGUE_FILE
    return from_documents(_json(schema), _json(catalogue), str(schema), str(catalogue))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SchemaError(f"cannot read {path}: {error.strerror}; give the path of a JSON file") from error
    except UnicodeDecodeError as error:
        raise SchemaError(f"{path} is not UTF-8; save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise SchemaError(f"{path}, line {error.lineno}: {error.msg}; correct the JSON") from error
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{path} is not JSON ({error}); correct it") from error


def _build(document: dict[str, Any]) -> Schema:
    fields = tuple(
        Field(
            entry["name"],
            entry["description"]["en"],
            KINDS[entry["kind"]],
            entry.get("default"),
            entry.get("minimum", 0),
            entry.get("maximum", 0),
            tuple(value["name"] for value in entry.get("values", ())),
            entry["example"],
            entry["unit"],
        )
        for entry in document["fields"]
    )
    sponsors = tuple(Sponsor(**entry) for entry in document["sponsors"])
    names = tuple(sorted(sponsor.name for sponsor in sponsors))
    target = document["target"]
    answered = Field(target["name"], target["description"]["en"], str, None, values=names, example=names[0])
    return Schema(fields, answered, sponsors, document)


def _field(entry: Any, where: str) -> dict[str, Any]:
    """Return the document of one field, checked and filled in."""
    if isinstance(entry, Mapping) and isinstance(entry.get("name"), str):
        where = f"{where} ({entry['name'][:64]})"
    common = {"default", "required", "example", "unit", "label", "description"}
    _members(entry, where, "an object", {"name", "kind"}, {"values", "minimum", "maximum", "step", *common})
    name, kind = _identifier(entry["name"], where), entry["kind"]
    if kind not in KINDS:
        raise SchemaError(f"{where}: kind is {kind!r}; give {', '.join(KINDS)}")
    if name in _RESERVED:
        raise SchemaError(f"{where}: the name {name} has another meaning in a request; choose another one")
    found: dict[str, Any] = {"name": name, "kind": kind}
    if kind == "choice":
        _none_of(entry, where, kind, ("minimum", "maximum", "step"))
        found["values"] = _named(entry.get("values"), f"{where}: values", "a value", 2)
        known = [value["name"] for value in found["values"]]
        first: Any = known[0]
    else:
        _none_of(entry, where, kind, ("values",))
        low, high = (_number(entry.get(bound), kind, f"{where}: {bound}") for bound in ("minimum", "maximum"))
        if low >= high:
            raise SchemaError(f"{where}: minimum {low:g} is not below maximum {high:g}; correct the range")
        found |= {"minimum": low, "maximum": high, "step": 1 if kind == "integer" else (high - low) / 100}
        if "step" in entry and not (step := _number(entry["step"], "number", f"{where}: step")) > 0:
            raise SchemaError(f"{where}: step is {step:g}; give a number above 0")
        found["step"] = entry.get("step", found["step"])
        first = low
    required = entry.get("required", False)
    if not isinstance(required, bool) or required == ("default" in entry):
        raise SchemaError(f'{where}: give either "required": true or a default')
    found["required"] = required
    for given in ("default", "example"):
        if given not in entry:
            continue
        value = entry[given]
        if kind != "choice":
            value = _number(value, kind, f"{where}: {given}")
        if value not in known if kind == "choice" else not found["minimum"] <= value <= found["maximum"]:
            raise SchemaError(f"{where}: the {given} {value!r} is not among its own values; give one that is")
        found[given] = value
    found.setdefault("example", found.get("default", first))
    found["unit"] = _text(entry.get("unit", ""), f"{where}: unit", 12)
    found["label"] = _words(entry.get("label", name), f"{where}: label")
    found["description"] = _words(entry.get("description", found["label"]), f"{where}: description")
    return found


def _named(entries: Any, where: str, what: str, least: int = 0) -> list[dict[str, str]]:
    """Return names with their words in every language."""
    if not isinstance(entries, list) or len(entries) < least:
        raise SchemaError(f"{where} must be a list; write at least {least}")
    found = []
    for entry in entries:
        if isinstance(entry, str):
            entry = {"name": entry}
        _members(entry, f"{where}: {what}", "a text, or an object with name, en and fr", {"name"}, set(LANGUAGES))
        name = _text(entry["name"], f"{where}: the name of {what}", 80, least=1)
        words = {
            language: _text(entry.get(language, name), f"{where}: {name}: {language}", 80) for language in LANGUAGES
        }
        found.append({"name": name, **words})
    _distinct([entry["name"] for entry in found], where)
    return found


def _sponsors(catalogue: Mapping[str, Any], where: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    entries = catalogue["sponsors"]
    if not isinstance(entries, list) or not 2 <= len(entries) <= MOST_SPONSORS:
        raise SchemaError(f"{where}: sponsors must be a list; write 2 to {MOST_SPONSORS} sponsors")
    sponsors = []
    for place, entry in enumerate(entries, 1):
        at = f"{where}: sponsor {place}"
        _members(entry, at, "an object", {"name"}, {"category", "campaign_message"})
        sponsors.append(
            {
                "name": _text(entry["name"], f"{at}: name", 80, least=1),
                "category": _text(entry.get("category", ""), f"{at}: category", 80),
                "campaign_message": _text(entry.get("campaign_message", ""), f"{at}: campaign_message", 500),
            }
        )
    _distinct([sponsor["name"] for sponsor in sponsors], f"{where}: sponsors")
    categories = _named(catalogue.get("categories", []), f"{where}: categories", "a category")
    return sponsors, categories


def _members(entry: Any, where: str, what: str, needed: set[str], optional: set[str]) -> None:
    """Refuse what is no object, lacks a member, or has one that nobody knows."""
    if not isinstance(entry, Mapping):
        raise SchemaError(f"{where} is not {what}; write it as docs/operations.md shows")
    if missing := sorted(needed - set(entry)):
        raise SchemaError(f"{where} has no {missing[0]}; give it")
    if unknown := [str(name) for name in entry if name not in needed | optional]:
        raise SchemaError(
            f"{where} has a member {unknown[0]!r} that means nothing; use {', '.join(sorted(needed | optional))}"
        )


def _none_of(entry: Mapping[str, Any], where: str, kind: str, names: Iterable[str]) -> None:
    if found := [name for name in names if name in entry]:
        raise SchemaError(f"{where}: {found[0]} means nothing for kind {kind}; leave it out")


def _identifier(name: Any, where: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SchemaError(f"{where}: the name is {name!r}; give a letter, then letters, digits and _ (64 at most)")
    return name


def _number(value: Any, kind: str, where: str) -> Any:
    """Return a number in its kind's type."""
    limit = LARGEST_INTEGER if kind == "integer" else LARGEST_NUMBER
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and -limit <= value <= limit
    if not good or not math.isfinite(value) or (kind == "integer" and value != int(value)):
        what = f"a whole number from -{limit:,} to {limit:,}" if kind == "integer" else "a number"
        raise SchemaError(f"{where} is {value!r}; give {what}")
    return int(value) if kind == "integer" else float(value)


def _text(value: Any, where: str, most: int, least: int = 0) -> str:
    if (
        not isinstance(value, str)
        or not least <= len(value) <= most
        or value.strip() != value
        or not value.isprintable()
    ):
        raise SchemaError(f"{where} is {value!r}; give a text of {least} to {most} characters without blanks around it")
    return value


def _words(value: Any, where: str) -> dict[str, str]:
    """Return a text in every language; one text stands for all."""
    if isinstance(value, str):
        value = dict.fromkeys(LANGUAGES, value)
    _members(value, where, "a text, or an object with en and fr", set(LANGUAGES), set())
    return {language: _text(value[language], f"{where}: {language}", 200, least=1) for language in LANGUAGES}


def _distinct(names: list[str], where: str) -> None:
    """Refuse names that differ in case, blanks and punctuation only: data files are read without regard to these."""
    known: dict[str, str] = {}
    for name in names:
        same = re.sub(r"[\s_\-]", "", name).casefold()
        if same in known:
            raise SchemaError(f"{where}: {known[same]} and {name} are the same to a reader of data; name one otherwise")
        known[same] = name


@cache
def default() -> Schema:
    """Return the description beside this module."""
    return read()


DEFAULT: (
    Schema  # the same, read when it is first asked for: an Ansible module has this code, but not the files beside it
)


def __getattr__(name: str) -> Schema:
    if name == "DEFAULT":
        return default()
    raise AttributeError(f"module {__name__} has no attribute {name}")
