# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the sponsor model, measure it against the best possible accuracy, save it, and publish it if asked to.

python -m ml.train --samples 10000 --seed 42 --output model
python -m ml.train --data matches.parquet --output model
python -m ml.train --samples 1000000 --output model --publish gs://fanops-m4-models
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ml.arguments import CEILING_CODE, TrainingError, check, format_parser
from ml.data.file_kind import DataError
from ml.data.parts import Part, find_parts
from ml.data.parts import identity as data_identity
from ml.fingerprint import fingerprint, libraries, made_by
from ml.progress import Log, memory_bytes

if TYPE_CHECKING:
    from ml.bucket import Bucket
    from ml.core.releases import Candidate
    from ml.core.schema import Schema
    from ml.data.partitions import Share
    from ml.data.sources import Source
    from ml.forest.checkpoints import Checkpoints
    from ml.forest.estimate import Prediction
    from ml.forest.growth import Engine
    from ml.publish.month_ceiling import MonthCeiling


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = format_parser().parse_args(argv)
    run: Run | None = None
    try:
        check(arguments)
        run = Run(arguments)
        with run.holding_the_site():
            run.go()
    except TrainingError as error:
        if run is not None and error.code != 2:
            run.report_failure(str(error))
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except ModuleNotFoundError as error:
        reason = f"the library {error.name} is not installed"
        if run is not None:
            run.report_failure(reason)
        print(
            f"error: {reason}; a data file needs requirements/training-data.txt, a cluster training-cluster.txt",
            file=sys.stderr,
        )
        return 1
    except MemoryError:
        reason = f"out of memory at {memory_bytes() / 2**20:.0f} MiB"
        if run is not None:
            run.report_failure(reason)
        print(f"error: {reason}; use fewer --samples or a machine with more memory", file=sys.stderr)
        return 1
    except Exception as error:
        if run is not None:
            run.report_failure(f"{type(error).__name__}: {error}")
        raise
    return 0


