# SPDX-License-Identifier: GPL-3.0-or-later
"""Training on several machines: real scheduler and worker processes with TLS; one of them is killed in mid-run."""

from __future__ import annotations

import dataclasses
import datetime
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ml.core.schema import DEFAULT
from ml.data import partitions
from ml.data.partitions import Share
from ml.data.sources import Synthetic
from ml.forest import cluster, random_forest
from ml.forest.cluster import ClusterError, Dask
from ml.forest.growth import Threads, grow_forest
from ml.progress import Log

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.timeout(300)


def make_tls(folder: Path) -> Path:
    """Make a certificate authority of our own, and one certificate that all machines of a cluster show."""
    folder.mkdir()
    now = datetime.datetime.now(datetime.timezone.utc)

    def certificate(
        name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey
    ) -> bytes:
        names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (name, issuer)]
        builder = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(hours=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    (folder / "ca.pem").write_bytes(certificate("authority", authority, "authority", authority))
    (folder / "cert.pem").write_bytes(certificate("machine", key, "authority", authority))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Cluster:
    """A scheduler and workers, started as the systemd units start them."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.tls = make_tls(folder / "tls")
        self.address = f"tls://127.0.0.1:{free_port()}"
        files = [f"--tls-{name}={self.tls / file}" for name, file in
                 (("ca-file", "ca.pem"), ("cert", "cert.pem"), ("key", "key.pem"))]  # fmt: skip
        self.log = (folder / "cluster.log").open("wb")
        self.processes = [
            self._start("distributed.cli.dask_scheduler", f"--host={self.address}", "--no-dashboard", *files)
        ]
        self.workers = [
            self._start("distributed.cli.dask_worker", self.address, "--no-nanny", "--nthreads=1", "--no-dashboard",
                        f"--local-directory={folder}", "--host=127.0.0.1", *files)
            for _ in range(workers)
        ]  # fmt: skip
        self.processes += self.workers

    def _start(self, module: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", module, *options]
        return subprocess.Popen(command, cwd=ROOT, stdout=self.log, stderr=self.log)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.log.close()


@pytest.fixture
def two_workers(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, 2)
    try:
        Dask(made.address, made.tls, 2, wait_seconds=150).close()  # on a busy machine they need a while
        yield made
    finally:
        made.stop()


def test_a_lost_worker_costs_time_and_the_forest_is_that_of_one_machine(
    two_workers: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(partitions, "TREES", 12)
    monkeypatch.setattr(partitions, "LARGEST_PARTITION", 20_000)  # so that some partitions are counted only
    source = Synthetic(400_000, 7)
    expected, shares = grow_forest(source, 7, Threads(2), Log())
    assert len(shares) == 12 and sum(len(share.counted) for share in shares) == 8
    engine = Dask(two_workers.address, two_workers.tls, 2, wait_seconds=60)
    finished = 0

    class Counting(Dask):
        def run(self, *arguments: Any) -> Iterator[tuple[int, bytes]]:
            nonlocal finished
            for finished, result in enumerate(super().run(*arguments), start=1):
                if finished == 3:
                    two_workers.workers[0].send_signal(signal.SIGKILL)
                yield result

    engine.__class__ = Counting
    trees, _ = grow_forest(source, 7, engine, Log())
    assert finished == 12
    assert two_workers.workers[0].wait(5) == -signal.SIGKILL
    features, _ = source.partition(Share(99, 5000, 1))
    # where the workers cannot make the rows, they are sent
    left = Dask(two_workers.address, two_workers.tls, 1, wait_seconds=60)
    sent, _ = grow_forest(dataclasses.replace(source, portable=False), 7, left, Log())
    one, *others = (
        random_forest.probabilities(random_forest.assemble(t, DEFAULT), features).tobytes()
        for t in (expected, trees, sent)
    )
    assert others == [one, one]
    assert "Dask cluster of 2 workers" in capsys.readouterr().out


def test_rows_of_a_file_are_sent_and_the_command_publishes_the_same_model(two_workers: Cluster, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    line = "{},{},{},0.5,{},{},{}\n"
    zones, events = ("VIP", "North", "South", "East", "West"), ("None", "Goal", "Card")
    sponsors = ("Visa", "Puma", "OCP", "CDG", "Inwi")
    with data.open("w") as file:
        file.write("match_minute,score_diff,temperature,crowd_density,zone,event,sponsor\n")
        for row in range(50_000):
            zone = row * 7919 % 5
            file.write(line.format(row % 121, row % 7 - 3, row % 40, zones[zone], events[row % 3], sponsors[zone]))
    found = []
    for name, options in (
        ("dask", ["--scheduler", two_workers.address, "--tls", str(two_workers.tls), "--workers", "2"]),
        ("threads", ["--engine", "threads"]),
    ):
        command = [sys.executable, "-m", "ml.train", "--data", str(data), "--output", str(tmp_path / name), *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        found.append((tmp_path / name / "model.onnx").read_bytes())
        samples = json.loads((tmp_path / name / "manifest.json").read_text())["samples"]
        assert 44_000 < samples < 46_000  # a tenth of the different contexts is held out
    assert found[0] == found[1]


def test_a_cluster_that_cannot_be_used_is_one_clear_line(
    two_workers: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ClusterError, match=r"2 of 3 workers came to tls://.* within 3 s; look at fanops-dask-worker"):
        Dask(two_workers.address, two_workers.tls, 3, wait_seconds=3)
    stranger = make_tls(tmp_path / "stranger")  # another authority's certificate
    with pytest.raises(ClusterError, match="cannot reach the scheduler"):
        Dask(two_workers.address, stranger, 2, wait_seconds=5)
    monkeypatch.setattr(
        cluster, "fingerprint", lambda *_: {"code": "other", "lock": "other"}
    )  # here, not on the workers
    with pytest.raises(ClusterError, match=r"has .* they would grow other trees; configure all machines again"):
        Dask(two_workers.address, two_workers.tls, 2, wait_seconds=30)
