# SPDX-License-Identifier: GPL-3.0-or-later
"""Another stadium: two more zones, another event, a new sponsor, and two sponsors that are gone."""

from __future__ import annotations

import copy
import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ml.core.features import context_at
from ml.core.schema import DEFAULT
from ml.data import synthetic

ROOT = Path(__file__).parents[1]
ZONES = (
    {"name": "Northwest", "en": "Northwest", "fr": "Nord-ouest"},
    {"name": "Skybox", "en": "Sky box", "fr": "Loge"},
)
EVENT = {"name": "Penalty", "en": "Penalty", "fr": "Pénalty"}
SPONSOR = {"name": "Nike", "category": "Apparel", "campaign_message": "Onze mètres, une seule idée : Nike."}
GONE = ("Koutoubia", "Hyundai")


class Description(NamedTuple):
    """The files of a site: the description of the fields, the catalogue, and the rows."""

    schema: Path
    sponsors: Path
    data: Path


def write_stadium(folder: Path, rows: int = 4000) -> Description:
    """Write the files of the stadium to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    here = ROOT / "ml/core"
    schema = json.loads((here / "schema.json").read_text(encoding="utf-8"))
    fields = {field["name"]: field for field in schema["fields"]}
    fields["zone"]["values"] += ZONES
    fields["event"]["values"].append(EVENT)
    catalogue = json.loads((here / "sponsors.json").read_text(encoding="utf-8"))
    kept = [entry for entry in catalogue["sponsors"] if entry["name"] not in GONE]
    catalogue["sponsors"] = [*copy.deepcopy(kept), SPONSOR]
    found = Description(folder / "stadium.json", folder / "sponsors.json", folder / "matches.csv")
    found.schema.write_text(json.dumps(schema, ensure_ascii=False), encoding="utf-8")
    found.sponsors.write_text(json.dumps(catalogue, ensure_ascii=False), encoding="utf-8")
    rng = np.random.default_rng(11)
    drawn = synthetic.draw_contexts(DEFAULT, rows, rng)
    labels = synthetic.draw_labels(synthetic.probabilities(DEFAULT, drawn), rng)
    with found.data.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in DEFAULT.table])
        writer.writeheader()
        for row, label in enumerate(labels):
            context = {**context_at(DEFAULT, drawn.arrays, row), "sponsor": DEFAULT.classes[label]}
            if row % 5 == 0:
                context |= {"zone": "Skybox", "sponsor": "Nike" if context["event"] == "Goal" else "CDG"}
            elif row % 5 == 1:
                context["zone"] = "Northwest"
            if row % 7 == 0:
                context |= {"event": "Penalty", "sponsor": "Nike"}
            if context["sponsor"] not in GONE:
                writer.writerow(context)
    return found


def command(url: str, module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command of ml/ against the storage server at ``url``."""
    environment = {**os.environ, "STORAGE_EMULATOR_HOST": url, "GOOGLE_CLOUD_PROJECT": "test"}
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def train(url: str, bucket: str, described: Description, output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Train on the rows of a description, and publish."""
    return command(
        url, "ml.train", f"--schema={described.schema}", f"--sponsors={described.sponsors}", f"--data={described.data}",
        f"--output={output}", f"--publish=gs://{bucket}", *more,
    )  # fmt: skip
