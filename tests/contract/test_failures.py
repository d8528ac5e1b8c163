# SPDX-License-Identifier: GPL-3.0-or-later
"""Every failure says what to do, in its own words or in a row of the table at the top of docs/operations.md.

The messages are read from the sources: what modules hand to ``fail_json``, the exceptions whose text becomes such a
message, the preflight's findings, and the playbooks' ``fail`` and ``assert``. What a message computes is "…" here.

It speaks for itself if it names something to do: a sentence or clause that begins with a verb of ``VERBS``, or a quoted
command. Otherwise a row has to fit it. What consists of "…" alone passes another message on, which is held to the same rule.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent.parent
#: Calls whose arguments people read: which arguments, in their order.
SPOKEN = {
    "fail_json": (), "GoogleApiError": (0, 1, 2), "TrainingError": (0,), "FingerprintError": (0,), "Finding": (1, 2),
    "AnsibleConnectionFailure": (0,), "AnsibleFilterError": (0,), "AnsibleActionFail": (0,), "AnsibleParserError": (0,), "refuse": (0,),
}  # fmt: skip
VERBS = (
    "ask|check|choose|compare|correct|create|delete|deploy|enable|export|fix|free|give|grant|install|leave|let|list|look|make|move|name|"
    "point|publish|raise|restore|run|set|stop|train|try|use|write"
)
REMEDY = re.compile(
    rf"(?:^|[.:;,(] |\bor )(?:{VERBS})\b(?! is\b)|(?:[\"']|\. )(?:ansible-|gcloud |journalctl |mv |sudo |uv )|(?:^| )-e [a-z_]+=",
    re.I,
)
#: Where a message consists of what was said elsewhere: by Google, with ``remedy_for``, or by what is read here, too.
PASSING_ON = {
    "library/free_tier_guard.py", "library/project_preflight.py", "library/training_plan.py", "library/training_run.py",
    "module_utils/fanops/api/errors.py", "module_utils/fanops/api/options.py", "module_utils/fanops/preflight/access.py",
    "module_utils/fanops/preflight/cloud.py",
    "playbooks/tasks/take_lock.yml", "playbooks/train_model.yml", "playbooks/validate_inputs.yml",
}  # fmt: skip
MINIMUM_WORDS = 2  # of a row, so that none fits everything

Message = tuple[str, str]  # where, text


def words(node: ast.expr, known: dict[str, list[ast.expr]], depth: int = 0) -> list[str]:
    """Return each text that an expression may have."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        texts = [""]
        for value in node.values:
            inner = value.value if isinstance(value, ast.FormattedValue) else value
            texts = [text + more for text in texts for more in words(inner, known, depth + 1)]
        return texts
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [
            left + right for left in words(node.left, known, depth + 1) for right in words(node.right, known, depth + 1)
        ]
    if isinstance(node, ast.IfExp):
        return words(node.body, known, depth + 1) + words(node.orelse, known, depth + 1)
    target = node.func if isinstance(node, ast.Call) else node
    name = target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""
    if name in known and depth < 6:
        return [text for value in known[name] for text in words(value, known, depth + 1)]
    return ["…"]


