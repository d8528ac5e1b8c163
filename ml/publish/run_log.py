# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the log of a training run, how the run ended and what became of it, into the bucket: they outlive the machine.

    python -m ml.publish.run_log --run /var/lib/fanops/runs/ID --to gs://fanops-m4-models

writes ``runs/ID/training.log`` (its last megabyte), ``runs/ID/run.json`` (start, command, systemd's verdict) and
``runs/ID/outcome.json``, and tells people (``messages.log`` in the run's folder says whom). It is called at the end of every run, also
of one that was killed, so it depends on nothing that the run made.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from ml.bucket import Bucket, BucketError, bucket_name
from ml.publish import messages, run_outcome

LOG_BYTES = 2**20
DEADLINE = 30.0  # seconds; the end of the run waits for this


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ml.publish.run_log", description="Put the log of a run into the bucket."
    )
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="the run's folder")
    parser.add_argument("--to", required=True, metavar="gs://BUCKET", help="the bucket")
    parser.add_argument("--notify-secret", default="", metavar="NAME", help="the secret with the addresses to tell")
    parser.add_argument("--notify-on", default="", metavar="EVENT,…", help="what they are told")
    arguments = parser.parse_args(argv)
    bucket: Bucket | None = None
    code = 0
    outcome = run_outcome.of_run(arguments.run)
    try:
        bucket = Bucket(bucket_name(arguments.to), timeout=10, deadline=DEADLINE)
        upload(bucket, arguments.run, outcome)
    except (BucketError, ValueError, OSError) as error:
        print(f"error: the log of run {arguments.run.name} is on this machine only: {error}", file=sys.stderr)
        bucket, code = None, 1  # which is no reason not to tell; but there is no time to ask it what was told
    events = arguments.notify_on.split(",")
    note = partial(_note, arguments.run / "messages.log")
    messages.notify(bucket, messages.of_outcome(outcome), arguments.notify_secret, events, note)
    return code


def _note(path: Path, line: str) -> None:
    """Write what became of a message. Not into the log: its last line says why the run failed, and that is what people are shown."""
    with suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def upload(bucket: Bucket, run: Path, outcome: dict[str, Any]) -> None:
    """Write the three objects; the log first, so that whoever finds the record finds the log."""
    log = run / "training.log"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_BYTES))
        bucket.mirror(f"runs/{run.name}/training.log", file.read(), "text/plain; charset=utf-8", run.name)
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    for name in ("status.json.new", "status.json"):  # the first while the run is ending
        if (run / name).exists():
            record["status"] = json.loads((run / name).read_text(encoding="utf-8"))
            break
    bucket.mirror(f"runs/{run.name}/run.json", json.dumps(record, indent=1).encode(), "application/json", run.name)
    run_outcome.write(bucket, outcome)


if __name__ == "__main__":
    sys.exit(main())
