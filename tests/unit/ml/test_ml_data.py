# SPDX-License-Identifier: GPL-3.0-or-later
"""Data files: what is read, how it is dealt into partitions, and how a mistake in one is said."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from google.cloud.storage import Client

from ml import fingerprint
from ml.check_data import check_data
from ml.check_data import main as check_main
from ml.core.features import Features, encode_arrays
from ml.core.schema import DEFAULT
from ml.data import spool, synthetic
from ml.data.file_reader import DataReader
from ml.data.parts import fetch, find_parts, identity
from ml.data.training_data import open_data, records
from ml.progress import Log
from ml.train import main
from tests.unit.ml.model_fixtures import BUCKET

ROWS = 3000
# of the first three rows of seed 1; whoever changes the rule gives it another name (spool.split_rule(DEFAULT))
PLACES = [12887173322879277504, 10835136984206282038, 9099192689540869511]
Written = tuple[Path, Features, synthetic.Labels]


def table(rows: int, seed: int = 1, sort: bool = False) -> tuple[pa.Table, Features, synthetic.Labels]:
    """Return contexts and sponsors as a table, and the features and labels that a reader must find in it."""
    rng = np.random.default_rng(seed)
    contexts = synthetic.draw_contexts(DEFAULT, rows, rng)
    labels = synthetic.draw_labels(synthetic.probabilities(DEFAULT, contexts), rng)
    columns = {
        "sponsor": np.array(DEFAULT.classes)[labels],
        **{field.name: contexts.arrays[field.name] for field in DEFAULT.numbers},
        **{field.name: np.array(field.values)[contexts.arrays[field.name]] for field in DEFAULT.choices},
        "venue": ["Stade, Adrar"] * rows,  # a column that nobody asked for, with a comma in it
    }
    features = encode_arrays(DEFAULT, contexts.arrays)
    if sort:
        order = np.argsort(labels, kind="stable")
        columns = {name: np.asarray(values)[order] for name, values in columns.items()}
        features, labels = features[order], labels[order]
    return pa.table(columns), features, labels


def _csv(path: Path, data: pa.Table) -> Path:
    pyarrow.csv.write_csv(data, path)
    return path


def read(path: Path) -> Iterator[spool.Records]:
    """Yield the rows of a file or a folder as the spool keeps them."""
    return (
        records(spool.record_type(DEFAULT), batch)
        for batch in DataReader(DEFAULT.table).read((part, Path(part.source)) for part in find_parts(str(path)))
    )


def canonical(features: Features, labels: synthetic.Labels) -> list[bytes]:
    return sorted(row.tobytes() + bytes([label]) for row, label in zip(features, labels, strict=True))


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """The same rows, sorted by sponsor, in each format."""
    data, features, labels = table(ROWS, sort=True)
    pyarrow.csv.write_csv(data, tmp_path / "rows.csv")
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress((tmp_path / "rows.csv").read_bytes()))
    pyarrow.parquet.write_table(data, tmp_path / "rows.parquet", row_group_size=700)
    return tmp_path, features, labels


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.parquet"])
def test_every_row_is_trained_on_or_held_out_once(
    name: str, written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, features, labels = written
    monkeypatch.setattr("ml.data.spool.CHUNK_ROWS", 512)  # several chunks
    monkeypatch.setattr("ml.data.partitions.SMALLEST_PARTITION", 500)
    path = str(folder / name)
    files = find_parts(path)
    source, counts = open_data(
        DEFAULT, path, files, identity(path, files), tmp_path / "spool", tmp_path / "kept", Log()
    )
    assert counts == {"files": 1, "rows": ROWS, "used": ROWS, "skipped": {}}
    shares = source.plan()
    assert len(shares) == 6
    parts = [source.partition(share) for share in shares]
    assert [len(y) for _, y in parts] == [share.rows for share in shares]
    held = [(chunk.features, chunk.labels) for chunk in source.held_out()]
    assert all(chunk.ceiling is None for chunk in source.held_out())
    found = canonical(np.vstack([x for x, _ in parts + held]), np.concatenate([y for _, y in parts + held]))
    assert found == canonical(features, labels)
    # the file is sorted by sponsor, a partition must not be
    shares_of = np.bincount(labels, minlength=12) / len(labels)
    for _, part in parts:
        assert np.abs(np.bincount(part, minlength=12) / len(part) - shares_of).max() < 0.06


def test_the_place_of_a_row_never_changes_and_identical_rows_are_on_one_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is added, in any order, however a reader cuts it; a corrected sponsor does not move a row either."""
    _, features, _ = table(ROWS)
    rows = np.concatenate(list(read(_csv(tmp_path / "rows.csv", table(ROWS)[0]))))
    more = np.concatenate(list(read(_csv(tmp_path / "more.csv", table(700, seed=2)[0]))))
    corrected = rows.copy()
    corrected["sponsor"] = (corrected["sponsor"] + 1) % 12
    rng = np.random.default_rng(8)
    held = {row.tobytes() for row in features[spool.held_out(DEFAULT, features)]}
    assert abs(len(held) / ROWS - 0.1) < 0.02
    for number, batches in enumerate(
        ([rows], [more, rows], [rows[rng.permutation(ROWS)]], [rows, rows, more], [rows[:1], rows[1:]], [corrected])
    ):
        monkeypatch.setattr("ml.data.spool.CHUNK_ROWS", (512, 65_536)[number % 2])
        source = spool.write(tmp_path / str(number), DEFAULT, {}, batches, "rows")
        found = {row.tobytes() for chunk in source.held_out() for row in chunk.features}
        learned = {row.tobytes() for share in source.plan() for row in source.partition(share)[0]}
        assert not found & learned
        assert found & {row.tobytes() for row in features} == held
        again = spool.find(tmp_path / str(number), DEFAULT, {})
        assert again == source


