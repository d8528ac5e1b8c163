# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of ``python -m ml.train``, and what of it can be refused before anything expensive is imported."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ml.core.gate import Limits, size_in_bytes
from ml.data.partitions import SMALLEST_ROWS
from ml.fingerprint import DEFAULT_SAMPLES, DEFAULT_SEED, LARGEST_SEED

#: The exit code of a training that the month's ceiling ended.
CEILING_CODE = 3


class TrainingError(Exception):
    """The training cannot go on; the message says why and what to do. ``code`` is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def _size(text: str) -> int:
    try:
        return size_in_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def format_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ml.train",
        description="Train the sponsor model and save it "
        "(model.joblib, model_columns.joblib, model.onnx, report.html, manifest.json). The same data and seed give the "
        "same model, whatever the engine, the number of threads or of machines.",
        epilog="Exit codes: 0 trained (and published), 1 failed or refused by the quality gate, 2 wrong arguments, "
        "3 ended because of the month's ceiling. "
        "A run that was interrupted goes on where it was when it is started again with the same --output.",
    )
    add = parser.add_argument
    data = parser.add_argument_group("data").add_argument
    data("--samples", type=int, metavar="N", help=f"synthetic rows to train on (default {DEFAULT_SAMPLES})")
    data(
        "--data",
        metavar="FILES",
        help="train on these instead: a file, a folder, a pattern in quotes, or any of them as gs://bucket/…; CSV in any "
        "dialect or Parquet, with the columns of the schema; a tenth of the rows is held out. python -m ml.check_data FILES "
        "says what is understood",
    )
    data(
        "--schema",
        type=Path,
        metavar="FILE",
        help="the description of the fields (default: ml/core/schema.json; docs/operations.md, Your own stadium)",
    )
    data("--sponsors", type=Path, metavar="FILE", help="the catalogue of the sponsors (default: ml/core/sponsors.json)")
    data("--data-days", type=int, default=0, metavar="N", help="use the files of the newest N days only (default: all)")
    data(
        "--data-cache",
        type=Path,
        metavar="DIR",
        help="keep fetched objects here for the next run (default: for this run)",
    )
    add(
        "--seed",
        type=int,
        default=DEFAULT_SEED,
        metavar="S",
        help="the same seed gives the same model (default %(default)s)",
    )
    add("--output", type=Path, default=Path("model"), metavar="DIR", help="where the files go (default ./%(default)s)")
    add("--publish", metavar="gs://BUCKET", help="make the model the live release of this bucket")
    add(
        "--access-patience",
        type=float,
        default=0,
        metavar="SECONDS",
        help="go on trying while the bucket refuses access: a grant may take minutes to count (default: fail at once)",
    )
    add(
        "--accuracy-floor",
        type=float,
        default=Limits().accuracy_floor,
        metavar="SHARE",
        help="refuse to promote less accuracy than this on the held-out rows (default %(default)s)",
    )
    add(
        "--function-memory",
        type=_size,
        default=Limits().function_memory_bytes,
        metavar="SIZE",
        help="refuse to promote what does not fit into a function of this size (default 512Mi)",
    )
    add("--site-lock", metavar="TOKEN", help="hold the site's lock of this token while the training is on")
    add(
        "--accept-source-change",
        action="store_true",
        help="let synthetic rows replace a live release that learned somebody's own data",
    )
    add(
        "--accept-schema-change",
        action="store_true",
        help="promote it even if callers may send it less than the live release: a field, a value, a part of a range",
    )
    add("--force", action="store_true", help="promote it even if it is worse than the live release")
    add(
        "--time-limit",
        type=float,
        default=0,
        metavar="SECONDS",
        help="refuse at once what is predicted to take longer (default: no limit)",
    )
    add(
        "--monthly-ceiling",
        type=float,
        metavar="USD",
        help="end, with what is finished kept, before the hours of VMs beyond Always Free cost more than this in a calendar month; "
        "goes with --publish, whose bucket tells of earlier runs, on a VM (default: no ceiling)",
    )
    engine = parser.add_argument_group("engine").add_argument
    engine(
        "--engine",
        choices=("auto", "threads", "dask"),
        default="auto",
        help="who grows the trees: threads of this machine, or the workers of a Dask cluster (default %(default)s: dask "
        "if there is a --scheduler)",
    )
    engine("--jobs", type=int, default=0, metavar="N", help="threads of this machine (default: one a core)")
    engine("--scheduler", metavar="tls://HOST:PORT", help="scheduler of the Dask cluster")
    engine("--workers", type=int, default=1, metavar="N", help="workers to wait for (default %(default)s)")
    engine("--tls", type=Path, metavar="DIR", help="folder with ca.pem, cert.pem and key.pem for the cluster")
    return parser


def check(arguments: argparse.Namespace) -> None:
    """Refuse arguments that cannot work, and fill in those that follow from others. Raises TrainingError."""
    if arguments.data is not None and arguments.samples is not None:
        raise TrainingError("give --samples or --data, not both: all rows of a data file are used", 2)
    arguments.samples = DEFAULT_SAMPLES if arguments.samples is None else arguments.samples
    if arguments.samples < SMALLEST_ROWS:
        raise TrainingError(f"--samples must be at least {SMALLEST_ROWS}, got {arguments.samples}", 2)
    if not 0 <= arguments.seed <= LARGEST_SEED:
        raise TrainingError(f"--seed must be from 0 to {LARGEST_SEED}, got {arguments.seed}", 2)
    if not 0 <= arguments.access_patience <= 3600:
        raise TrainingError(f"--access-patience must be from 0 to 3600 seconds, got {arguments.access_patience:g}", 2)
    arguments.data_cache = arguments.data_cache or arguments.output / "data/objects"
    for name in ("jobs", "time_limit", "data_days"):
        if getattr(arguments, name) < 0:
            option = name.replace("_", "-")
            raise TrainingError(f"--{option} must be 0 (the default) or more, got {getattr(arguments, name)}", 2)
    if arguments.monthly_ceiling is not None and (arguments.monthly_ceiling < 0 or arguments.publish is None):
        raise TrainingError("--monthly-ceiling must be 0 dollars or more, and goes with --publish", 2)
    if arguments.engine == "auto":
        arguments.engine = "dask" if arguments.scheduler else "threads"
    if arguments.engine == "dask":
        _check_cluster(arguments)
    elif arguments.scheduler:
        raise TrainingError("--scheduler goes with --engine dask (or auto)", 2)
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"cannot use --output {arguments.output}: {error.strerror}; choose a folder you may write to", 2
        ) from error
    if not os.access(arguments.output, os.W_OK):
        raise TrainingError(f"cannot write to --output {arguments.output}; choose a folder you may write to", 2)


def _check_cluster(arguments: argparse.Namespace) -> None:
    if not arguments.scheduler or not arguments.scheduler.startswith("tls://"):
        raise TrainingError("--engine dask needs --scheduler tls://HOST:PORT", 2)
    if arguments.workers < 1:
        raise TrainingError(f"--workers must be at least 1, got {arguments.workers}", 2)
    missing = [n for n in ("ca.pem", "cert.pem", "key.pem") if not arguments.tls or not (arguments.tls / n).is_file()]
    if missing:
        raise TrainingError(
            f"--tls must name a folder with ca.pem, cert.pem and key.pem; missing: {', '.join(missing)}", 2
        )
