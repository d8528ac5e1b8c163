# SPDX-License-Identifier: GPL-3.0-or-later
"""Data files as people have them: what is read, what is refused, and that no row is lost without a word."""

from __future__ import annotations

import bz2
import csv
import datetime
import decimal
import gzip
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from backports import zstd
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ml.core.schema import DEFAULT
from ml.data.file_kind import DataError
from ml.data.file_reader import Batch, DataReader
from ml.data.parts import find_parts
from ml.data.values import Values

NAMES = [field.name for field in DEFAULT.table]
HEADER = ",".join(NAMES)
GOOD = "45,0,21.5,0.7,VIP,Goal,Visa"
WORDS = {field.name: field.values for field in DEFAULT.table}
ROOT = Path(__file__).parents[3]
EXAMPLES = int(os.environ.get("FANOPS_PROVE_DATA", "60"))
REFUSALS = 200 if EXAMPLES > 60 else 16


def read(path: Path | str) -> tuple[list[list[object]], DataReader]:
    """Return the rows of a data set, names in words, and what the reader says of it."""
    reader = DataReader(DEFAULT.table)
    rows: list[list[object]] = []
    batches: list[Batch] = list(reader.read((part, Path(part.source)) for part in find_parts(str(path))))
    for batch in batches:
        for row in zip(*(batch[name] for name in NAMES), strict=True):
            rows.append([WORDS[n][int(v)] if WORDS[n] else v for n, v in zip(NAMES, row, strict=True)])
    return rows, reader


