# SPDX-License-Identifier: GPL-3.0-or-later
"""The description of a table: what is read, what is refused in one line, and that everything else follows from it."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.core.context import ContextError, validate
from ml.core.features import encode, encode_arrays
from ml.core.schema import (
    CATALOGUE_FILE,
    DEFAULT,
    SCHEMA_FILE,
    Schema,
    SchemaError,
    from_documents,
    from_manifest,
    read,
)
from ml.data import rules, spool, synthetic
from ml.data.file_kind import DataError
from ml.data.training_data import records
from ml.fingerprint import fingerprint

ROOT = Path(__file__).parents[3]
SPONSORS = {"sponsors": [{"name": "A"}, {"name": "B"}]}
NUMBER = {"name": "rain", "kind": "number", "minimum": 0, "maximum": 9.5, "default": 1}
CHOICE = {"name": "stand", "kind": "choice", "values": ["a", "b"], "required": True}


def described(*fields: dict[str, Any], sponsors: Any = SPONSORS, **more: Any) -> Schema:
    return from_documents({"fields": list(fields), **more}, sponsors)


def test_what_is_left_out_is_filled_in() -> None:
    found = described(
        NUMBER, CHOICE, {"name": "wind", "kind": "integer", "minimum": -3, "maximum": 3, "required": True}
    )
    assert found.columns == ("rain", "wind", "stand_a", "stand_b")
    assert [field.example for field in found.fields] == [1.0, "a", -3]
    assert [field.default for field in found.fields] == [1.0, None, None]
    assert found.target.name == "sponsor" and found.classes == ("A", "B")
    rain, stand, wind = found.document["fields"]
    assert (rain["step"], wind["step"], stand["unit"]) == (0.095, 1, "")
    assert stand["label"] == {"en": "stand", "fr": "stand"} and stand["values"][1] == {
        "name": "b",
        "en": "b",
        "fr": "b",
    }


def test_the_default_of_a_choice_has_no_column_wherever_it_stands() -> None:
    found = described({"name": "stand", "kind": "choice", "values": ["a", "b", "c"], "default": "b"})
    assert found.columns == ("stand_a", "stand_c")
    assert encode(found, [{"stand": "a"}, {"stand": "b"}, {"stand": "c"}]).tolist() == [[1, 0], [0, 0], [0, 1]]
    assert spool.split_rule(found) == "SHA-256 of stand, 1 in 10; stand (b counts as nothing)"


WRONG: list[tuple[list[Any], dict[str, Any], str]] = [
    ([], {}, "fields must be a list; write at least one field"),
    ([7], {}, "field 1 is not an object; write it as docs/operations.md shows"),
    ([{**NUMBER, "name": "ra in"}], {}, "field 1 (ra in): the name is 'ra in'; give a letter"),
    ([{**NUMBER, "name": "instances"}], {}, "the name instances has another meaning in a request; choose another one"),
    ([{**NUMBER, "kind": "float"}], {}, "kind is 'float'; give integer, number, choice"),
    ([{**NUMBER, "minmum": 1}], {}, "has a member 'minmum' that means nothing; use "),
    ([{k: v for k, v in NUMBER.items() if k != "maximum"}], {}, "field 1 (rain): maximum is None; give a number"),
    ([{**NUMBER, "maximum": 0}], {}, "minimum 0 is not below maximum 0; correct the range"),
    ([{**NUMBER, "maximum": True}], {}, "maximum is True; give a number"),
    ([{**NUMBER, "maximum": float("inf")}], {}, "maximum is inf; give a number"),
    ([{**NUMBER, "kind": "integer"}], {}, "maximum is 9.5; give a whole number from -16,777,216 to 16,777,216"),
    ([{**NUMBER, "default": 10}], {}, "the default 10.0 is not among its own values; give one that is"),
    ([{**NUMBER, "example": -1}], {}, "the example -1.0 is not among its own values"),
    ([{**NUMBER, "step": 0}], {}, "step is 0; give a number above 0"),
    ([{**NUMBER, "values": ["a"]}], {}, "values means nothing for kind number; leave it out"),
    ([{**NUMBER, "required": True}], {}, 'give either "required": true or a default'),
    ([{k: v for k, v in NUMBER.items() if k != "default"}], {}, 'give either "required": true or a default'),
    ([{**CHOICE, "values": ["a"]}], {}, "values must be a list; write at least 2"),
    ([{**CHOICE, "values": ["a", ""]}], {}, "the name of a value is ''; give a text of 1 to 80 characters"),
    (
        [{**CHOICE, "values": ["VIP", "v i-p"]}],
        {},
        "VIP and v i-p are the same to a reader of data; name one otherwise",
    ),
    ([{**CHOICE, "values": ["a", {"name": "b", "de": "B"}]}], {}, "has a member 'de' that means nothing"),
    ([{**CHOICE, "label": {"en": "Stand"}}], {}, "label has no fr; give it"),
    ([NUMBER, {**NUMBER, "name": "Rain"}], {}, "fields and target: rain and Rain are the same"),
    ([NUMBER, CHOICE, {**NUMBER, "name": "stand_a"}], {}, "two columns of the encoding would be called stand_a"),
    ([{**CHOICE, "values": [f"v{n}" for n in range(1001)]}], {}, "1,001 columns; give at most 1,000"),
    ([NUMBER], {"target": {"name": "rain"}}, "fields and target: rain and rain are the same"),
    ([NUMBER], {"sponsors": {"sponsors": [{"name": "A"}]}}, "sponsors must be a list; write 2 to 250 sponsors"),
    ([NUMBER], {"sponsors": {"sponsors": [{"name": "A"}, {"name": "a"}]}}, "sponsors: A and a are the same"),
    (
        [NUMBER],
        {"sponsors": {"sponsors": [{"name": "A"}, {"name": "B", "message": ""}]}},
        "a member 'message' that means",
    ),
    ([NUMBER], {"sponsors": []}, "sponsor_catalogue is not an object with the member sponsors"),
]


@pytest.mark.parametrize(("fields", "more", "message"), WRONG, ids=range(len(WRONG)))
def test_what_cannot_be_meant_is_one_line_with_a_remedy(fields: list[Any], more: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError) as refused:
        described(*fields, **more)
    assert message in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read {path}: No such file or directory; give the path of a JSON file"),
        (b'{"fields": [\n{"name": }]}', "{path}, line 2: Expecting value; correct the JSON"),
        (b"\xff", "{path} is not UTF-8; save it as UTF-8"),
        (b"[]", "{path} is not an object with the member fields"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "stadium.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SchemaError) as refused:
        read(path)
    assert str(refused.value).startswith(message.format(path=path))
    ran = subprocess.run(
        [sys.executable, "-m", "ml.check_data", "--schema", path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1 and ran.stderr == f"error: {refused.value}\n"


def test_a_file_that_is_nested_too_deeply_is_named(tmp_path: Path) -> None:
    path = tmp_path / "stadium.json"
    path.write_bytes(b"[" * 100_000)
    command = [sys.executable, "-m", "ml.check_data", "--sponsors", str(path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and ran.stderr.startswith(f"error: {path} is not JSON") and ran.stderr.count("\n") == 1


def test_ranges_and_long_lists_are_told_exactly_and_shortly() -> None:
    large = {"name": "seats", "kind": "integer", "minimum": 0, "maximum": 16_000_001, "default": 0}
    many = {"name": "row", "kind": "choice", "values": [f"r{number}" for number in range(60)], "required": True}
    seats, row = described(large, many).fields
    assert seats.allowed == "an integer from 0 to 16000001"
    assert row.allowed.startswith("one of r0, r1, ") and row.allowed.endswith(", r49 or 10 others")


def test_a_release_carries_it_and_one_of_an_older_version_gets_the_default() -> None:
    carried = json.loads(json.dumps({"model_schema": DEFAULT.document}, sort_keys=True))
    assert from_manifest(carried) == DEFAULT
    assert from_manifest({}) is DEFAULT
    with pytest.raises(SchemaError, match=r"carries no description that can be read .*; train again"):
        from_manifest({"model_schema": {"fields": []}})
    with pytest.raises(SchemaError, match="train again"):
        from_manifest({"model_schema": 7})


def test_a_module_of_ansible_has_the_code_without_the_files_beside_it(tmp_path: Path) -> None:
    """It replays the golden rows of a release, which carries its description."""
    for path in (ROOT / "ml/core").glob("*.py"):
        (tmp_path / "core").mkdir(exist_ok=True)
        (tmp_path / "core" / path.name).write_bytes(path.read_bytes())
    code = (
        "import json, sys; from core.serving import from_manifest; from core.gate import judge; "
        "print(len(from_manifest(json.load(sys.stdin)).columns))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, input=json.dumps({"model_schema": DEFAULT.document}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.stdout, ran.stderr) == ("15\n", "")


NAMES = st.text(st.sampled_from("abcdefgh"), min_size=1, max_size=4)
NUMBERS = st.tuples(st.sampled_from(["integer", "number"]), st.integers(-1000, 1000), st.integers(1, 500)).map(
    lambda drawn: {"kind": drawn[0], "minimum": drawn[1], "maximum": drawn[1] + drawn[2]}
)
CHOICES = st.lists(NAMES, min_size=2, max_size=300, unique=True).map(
    lambda values: {"kind": "choice", "values": values}
)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    fields = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=8, unique=True)):
        field: dict[str, Any] = {"name": f"f_{name}", **draw(NUMBERS | CHOICES)}
        known = field["values"] if field["kind"] == "choice" else [field["minimum"], field["maximum"]]
        field |= {"required": True} if draw(st.booleans()) else {"default": draw(st.sampled_from(known))}
        fields.append(field)
    sponsors = draw(st.lists(NAMES, min_size=2, max_size=20, unique=True))
    return described(*fields, sponsors={"sponsors": [{"name": name} for name in sponsors]})


@settings(max_examples=150, deadline=None)
@given(schemas(), st.data())
def test_any_table_is_checked_encoded_kept_and_carried_alike(schema: Schema, data: st.DataObject) -> None:
    """One context, many, and the rows of a file are the same features; a copy that travelled does the same."""
    contexts: list[dict[str, Any]] = [
        {
            field.name: data.draw(
                st.sampled_from(field.values) if field.kind is str
                else st.integers(int(field.minimum), int(field.maximum)) if field.kind is int
                else st.floats(field.minimum, field.maximum, width=32).map(lambda value: value + 0.0)
            )
            for field in schema.fields
        }
        for _ in range(5)
    ]  # fmt: skip
    assert [validate(schema, context) for context in contexts] == contexts
    features = encode(schema, contexts)
    assert features.shape == (5, len(schema.columns))
    assert all(
        encode(schema, [context]).tobytes() == row.tobytes() for context, row in zip(contexts, features, strict=True)
    )
    places: dict[str, list[Any]] = {
        field.name: [schema.places[field.name][c[field.name]] if field.kind is str else c[field.name] for c in contexts]
        for field in schema.fields
    }
    assert (
        encode_arrays(schema, {name: np.array(values) for name, values in places.items()}).tobytes()
        == features.tobytes()
    )
    kept = records(spool.record_type(schema), {**places, schema.target.name: [0.0, 1, 0, 1, 0]})
    assert spool._decode(schema, kept)[0].tobytes() == features.tobytes()
    travelled = pickle.loads(pickle.dumps(schema))
    assert travelled == schema == from_manifest(json.loads(json.dumps({"model_schema": schema.document})))
    assert encode(travelled, contexts).tobytes() == features.tobytes()
    if schema.required:
        with pytest.raises(ContextError):
            validate(schema, {})
    else:
        assert validate(schema, {}) == {field.name: field.default for field in schema.fields}


def test_the_default_keeps_a_row_in_thirteen_bytes() -> None:
    assert spool.record_type(DEFAULT) == np.dtype(
        [("match_minute", "u1"), ("score_diff", "i1"), ("temperature", "<f4"), ("crowd_density", "<f4"), ("zone", "u1"),
         ("event", "u1"), ("sponsor", "u1")]
    )  # fmt: skip
    assert spool.record_type(DEFAULT).itemsize == 13


def stadium(**changes: Any) -> Schema:
    document, catalogue = (json.loads(path.read_text(encoding="utf-8")) for path in (SCHEMA_FILE, CATALOGUE_FILE))
    for field in document["fields"]:
        if field["name"] in changes:
            changes[field["name"]](field)
    catalogue["sponsors"] = changes.get("sponsors", lambda entries: entries)(catalogue["sponsors"])
    return from_documents(document, catalogue)


def test_fewer_zones_and_sponsors_are_drawn_and_others_are_not() -> None:
    fewer = stadium(
        zone=lambda field: field.update(values=field["values"][:3]), sponsors=lambda entries: entries[2:],
        match_minute=lambda field: field.update(maximum=90),
    )  # fmt: skip
    features, labels = synthetic.partition(fewer, 1, 0, 5000)
    assert features.shape == (5000, 13) and features[:, 0].max() == 90
    assert features[:, 4:7].sum(axis=1).tolist() == [1] * 5000 and set(labels) == set(range(10))
    more = stadium(
        zone=lambda field: field["values"].append("Skybox"), sponsors=lambda entries: [*entries, {"name": "Nike"}],
        temperature=lambda field: field.update(name="warmth"),
    )  # fmt: skip
    with pytest.raises(DataError) as refused:
        rules.check(more)
    assert str(refused.value) == (
        "no rule draws synthetic rows for the field warmth, zone Skybox, the field temperature is not there, sponsor Nike: bring "
        "training_data (--data) with rows that show them"
    )


def test_a_run_is_named_alike_whether_a_site_s_files_are_named_or_in_the_default_s_place(tmp_path: Path) -> None:
    """The controller names them; on the VM they take the place of the default."""
    root = tmp_path / "app"
    for source in (ROOT / "ml").rglob("*"):
        if source.suffix in (".py", ".json") and "function" not in source.parts:
            target = root / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    (root / "requirements").symlink_to(ROOT / "requirements")
    document, catalogue = (json.loads(path.read_text(encoding="utf-8")) for path in (SCHEMA_FILE, CATALOGUE_FILE))
    document["fields"][4]["values"].append("Skybox")
    own = tmp_path / "stadium.json", tmp_path / "sponsors.json"
    for path, content in zip(own, (document, copy.deepcopy(catalogue)), strict=True):
        path.write_text(json.dumps(content), encoding="utf-8")
    data = {"sha256": "1"}
    named = fingerprint(0, 1, data=data, schema=own[0], catalogue=own[1])
    assert named != fingerprint(0, 1, data=data)
    for path, name in zip(own, ("schema.json", "sponsors.json"), strict=True):
        (root / "ml/core" / name).write_bytes(path.read_bytes())
    assert fingerprint(0, 1, root, data) == named
