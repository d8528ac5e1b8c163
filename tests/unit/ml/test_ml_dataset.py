# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue, the encoding and the synthetic data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ml.core.context import validate
from ml.core.features import context_at, encode, encode_arrays
from ml.core.schema import DEFAULT
from ml.data import synthetic
from ml.data.rules import RULES, SIGNALS, Drawn


@pytest.fixture(scope="module")
def contexts() -> Drawn:
    return synthetic.draw_contexts(DEFAULT, 20_000, np.random.default_rng(7))


def test_the_catalogue_has_the_twelve_sponsors_and_a_message_for_each() -> None:
    assert {sponsor.name: sponsor.category for sponsor in DEFAULT.catalogue.values()} == {
        "Sidi Ali": "Beverage",
        "Coca-Cola": "Beverage",
        "Orange": "Telecom",
        "Inwi": "Telecom",
        "Puma": "Apparel",
        "Adidas": "Apparel",
        "Royal Air Maroc": "Travel",
        "OCP": "Institutional",
        "Koutoubia": "Food",
        "CDG": "Banking",
        "Hyundai": "Automotive",
        "Visa": "Finance",
    }
    messages = [sponsor.campaign_message for sponsor in DEFAULT.catalogue.values()]
    assert len(set(messages)) == 12
    assert all(20 < len(message) < 120 for message in messages)
    assert list(DEFAULT.classes) == sorted(DEFAULT.catalogue)


def test_the_fifteen_columns_in_their_order() -> None:
    assert DEFAULT.columns == (
        "match_minute", "score_diff", "temperature", "crowd_density",
        "zone_VIP", "zone_North", "zone_South", "zone_East", "zone_West",
        "event_Goal", "event_Card", "event_VAR", "event_Halftime", "event_Kickoff", "event_FinalWhistle",
    )  # fmt: skip


def test_no_event_is_the_zero_vector() -> None:
    row = encode(DEFAULT, [validate(DEFAULT, {"zone": "South", "match_minute": 7, "score_diff": -2})])
    assert row.tolist() == [[7, -2, 20, 0.5, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]]
    assert row.dtype == np.float32


def test_one_context_is_encoded_as_it_is_among_many(contexts: Drawn) -> None:
    many = encode_arrays(DEFAULT, contexts.arrays)
    singles = [context_at(DEFAULT, contexts.arrays, row) for row in range(500)]
    assert encode(DEFAULT, singles).tobytes() == many[:500].tobytes()
    assert all(encode(DEFAULT, [context]).tobytes() == many[row].tobytes() for row, context in enumerate(singles[:50]))
    assert encode(DEFAULT, []).shape == (0, 15)


def test_every_drawn_context_is_valid_and_every_value_is_drawn(contexts: Drawn) -> None:
    for row in range(2000):
        context = context_at(DEFAULT, contexts.arrays, row)
        assert validate(DEFAULT, context) == context
    for field in DEFAULT.choices:
        assert set(contexts.arrays[field.name]) == set(range(len(field.values)))


def test_the_distribution_is_one_and_no_sponsor_is_impossible(contexts: Drawn) -> None:
    chances = synthetic.probabilities(DEFAULT, contexts)
    assert chances.shape == (20_000, 12)
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert chances.min() >= 0.01 / 12 * (1 - 1e-12)
    assert np.bincount(chances.argmax(axis=1), minlength=12).min() > 0.02 * 20_000


def test_the_labels_follow_the_distribution(contexts: Drawn) -> None:
    chances = synthetic.probabilities(DEFAULT, contexts)
    labels = synthetic.draw_labels(chances, np.random.default_rng(1))
    drawn = np.bincount(labels, minlength=12) / len(labels)
    np.testing.assert_allclose(drawn, chances.mean(axis=0), rtol=0, atol=0.01)
    hits = (labels == chances.argmax(axis=1)).mean()
    assert abs(hits - synthetic.bayes_accuracy(chances)) < 0.01


def test_every_rule_can_apply_and_names_known_things(contexts: Drawn) -> None:
    present = {name: signal(contexts) for name, signal in SIGNALS.items()}
    for rule in RULES:
        assert rule.sponsor in DEFAULT.catalogue
        assert np.all([present[name] for name in rule.signals.split()] or [np.array(True)], axis=0).any(), rule


def test_the_rules_say_what_they_say() -> None:
    def likeliest(**context: Any) -> str:
        defaults = {"match_minute": 30, "score_diff": 0, "temperature": 20.0, "crowd_density": 0.5}
        arrays = {name: np.array([context.get(name, default)]) for name, default in defaults.items()}
        places = {name: DEFAULT.places[name][context.get(name, "None")] for name in DEFAULT.places}
        contexts = Drawn(DEFAULT, arrays | {name: np.array([place]) for name, place in places.items()})
        return DEFAULT.classes[synthetic.probabilities(DEFAULT, contexts).argmax()]

    assert likeliest(zone="VIP", event="Goal") == "Visa"
    assert likeliest(zone="East", temperature=38.0) == "Sidi Ali"
    assert likeliest(zone="North", event="VAR") == "Inwi"
    assert likeliest(zone="West", event="Halftime") == "Koutoubia"
    assert likeliest(zone="South", event="Goal", score_diff=-1) == "Adidas"


def test_a_partition_depends_on_its_seed_and_number_only() -> None:
    features, labels = synthetic.partition(DEFAULT, 5, 3, 1000)
    again, labels_again = synthetic.partition(DEFAULT, 5, 3, 1000)
    assert (features.tobytes(), labels.tobytes()) == (again.tobytes(), labels_again.tobytes())
    assert (features.shape, features.dtype, labels.dtype) == ((1000, 15), np.dtype(np.float32), np.dtype(np.int64))
    for seed, index in ((5, 4), (6, 3)):
        other, _ = synthetic.partition(DEFAULT, seed, index, 1000)
        assert (np.asarray(other == features).all(axis=1)).mean() < 0.01


def test_the_held_out_rows_are_always_the_same_and_not_those_of_a_training() -> None:
    first, second = list(synthetic.held_out(DEFAULT, 60_000)), list(synthetic.held_out(DEFAULT, 60_000))
    assert [len(chunk[1]) for chunk in first] == [50_000, 10_000]
    assert all(a[0].tobytes() == b[0].tobytes() and (a[1] == b[1]).all() for a, b in zip(first, second, strict=True))
    assert 0.89 < np.average([chunk[2] for chunk in first], weights=[50, 10]) < 0.905