def sources() -> Iterator[Path]:
    for folder in ("library", "module_utils/fanops", "plugins"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            if "core" not in path.parts:  # ml/core: its errors are handed on by what calls it
                yield path


def texts_of(scope: ast.AST) -> dict[str, list[ast.expr]]:
    """Return the texts that a module or function gives names to, and those that its functions return."""
    found: dict[str, list[ast.expr]] = {}
    for node in scope.body if isinstance(scope, ast.Module) else ast.walk(scope):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    if isinstance(scope, ast.Module):
        for function in [node for node in ast.walk(scope) if isinstance(node, ast.FunctionDef)]:
            returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
            if returned and all(isinstance(value, (ast.Constant, ast.JoinedStr)) for value in returned):
                found[function.name] = returned
    return {
        name: values
        for name, values in found.items()
        if all(isinstance(value, (ast.Constant, ast.JoinedStr, ast.BinOp, ast.IfExp, ast.Name)) for value in values)
    }


def spoken_in_python() -> Iterator[Message]:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sources()}
    shared = {name: texts for tree in trees.values() for name, texts in texts_of(tree).items() if name.isupper()}
    for path, tree in trees.items():
        for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
            known = shared | texts_of(tree) | texts_of(function)
            for node in ast.walk(function):
                where = f"{path.relative_to(REPOSITORY)}:{getattr(node, 'lineno', 0)}"
                if isinstance(node, ast.Return) and node.value and function.name == "remedy_for":
                    yield from ((where, text) for text in words(node.value, known) if text)
                if not isinstance(node, ast.Call):
                    continue
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in SPOKEN:
                    parts = [node.args[index] for index in SPOKEN[name] if index < len(node.args)]
                    parts += [keyword.value for keyword in node.keywords if keyword.arg in ("msg", "found", "remedy")]
                    for texts in itertools.product(*(words(part, known) for part in parts)):
                        said = ". ".join(text.rstrip(".") for text in texts if text)
                        yield where, f"Could not {said.replace('. ', ': ', 1)}" if name == "GoogleApiError" else said


def tasks_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from tasks_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from tasks_in(inner)


def spoken_in_yaml() -> Iterator[Message]:
    for path in sorted([*(REPOSITORY / "playbooks").rglob("*.yml"), *REPOSITORY.glob("roles/*/tasks/*.yml")]):
        for task in tasks_in(yaml.safe_load(path.read_text(encoding="utf-8"))):
            for module, option in (("ansible.builtin.fail", "msg"), ("ansible.builtin.assert", "fail_msg")):
                if module in task:
                    text = " ".join(str(task[module].get(option, "")).split())
                    yield f"{path.relative_to(REPOSITORY)}: {task.get('name')}", re.sub(r"\{\{.*?\}\}", "…", text)


def rows() -> dict[str, str]:
    """Return the table: the beginning of its first cell, in code, to what is typed."""
    text = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
    table = text.partition("| What you see | What to type |")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| (.+?) \| (.+) \|$", table, re.MULTILINE)[1:])


def pattern(cell: str) -> re.Pattern[str] | None:
    """Return what a row fits; None for a row that speaks of something else than a message."""
    quoted = re.fullmatch(r"`(.+)`", cell)
    return re.compile(".*?".join(re.escape(part) for part in quoted[1].split("…"))) if quoted else None


def passes_on(text: str) -> bool:
    return not re.search(r"[a-z]", text.replace("Could not", "").replace("could not", ""))


MESSAGES = sorted({*spoken_in_python(), *spoken_in_yaml()})


def test_every_failure_is_found() -> None:
    assert len(MESSAGES) > 130
    found = {where.partition(":")[0] for where, _ in MESSAGES}
    for path in sources():  # nothing that fails in another way than those that are read
        text = path.read_text(encoding="utf-8")
        if re.search(r"\bfail_json\(|raise (GoogleApiError|TrainingError)\(", text):
            assert str(path.relative_to(REPOSITORY)) in found, path
    for where, text in MESSAGES:
        assert text, f"{where} fails without a message"
    assert {where.partition(":")[0] for where, text in MESSAGES if passes_on(text)} == PASSING_ON


def test_every_failure_speaks_for_itself_or_has_its_row() -> None:
    patterns = [found for cell in rows() if (found := pattern(cell))]
    silent = [
        f"{where}: {text}"
        for where, text in MESSAGES
        if not passes_on(text) and not REMEDY.search(text) and not any(found.search(text) for found in patterns)
    ]
    assert silent == []


@pytest.mark.parametrize(("cell", "typed"), rows().items(), ids=[cell[:30] for cell in rows()])
def test_every_row_is_true(cell: str, typed: str) -> None:
    found = pattern(cell)
    if found is not None:
        assert len(re.findall(r"[A-Za-z]{2,}", cell)) >= MINIMUM_WORDS, "a row that fits everything says nothing"
        assert any(found.search(text) for _where, text in MESSAGES), "no message says so any more"
    assert re.search(r"`[^`]{4,}`", typed), "nothing to type"
    for playbook in re.findall(r"playbooks/\w+\.yml", typed):
        assert (REPOSITORY / playbook).exists(), playbook
