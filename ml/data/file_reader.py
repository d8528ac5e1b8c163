# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of data files in any dialect, every one of them used, named as skipped, or refused with its line.

CSV is read by Python's csv module, Parquet by DuckDB, of both the used columns only (docs/operations.md has the
measurements behind that). A cell becomes a value in ``ml.data.values``.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from ml.core.schema import Field
from ml.data.file_kind import DECOMPRESS_FAILURES, PARQUET, DataError, as_text, open_plain
from ml.data.parts import Part
from ml.data.values import Values, looks_like_total, match_columns

Batch = dict[str, list[float]]  # the values of each field, names as places in Field.values

_BATCH_ROWS = 256  # what fits into the CPU's cache
_LONGEST_LINE = 4 * 2**20  # characters
_FIELD_LIMIT = 2**20  # characters of a cell
_SHOWN = 10  # faults
_REMEMBERED = 1000  # faults
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "|"}
_BREAK = re.compile(r"\r\n|\r|\n")


class DataReader:
    """Reads parts one after the other; afterwards it says what was in them.

    ``rows`` is what the files hold, ``used`` what was yielded and ``skipped`` the rest by reason; ``understood`` has a line
    a part about its dialect.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = fields
        self.rows = self.used = 0
        self.skipped: Counter[str] = Counter()
        self.understood: list[str] = []
        self._faults: dict[tuple[str, str, str], list[Any]] = {}  # (part, column, cell) -> [place, remedy, rows]
        self._wrong_rows = self._more = 0

    def read(self, parts: Iterable[tuple[Part, Path]]) -> Iterator[Batch]:
        """Yield the rows of the parts, each with the file that holds it, in batches.

        A file that is shorter than its object is the beginning of it; its last row may be cut and is left out. Raises
        DataError after the last part with what was wrong in all of them, at once for a file that cannot be read on.
        """
        names = []
        for part, path in parts:
            names.append(part.name)
            before = self.rows
            try:
                yield from self._part(part, path)
            except (*DECOMPRESS_FAILURES, UnicodeError) as error:
                raise DataError(
                    f"{part.name} is damaged after row {self.rows - before:,}: {error}; make it again"
                ) from error
            except OSError as error:
                raise DataError(f"{part.name} cannot be read: {error.strerror or error}") from error
        what = names[0] if len(names) == 1 else f"all {len(names)} files"
        if self._faults:
            self._refuse(what)
        if not self.used:
            raise DataError(f"{what} has no rows" if len(names) == 1 else f"{what} have no rows")

    def counts(self) -> dict[str, Any]:
        """Return the numbers of rows, for the manifest."""
        return {"rows": self.rows, "used": self.used, "skipped": {k: n for k, n in self.skipped.items() if n}}

    def summary(self) -> str:
        """Return the numbers of rows in words."""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.skipped.items() if count)
        return f"{self.rows:,} rows in the data = {self.used:,} used + {self.rows - self.used:,} skipped" + (
            f" ({reasons})" if reasons else ""
        )

    def _part(self, part: Part, path: Path) -> Iterator[Batch]:
        whole = not part.generation or path.stat().st_size == part.size
        file, head, packed = open_plain(path, part.name)
        with file:
            if head.startswith(PARQUET):
                yield from self._parquet(part, path)
            elif head.strip():
                with as_text(file, head, part.name) as text:
                    yield from self._text(part, text, packed, whole)

    # -- CSV

    def _text(self, part: Part, text: TextIO, packed: str, whole: bool) -> Iterator[Batch]:
        csv.field_size_limit(_FIELD_LIMIT)
        taken = 0  # lines before the header
        delimiter = ""
        for header in iter(lambda: text.readline(_LONGEST_LINE), ""):
            if len(header) == _LONGEST_LINE:
                raise DataError(f"{part.name} has no line breaks: it is not a table with one row a line")
            if match := re.fullmatch(r"sep=(.)\s*", header):
                delimiter = match[1]
            elif header.strip():
                break
            taken += 1
        else:
            return
        fields = [f for f in self.fields if f.name not in dict(part.columns)]
        delimiter = delimiter or _delimiter(header, fields, part.name)
        rows = csv.reader(itertools.chain([header], text), delimiter=delimiter, strict=True)
        try:
            names = next(rows)
        except csv.Error as error:
            raise DataError(f"{part.name}, line {taken + 1}: the header cannot be read ({error})") from error
        places = self._columns(names, part)
        self.understood.append(
            f"{part.name}: CSV, {_DELIMITERS.get(delimiter, delimiter)} between values{f', {packed}' if packed else ''}"
        )
        values, fixed = [Values(field) for field in self.fields], dict(part.columns)
        pick = [places.get(field.name, -1) for field in self.fields]
        width, line, ended = len(names), taken + rows.line_num + 1, False
        while not ended:
            found: list[list[str]] = []
            begin = rows.line_num
            try:
                for row in itertools.islice(rows, _BATCH_ROWS):
                    found.append(row)
                ended = len(found) < _BATCH_ROWS
            except (csv.Error, *DECOMPRESS_FAILURES) as error:
                if whole and isinstance(error, csv.Error):
                    self._open_quote(part, line + sum(1 + _breaks("".join(row)) for row in found), str(error))
                if whole:
                    raise
                ended = True
            if ended and not whole and found:
                found.pop()  # it may be cut
            self.rows += len(found)
            good: list[list[str]] = found
            starts: Sequence[int] = range(line, line + len(found))
            if rows.line_num - begin != len(found) or any(len(row) != width for row in found):
                judged = list(self._judge(part, found, line, width, pick, values, delimiter))
                good, starts = [row for row, _ in judged], [start for _, start in judged]
            line = line + rows.line_num - begin
            if good:
                cells = [
                    [row[at] for row in good] if at >= 0 else [fixed[f.name]] * len(good)
                    for f, at in zip(self.fields, pick, strict=True)
                ]
                yield from self._values(part, cells, values, good, "line", starts)

    def _judge(
        self,
        part: Part,
        found: list[list[str]],
        line: int,
        width: int,
        pick: list[int],
        values: list[Values],
        delimiter: str,
    ) -> Iterator[tuple[list[str], int]]:
        """Yield the rows that have the right form, and their lines; count the blank ones, note the others."""
        for row in found:
            text = "".join(row)
            breaks = _breaks(text)
            if len(row) == width:
                if breaks:
                    self._check_swallowed(part, row, line, pick, values, delimiter)
                yield row, line
            elif not text.strip():
                self.skipped["blank"] += 1
            else:
                remedy = "it looks like a total below the table: remove it"
                if not looks_like_total(row):
                    remedy = f"put quotes around values with a {_DELIMITERS.get(delimiter, delimiter)} in them"
                self._fault(part, "", f"{len(row)} columns instead of {width}", f"line {line:,}", remedy)
                self._wrong_rows += 1
            line += 1 + breaks

    def _check_swallowed(
        self, part: Part, row: list[str], line: int, pick: list[int], values: list[Values], delimiter: str
    ) -> None:
        """Refuse a quoted text that holds what is itself a valid row: its quotes are most likely two stray ones."""
        for place, cell in enumerate(row):
            if "\n" not in cell and "\r" not in cell:
                continue
            texts = _BREAK.split(cell)
            # What is before the first break would be the end of a row that is whole, too.
            if place + texts[0].count(delimiter) + 1 < len(row):
                continue
            for number, text in enumerate(texts[1:], 1):
                rest = row[place + 1 :] if number == len(texts) - 1 else []
                if text.count(delimiter) + 1 + len(rest) < len(row):
                    continue
                cells = next(csv.reader([text], delimiter=delimiter), []) + rest
                if len(cells) == len(row) and all(
                    known[cells[at]] is not None for known, at in zip(values, pick, strict=True) if at >= 0
                ):
                    raise DataError(
                        f"{part.name}, line {line:,}: a quote opens in the row that begins here, and what it encloses looks "
                        f"like rows of the table (line {line + number:,}); remove the quote, or write it twice"
                    )

    def _open_quote(self, part: Part, line: int, trouble: str) -> None:
        what = "a quote opens in the row that begins here and never closes"
        if "expected after" in trouble:
            what = "a quote in the row that begins here is followed by more text"
        elif "quote" not in trouble and "unexpected end" not in trouble and "limit" not in trouble:
            what = f"the row that begins here cannot be read ({trouble})"
        raise DataError(f'{part.name}, line {line:,}: {what}; write a quote inside a text twice (""), or remove it')

    # -- Parquet

    def _parquet(self, part: Part, path: Path) -> Iterator[Batch]:
        try:
            import duckdb
        except ImportError:
            raise DataError(f"{part.name} is a Parquet file: pip install duckdb, or write it as CSV") from None
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": 1,
            "memory_limit": "256MB",
            "temp_directory": "",
            "autoinstall_known_extensions": False,
        }
        try:
            with duckdb.connect(config=config) as database:
                quoted_path = _quoted(str(path), "'")
                # a list: a name with a * or [ in it is no pattern
                table = f"read_parquet([{quoted_path}], hive_partitioning=false)"
                names = [row[0] for row in database.execute(f"DESCRIBE FROM {table}").fetchall()]
                places = self._columns(names, part)
                self.understood.append(f"{part.name}: Parquet")
                used = [_quoted(names[places[f.name]], '"') for f in self.fields if f.name in places]
                rows = database.execute(f"SELECT {', '.join(used)} FROM {table}")  # noqa: S608 - both are quoted
                values, fixed = [Values(field) for field in self.fields], dict(part.columns)
                row = 1
                while found := rows.fetchmany(_BATCH_ROWS):
                    self.rows += len(found)
                    columns = iter(zip(*found, strict=True))
                    cells = [next(columns) if f.name in places else [fixed[f.name]] * len(found) for f in self.fields]
                    yield from self._values(part, cells, values, found, "row", range(row, row + len(found)))
                    row += len(found)
        except duckdb.Error as error:
            text = " ".join(str(error).split())[:200]
            raise DataError(f"{part.name} cannot be read as Parquet: {text}; write it again") from error

    # -- both

    def _columns(self, names: Sequence[object], part: Part) -> dict[str, int]:
        places, faults = match_columns(names, [f for f in self.fields if f.name not in dict(part.columns)])
        if faults:
            shown = ", ".join(str(name)[:30] for name in names[:8]) + (
                f" and {len(names) - 8:,} more" if len(names) > 8 else ""
            )
            begins = f"; its first line has {shown or 'nothing'}"
            raise DataError(f"{part.name}: {'; '.join(faults)}{begins}", faults)
        return places

    def _values(
        self,
        part: Part,
        cells: Sequence[Sequence[Any]],
        values: list[Values],
        rows: Sequence[Sequence[Any]],
        unit: str,
        starts: Sequence[int],
    ) -> Iterator[Batch]:
        """Yield the values of ``cells``, the used columns of ``rows``, if all can be used; ``starts`` are their lines."""
        batch = {memo.field.name: [memo[cell] for cell in column] for memo, column in zip(values, cells, strict=True)}
        if any(None in column for column in batch.values()):
            kept = [
                at
                for at, row in enumerate(rows)
                if self._check(part, cells, values, batch, row, f"{unit} {starts[at]:,}", at)
            ]
            batch = {name: [column[at] for at in kept] for name, column in batch.items()}
        self.used += len(batch[self.fields[0].name])
        if not self._faults:
            yield batch  # type: ignore[misc]  # no None is left

    def _check(
        self,
        part: Part,
        cells: Sequence[Sequence[Any]],
        values: list[Values],
        batch: dict[str, list[float | None]],
        row: Sequence[Any],
        place: str,
        at: int,
    ) -> bool:
        """Say whether a row can be used; note what is wrong with it, or count it as blank."""
        wrong = [number for number, memo in enumerate(values) if batch[memo.field.name][at] is None]
        if not wrong:
            return True
        if not any(cell is not None and str(cell).strip() for cell in row):
            self.skipped["blank"] += 1
            return False
        self._wrong_rows += 1
        total = looks_like_total(row)
        for number in wrong[:1] if total else wrong:
            cell = cells[number][at]
            remedy = "the row looks like a total below the table: remove it" if total else values[number].explain(cell)
            self._fault(part, values[number].field.name, _show(cell), place, remedy)
        return False

    def _fault(self, part: Part, column: str, cell: str, place: str, remedy: str) -> None:
        entry = self._faults.get((part.name, column, cell))
        if entry is not None:
            entry[2] += 1
        elif len(self._faults) < _REMEMBERED:
            self._faults[part.name, column, cell] = [place, remedy, 1]
        else:
            self._more += 1

    def _refuse(self, what: str) -> None:
        """Raise DataError with the first faults, each kind once."""
        texts = []
        for (name, column, cell), (place, remedy, rows) in self._faults.items():
            where = f"{name}, {place}" + (f", column {column}" if column else "")
            also = f", and in {rows - 1:,} more rows" if rows > 1 else ""
            texts.append(f"{where}: {cell}{also}: {remedy}")
        more = len(texts) - _SHOWN + self._more
        counted = f"{self._wrong_rows:,} of {self.rows:,} rows of {what} cannot be used"
        left = f"; {more:,} more kinds of faults" if more > 0 else ""
        raise DataError(f"{counted}; first {texts[0]}", [*texts[:_SHOWN], *([left[2:]] if left else [])])


def _delimiter(header: str, fields: Sequence[Field], name: str) -> str:
    """Return what stands between the values: that with which the header names most of the fields."""
    found: dict[str, int] = {}
    for delimiter in _DELIMITERS:
        try:
            names = next(csv.reader([header], delimiter=delimiter))
        except csv.Error:
            continue
        found[delimiter] = len(match_columns(names, fields)[0])
    most = max(found.values(), default=0)
    best = [delimiter for delimiter, count in found.items() if count == most]
    if most > 0 and len(best) > 1:
        readings = " or ".join(_DELIMITERS[delimiter] for delimiter in best)
        raise DataError(f"{name}: its first line can be read with {readings} between values, {most} columns known with each; "
                        "put sep=, (or the right one) on a line before it")  # fmt: skip
    if not most:
        return max(_DELIMITERS, key=header.count)
    return best[0]


def _breaks(text: str) -> int:
    """Return the number of line breaks in a text."""
    return len(_BREAK.findall(text)) if "\r" in text else text.count("\n")


def _quoted(text: str, quote: str) -> str:
    return quote + text.replace(quote, 2 * quote) + quote


def _show(cell: object) -> str:
    """Return a short form of a refused cell for a message."""
    text = ascii(cell) if isinstance(cell, str) and any("\ud800" <= c <= "\udfff" for c in cell) else repr(cell)
    return "the value" if cell is None else text if len(text) <= 60 else text[:60] + "…"
