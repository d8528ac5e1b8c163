# SPDX-License-Identifier: GPL-3.0-or-later
"""The encoding of a context: numbers as they are, then one indicator for each value of a choice.

The default of a choice has no column: nothing chosen is the zero vector. By the default schema these are 15 dimensions.
Training and serving both call the functions below; there is no second implementation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .schema import Context, Schema

Features = NDArray[np.float32]
#: Many contexts, one array for each field, all of length n: numbers, and the places of names in ``Field.values``.
Arrays = Mapping[str, NDArray[Any]]


def context_at(schema: Schema, arrays: Arrays, row: int) -> Context:
    """Return one row as a context."""
    return {
        field.name: field.values[arrays[field.name][row]] if field.kind is str else field.kind(arrays[field.name][row])
        for field in schema.fields
    }


def encode_arrays(schema: Schema, arrays: Arrays) -> Features:
    """Return the features of ``arrays``, float32 of shape (n, columns), columns as in ``schema.columns``."""
    rows = len(arrays[schema.fields[0].name])
    features = np.zeros((rows, len(schema.columns)), dtype=np.float32)
    for column, field in enumerate(schema.numbers):
        features[:, column] = arrays[field.name]
    for name, indicators in schema.indicators.items():
        columns = np.array(indicators)[arrays[name]]
        shown = np.flatnonzero(columns >= 0)
        features[shown, columns[shown]] = 1
    return features


def encode(schema: Schema, contexts: Sequence[Context]) -> Features:
    """Return the features of validated contexts, float32 of shape (n, columns), columns as in ``schema.columns``."""
    features = np.zeros((len(contexts), len(schema.columns)), dtype=np.float32)
    if schema.numbers and contexts:
        features[:, : len(schema.numbers)] = list(map(schema.take_numbers, contexts))
    for row, context in enumerate(contexts):
        for name, columns in schema.take_columns:
            column = columns.get(context[name])
            if column is not None:
                features[row, column] = 1
    return features