def fault(path: Path | str) -> str:
    """Return the message of a refused data set, with its details."""
    with pytest.raises(DataError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return "\n".join([str(caught.value), *caught.value.faults])


GOOD_ROW = [45, 0, 21.5, 0.7, "VIP", "Goal", "Visa"]


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: str, name: str = "rows.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes("\n".join(lines).encode(encoding, "surrogateescape"))
        return path

    return write


# -- nothing is lost

TEXTS = st.text(st.sampled_from('ab ",;\n\r\té'), max_size=8)


@st.composite
def tables(draw: st.DrawFn) -> tuple[bytes, list[list[str]], int]:
    """Return a file of any dialect, its rows as Python's csv module wrote them, and how many are blank."""
    delimiter = draw(st.sampled_from(",;\t|"))
    every = draw(st.booleans())
    rows: list[list[str]] = []
    for _ in range(draw(st.integers(1, 12))):
        if draw(st.integers(0, 7)) == 0:
            rows.append([])
        else:
            rows.append([draw(TEXTS), str(draw(st.integers(0, 120))), *GOOD.split(",")[1:], draw(TEXTS)])
    out = io.StringIO()
    writer = csv.writer(
        out, delimiter=delimiter, quoting=1 if every else 0, lineterminator=draw(st.sampled_from(["\n", "\r\n"]))
    )
    writer.writerows([["id", *NAMES, "note"], *rows])
    text = out.getvalue()
    if draw(st.booleans()):
        text = text.rstrip("\r\n") if rows[-1] and not rows[-1][-1].endswith(("\r", "\n")) else text
    if draw(st.integers(0, 3)) == 0:  # a stray quote
        place = draw(st.integers(text.index("note") + 4, len(text)))
        text = text[:place] + '"' + text[place:]
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))), rows, ord(delimiter)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=tables(), batch=st.sampled_from([1, 2, 3, 256]))
@example(table=(f'id,{HEADER},note\n1,{GOOD},"a\n2,{GOOD},b\n'.encode(), [], 44), batch=256)
def test_rows_in_are_rows_used_and_rows_named(
    table: tuple[bytes, list[list[str]], int],
    batch: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    content, _, delimiter = table
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    try:
        header, *expected = csv.reader(io.StringIO(text, newline=""), delimiter=chr(delimiter), strict=True)
    except csv.Error:
        header, expected = [], [["a row that cannot be read"]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ml.data.file_reader._BATCH_ROWS", batch)
        try:
            rows, reader = read(path)
        except DataError as error:
            blank = not any("".join(row).strip() for row in expected)
            swallowed = "looks like rows" in str(error)
            # A stray quote may have made a part of the rows a name of the header.
            spoilt = len(header) != len(NAMES) + 2
            assert swallowed or blank or spoilt or any(row and not fits(row) for row in expected), error
            return
    used = [row for row in expected if "".join(row).strip()]
    assert all(map(fits, used))
    assert [row[0] for row in rows] == [int(row[1]) for row in used]
    assert reader.counts() == {
        "rows": len(expected),
        "used": len(used),
        "skipped": {"blank": len(expected) - len(used)} if len(expected) > len(used) else {},
    }


def fits(row: list[str]) -> bool:
    """Say whether the used cells of a row can be used."""
    return len(row) == len(NAMES) + 2 and all(
        Values(field)[cell] is not None for field, cell in zip(DEFAULT.table, row[1:-1], strict=True)
    )


@pytest.mark.parametrize("rows", [300, 3000])
def test_a_quote_that_never_closes_is_an_error_with_its_line(rows: int, file: Callable[..., Path]) -> None:
    lines = [f"{HEADER},note", *[f"{GOOD},x"] * rows]
    for place in (rows // 2, rows):
        broken = [*lines[:place], f'{GOOD},"x', *lines[place + 1 :]]
        assert f"line {place + 1:,}: a quote opens" in fault(file(*broken))
    # two of them, which enclose half of the file and look like one long text
    broken[rows // 2] = f'{GOOD},"x'
    broken[rows - 1] = f'{GOOD},x"'
    message = fault(file(*broken[:-1], lines[1]))
    assert f"line {rows // 2 + 1:,}: a quote opens" in message and "looks like rows" in message


def test_line_breaks_inside_quotes_are_read_and_lines_are_those_of_the_file(file: Callable[..., Path]) -> None:
    lines = [f"{HEADER},note", *[f'{GOOD},"said ""so"",\r\nand, left"'] * 3000]
    rows, reader = read(file(*lines))
    assert (len(rows), reader.used) == (3000, 3000)
    assert "line 6,002, column zone: 'Nord'" in fault(file(*lines, "1,0,1,0.1,Nord,Goal,Visa,x"))
    # in the first column, what follows the break ends like a row, but what is before it is none
    assert read(file(f"note,{HEADER}", *[f'"said ""so"",\nand left",{GOOD}'] * 300))[1].used == 300


def test_columns_that_are_not_used_are_never_converted(file: Callable[..., Path]) -> None:
    mixed = [f"{at},{GOOD}" for at in range(3000)] + [f"A-110000,{GOOD}", f"unknown caf\udce9,{GOOD}"]
    assert len(read(file(f"id,{HEADER}", *mixed))[0]) == 3002
    message = fault(file(HEADER, GOOD, "45,0,21.5,0.7,VIP\udce9,Goal,Visa"))
    assert "line 3, column zone" in message and "is not UTF-8" in message


# -- dialects


@pytest.mark.parametrize(
    ("lines", "encoding", "found"),
    [
        ([HEADER.replace(",", ";"), "45;0;21,5;0,7;VIP;Goal;Visa"], "utf-8", "semicolon"),
        ([HEADER.replace(",", "\t"), GOOD.replace(",", "\t")], "utf-8", "tab"),
        (["sep=;", HEADER.replace(",", ";"), GOOD.replace(",", ";")], "utf-8", "semicolon"),
        (["", HEADER, GOOD, "", ""], "utf-8-sig", "comma"),
        ([HEADER.replace(",", "\t"), GOOD.replace(",", "\t")], "utf-16", "tab"),
        ([HEADER, GOOD], "utf-16-le", "comma"),
        (["Match_Minute,SCORE-DIFF,\"temperature \",crowdDensity, Zone ,EVENT,Sponsor", GOOD], "utf-8", "comma"),
        ([HEADER, "45 , 0,\"21,5\",0.7,vip,goal,VISA"], "utf-8", "comma"),
        ([HEADER, "45',\u22120,21.5,.7,V I-P\u00a0, Goal ,visa"], "utf-8", "comma"),
        ([HEADER, "43+2,0,21.5,7e-1,VIP,Goal,Visa", ",,,,,,", "", " , ,,,,,"], "utf-8", "comma"),
    ],
)  # fmt: skip
def test_a_dialect_is_found_and_said(lines: list[str], encoding: str, found: str, file: Callable[..., Path]) -> None:
    rows, reader = read(file(*lines, encoding=encoding))
    assert rows == [GOOD_ROW]
    assert reader.understood == [
        f"{find_parts(str(file(*lines, encoding=encoding)))[0].name}: CSV, {found} between values"
    ]
    assert reader.rows == reader.used + sum(reader.skipped.values())


def test_an_ambiguous_dialect_is_refused_with_both_readings(file: Callable[..., Path]) -> None:
    message = fault(file("match_minute;x,score_diff", "45;2,0"))
    assert "can be read with comma or semicolon between values" in message and "put sep=," in message
    assert "occurs 2 times: zone, Zone" in fault(file(f"{HEADER},Zone", f"{GOOD},VIP"))


@pytest.mark.parametrize(
    ("cell", "column", "value"),
    [
        ("45'", "match_minute", 45),
        ("90+3", "match_minute", 93),
        ("90 + 3’", "match_minute", 93),
        ("120+2", "match_minute", 122),
        ("130", "match_minute", 130),
        ("\u22122", "score_diff", -2),
        ('"24,5"', "temperature", 24.5),
        ("half-time", "event", "Halftime"),
        ("Half Time", "event", "Halftime"),
        ("final whistle", "event", "FinalWhistle"),
        ("\u00a0vip\u00a0", "zone", "VIP"),
        ("royal_air-MAROC", "sponsor", "Royal Air Maroc"),
    ],
)
def test_a_cell_is_read_as_people_write_it(cell: str, column: str, value: object, file: Callable[..., Path]) -> None:
    cells = dict(zip(NAMES, GOOD.split(","), strict=True)) | {column: cell}
    assert read(file(HEADER, ",".join(cells.values())))[0][0][NAMES.index(column)] == value


@pytest.mark.parametrize("text", ["", "null", "NaN", "NA"])
def test_a_missing_event_is_none(text: str, file: Callable[..., Path]) -> None:
    assert read(file(HEADER, f"45,0,21.5,0.7,VIP,{text},Visa"))[0][0][5] == "None"
    assert "column zone: " in fault(file(HEADER, f"45,0,21.5,0.7,{text},Goal,Visa"))


# -- refusals


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{0},0,21.5,0.7,VIP,Goal,Visa", "column match_minute: '{0}': must be an integer from 0 to {1}"),
        ("4.5,0,21.5,0.7,VIP,Goal,Visa", "column match_minute: '4.5': must be"),
        ("soon,0,21.5,0.7,VIP,Goal,Visa", "column match_minute: 'soon': must be"),
        ("45,0,nan,0.7,VIP,Goal,Visa", "column temperature: 'nan': is missing, it must be a number from -30"),
        ("45,0,inf,0.7,VIP,Goal,Visa", "column temperature: 'inf': must be"),
        ("45,0,21.5,,VIP,Goal,Visa", "column crowd_density: '': is missing"),
        ("45,0,21.5,0.7,VIPS,Goal,Visa", "column zone: 'VIPS': must be one of VIP, North, South, East, West; did you mean VIP?"),
        ("45,0,21.5,0.7,VIP,Goal", "line 1,202: 6 columns instead of 7"),
        ("Total,3000,,,,,", "line 1,202, column match_minute: 'Total': the row looks like a total"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_with_line_column_value_and_remedy(
    line: str, message: str, file: Callable[..., Path]
) -> None:
    limit = int(DEFAULT.fields[0].maximum)
    path = file(HEADER, *[GOOD] * 1200, line.format(limit + 1), GOOD)
    found = fault(path)
    assert message.format(limit + 1, limit) in found
    assert found.startswith(f"1 of 1,202 rows of {path} cannot be used; first {path}, line 1,202")


def test_all_kinds_of_faults_at_once_with_their_numbers(file: Callable[..., Path]) -> None:
    lines = [GOOD.replace("VIP", "Nord")] * 254 + [GOOD.replace("45", "122222")]
    path = file(HEADER, *lines, *(GOOD.replace("Visa", f"Brand {at}") for at in range(30)))
    found = fault(path).split("\n")
    assert found[0].startswith("285 of 285 rows of ") and "'Nord', and in 253 more rows" in found[0]
    assert "line 256, column match_minute: '122222'" in found[2]
    assert len(found) == 12 and found[-1] == "22 more kinds of faults"


def test_of_five_thousand_columns_the_closest_are_named(file: Callable[..., Path]) -> None:
    message = fault(file(",".join([*NAMES[1:], "match_minutes", *(f"c{at}" for at in range(5000))]), "x"))
    assert "column match_minute is missing; the closest is match_minutes" in message and len(message) < 600


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no rows"),
        (HEADER.encode(), "has no rows"),
        (b"x" * 5_000_000, "has no line breaks"),
        (b'{"a": 1}', "is JSON: convert it"),
        (b"<html>", "is HTML"),
        (b"version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer"),
        (b"PAR1" + bytes(50), "cannot be read as Parquet"),
        (bytes(range(256)) * 4, "is neither text nor Parquet"),
        (gzip.compress(b"PAR1" + bytes(50), mtime=0), "a Parquet file inside gzip"),
        (gzip.compress(os.urandom(90_000).hex().encode())[:-3000], "is damaged"),
    ],
)
def test_what_is_no_table_is_said_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    assert message in fault(tmp_path / "x.csv")


@pytest.mark.parametrize("place", [20, 200, -6])
def test_a_bit_that_flipped_in_a_compressed_file_is_told(place: int, tmp_path: Path) -> None:
    minutes = "".join(f"{minute % 120}{GOOD[2:]}\n" for minute in range(3000))
    data = bytearray(gzip.compress(f"{HEADER}\n{minutes}".encode(), mtime=0))
    data[place] ^= 4
    (tmp_path / "x.csv").write_bytes(data)
    assert "is damaged" in fault(tmp_path / "x.csv")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_that_is_refused_many_times_is_refused_with_its_message(
    kind: str, file: Callable[..., Path], tmp_path: Path
) -> None:
    """Each in a process of its own, eight at a time: what a reader leaves running must not end the process otherwise."""
    path = file(HEADER, *[GOOD] * 300, f"x{GOOD[2:]}")
    if kind == "parquet":
        path = parquet(tmp_path / "x.parquet", match_minute=pa.array([1, None]))
    command = [sys.executable, "-m", "ml.check_data", str(path)]

    def refuse(_: int) -> tuple[int, str]:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr.splitlines()[-1].partition(" cannot be used")[0]

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(refuse, range(REFUSALS)))
    of = f"1 of 2 rows of {path}" if kind == "parquet" else f"1 of 301 rows of {path}"
    assert found == {(1, f"error: {of}")}


def test_an_open_file_is_read_and_a_pipe_is_refused_at_once(file: Callable[..., Path]) -> None:
    with file(HEADER, GOOD).open() as opened:
        assert read(f"/dev/fd/{opened.fileno()}")[0] == [GOOD_ROW]
    ends = os.pipe()
    try:
        assert "is not a file: give the path of a file or of a folder" in fault(f"/dev/fd/{ends[0]}")
    finally:
        for end in ends:
            os.close(end)


def test_zip_and_workbook_are_told_apart(tmp_path: Path) -> None:
    for name, message in (("rows.csv", "a ZIP archive"), ("[Content_Types].xml", "an Excel workbook")):
        with zipfile.ZipFile(tmp_path / "x.csv", "w") as archive:
            archive.writestr(name, "x")
        assert message in fault(tmp_path / "x.csv")
    os.mkfifo(tmp_path / "fifo")
    assert "is not a file" in fault(tmp_path / "fifo")
    assert "No such file" in fault(tmp_path / "absent.csv")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstd.compress, bytes], ids=["gz", "bz2", "zst", "plain"])
