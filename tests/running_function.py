# SPDX-License-Identifier: GPL-3.0-or-later
"""The function in a process of its own, behind the framework's real server."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass
class Server:
    """A running server: its port, its process, and the file that its output goes to."""

    port: int
    process: subprocess.Popen[bytes]
    output: Path

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.port}"


def lay_out(folder: Path) -> Path:
    """Copy into ``folder`` what the archive of the function holds, and return it."""
    ignored = shutil.ignore_patterns("*.in", "__pycache__")
    shutil.copytree(ROOT / "ml/core", folder / "ml/core", ignore=ignored, dirs_exist_ok=True)
    shutil.copytree(ROOT / "ml/function", folder, ignore=ignored, dirs_exist_ok=True)
    return folder


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_function(
    source: Path, storage_url: str, *, python: Path = Path(sys.executable), target: str = "recommend_sponsor",
    main: str = "main.py", wait: bool = True, **environment: str,
) -> Iterator[Server]:  # fmt: skip
    """Serve ``source``/``main`` with the functions framework of ``python``; wait until it listens."""
    port = free_port()
    output = source / f"output-{port}.log"
    variables = {
        **os.environ,
        "STORAGE_EMULATOR_HOST": storage_url,
        "GOOGLE_CLOUD_PROJECT": "test",
        "MODEL_BUCKET": "models",
        "PYTHONPATH": "",
        "THREADS": "8",
        **environment,
    }
    command = [
        python.with_name("functions-framework"), "--target", target, "--source", main, "--host", "127.0.0.1",
        "--port", str(port),
    ]  # fmt: skip
    with output.open("wb") as stream:
        process = subprocess.Popen(
            list(map(str, command)), cwd=source, env=variables, stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        while wait:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                raise RuntimeError(f"the function did not start:\n{output.read_text()[-3000:]}")
            time.sleep(0.05)
        yield Server(port, process, output)
    finally:
        process.terminate()
        process.wait(20)