def test_a_place_is_fixed_for_ever_and_a_new_zone_moves_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    _, features, _ = table(3)
    assert spool.context_hash(DEFAULT, features).tolist() == PLACES
    wider = SimpleNamespace(columns=("zone_Northwest", *DEFAULT.columns[::-1]))
    reordered = np.hstack([np.full((3, 1), -0.0, dtype=np.float32), features[:, ::-1]])
    assert spool.context_hash(wider, reordered).tolist() == PLACES  # type: ignore[arg-type]


def test_of_very_many_held_out_rows_some_of_each_chunk_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, *_ = table(ROWS)
    monkeypatch.setattr("ml.data.spool.CHUNK_ROWS", 600)
    monkeypatch.setattr("ml.data.spool.HELD_OUT_ROWS", 100)
    source = spool.write(tmp_path / "s", DEFAULT, {}, read(_csv(tmp_path / "rows.csv", data)), "rows")
    measured = [len(chunk.labels) for chunk in source.held_out()]
    assert len(measured) == 5 and 100 <= sum(measured) <= 105


def test_the_formats_give_the_same_spool(written: Written) -> None:
    folder, *_ = written
    rows = {suffix: np.concatenate(list(read(folder / f"rows{suffix}"))) for suffix in (".csv", ".csv.gz", ".parquet")}
    assert rows[".csv"].tobytes() == rows[".csv.gz"].tobytes() == rows[".parquet"].tobytes()
    assert len(rows[".csv"]) == ROWS


HEADER = "match_minute,score_diff,temperature,crowd_density,zone,event,sponsor"
GOOD = "45,0,21.5,0.7,VIP,Goal,Visa"


def test_a_spool_is_found_again_only_if_it_is_whole_and_of_the_same_data(written: Written, tmp_path: Path) -> None:
    folder, *_ = written
    identity = {"sha256": "x"}
    made = spool.write(tmp_path / "s", DEFAULT, identity, read(folder / "rows.csv"), "rows.csv")
    assert spool.find(tmp_path / "s", DEFAULT, identity) == made
    assert spool.find(tmp_path / "s", DEFAULT, {"sha256": "y"}) is None
    data = bytearray((tmp_path / "s" / "rows.bin").read_bytes())
    for _ in range(20):
        place = random.randrange(len(data))
        data[place] ^= 4
        (tmp_path / "s" / "rows.bin").write_bytes(data)
        assert spool.find(tmp_path / "s", DEFAULT, identity) is None
        data[place] ^= 4