@pytest.mark.parametrize("name", ["x.CSV.GZ", "x.csv", b"caf\xe9.tsv"])
def test_content_decides_and_not_the_name(name: str | bytes, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(pack(f"{HEADER}\n{GOOD}\n".encode()))
    rows, reader = read(path)
    assert rows == [GOOD_ROW]
    reader.understood[0].encode()  # can be printed


# -- Parquet


def parquet(path: Path, **changes: pa.Array) -> Path:
    """Write two good rows, with these columns instead."""
    columns = {name: pa.array([value] * 2) for name, value in zip(NAMES, GOOD_ROW, strict=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pa.table({**columns, **changes}), path, store_schema=True)
    return path


@pytest.mark.parametrize(
    ("column", "array"),
    [
        ("match_minute", pa.array([decimal.Decimal("45.00")] * 2, pa.decimal128(10, 2))),
        ("match_minute", pa.array([45, None], pa.int8()).fill_null(45)),
        ("match_minute", pa.array(["45", " 43+2"])),
        ("match_minute", pa.array([45.0, 45.0], pa.float32())),
        ("match_minute", pa.array(["45", "45"], pa.large_string())),
        ("zone", pa.array(["VIP", "vip "], pa.string_view())),
        ("zone", pa.array(["VIP", "VIP"]).dictionary_encode()),
        ("zone", pa.array([b"VIP", b"VIP"], pa.binary())),
        ("note", pa.array([datetime.datetime(2026, 1, 1), None])),
        ("note", pa.array([[1], None])),
    ],
)  # fmt: skip
def test_parquet_columns_that_mean_a_number_or_a_name(column: str, array: pa.Array, tmp_path: Path) -> None:
    assert read(parquet(tmp_path / "a[1]'*.parquet.gzip", **{column: array}))[0] == [GOOD_ROW] * 2


def test_parquet_is_refused_by_row_and_when_it_is_damaged(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", match_minute=pa.array([1, None]))
    assert "row 2, column match_minute" in fault(path)
    minutes = pa.array([datetime.timedelta(minutes=45)] * 2)
    assert "row 1, column match_minute" in fault(parquet(tmp_path / "x.parquet", match_minute=minutes))
    assert read(parquet(tmp_path / "x.parquet", event=pa.array([None, "Goal"])))[0][0][5] == "None"
    whole = parquet(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "cannot be read as Parquet" in fault(path)


# -- folders


def test_a_folder_of_parts_is_read_in_name_order_with_the_columns_of_its_paths(tmp_path: Path) -> None:
    for minute, zone in enumerate(("West", "VIP")):
        path = parquet(tmp_path / "set" / f"zone={zone}" / "part-0.parquet", match_minute=pa.array([minute] * 2))
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(path, partitioning=None).drop_columns("zone"), path)
    (tmp_path / "set" / "_SUCCESS").touch()
    (tmp_path / "set" / ".part-0.crc").write_bytes(b"\0")
    (tmp_path / "set" / "more.csv").write_text(f"{HEADER}\n{GOOD}\n")
    rows, reader = read(tmp_path / "set")
    assert [(row[0], row[4]) for row in rows] == [(45, "VIP"), (1, "VIP"), (1, "VIP"), (0, "West"), (0, "West")]
    assert len(reader.understood) == 3
    assert len(read(f"{tmp_path}/set/zone=*/*.parquet")[0]) == 4
    assert len(read(f"{tmp_path}/set/**/*.parquet")[0]) == 4
    assert "has no data files" in fault(f"{tmp_path}/set/*.txt")
    (tmp_path / "set" / "more.csv").write_text(f"{HEADER}\n{GOOD}\n1,2\n")
    assert "1 of 6 rows of all 3 files cannot be used; first more.csv, line 3" in fault(tmp_path / "set")


def test_the_newest_days_are_those_of_the_names_and_else_of_the_last_change(tmp_path: Path) -> None:
    for name in ("2026-10-31.csv", "m_20261101.csv", "year=2026/month=11/day=2/a.csv", "2026-11-03.csv", "undated.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.utime(tmp_path / "undated.csv", (0, datetime.datetime(2026, 11, 1, tzinfo=datetime.timezone.utc).timestamp()))
    found = {days: [part.name for part in find_parts(str(tmp_path), days)] for days in (0, 1, 2, 3)}
    assert len(found[0]) == 5
    assert found[1] == ["2026-11-03.csv"]
    assert found[2] == ["2026-11-03.csv", "year=2026/month=11/day=2/a.csv"]
    assert found[3] == ["2026-11-03.csv", "m_20261101.csv", "undated.csv", "year=2026/month=11/day=2/a.csv"]
