# SPDX-License-Identifier: GPL-3.0-or-later
"""The match context: what is accepted, what is filled in, and how a refusal reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.core.context import ContextError, validate
from ml.core.schema import DEFAULT

ZONES, EVENTS = (field.values for field in DEFAULT.choices)

VALID = st.fixed_dictionaries(
    {"zone": st.sampled_from(ZONES)},
    optional={
        "match_minute": st.integers(0, 130),
        "score_diff": st.integers(-10, 10),
        "temperature": st.floats(-30, 60) | st.integers(-30, 60),
        "crowd_density": st.floats(0, 1),
        "event": st.sampled_from(EVENTS),
    },
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_only_the_zone_is_required() -> None:
    assert validate(DEFAULT, {"zone": "VIP"}) == {
        "match_minute": 0,
        "score_diff": 0,
        "temperature": 20.0,
        "crowd_density": 0.5,
        "zone": "VIP",
        "event": "None",
    }


@given(VALID)
def test_a_valid_context_is_kept_and_validating_twice_changes_nothing(raw: Any) -> None:
    context: Any = validate(DEFAULT, raw)
    assert {name: context[name] for name in raw} == raw
    assert validate(DEFAULT, context) == context
    assert [type(context[field.name]) for field in DEFAULT.fields] == [field.kind for field in DEFAULT.fields]


@given(
    st.dictionaries(st.sampled_from([field.name for field in DEFAULT.fields]) | st.text(max_size=8), ANYTHING)
    | ANYTHING
)
def test_anything_else_is_refused_with_the_names_of_what_is_wrong(raw: Any) -> None:
    try:
        context: Any = validate(DEFAULT, raw)
    except ContextError as error:
        assert error.problems
        json.dumps([problem.as_dict() for problem in error.problems])
        for problem in error.problems:
            assert problem.field in problem.detail
            assert not isinstance(raw, dict) or any(problem.field == name[:80] for name in [*raw, "zone"])
    else:
        for field in DEFAULT.fields:
            value = context[field.name]
            assert value in field.values if field.values else field.minimum <= value <= field.maximum


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("match_minute", 131, "match_minute must be an integer from 0 to 130, got 131"),
        ("match_minute", 45.5, "match_minute must be an integer from 0 to 130, got 45.5"),
        ("match_minute", "45", 'match_minute must be an integer from 0 to 130, got "45"'),
        ("match_minute", True, "match_minute must be an integer from 0 to 130, got true"),
        pytest.param(
            "match_minute",
            10**5000,
            "match_minute must be an integer from 0 to 130, got an integer of more than 80 digits",
            id="digits",
        ),
        ("temperature", float("nan"), "temperature must be a number from -30 to 60, got nan"),
        ("crowd_density", 1.01, "crowd_density must be a number from 0 to 1, got 1.01"),
        ("zone", "vip", 'zone must be one of VIP, North, South, East, West, got "vip"'),
        (
            "event",
            ["Goal"],
            "event must be one of None, Goal, Card, VAR, Halftime, Kickoff, FinalWhistle, got an array",
        ),
        (
            "minute",
            3,
            "minute is not a member of a context: send only match_minute, score_diff, temperature, crowd_density, zone, event; "
            "got 3",
        ),
    ],
)
def test_a_refusal_says_what_is_allowed_and_what_was_sent(member: str, value: Any, message: str) -> None:
    with pytest.raises(ContextError) as refused:
        validate(DEFAULT, {"zone": "VIP", member: value})
    assert [problem.detail for problem in refused.value.problems] == [message]


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(ContextError) as refused:
        validate(DEFAULT, {"match_minute": -1, "event": "Corner", "zonne": "VIP"}, "instances[3].")
    assert [problem.field for problem in refused.value.problems] == [
        "instances[3].match_minute",
        "instances[3].zone",
        "instances[3].event",
        "instances[3].zonne",
    ]


@given(VALID, st.text().filter(lambda name: name not in {field.name for field in DEFAULT.fields}))
def test_an_unknown_member_is_refused_however_many_known_ones_there_are(raw: Any, name: str) -> None:
    with pytest.raises(ContextError):
        validate(DEFAULT, {**raw, name: 1})


def test_a_whole_float_is_an_integer_and_null_is_the_default() -> None:
    context = validate(DEFAULT, {"zone": "East", "match_minute": 45.0, "event": None, "temperature": -0.0})
    assert (context["match_minute"], context["event"]) == (45, "None")
    assert str(context["temperature"]) == "0.0"
