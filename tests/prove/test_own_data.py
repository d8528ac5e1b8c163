# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody's own data on a real guest: another stadium, a folder that grows for thirty days, three million rows of quoted CSV."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import requests

from ml.core.features import Arrays
from ml.core.schema import DEFAULT
from ml.data import spool, synthetic
from tests.growing_data import Case, rows_of_day, wrong_rows
from tests.prove.figures import record, table
from tests.rehearsal.conftest import Outcome, Rehearsal, served, vm_states
from tests.rehearsal.owner import Owner
from tests.rehearsal.test_end_to_end import function_url
from tests.stadium import GOAL, GONE, OldClient, write_stadium

__all__ = ["served"]
pytestmark = pytest.mark.timeout(3600)
COMMAND = "make prove-own-data"
BUCKET, PREFIX = "fanops-m4-models", "daily/"
FUNCTION = (
    "https://cloudfunctions.googleapis.com/v2/projects/fanops-rehearsal/locations/us-central1/functions/m4-sponsor-ai"
)
MOST_MEMORY = 400e6  # bytes; what a guest of 1 GiB leaves to a training
UPLOAD = """
import sys
from google.cloud import storage
for path in sys.argv[3:]:
    blob = storage.Client().bucket(sys.argv[1]).blob(sys.argv[2] + path.rsplit("/", 1)[-1])
    blob.upload_from_filename(path, timeout=600)
"""
# The manifest of the newest candidate, published or not.
MANIFEST = "sudo sh -c 'cat $(ls -t /var/lib/fanops/runs/*/manifest.json | head -1)'"
TRAIN = f"sudo fanops-train --keep-vm; code=$?; {MANIFEST}; exit $code"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where gcloud keeps its SSH key."""
    return str(tmp_path_factory.mktemp("home"))


@pytest.fixture
def awake(cloud: Rehearsal) -> Iterator[Rehearsal]:
    """A site that has a bucket and a VM, which is stopped afterwards; the function has no part in it."""
    stages = ("playbooks/validate_inputs.yml", "playbooks/provision_resources.yml")
    provided = cloud.playbook(*stages, "-e", "training_accept_source_change=true")  # what is live may be another test's
    assert provided.code == 0, provided.output[-4000:]
    yield cloud
    stopped = cloud.playbook("playbooks/stop_vm.yml")
    assert stopped.code == 0 and set(vm_states(cloud)) == {"TERMINATED"}, stopped.output[-3000:]


def upload(cloud: Rehearsal, prefix: str, *paths: Path) -> int:
    """Put files below a prefix of the bucket; return their bytes."""
    done = cloud.run("python", "-W", "ignore", "-c", UPLOAD, BUCKET, prefix, *map(str, paths))
    assert done.code == 0, done.output
    return sum(path.stat().st_size for path in paths)


def write(rows: spool.Records | Arrays, path: Path, **more: Any) -> Path:
    """Write rows as CSV, names in words; ``more`` are columns that no training uses."""
    columns: dict[str, Any] = {
        field.name: np.array(field.values)[rows[field.name]] if field.values else rows[field.name]
        for field in DEFAULT.table
    }
    quoting = "all_valid" if more else "needed"
    pyarrow.csv.write_csv(pa.table({**columns, **more}), path, pyarrow.csv.WriteOptions(quoting_style=quoting))
    return path


def on_the_vm(cloud: Rehearsal, home: str, command: str, timeout: float = 600) -> Outcome:
    return cloud.run(
        "gcloud", "compute", "ssh", "ml-training-vm", "--zone=us-central1-a", f"--command={command}", HOME=home, timeout=timeout
    )  # fmt: skip


def through_the_door(cloud: Rehearsal) -> requests.Session:
    """Return a session that reaches the function as everybody does."""
    session = requests.Session()
    session.trust_env, session.verify = False, cloud.environment["REQUESTS_CA_BUNDLE"]
    session.proxies = {"https": cloud.environment["HTTPS_PROXY"]}
    return session


def last_manifest(output: str) -> dict[str, Any]:
    """Return the manifest at the end of an output."""
    found: dict[str, Any] = json.JSONDecoder().raw_decode(output, output.rindex('{\n "'))[0]
    return found


def bytes_read(cloud: Rehearsal, mark: str, prefix: str) -> int:
    """Return how many bytes of objects below a prefix the storage service sent to the VM since a mark, as its log has it."""
    found = cloud.requests(mark, "--method", "storage.objects.get")
    bodies = [one for one in found if "alt=media" in one["path"] and f"/o/{prefix}" in unquote(one["path"])]
    return sum(one["sent"] for one in bodies if one["principal"].startswith("m4-trainer@"))


# -- another stadium


def test_another_stadium_is_served_without_a_deployment_and_taken_back(served: Rehearsal, tmp_path: Path) -> None:
    cloud, owner = served, Owner(served)
    described = write_stadium(tmp_path, 12_000)
    site = {"model_schema": described.schema, "sponsor_catalogue": described.sponsors, "training_data": described.data}
    variables = ("-e", json.dumps({name: str(path) for name, path in site.items()}))
    session, url = through_the_door(cloud), function_url(cloud)

    def ask(**context: Any) -> requests.Response:
        return session.post(f"{url}/?probabilities=true", json=context, timeout=60)

    def revision() -> str:
        return str(owner.call("GET", FUNCTION)["serviceConfig"]["revision"])

    def until(version: int) -> dict[str, Any]:
        """Ask until a release answers; the function looks at the pointer once a minute."""
        for _ in range(20_000):
            answer: dict[str, Any] = ask(**GOAL).json()
            if answer["release"]["version"] == version:
                return answer
        raise AssertionError(f"release {version} never answered")

    first, deployed = ask(**GOAL).json(), revision()
    began = first["release"]["version"]
    crowd = OldClient(url, through_the_door(cloud))
    crowd.start()
    steps: list[tuple[str, str, str, str]] = []

    def step(what: str) -> None:
        skybox, gone = ask(zone="Skybox", event="Penalty"), set(GONE) & set(ask(**GOAL).json()["probabilities"])
        said = skybox.json().get("recommended_sponsor", "refused: 400" if skybox.status_code == 400 else "?")
        steps.append((what, revision().rpartition("-")[0][-5:], str(said), ", ".join(sorted(gone)) or "gone"))

    try:
        step("before")
        assert ask(zone="Skybox").status_code == 400
        trained = cloud.playbook("site.yml", *variables, "--skip-tags", "deploy")
        assert trained.code == 0 and "is live" in trained.output, trained.output[-6000:]
        until(began + 1)
        step("trained and published by site.yml, not deployed")
        assert revision() == deployed
        answer = ask(zone="Skybox", event="Penalty").json()
        assert (answer["recommended_sponsor"], answer["category"]) == ("Nike", "Apparel")
        assert answer["campaign_message"].endswith("Nike.")
        assert not set(GONE) & set(answer["probabilities"])

        back = cloud.playbook("playbooks/rollback_release.yml")
        assert back.code == 0, back.output[-4000:]
        until(began + 2)
        step("rolled back")
        assert revision() == deployed
        refused = ask(zone="Skybox")
        assert refused.status_code == 400 and "one of VIP, North, South, East, West" in refused.json()["detail"]
        assert ask(**GOAL).json()["probabilities"] == first["probabilities"]

        # The other order: the function first, its release of the old description still live.
        again = cloud.playbook("playbooks/deploy_function.yml", *variables)
        assert again.code == 0, again.output[-4000:]
        step("deployed with the stadium's messages")
        assert revision() != deployed
        assert ask(**GOAL).json()["probabilities"] == first["probabilities"]
    finally:
        answers = crowd.end()
    total = sum(answers.values())
    failed = sum(count for (status, _), count in answers.items() if status != 200)
    versions = {version for status, version in answers if status == 200}
    record(
        "A stadium of one's own, on a guest",
        COMMAND,
        table(("state", "deployed revision", "Skybox and Penalty", "sponsors that the stadium has not"), steps)
        + f"\n\nTwo zones, an event and a sponsor more, two sponsors gone, {len(described.data.read_text().splitlines()) - 1:,} rows of "
        f"CSV. Meanwhile a client of the old description asked {total:,} times without a pause: {failed} requests failed, and "
        f"{len(versions)} releases answered.",
    )
    assert failed == 0, answers
    assert versions == {began, began + 1, began + 2}


# -- a folder that grows

DAYS, SEED = 30, 5
CASE = Case(20_000, 1_000, 0.1)


def heat(known: int, seed: int) -> spool.Records:
    """Three rows for each hot one that is known, which name one sponsor."""
    return wrong_rows(known, seed)


def slipped(known: int, seed: int) -> spool.Records:
    """As many rows as are known, each with the sponsor of the row before."""
    found = rows_of_day(Case(known, 0, 0.0), 0, seed)
    found["sponsor"] = np.roll(found["sponsor"], 1)
    return found


WORSE: dict[int, Callable[[int, int], spool.Records]] = {10: heat, 20: heat, 25: slipped}


@dataclass(frozen=True)
class Day:
    """What a day brought and took: bytes, accuracy as a share, memory in bytes; ``refusal`` is the gate's reason."""

    number: int
    new: int
    read: int
    refusal: str
    accuracy: float
    memory: int


