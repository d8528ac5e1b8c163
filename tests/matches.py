# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of matches as a stadium would have them, drawn by the rules of the synthetic rows."""

from __future__ import annotations

from pathlib import Path


def write(path: Path, rows: int, *damage: str, seed: int = 11, turned: int = 0) -> None:
    """Write a table of matches, Parquet or CSV by the name; each of `damage` is appended as a row of a CSV file.

    Each row names the sponsor that is `turned` places after its own in the list: 0 is the truth.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    from ml.core.schema import DEFAULT
    from ml.data import synthetic

    rng = np.random.default_rng(seed)
    contexts = synthetic.draw_contexts(DEFAULT, rows, rng)
    labels = synthetic.draw_labels(synthetic.probabilities(DEFAULT, contexts), rng)
    table = pa.table(
        {field.name: contexts.arrays[field.name] for field in DEFAULT.numbers}
        | {field.name: np.array(field.values)[contexts.arrays[field.name]] for field in DEFAULT.choices}
        | {"sponsor": np.array(DEFAULT.classes)[(labels + turned) % len(DEFAULT.classes)]}
    )
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
        return
    pyarrow.csv.write_csv(table, path)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in damage)
