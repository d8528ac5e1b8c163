# SPDX-License-Identifier: GPL-3.0-or-later
"""The table at the end of `make test`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.summary import results, summary


def test_every_layer_is_counted_and_the_slowest_lead(tmp_path: Path) -> None:
    (tmp_path / "unit.xml").write_text(
        '<testsuites><testsuite><testcase classname="tests.unit.test_x" name="test_a" time="0.5"/>'
        '<testcase classname="tests.unit.test_x" name="test_b" time="7.25"><failure/></testcase>'
        '<testcase classname="tests.unit.test_x" name="test_c" time="0"><skipped/></testcase></testsuite></testsuites>'
    )
    (tmp_path / "molecule.tsv").write_text("training_vm\t92\tpassed\nvm_watchdog\t76\tfailed\n")
    text = summary(results(tmp_path))
    assert "| molecule | 1 | 1 | 0 | 168 |" in text
    assert "| unit | 1 | 1 | 1 | 8 |" in text
    assert text.index("training_vm") < text.index("vm_watchdog") < text.index("test_x::test_b | unit | 7.2 |")


def test_a_line_that_is_none_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "lint.tsv").write_text("ruff 3 passed\n")
    with pytest.raises(ValueError, match="unpack"):
        results(tmp_path)
