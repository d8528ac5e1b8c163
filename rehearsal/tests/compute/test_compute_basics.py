# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
from datetime import datetime

import pytest

from rehearsal.errors import ApiError
from rehearsal.services.compute import (
    catalogue,
    clock,
    cron,
    fingerprints,
    instances,
    lifecycle,
    links,
    networks,
    validation,
)


@pytest.mark.parametrize("value", [{}, [], {"a": 1}, ["x"], "text"])
def test_fingerprints_are_canonical_base64_of_eight_bytes(value: object) -> None:
    made = fingerprints.of(value)
    assert len(base64.b64decode(made)) == 8
    assert base64.b64encode(base64.b64decode(made)).decode() == made


def test_fingerprints_do_not_depend_on_the_order_of_keys() -> None:
    assert fingerprints.of({"a": 1, "b": 2}) == fingerprints.of({"b": 2, "a": 1})
    assert fingerprints.of({"a": 1}) != fingerprints.of({"a": 2})


def test_fingerprints_are_compared_as_bytes() -> None:
    current = base64.b64encode(b"\xfb\xff\xfe1234\xff").decode()
    assert "+" in current or "/" in current
    assert fingerprints.same(current, current)
    assert fingerprints.same(current.replace("+", "-").replace("/", "_"), current)
    assert not fingerprints.same("", current)
    assert not fingerprints.same(None, current)
    assert not fingerprints.same("no base64!", current)
    assert not fingerprints.same("zg==", current)


def test_ids_are_uint64_strings() -> None:
    assert fingerprints.stable_id("zones/a") == fingerprints.stable_id("zones/a") != fingerprints.stable_id("zones/b")
    for made in (fingerprints.new_id(), fingerprints.stable_id("zones/a")):
        assert 0 < int(made) < 2**64


@pytest.mark.parametrize(
    "value",
    [
        "https://www.googleapis.com/compute/v1/projects/p/zones/z/machineTypes/e2-micro",
        "https://compute.googleapis.com/compute/v1/projects/p/zones/z/machineTypes/e2-micro",
        "projects/p/zones/z/machineTypes/e2-micro",
        "zones/z/machineTypes/e2-micro",
    ],
)
def test_references_are_read_in_every_form(value: str) -> None:
    found = links.resolve(value, "p", "machineTypes", field="f")
    assert (found.project, found.location, found.name) == ("p", "z", "e2-micro")
    assert found.link == "https://www.googleapis.com/compute/v1/projects/p/zones/z/machineTypes/e2-micro"


@pytest.mark.parametrize(
    "value", ["", "e2-micro", "zones/z/disks/d", "https://example.com/zones/z/machineTypes/e2-micro"]
)
def test_malformed_references_are_refused(value: str) -> None:
    with pytest.raises(ApiError, match="The URL is malformed"):
        links.resolve(value, "p", "machineTypes", field="resource.machineType")


def test_timestamps_have_milliseconds_and_an_offset() -> None:
    assert clock.timestamp(0) == "1969-12-31T16:00:00.000-08:00"
    assert clock.parse(clock.timestamp(1234567890.5)) == 1234567890.5
    with pytest.raises(ValueError, match="offset"):
        clock.parse("2026-11-23T00:00:00")


def test_every_region_has_its_own_addresses() -> None:
    ranges = list(networks.RANGES.values())
    assert not any(one.overlaps(other) for one in ranges for other in ranges if one is not other)


def test_machine_types_have_the_memory_of_google() -> None:
    assert catalogue.memory_bytes("e2-micro") == 1024**3
    assert catalogue.memory_bytes("e2-medium") == 4 * 1024**3


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (0, (0, b"0123456789")),
        (4, (4, b"456789")),
        (-3, (7, b"789")),
        (10, (10, b"")),
        (99, (10, b"")),
        (-99, (0, b"0123456789")),
    ],
)
def test_serial_window(start: int, expected: tuple[int, bytes]) -> None:
    assert instances.serial_window(b"0123456789", start) == expected


def test_serial_buffer_is_one_mebibyte() -> None:
    begin, contents = instances.serial_window(b"x" * (1024 * 1024 + 5), 0)
    assert (begin, len(contents)) == (5, 1024 * 1024)