class Run:
    """One training, from checked arguments to a release."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._log = Log()

    @contextmanager
    def holding_the_site(self) -> Iterator[None]:
        """Hold the site's lock, where one is given, so that no other run stops this machine. Raises TrainingError."""
        arguments = self._arguments
        bucket = _open_bucket(arguments.publish, arguments.access_patience, self._log) if arguments.site_lock else None
        if bucket is None:
            yield
            return
        from ml.bucket import BucketError
        from ml.publish.held_lock import LockedError, held

        try:
            with held(bucket, arguments.site_lock, arguments.output.name, self._log):
                yield
        except (LockedError, BucketError) as error:
            raise TrainingError(str(error)) from error

    def go(self) -> None:
        """Train, save and publish. Raises TrainingError."""
        arguments, log = self._arguments, self._log
        try:
            parts = find_parts(arguments.data, arguments.data_days) if arguments.data else []
            identity = data_identity(arguments.data, parts) if arguments.data else None
        except DataError as error:
            raise TrainingError(f"--data: {error}") from error
        schema = _read_schema(arguments)
        names = fingerprint(
            arguments.samples, arguments.seed, data=identity, schema=arguments.schema, catalogue=arguments.sponsors
        )
        what = arguments.data or f"{arguments.samples:,} samples"
        log(f"training run: {what}, seed {arguments.seed}, fingerprint {names['fingerprint'][:12]}")
        bucket = _open_bucket(
            arguments.publish, arguments.access_patience, log
        )  # before an hour of training, not after it
        if bucket is not None:
            _check_live(bucket, arguments, schema, what)
        ceiling = _open_ceiling(bucket, arguments)
        source, counts = _open_source(arguments, schema, parts, identity, log)

        from ml.forest.checkpoints import Checkpoints
        from ml.forest.random_forest import assemble

        verb = "read" if arguments.data else "generated"
        log(
            f"samples {verb} a partition at a time: {source.title}; features encoded ({len(schema.columns)} dimensions)"
        )
        prediction = _predict(source, arguments, log)
        engine = _open_engine(arguments, prediction)
        checkpoints = Checkpoints(arguments.output / "partitions", names["fingerprint"])
        trees, shares = self._grow(source, engine, checkpoints, _ends(ceiling, prediction, len(source.plan())))
        from ml.core.gate import Limits
        from ml.publish.candidates import comparer, first_look, make_candidate, publish_candidate, save

        forest = assemble(trees, schema)
        candidate, evaluation = make_candidate(forest, source, log)
        candidate.facts.update(
            fingerprint=names,
            samples=source.rows,
            source=source.title,
            **({"data": counts} if counts else {}),
            seed=arguments.seed,
            engine=engine.title,
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        )
        limits = Limits(
            arguments.accuracy_floor, arguments.function_memory, accept_schema_change=arguments.accept_schema_change
        )
        compare = comparer(evaluation, source)
        verdict = first_look(bucket, candidate, limits, compare) if bucket is not None else None
        candidate = self._with_report(candidate, (forest, shares, source, evaluation, verdict, prediction))
        save(candidate, arguments.output, log)
        if bucket is not None:
            publish_candidate(bucket, candidate, compare, limits, arguments.force, log)
        checkpoints.clear()
        shutil.rmtree(arguments.output / "data", ignore_errors=True)
        log(f"finished in {log.seconds:.1f} s, peak memory {memory_bytes() / 2**20:.0f} MiB")

    def _grow(
        self, source: Source, engine: Engine, checkpoints: Checkpoints, ceiling: Callable[[], str | None]
    ) -> tuple[list[Any], list[Share]]:
        from ml.forest.growth import EndedError, EngineError, grow_forest

        reasons: list[str] = []

        def ends() -> bool:
            reason = ceiling()
            reasons.extend([reason] if reason else [])
            return reason is not None

        try:
            return grow_forest(source, self._arguments.seed, engine, self._log, checkpoints, ends)
        except EndedError as error:
            raise TrainingError(
                f"ended in order, {error}: {reasons[0]}; it goes on from there", CEILING_CODE
            ) from error
        except EngineError as error:
            raise TrainingError(str(error)) from error
        except OSError as error:
            raise TrainingError(
                f"cannot keep finished partitions in {self._arguments.output}: {error.strerror}; free space, then run again"
            ) from error

    def _with_report(self, candidate: Candidate, parts: tuple[Any, ...]) -> Candidate:
        """Return the candidate with its report, and with what the run took."""
        from ml.core.releases import Candidate
        from ml.forest.evaluation import importance, learning_curve
        from ml.report import run_report

        forest, shares, source, evaluation, verdict, prediction = parts
        curve, importances = learning_curve(forest, shares, source), importance(forest)
        candidate.facts.update(
            libraries=libraries(),
            made_by=made_by(),
            resources={
                "peak_memory_bytes": memory_bytes(),
                "seconds": round(self._log.seconds, 1),
                "predicted": prediction.as_dict(),
            },
        )
        page = run_report.succeeded(
            candidate.facts, evaluation, curve, importances, verdict, candidate.files, list(self._log.tail)
        )
        return Candidate({**candidate.files, run_report.NAME: page}, candidate.facts)

    def report_failure(self, reason: str) -> None:
        """Leave a report of the failure in the output folder; a disk that is full must not hide the reason."""
        from ml.report import run_report

        arguments = self._arguments
        parameters = {"data": arguments.data or f"{arguments.samples:,} synthetic rows", "seed": arguments.seed}
        self._log(f"failed: {reason}")
        page = run_report.failed("Training run that failed", reason, parameters, list(self._log.tail))
        try:
            (arguments.output / run_report.NAME).write_bytes(page)
        except OSError as error:
            self._log(f"cannot write {arguments.output / run_report.NAME}: {error.strerror}")


def _open_bucket(url: str | None, patience: float, log: Log) -> Bucket | None:
    """Return the bucket to publish to, reached once so that a wrong name or missing rights end the run at once."""
    if url is None:
        return None
    from ml.bucket import Bucket, BucketError, bucket_name

    try:
        bucket = Bucket(bucket_name(url), patience=patience, report=log)
        bucket.check()
    except ValueError as error:
        raise TrainingError(f"--publish: {error}", 2) from error
    except BucketError as error:
        raise TrainingError(f"--publish {url}: {error}") from error
    return bucket


def _read_schema(arguments: argparse.Namespace) -> Schema:
    """Return the description that is trained by; synthetic rows need one that the rules know."""
    from ml.core.schema import SchemaError, read
    from ml.data import rules

    try:
        schema = read(arguments.schema, arguments.sponsors)
        if not arguments.data:
            rules.check(schema)
    except (SchemaError, DataError) as error:
        raise TrainingError(str(error)) from error
    return schema