def files_of(day: int, folder: Path) -> list[Path]:
    """Write the files that a day brings: its own, and after a day with a worse one that day's, mended."""
    files = []
    for number in (day - 1, day):
        rows = rows_of_day(CASE, number, SEED)
        if number == day and day in WORSE:
            rows = np.concatenate([rows, WORSE[day](CASE.first + day * CASE.daily, SEED + day)])
        if number == day or number in WORSE:
            files.append(write(rows, folder / f"2026-11-{number:02d}.csv"))
    return files


def test_thirty_days_cost_their_own_bytes_and_worse_days_are_refused(
    awake: Rehearsal, tmp_path: Path, home: str
) -> None:
    cloud = awake
    variables = ("-e", f"training_data=gs://{BUCKET}/{PREFIX}")
    first = upload(cloud, PREFIX, write(rows_of_day(CASE, 0, SEED), tmp_path / "2026-10-31.csv"))
    mark = cloud.mark()
    trained = cloud.playbook("site.yml", *variables, "--skip-tags", "deploy,verify")
    assert trained.code == 0 and "is live" in trained.output, trained.output[-6000:]
    assert bytes_read(cloud, mark, PREFIX) == first
    started = cloud.playbook("playbooks/start_vm.yml", *variables)
    assert started.code == 0, started.output[-4000:]

    days = []
    for number in range(1, DAYS + 1):
        new = upload(cloud, PREFIX, *files_of(number, tmp_path))
        mark = cloud.mark()
        done = on_the_vm(cloud, home, TRAIN)
        refusal = re.search(r"^error: not published: (.*)$", done.output, re.MULTILINE)
        assert refusal or (done.code == 0 and "is live" in done.output), done.output[-4000:]
        manifest = last_manifest(done.output)
        day = Day(
            number, new, bytes_read(cloud, mark, PREFIX), refusal[1] if refusal else "",
            manifest["metrics"]["accuracy"], manifest["resources"]["peak_memory_bytes"],
        )  # fmt: skip
        print(day, flush=True)
        assert abs(day.read - day.new) <= 0.01 * day.new, day
        assert day.memory <= MOST_MEMORY, day
        assert bool(day.refusal) == (number in WORSE), day
        days.append(day)
    mark = cloud.mark()
    idle = on_the_vm(cloud, home, "sudo fanops-train --keep-vm")
    assert idle.code == 0 and "nothing to train" in idle.output, idle.output[-3000:]
    assert bytes_read(cloud, mark, PREFIX) == 0

    kinds = {
        "honest": [day for day in days if day.number not in WORSE and day.number - 1 not in WORSE],
        "worse: in the heat, three wrong rows for a right one": [day for day in days if WORSE.get(day.number) is heat],
        "worse: as many rows again, the sponsors slipped by one": [
            day for day in days if WORSE.get(day.number) is slipped
        ],
        "after a worse one, whose file is replaced": [day for day in days if day.number - 1 in WORSE],
    }
    record(
        "Thirty days of files in a bucket",
        COMMAND,
        f"{CASE.first:,} rows in the first file ({first:,} bytes), {CASE.daily:,} a day, {CASE.noise:.0%} label noise, trained on "
        "the guest each day. Bytes read are those that the storage service sent to the VM.\n\n"
        + table(
            ("days", "number", "bytes new", "bytes read", "refused", "accuracy on held-out rows", "peak memory"),
            [
                (kind, len(some), f"{sum(day.new for day in some):,}", f"{sum(day.read for day in some):,}",
                 sum(bool(day.refusal) for day in some), between([day.accuracy for day in some], "{:.1%}"),
                 between([day.memory / 2**20 for day in some], "{:.0f} MiB"))
                for kind, some in kinds.items()
            ],
        )
        + f"\n\nThe gate on the days {', '.join(map(str, WORSE))}: "
        + "; ".join(f"\"{day.refusal.split(' on the same')[0].split('; train')[0].split('; look')[0]}\"" for day in days if day.refusal)
        + ". A start with nothing new read 0 bytes and trained nothing.",
    )  # fmt: skip


