# SPDX-License-Identifier: GPL-3.0-or-later
"""Another stadium: two more zones, another event, a new sponsor, and two sponsors that are gone."""

from __future__ import annotations

import copy
import csv
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import requests

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
GOAL = {"zone": "VIP", "event": "Goal"}


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


class OldClient(threading.Thread):
    """Asks without a pause what it has always asked; counts the answers by status and version of the release."""

    def __init__(self, url: str, session: requests.Session | None = None) -> None:
        super().__init__(name="old client", daemon=True)
        self.url = url
        self.answers: Counter[tuple[int | str, Any]] = Counter()
        self._session = session or requests.Session()
        self._over = threading.Event()

    def run(self) -> None:
        """Ask until it is over; an answer that does not come counts by what happened instead."""
        with self._session as session:
            while not self._over.is_set():
                try:
                    answer = session.post(self.url, json={"instances": [GOAL, {"zone": "West"}]}, timeout=60)
                    self.answers[answer.status_code, answer.json().get("release", {}).get("version")] += 1
                except (requests.RequestException, ValueError) as error:
                    self.answers[type(error).__name__, None] += 1

    def end(self) -> Counter[tuple[int | str, Any]]:
        """Stop asking, and return the counts."""
        self._over.set()
        self.join(60)
        return self.answers
