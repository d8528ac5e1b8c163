# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documents tell people to type is typed, in their order, and ends as they say."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.matches import write
from tests.rehearsal.conftest import REPOSITORY, Outcome, Rehearsal, vm_states
from tests.rehearsal.test_training_data import read

pytestmark = [pytest.mark.timeout(2400), pytest.mark.long]
DOCUMENTS = ("README.md", "docs/operations.md", "docs/presentation.md")
LAST = ("delete_vm.yml", "teardown.yml")  # nothing can be shown after them
REFUSED = ["site.yml -e vm_machine_type=e2-small"]  # the document shows the refusal


def playbook_commands() -> list[str]:
    """Return the arguments of every ``ansible-playbook`` in documents and headers, once each, in their order."""
    texts = [(REPOSITORY / name).read_text(encoding="utf-8") for name in DOCUMENTS]
    found = [
        command
        for text in texts
        # a placeholder (confirm=<project id>, run_id=…) is no command, nor is the diagram of the README
        for command in re.findall(r"(?:^|`|\$ |bin/)ansible-playbook ([^`#\n─|…<]+?)\s*(?:`|#|\n)", text, re.MULTILINE)
    ]
    for path in [REPOSITORY / "site.yml", *sorted((REPOSITORY / "playbooks").glob("*.yml"))]:
        head = path.read_text(encoding="utf-8").partition("\n- name:")[0].partition("\n- import")[0]
        found += re.findall(r"^#\s+(?:Example:\s+)?ansible-playbook ([^|\n]+?)\s*(?:\||\n)", head, re.MULTILINE)
    # What takes two environments is typed by test_environments.py.
    unique = [command for command in dict.fromkeys(found) if "staging" not in command]
    return sorted(unique, key=lambda command: next((n for n, name in enumerate(LAST, 1) if name in command), 0))


def gcloud_commands() -> list[str]:
    """Return every line of a shell block that calls Google's own tool; its continuation lines belong to it."""
    text = "".join((REPOSITORY / name).read_text(encoding="utf-8") for name in DOCUMENTS)
    blocks = "\n".join(re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
    return [line.split(" #")[0].strip() for line in blocks.splitlines() if line.startswith("gcloud ")]


def test_every_playbook_is_in_a_command() -> None:
    commands = " ".join(playbook_commands())
    for path in (REPOSITORY / "playbooks").glob("*.yml"):
        # documented as a stage of site.yml; test_end_to_end.py runs it on its own
        assert f"playbooks/{path.name}" in commands or path.name == "train_model.yml", path.name


def test_what_is_written_is_typed_and_works(cloud: Rehearsal, tmp_path: Path) -> None:
    write(tmp_path / "matches.parquet", 12_000)

    def yours(command: str) -> str:
        """Put in what is the reader's own."""
        release = json.loads(read(cloud, "current.json") or '{"manifest": "none"}')["manifest"][:8]
        return (
            command.replace("matches.parquet", str(tmp_path / "matches.parquet"))
            .replace("your-project-models", "fanops-m4-models")
            .replace("my-project", cloud.environment["GCP_PROJECT"])
            .replace("release=3f9a1c22", f"release={release}")
            .replace("release=4", "release=1")
        )

    def problem(command: str, outcome: Outcome) -> str:
        if (outcome.code != 0) != (command in REFUSED):
            return f"$ ansible-playbook {command}\n{outcome.output[-3000:]}"
        return ""

    problems = []
    for command in playbook_commands():
        outcome = cloud.playbook(*shlex.split(yours(command)))
        print(f"{outcome.code} {outcome.seconds:6.1f} s  ansible-playbook {command}", flush=True)
        problems.append(problem(command, outcome))
        if command.startswith("playbooks/stop_vm.yml"):
            assert set(vm_states(cloud)) == {"TERMINATED"}
    assert not any(problems), "\n\n".join(filter(None, problems))
    assert cloud.status()["instances"] == {} and cloud.status()["functions"] == {}


def test_what_the_rehearsal_is_asked_for_is_answered(cloud: Rehearsal) -> None:
    text = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\| `rehearsal ([^`]+)` \|", text, re.MULTILINE)
    assert len(commands) >= 8
    for command in sorted(commands, key=lambda text: text.startswith("down")):
        if command.startswith("up"):
            cloud.rehearsal("down")
        outcome = cloud.rehearsal(*shlex.split(command))
        planned_and_not_met = command == "fault check"
        assert outcome.code == (1 if planned_and_not_met else 0), f"rehearsal {command}\n{outcome.output}"
    cloud.up()


def test_what_google_is_asked_for_is_answered(cloud: Rehearsal) -> None:
    commands = [command for command in gcloud_commands() if "auth" not in command]
    assert commands
    if not shutil.which("gcloud"):
        pytest.skip("gcloud is not installed")
    owner = json.loads(cloud.rehearsal("env", "--identity", "owner", "--output", "json").output)
    # What the reader has done before: the README's demo switched the API on.
    commands.insert(0, "gcloud services enable compute.googleapis.com")
    for command in commands:
        # The rehearsal's project has a deployer with its role from the beginning.
        another = re.sub(r"((?:create |roles/)fanops_m4_deployer)\b(?!\.)", r"\1_2", command)
        another = re.sub(r"(create |:)deployer\b", r"\1deployer-2", another)
        outcome = cloud.run("bash", "-c", another, **owner)
        assert outcome.code == 0, f"$ {command}\n{outcome.output}"