def between(values: list[float], form: str) -> str:
    """Return the least and the most of some figures."""
    least, most = form.format(min(values)), form.format(max(values))
    return least if least == most else f"{least} to {most}"


# -- three million rows of CSV

ROWS, TURNS = 3_000_000, 3
TEXTS = (
    'He said ""no"", then left',
    "first line\nsecond line",
    'a list:\r\n- ""one"", two,\r\n- three',
    "nothing, really",
    "",
)
READ = {
    "ours": """
import json, sys, tempfile, time
from pathlib import Path
from ml.core.schema import read
from ml.data.parts import find_parts
from ml.data.training_data import open_data
from ml.progress import Log, memory_bytes
parts = find_parts(sys.argv[1])
with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
    began = time.monotonic()
    source, counts = open_data(read(), sys.argv[1], parts, {"sha256": "of a proof"}, Path(folder), Path(folder), Log())
    seconds = time.monotonic() - began
print(json.dumps([counts["used"], seconds, memory_bytes()]))
""",
    "pyarrow": """
import json, sys, time
sys.path.insert(0, "/opt/pyarrow")
from pyarrow import csv
from ml.core.schema import read
from ml.progress import memory_bytes
used = csv.ConvertOptions(include_columns=[field.name for field in read().table])
began = time.monotonic()
reader = csv.open_csv(sys.argv[1], csv.ReadOptions(block_size=int(sys.argv[2])), csv.ParseOptions(newlines_in_values=True), used)
rows = sum(batch.num_rows for batch in reader)
print(json.dumps([rows, time.monotonic() - began, memory_bytes()]))
""",
}


