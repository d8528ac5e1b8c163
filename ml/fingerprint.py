# SPDX-License-Identifier: GPL-3.0-or-later
"""The name of a training run: a fingerprint of everything that decides its result.

    python -m ml.fingerprint --samples 10000 --seed 42
    python -m ml.fingerprint --data gs://my-bucket/matches.parquet

prints one JSON object, which also has the description that the training would go by. The controller compares it with the
live release to know whether there is anything to train; the training machine records it in the manifest. Both must get
the same answer, so this hashes names and contents, never times or absolute paths. It needs the standard library only,
unless the data are in a bucket.
"""

from __future__ import annotations

import argparse
import ast
import gc
import hashlib
import io
import json
import platform
import sys
import tokenize
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from ml.core.schema import read
from ml.data.file_kind import DataError
from ml.data.parts import find_parts, identity

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_SAMPLES = 10_000
DEFAULT_SEED = 42
LARGEST_SEED = 2**63 - 1
#: What a model is made with, apart from Python.
LIBRARIES = ("scikit-learn", "numpy", "joblib", "onnxruntime")
#: The locks that decide the result: of every training, and of one on a data file.
LOCKS = ("training.txt", "training-data.txt")
#: What turns rows into the files of a model. Whatever of these rooms they import decides the result, too.
DECIDING = ("ml.data.training_data", "ml.forest.growth", "ml.forest.onnx_export")
ROOMS = ("ml.core.", "ml.data.", "ml.forest.")


def data_identity(data: str, days: int = 0) -> dict[str, str]:
    """Return what tells the content of ``data`` from any other (see ml.data.parts); raise DataError without it."""
    return identity(data, find_parts(data, days))


def fingerprint(
    samples: int,
    seed: int,
    root: Path = ROOT,
    data: Mapping[str, str] | None = None,
    schema: Path | None = None,
    catalogue: Path | None = None,
) -> dict[str, str]:
    """Return the fingerprint of a run and of its four parts, as SHA-256 in hex.

    ``data`` is the identity of data files; with it, ``samples`` does not count, since all of their rows are used.
    ``schema`` and ``catalogue`` are the files of a description that is not the one in ``root``.

    ``code`` covers the modules that decide the result, without their comments and docstrings (see ``deciding``), ``lock``
    the hashed requirements of the training machine (with a data file, also those that read it), ``data`` where the rows
    come from, the schema, and the sponsor catalogue without its campaign messages (they may be edited without a training),
    ``parameters`` the arguments of the run.

    Raises FileNotFoundError if a lock is missing below ``root``, SchemaError for a description that cannot be used, and
    ValueError for a seed out of range.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"--seed must be from 0 to {LARGEST_SEED}, got {seed}")
    package = root / "ml"
    sources = deciding(root)
    described = read(
        schema or package / "core" / "schema.json", catalogue or package / "core" / "sponsors.json"
    ).document
    sponsors = [{k: v for k, v in entry.items() if k != "campaign_message"} for entry in described["sponsors"]]
    parts = {
        "code": _digest((name, essence(source).encode()) for name, source in sorted(sources.items())),
        "lock": _digest((name, (root / "requirements" / name).read_bytes()) for name in LOCKS[: 2 if data else 1]),
        "data": _digest(
            [
                ("source", _canonical(dict(data)) if data else b"synthetic"),
                ("schema", _canonical({**described, "sponsors": sponsors})),
            ]
        ),
        "parameters": _digest(
            [("parameters", _canonical({"seed": seed} if data else {"samples": samples, "seed": seed}))]
        ),
    }
    return {"fingerprint": _digest((name, value.encode()) for name, value in sorted(parts.items())), **parts}


def made_by(root: Path = ROOT) -> str:
    """Return the name and version of this repository, as a manifest carries it."""
    return f"fanops-m4 {(root / 'ml' / 'VERSION').read_text(encoding='utf-8').strip()}"


def libraries() -> dict[str, str]:
    """Return the versions of what a model is made with."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def deciding(root: Path = ROOT) -> dict[str, str]:
    """Return the modules that decide a training's result, as path below ``root`` -> source.

    They are found by following imports, so a module that joins them is covered without being listed. Reports, proofs,
    publishing, progress and the cluster's plumbing say or move the result; they do not decide it.
    """
    found: dict[str, str] = {}
    left = list(DECIDING)
    while left:
        path = Path(*left.pop().split(".")).with_suffix(".py")
        if path.as_posix() not in found:
            source = (root / path).read_text(encoding="utf-8")
            found[path.as_posix()] = source
            left += [
                name
                for name in _imports(source, path.parent)
                if (root / Path(*name.split("."))).with_suffix(".py").is_file()
            ]
    return found


def _parsed(source: str) -> ast.Module:
    # A finalizer that runs while CPython 3.11 builds a tree may build another one (a printed traceback does): both fail then.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if collecting:
            gc.enable()


def _imports(source: str, folder: Path) -> Iterable[str]:
    """Yield the modules of the deciding rooms that a source may import, wherever in it."""
    for node in ast.walk(_parsed(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(folder.parts[: len(folder.parts) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.startswith(ROOMS))


def essence(source: str) -> str:
    """Return a source without comments, docstrings and blank lines: what is left when nobody explains anything.

    Lines are cut, not parsed and printed again: different versions of Python would print differently.
    """
    lines: list[str] = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(_parsed(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                last = first.end_lineno or first.lineno
                lines[first.lineno - 1 : last] = [""] * (last - first.lineno + 1)
    return "".join(f"{line.rstrip()}\n" for line in lines if line.strip())


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _digest(parts: Iterable[tuple[str, bytes]]) -> str:
    """Hash named contents; the lengths are hashed too, so that nothing can move from one part into the next."""
    digest = hashlib.sha256()
    for name, content in parts:
        digest.update(f"{len(name)} {len(content)} {name}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def main(argv: list[str] | None = None) -> int:
    """Print the fingerprint as JSON; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ml.fingerprint", description="Name a training run by what goes into it."
    )
    parser.add_argument("--samples", type=int, default=DEFAULT_SAMPLES, help="rows to train on (default %(default)s)")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="seed of the run (default %(default)s)")
    parser.add_argument("--data", help="train on these files instead (see ml.train --data)")
    parser.add_argument("--schema", type=Path, help="the description of the fields (see ml.train --schema)")
    parser.add_argument("--sponsors", type=Path, help="the catalogue of the sponsors (see ml.train --sponsors)")
    parser.add_argument("--data-days", type=int, default=0, help="use the files of the newest days only (default: all)")
    arguments = parser.parse_args(argv)
    try:
        data = data_identity(arguments.data, arguments.data_days) if arguments.data else None
        result: Mapping[str, str] = fingerprint(
            arguments.samples, arguments.seed, data=data, schema=arguments.schema, catalogue=arguments.sponsors
        )
    except (DataError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except FileNotFoundError as missing:
        print(
            f"error: the fingerprint covers {missing.filename}, which does not exist; "
            "run from a complete copy of ml/ and requirements/",
            file=sys.stderr,
        )
        return 1
    described = read(arguments.schema, arguments.sponsors)
    description = {"model_schema": described.document, "columns": described.columns}
    print(json.dumps({**result, "description": description}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