def _open_ceiling(bucket: Bucket | None, arguments: argparse.Namespace) -> MonthCeiling | None:
    """Return the month's ceiling, None where there is none. Refuses a training that it leaves nothing for."""
    if bucket is None or arguments.monthly_ceiling is None:
        return None
    from ml.bucket import BucketError
    from ml.publish.month_ceiling import open_ceiling
    from ml.publish.this_machine import UnknownMachineError, this_machine

    workers = arguments.workers if arguments.engine == "dask" else 0
    try:
        ceiling = open_ceiling(arguments.monthly_ceiling, bucket, this_machine(), workers)
    except BucketError as error:
        raise TrainingError(f"cannot add up what this month has cost: {error}") from error
    except UnknownMachineError as error:
        raise TrainingError(
            f"cannot tell what this machine costs ({error}); leave --monthly-ceiling out where it is no VM of Google Cloud"
        ) from error
    if reason := ceiling.refusal():
        raise TrainingError(f"refused before it began: {reason}", CEILING_CODE)
    return ceiling


def _ends(ceiling: MonthCeiling | None, prediction: Prediction, partitions: int) -> Callable[[], str | None]:
    """Return what says why the next partition shall not be begun any more; nothing where there is no ceiling."""
    if ceiling is None:
        return lambda: None
    jobs = min(prediction.jobs, partitions)
    return lambda: ceiling.partition_refusal(prediction.seconds * jobs / partitions, jobs)


def _check_live(bucket: Bucket, arguments: argparse.Namespace, schema: Schema, what: str) -> None:
    """Refuse, before anything is trained, what the live release forbids.

    That is to replace a release that learned somebody's own data by one that learned synthetic rows, and to take away what
    callers may send.
    """
    from ml.bucket import BucketError
    from ml.core.gate import narrowed
    from ml.core.releases import ReleaseError, learned_own_data, read_manifest, read_pointer

    try:
        manifest = read_manifest(bucket.read, read_pointer(bucket.read).manifest)
    except (ReleaseError, BucketError):
        return  # there is none, or publishing says what is wrong with it
    planned = {"model_schema": schema.document, "columns": schema.columns}
    if not arguments.accept_schema_change and (less := narrowed(manifest, planned)):
        raise TrainingError(
            f"callers could not send what the live release accepts: {'; '.join(less)}; correct the schema, or accept that: "
            "--accept-schema-change, accept_schema_change=true for a playbook"
        )
    source = str(manifest.get("source", ""))
    if learned_own_data(source) and not arguments.data and not arguments.accept_source_change:
        raise TrainingError(
            f"the live release learned {source}; this run would replace it by one that learned {what}: give --data, or "
            "--accept-source-change"
        )


def _open_source(
    arguments: argparse.Namespace, schema: Schema, parts: list[Part], identity: dict[str, str] | None, log: Log
) -> tuple[Source, dict[str, Any]]:
    """Return the rows to train on and their numbers; data files are read and checked whole before that."""
    if identity is None:
        from ml.data.sources import Synthetic

        return Synthetic(arguments.samples, arguments.seed, schema), {}
    from ml.bucket import BucketError
    from ml.data.training_data import open_data

    try:
        return open_data(schema, arguments.data, parts, identity, arguments.output / "data", arguments.data_cache, log)
    except (DataError, BucketError) as error:
        raise TrainingError(f"--data: {error}; nothing was trained") from error
    except OSError as error:
        raise TrainingError(f"cannot keep the rows in {arguments.output}: {error.strerror}; free space") from error


def _predict(source: Source, arguments: argparse.Namespace, log: Log) -> Prediction:
    """Say what the training will take; refuse it if it cannot fit."""
    from ml.forest.estimate import UnfitError, fit

    workers = arguments.workers if arguments.engine == "dask" else 0
    jobs = arguments.jobs or len(os.sched_getaffinity(0))
    try:
        prediction = fit(
            source,
            arguments.seed,
            jobs,
            arguments.time_limit,
            workers,
            vcpus=_sustained() if arguments.time_limit else math.inf,
        )
    except UnfitError as error:
        raise TrainingError(f"refused before it began: {error}") from error
    log(f"predicted: {prediction}")
    return prediction


def _sustained() -> float:
    """Return how many CPUs this VM has all the time; infinity for a machine of which that is not known."""
    from ml.forest.machine_types import sustained_vcpus
    from ml.publish.this_machine import UnknownMachineError, this_machine

    try:
        return sustained_vcpus(this_machine().machine_type) or math.inf
    except UnknownMachineError:
        return math.inf


def _open_engine(arguments: argparse.Namespace, prediction: Prediction) -> Engine:
    """Return who grows the trees."""
    if arguments.engine == "threads":
        from ml.forest.growth import Threads

        return Threads(prediction.jobs)
    from ml.forest.cluster import ClusterError, Dask

    try:
        return Dask(arguments.scheduler, arguments.tls, arguments.workers)
    except ClusterError as error:
        raise TrainingError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
