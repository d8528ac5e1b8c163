# SPDX-License-Identifier: GPL-3.0-or-later
"""Another table altogether, by data alone: handwritten digits, from scikit-learn's own data sets.

    make demo-own-table        (python -m tests.own_table build/own-table)

writes a description, a catalogue and a CSV; then checks, trains, publishes to a storage server on this machine, serves and
asks. No code of ml/ is changed for it, and no VM is needed.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import requests
from sklearn.datasets import load_digits

from tests.faulty_storage import faulty_storage
from tests.running_function import lay_out, running_function
from tests.stadium import Description, command, train
from tests.unit.ml.model_fixtures import BUCKET, new_client

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FRENCH = ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf")
HALVES = (
    {"name": "upper", "en": "the upper half", "fr": "la moitié supérieure"},
    {"name": "lower", "en": "the lower half", "fr": "la moitié inférieure"},
    {"name": "neither", "en": "neither", "fr": "aucune"},
)


def write_digits(folder: Path) -> Description:
    """Write the description, the catalogue and the rows: an image in 4 by 4 blocks, and which half holds more ink."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    blocks = digits.images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))
    halves = [np.sign(block[:2].sum() - block[2:].sum()) for block in blocks]
    fields: list[dict[str, Any]] = [
        {
            "name": f"ink_{row + 1}_{column + 1}", "kind": "number", "minimum": 0, "maximum": 16, "default": 0, "step": 0.25,
            "example": float(blocks[0][row][column]),
            "label": {"en": f"Ink, row {row + 1}, column {column + 1}", "fr": f"Encre, ligne {row + 1}, colonne {column + 1}"},
        }
        for row in range(4)
        for column in range(4)
    ]  # fmt: skip
    fields.append(
        {
            "name": "heavier", "kind": "choice", "default": "neither", "values": HALVES,
            "label": {"en": "More ink in", "fr": "Plus d’encre dans"},
        }
    )  # fmt: skip
    schema = {
        "title": {"en": "Which digit is it?", "fr": "Quel chiffre est-ce ?"},
        "fields": fields,
        "target": {"name": "digit", "label": {"en": "digit", "fr": "chiffre"}},
    }
    catalogue = {
        "sponsors": [
            {"name": name, "category": "even" if value % 2 == 0 else "odd", "campaign_message": f"{word}, {value}."}
            for value, (name, word) in enumerate(zip(NAMES, FRENCH, strict=True))
        ],
        "categories": [{"name": "even", "en": "even", "fr": "pair"}, {"name": "odd", "en": "odd", "fr": "impair"}],
    }
    found = Description(folder / "schema.json", folder / "catalogue.json", folder / "digits.csv")
    found.schema.write_text(json.dumps(schema, ensure_ascii=False, indent=1), encoding="utf-8")
    found.sponsors.write_text(json.dumps(catalogue, ensure_ascii=False, indent=1), encoding="utf-8")
    with found.data.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(field["name"] for field in fields), "digit"])
        for block, half, label in zip(blocks, halves, digits.target, strict=True):
            writer.writerow([*block.ravel(), {1.0: "upper", -1.0: "lower", 0.0: "neither"}[half], NAMES[label]])
    return found


def example(found: Description, number: int) -> tuple[dict[str, Any], str]:
    """Return the context and the digit of a row of the data."""
    with found.data.open(encoding="utf-8") as file:
        row = next(row for place, row in enumerate(csv.DictReader(file)) if place == number)
    digit = row.pop("digit")
    return {name: value if name == "heavier" else float(value) for name, value in row.items()}, digit


def main(folder: Path) -> int:
    """Go the whole way; return the exit code."""
    found = write_digits(folder)
    print(f"==> wrote {found.schema}, {found.sponsors} and {found.data}", flush=True)
    with faulty_storage() as storage, tempfile.TemporaryDirectory() as work:
        new_client(storage.url).create_bucket(BUCKET)
        described = (f"--schema={found.schema}", f"--sponsors={found.sponsors}")
        print("==> python -m ml.check_data", flush=True)
        ended = command(storage.url, "ml.check_data", *described, found.data)
        if ended.returncode == 0:
            print(f"{ended.stdout}==> python -m ml.train", flush=True)
            ended = train(storage.url, BUCKET, found, Path(work) / "run")
        print(ended.stdout + ended.stderr, end="", flush=True)
        if ended.returncode:
            return ended.returncode
        with running_function(lay_out(Path(work) / "function"), storage.url) as server:
            print(f"==> served at {server.url}", flush=True)
            rows = [example(found, number) for number in range(5)]
            body = {"instances": [context for context, _ in rows]}
            answers = requests.post(server.url, json=body, timeout=60).json()["predictions"]
            for answer, (_, digit) in zip(answers, rows, strict=True):
                told = f"{answer['recommended_sponsor']} ({answer['category']}), {answer['confidence']:.1%}"
                print(f"a {digit} is taken for {told}")
            page = requests.get(server.url, headers={"Accept": "text/html"}, timeout=60)
            schema = requests.get(f"{server.url}/schema", timeout=60).json()
            print(
                f"its page ({len(page.content):,} bytes) shows {len(schema['fields'])} controls: {schema['title']['en']}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