def test_an_object_in_a_bucket_is_trained_on_and_named_by_its_generation(
    client: Client,
    storage_url: str,
    written: Written,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
    folder, *_ = written
    blob = client.bucket(BUCKET).blob("data/rows.parquet")
    blob.upload_from_filename(str(folder / "rows.parquet"))
    url = f"gs://{BUCKET}/data/rows.parquet"
    before = fingerprint.fingerprint(1, 42, data=fingerprint.data_identity(url))
    kept = ["--data-cache", str(tmp_path / "kept")]
    assert main([*kept, "--data", url, "--output", str(tmp_path / "run")]) == 0
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["fingerprint"] == before
    assert manifest["samples"] + manifest["metrics"]["rows"] == ROWS
    assert manifest["source"] == f"{manifest['samples']:,} rows of rows.parquet"
    assert manifest["split"] == spool.split_rule(DEFAULT) and manifest["unseen"] == []
    assert manifest["metrics"]["ceiling"] is None
    assert manifest["metrics"]["accuracy"] > 0.6
    assert "fetching 1 of 1 objects" in capsys.readouterr().out

    # from a file with the same rows comes the same model; the name of the run differs, since its data come from elsewhere
    assert main(["--data", str(folder / "rows.csv"), "--output", str(tmp_path / "local")]) == 0
    local = json.loads((tmp_path / "local" / "manifest.json").read_text())
    assert local["files"]["model.onnx"] == manifest["files"]["model.onnx"]
    assert local["fingerprint"]["data"] != manifest["fingerprint"]["data"]
    assert local["fingerprint"]["parameters"] == manifest["fingerprint"]["parameters"]

    blob.upload_from_filename(str(folder / "rows.parquet"))
    after = fingerprint.fingerprint(1, 42, data=fingerprint.data_identity(url))
    assert {name for name in before if before[name] != after[name]} == {"fingerprint", "data"}
    for wrong, message in ((f"gs://{BUCKET}/absent.csv", "does not exist"), (f"gs://{BUCKET}", "names no object")):
        assert main(["--data", wrong, "--output", str(tmp_path / "x")]) == 1
        assert message in capsys.readouterr().err


def test_what_tells_nothing_is_not_published_and_synthetic_rows_take_over_only_if_asked(
    client: Client,
    storage_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")

    def published(name: str, *arguments: str) -> str:
        code = main([*arguments, "--output", str(tmp_path / name), "--publish", f"gs://{BUCKET}"])
        error = capsys.readouterr().err
        assert (code, error.count("\n")) == ((1, 1) if error else (0, 0))
        return error

    rows, *_ = table(ROWS)
    noise = pa.array(np.random.default_rng(3).permutation(np.asarray(rows["sponsor"])))
    constant = {
        name: rows[name].take([0] * ROWS) for name in ("zone", "event", "crowd_density", "score_diff", "temperature")
    }
    for name, data, message in (
        ("few", rows.slice(0, 140), "held-out rows are too few to judge by, 100 are the least"),
        (
            "noise",
            rows.set_column(0, "sponsor", noise),
            "is below the floor of 60.00%; look at what is new in the data",
        ),
        (
            "constant",
            pa.table({**dict(zip(rows.column_names, rows.columns, strict=True)), **constant}),
            "is below the floor of 60.00%",
        ),
    ):
        assert message in published(name, "--data", str(_csv(tmp_path / f"{name}.csv", data))), name
    assert published("good", "--data", str(_csv(tmp_path / "good.csv", rows))) == ""
    refused = published("synthetic", "--samples", "1500")
    assert "the live release learned" in refused and "give --data, or --accept-source-change" in refused


def test_the_name_of_a_local_file_does_not_count_and_its_content_does(written: Written, tmp_path: Path) -> None:
    folder, *_ = written
    copy = tmp_path / "elsewhere.csv"
    copy.write_bytes((folder / "rows.csv").read_bytes())
    assert fingerprint.data_identity(str(copy)) == fingerprint.data_identity(str(folder / "rows.csv"))
    copy.write_bytes(copy.read_bytes() + b"1,0,20,0.5,VIP,Goal,Visa\n")
    assert fingerprint.data_identity(str(copy)) != fingerprint.data_identity(str(folder / "rows.csv"))


def test_an_object_below_a_prefix_is_fetched_once(
    client: Client, storage_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
    url, said = f"gs://{BUCKET}/daily/", list[str]()

    def look(days: int = 0) -> tuple[int, list[str], str]:
        said.clear()
        parts = find_parts(url, days)
        reader = DataReader(DEFAULT.table)
        rows = sum(len(batch["zone"]) for batch in reader.read(fetch(url, parts, tmp_path / "kept", said.append)))
        return rows, list(said), identity(url, parts)["objects"]

    bucket = client.bucket(BUCKET)
    for day in (1, 2):
        bucket.blob(f"daily/2026-11-0{day}.csv").upload_from_string("\n".join([HEADER, *[GOOD] * day]))
    bucket.blob("daily/_SUCCESS").upload_from_string("")
    rows, messages, first = look()
    assert (rows, messages) == (3, ["data: fetching 2 of 2 objects, 0.0 MB"])
    for pattern, names in (
        ("daily/*-02.csv", ["2026-11-02.csv"]),
        ("*/2026-11-0[12].csv", ["daily/2026-11-01.csv", "daily/2026-11-02.csv"]),
    ):
        assert [part.relative for part in find_parts(f"gs://{BUCKET}/{pattern}")] == names
    assert look() == (3, [], first)
    bucket.blob("daily/2026-11-03.csv").upload_from_string("\n".join([HEADER, *[GOOD] * 3]))
    rows, messages, second = look()
    assert (rows, messages) == (6, ["data: fetching 1 of 3 objects, 0.0 MB"])
    assert second.startswith(first)
    next((tmp_path / "kept").iterdir()).write_bytes(b"damaged")
    assert look()[:2] == (6, ["data: fetching 1 of 3 objects, 0.0 MB"])
    assert look(days=1)[:2] == (3, [])
    assert len(list((tmp_path / "kept").iterdir())) == 1
    result = check_data(DEFAULT, url)
    assert [file["name"] for file in result["files"]] == [f"2026-11-0{day}.csv" for day in (1, 2, 3)]
    assert (result["rows"], result["used"]) == (4, 4)  # the first and the newest


def test_the_check_says_what_is_understood_or_wrong(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, *_ = written
    assert check_main([str(folder / "rows.csv.gz")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{folder}/rows.csv.gz: CSV, comma between values, gzip" in lines
    assert "3,000 rows looked at: 3,000 can be used" in lines
    assert any(line.startswith("sponsor: Adidas ") for line in lines)
    (tmp_path / "bad.csv").write_text("\n".join([HEADER, GOOD, "x,0,99,0.7,VIP,Goal,Visa"]))
    assert check_main([str(tmp_path / "bad.csv")]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3 and errors[-1].startswith("error: 1 of 2 rows of ")
