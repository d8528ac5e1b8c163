# SPDX-License-Identifier: GPL-3.0-or-later
"""A run leaves its files, its log and its unit, and nothing of it ran as root."""

from __future__ import annotations

import json

from testinfra.host import Host

PYTHON, APP, RUN = "/opt/fanops/venv/bin/python", "/opt/fanops/app", "/var/lib/fanops/runs/molecule"
UNIT = "fanops-train-molecule.service"


def test_the_files_are_whole_and_belong_to_the_account_that_trained(host: Host) -> None:
    for name in ("model.joblib", "model_columns.joblib", "model.onnx", "manifest.json", "report.html"):
        file = host.file(f"{RUN}/{name}")
        assert file.is_file and file.size > 0 and file.user == "fanops-training", name


def test_the_model_answers(host: Host) -> None:
    program = (
        "import joblib, numpy; "
        f"model, columns = joblib.load('{RUN}/model.joblib'), joblib.load('{RUN}/model_columns.joblib'); "
        "print(len(columns), len(model.predict(numpy.zeros((1, len(columns)), dtype='float32'))))"
    )
    assert host.check_output(f'cd {APP} && {PYTHON} -c "{program}"') == "15 1"


def test_the_manifest_says_what_was_done_and_what_it_took(host: Host) -> None:
    manifest = json.loads(host.file(f"{RUN}/manifest.json").content_string)
    assert manifest["samples"] == 2000
    assert 0 < manifest["resources"]["peak_memory_bytes"] < 2**30
    assert manifest["metrics"]["accuracy"] < manifest["metrics"]["ceiling"] < 1


def test_the_journal_has_the_trainings_lines(host: Host) -> None:
    assert "15 dimensions" in host.check_output(f"journalctl --no-pager --output=cat --unit={UNIT}")


def test_the_code_is_roots(host: Host) -> None:
    assert host.file(APP).is_symlink
    # uv makes its lock writable for everybody, and there is nothing in it
    wrong = r"\( ! -user root -o -perm /022 \) ! -type l ! -path /opt/fanops/venv/.lock"
    found = host.check_output(f"find -L /opt/fanops -maxdepth 3 {wrong}")
    assert found == ""