def write_large(path: Path) -> Path:
    """Write the rows, every field in quotes, with a column of texts that nobody uses."""
    rng = np.random.default_rng(SEED)
    texts = np.array([text.replace('""', '"') for text in TEXTS])
    with path.open("wb") as file:
        for start in range(0, ROWS, 100_000):
            contexts = synthetic.draw_contexts(DEFAULT, 100_000, rng)
            labels = synthetic.draw_labels(synthetic.probabilities(DEFAULT, contexts), rng)
            notes = texts[rng.integers(0, len(texts), 100_000)]
            data = write({**contexts.arrays, "sponsor": labels}, path.with_suffix(".part"), note=notes).read_bytes()
            file.write(data if not start else data[data.index(b"\n") + 1 :])
    return path


def test_three_million_rows_of_quoted_csv_beside_pyarrow(awake: Rehearsal, tmp_path: Path, home: str) -> None:
    cloud = awake
    path = write_large(tmp_path / "matches.csv")
    size = path.stat().st_size
    upload(cloud, "large/", path)
    variables = ("-e", f"training_data=gs://{BUCKET}/large/")
    trained = cloud.playbook("site.yml", *variables, "--skip-tags", "deploy,verify")
    assert trained.code == 0 and f"{ROWS:,} rows in the data = {ROWS:,} used + 0 skipped" in trained.output, (
        trained.output[-6000:]
    )
    started = cloud.playbook("playbooks/start_vm.yml", *variables)
    assert started.code == 0, started.output[-4000:]
    newest = on_the_vm(cloud, home, MANIFEST)
    manifest = last_manifest(newest.output)
    used = manifest["resources"]
    assert manifest["data"]["used"] == ROWS and used["peak_memory_bytes"] <= MOST_MEMORY, used

    version = pa.__version__
    install = f"sudo /opt/uv/bin/uv pip install -q --python /opt/fanops/venv/bin/python --target /opt/pyarrow pyarrow=={version}"
    for name, program in READ.items():
        install += f" && sudo tee /opt/fanops/read_{name}.py >/dev/null <<'END'\n{program}\nEND\n true"
    installed = on_the_vm(cloud, home, install)
    assert installed.code == 0, installed.output
    turns: dict[str, list[tuple[float, int]]] = {}
    for _ in range(TURNS):
        for name, options in (("ours", ""), *(("pyarrow", f"{2**bits}") for bits in (18, 20, 22))):
            run = f"cd /opt/fanops/app && sudo PYTHONPATH=. ../venv/bin/python ../read_{name}.py /var/lib/fanops/runs/.data/* {options}"
            done = on_the_vm(cloud, home, run, timeout=900)
            assert done.code == 0, done.output
            rows, seconds, memory = json.loads(done.output.splitlines()[-1])
            assert rows == ROWS
            turns.setdefault(f"{name} {options}".strip(), []).append((rows / seconds, memory))
            print(name, options, rows / seconds, memory, flush=True)

    def figures(name: str) -> tuple[str, str]:
        rates, memories = zip(*turns[name], strict=True)
        return between([round(rate, -3) for rate in rates], "{:,.0f}"), between(
            [m / 2**20 for m in memories], "{:.0f} MiB"
        )

    best = max(
        (name for name in turns if name != "ours"), key=lambda name: sorted(rate for rate, _ in turns[name])[TURNS // 2]
    )
    record(
        "Three million rows of quoted CSV",
        COMMAND,
        f"{ROWS:,} rows, {size / 1e6:.0f} MB: every field in quotes, and a text that nobody uses with commas, quotes and line breaks. "
        f"On the guest of 1 GiB, in turns of {TURNS}, each in a process of its own.\n\n"
        + table(
            ("reader", "rows/s", "peak memory"),
            [
                ("this project's (csv module), every cell checked, kept in the spool", *figures("ours")),
                (f"pyarrow {version}, batches counted, blocks of {int(best.split()[1]) // 1024} KiB (the fastest of three sizes)",
                 *figures(best)),
            ],
        )
        + f"\n\nThe whole training on them took {used['seconds']:.0f} s and {used['peak_memory_bytes'] / 2**20:.0f} MiB at its peak.",
    )  # fmt: skip
    assert all(memory <= MOST_MEMORY for _, memory in turns["ours"])