class TestValidation:
    @pytest.mark.parametrize("name", ["a", "ml-training-vm", "a" * 63])
    def test_names(self, name: str) -> None:
        assert validation.check_name(name) == name

    @pytest.mark.parametrize("name", ["", None, "A", "1a", "a-", "a_b", "a" * 64, "a\n"])
    def test_bad_names(self, name: str | None) -> None:
        with pytest.raises(ApiError, match="Must be a match of regex"):
            validation.check_name(name)

    def test_labels(self) -> None:
        labels = {"app": "fanops-m4", "equipe": "été", "empty": ""}
        assert validation.check_labels(labels) == labels
        assert validation.check_labels(None) == {}

    @pytest.mark.parametrize(
        "labels", [{"App": "x"}, {"1a": "x"}, {"": "x"}, {"a": "B"}, {"a": "x y"}, {"a": "x" * 64}, {"a" * 64: "x"}]
    )
    def test_bad_labels(self, labels: dict[str, str]) -> None:
        with pytest.raises(ApiError, match="violates format constraints"):
            validation.check_labels(labels)

    def test_too_many_labels(self) -> None:
        with pytest.raises(ApiError, match="at most 64"):
            validation.check_labels({f"a{n}": "" for n in range(65)})

    def test_metadata(self) -> None:
        assert validation.check_metadata([{"key": "a"}, {"key": "b", "value": "x"}]) == [
            {"key": "a", "value": ""},
            {"key": "b", "value": "x"},
        ]

    @pytest.mark.parametrize(
        ("items", "why"),
        [
            ([{"key": "a b"}], "Must be a match"),
            ([{"value": "x"}], "Must be a match"),
            ([{"key": "a"}, {"key": "a"}], "Duplicate metadata key"),
            ([{"key": "a", "value": "x" * (256 * 1024 + 1)}], "more than 262144"),
            ([{"key": f"k{n}", "value": "x" * 200_000} for n in range(3)], "more than 524288"),
        ],
    )
    def test_bad_metadata(self, items: list[dict[str, str]], why: str) -> None:
        with pytest.raises(ApiError, match=why):
            validation.check_metadata(items)

    def test_metadata_is_measured_in_bytes(self) -> None:
        with pytest.raises(ApiError, match="more than 262144"):
            validation.check_metadata([{"key": "a", "value": "é" * 140_000}])

    def test_scheduling_defaults(self) -> None:
        assert validation.check_scheduling(None) == {
            "onHostMaintenance": "MIGRATE",
            "automaticRestart": True,
            "preemptible": False,
            "provisioningModel": "STANDARD",
        }

    def test_spot_defaults(self) -> None:
        checked = validation.check_scheduling({"provisioningModel": "SPOT"})
        assert (checked["preemptible"], checked["automaticRestart"], checked["onHostMaintenance"]) == (
            True,
            False,
            "TERMINATE",
        )

    def test_run_duration(self) -> None:
        checked = validation.check_scheduling({"maxRunDuration": {"seconds": 7200}})
        assert checked["maxRunDuration"] == {"seconds": "7200"}
        assert checked["instanceTerminationAction"] == "STOP"

    @pytest.mark.parametrize("seconds", [0, 29, 120 * 86400 + 1])
    def test_run_duration_limits(self, seconds: int) -> None:
        with pytest.raises(ApiError, match=r"30 seconds and 10368000|must be between|Must be between"):
            validation.check_scheduling({"maxRunDuration": {"seconds": str(seconds), "nanos": 1}})

    @pytest.mark.parametrize(
        "scheduling",
        [
            {"maxRunDuration": {"seconds": "60"}, "terminationTime": "2026-01-01T00:00:00Z"},
            {"preemptible": True, "maxRunDuration": {"seconds": "60"}},
            {"preemptible": True, "automaticRestart": True},
            {"provisioningModel": "SPOT", "onHostMaintenance": "MIGRATE"},
            {"terminationTime": "yesterday"},
            {"terminationTime": "2020-01-01T00:00:00Z"},
        ],
    )
    def test_bad_scheduling(self, scheduling: dict[str, object]) -> None:
        with pytest.raises(ApiError) as refused:
            validation.check_scheduling(scheduling)
        assert refused.value.code == 400

    def test_deadlines(self) -> None:
        assert lifecycle.run_deadline({"maxRunDuration": {"seconds": "60", "nanos": 500_000_000}}, 100.0) == 160.5
        assert lifecycle.run_deadline({"terminationTime": "1970-01-01T00:05:00Z"}, 100.0) == 300.0
        assert lifecycle.run_deadline({}, 100.0) is None


class TestCron:
    @pytest.mark.parametrize(
        ("expression", "after", "expected"),
        [
            ("0 8 * * 1-5", "2026-11-20 09:00", "2026-11-23 08:00"),
            ("0 8 * * MON-FRI", "2026-11-20 09:00", "2026-11-23 08:00"),
            ("*/15 * * * *", "2026-11-23 10:00", "2026-11-23 10:15"),
            ("30 23 31 12 *", "2026-11-23 10:00", "2026-12-31 23:30"),
            ("0 0 29 2 *", "2026-11-23 10:00", "2028-02-29 00:00"),
            ("0 0 1 * 0", "2026-11-23 10:00", "2026-11-29 00:00"),
            ("0 0 * * 7", "2026-11-23 10:00", "2026-11-29 00:00"),
            ("5,10 1-3 * JAN *", "2026-01-01 03:07", "2026-01-01 03:10"),
        ],
    )
    def test_next(self, expression: str, after: str, expected: str) -> None:
        found = cron.parse(expression).next_after(datetime.fromisoformat(after))
        assert found == datetime.fromisoformat(expected)

    def test_never(self) -> None:
        assert cron.parse("0 0 31 2 *").next_after(datetime(2026, 1, 1)) is None

    @pytest.mark.parametrize(
        "expression",
        [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "*/0 * * * *",
            "x * * * *",
            "5-1 * * * *",
        ],
    )
    def test_refused(self, expression: str) -> None:
        with pytest.raises(ValueError):
            cron.parse(expression)


@pytest.mark.parametrize(
    ("moment", "offset"),
    [
        ("2026-03-08T09:59:59Z", "-08:00"), ("2026-03-08T10:00:00Z", "-07:00"),
        ("2026-11-01T08:59:59Z", "-07:00"), ("2026-11-01T09:00:00Z", "-08:00"), ("2027-03-14T10:00:00Z", "-07:00"),
    ],
)  # fmt: skip
def test_times_have_the_pacific_offset_of_the_season(moment: str, offset: str) -> None:
    seconds = clock.parse(moment)
    assert clock.timestamp(seconds).endswith(offset) and clock.parse(clock.timestamp(seconds)) == seconds
