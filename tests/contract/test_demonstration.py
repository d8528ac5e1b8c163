# SPDX-License-Identifier: GPL-3.0-or-later
"""The tour and the talk: both languages say the same, and what they say is what the playbooks and the prices say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PLAYBOOK = REPOSITORY / "playbooks/demonstrate.yml"
TEXTS: dict[str, dict[str, Any]] = yaml.safe_load(
    (REPOSITORY / "playbooks/vars/demonstration.yml").read_text(encoding="utf-8")
)["demonstration_texts"]
LANGUAGES = sorted(TEXTS)
TALK = (REPOSITORY / "docs/presentation.md").read_text(encoding="utf-8")
DIGEST = "3f9a1c22" * 8

# Stands in for a module of ours: notes its arguments, and answers what the test laid down for it. The VM does what it
# is told, even when the answer to that is a failure.
MODULE = """\
#!/usr/bin/python
# WANT_JSON
import json, pathlib, sys
folder = {folder!r}
given = json.load(open(sys.argv[1]))
with open(folder + "/calls", "a") as calls:
    calls.write(json.dumps([{name!r}, given.get("state"), given["_ansible_check_mode"]]) + "\\n")
answer = json.load(open(folder + "/" + {name!r} + ".json"))
status = pathlib.Path(folder, "status")
if {name!r} == "gce_instance" and not given["_ansible_check_mode"]:
    status.write_text("RUNNING" if given["state"] == "running" else "TERMINATED")
    answer = answer if given["state"] == "running" else {{"changed": True}}
if {name!r} == "gce_instance_info" and status.exists():
    answer["instance"]["status"] = status.read_text()
print(json.dumps(answer))
"""
INSTANCE = {
    "id": "1",
    "name": "ml-training-vm",
    "status": "TERMINATED",
    "zone": "https://www.googleapis.com/compute/v1/projects/demo/zones/us-central1-a",
    "machineType": "https://www.googleapis.com/compute/v1/projects/demo/zones/us-central1-a/machineTypes/e2-micro",
    "disks": [{"diskSizeGb": "30", "licenses": ["https://example.invalid/licenses/debian-12-bookworm"]}],
    "networkInterfaces": [{"accessConfigs": [{}]}],
    "serviceAccounts": [{"email": "m4-trainer@demo.iam.gserviceaccount.com"}],
    "scheduling": {"maxRunDuration": {"seconds": "7200"}},
    "lastStopTimestamp": "2026-11-24T10:00:00.000-08:00",
}
MONTH = {"list": 10.96, "with_free": 3.65}
ANSWERS: dict[str, dict[str, Any]] = {
    "gce_instance_info": {"instance": INSTANCE, "host_keys": [], "history": []},
    "gce_instance": {"failed": True, "msg": "not expected"},
    "free_tier_guard": {"summary": "nothing is billed"},
    "model_release_info": {
        "release": {"version": 3, "created": "2026-11-24T18:02:11Z", "samples": 10000, "metrics": {"accuracy": 0.878}},
        "objects": [{"name": f"blobs/{DIGEST}/model.onnx", "size": 4700000}, {"name": "current.json", "size": 812}],
    },
    "cloud_function_call": {
        "status": 200,
        "latency_ms": 14.2,
        "url": "https://m4.example.invalid",
        "response": {
            "recommended_sponsor": "Visa",
            "category": "Finance",
            "confidence": 0.91,
            "campaign_message": "Un but se fête.",
            "release": {"version": 3},
        },
    },
    "gcp_costs_info": {
        "report": {
            "months": {"always_on": MONTH, "estimate": MONTH, "stopped": MONTH},
            "runs_total": {"hours": 1.5, "vm": 0.01, "external_ipv4": 0.01},
        }
    },
}


class Tour:
    """The playbook, with Google's modules replaced. It reaches no machine but this one, and changes nothing on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers = json.loads(json.dumps(ANSWERS))
        self.inventory = [str(REPOSITORY / "inventory/environments/production/localhost.yml")]

    def list_the_vm(self, **variables: Any) -> None:
        """Have it in the inventory, with these variables."""
        host = {"gce_name": "ml-training-vm", "gce_id": "1", "ansible_host": "127.0.0.1", **variables}
        (self.folder / "vm.yml").write_text(json.dumps({"training": {"hosts": {"ml-training-vm": host}}}))
        self.inventory.append(str(self.folder / "vm.yml"))

    def run(self, *arguments: str) -> tuple[int, str, list[list[Any]]]:
        """Return exit code, output, and the calls of modules as [name, state, check mode]."""
        library = self.folder / "library"
        library.mkdir()
        for name, answer in self.answers.items():
            (library / f"{name}.py").write_text(MODULE.format(folder=str(self.folder), name=name))
            (self.folder / f"{name}.json").write_text(json.dumps({"changed": False, **answer}))
        command = [str(Path(sys.executable).with_name("ansible-playbook"))]
        for inventory in self.inventory:
            command += ["-i", inventory]
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
            "ANSIBLE_LIBRARY": str(library),
            "ANSIBLE_NOCOLOR": "1",
            "GCP_PROJECT": "demo",
        }
        command += [str(PLAYBOOK), *arguments, "-e", f"project_cache={self.folder}/cache"]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        noted = self.folder / "calls"
        calls = [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []
        return done.returncode, done.stderr + done.stdout, calls


@pytest.fixture
def tour(tmp_path: Path) -> Tour:
    return Tour(tmp_path)


def flat(texts: dict[str, Any], path: str = "") -> dict[str, str]:
    """Every text by the path of its keys."""
    found: dict[str, str] = {}
    for key, value in texts.items():
        found |= flat(value, f"{path}{key}.") if isinstance(value, dict) else {path + key: value}
    return found


def test_every_language_says_the_same_and_nothing_is_empty() -> None:
    assert LANGUAGES == ["en", "fr"]
    english = flat(TEXTS["en"])
    for language in LANGUAGES:
        texts = flat(TEXTS[language])
        assert texts.keys() == english.keys(), language
        for key, text in texts.items():
            assert isinstance(text, str) and text.strip(), f"{language}.{key}"
            for parts in (r"\{\{ *(\w+) *\}\}", r"%[.\d]*[a-z]", r"playbooks/\w+\.yml"):
                assert sorted(re.findall(parts, text)) == sorted(re.findall(parts, english[key])), f"{language}.{key}"


def test_the_texts_name_variables_and_playbooks_that_exist() -> None:
    variables = {
        name
        for path in (REPOSITORY / "inventory").glob("**/group_vars/all/*.yml")
        for name in yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    }
    for key, text in flat(TEXTS).items():
        assert set(re.findall(r"\{\{ *(\w+) *\}\}", text)) <= variables, key
        for playbook in re.findall(r"playbooks/\w+\.yml", text):
            assert (REPOSITORY / playbook).exists(), f"{key}: {playbook}"


def test_every_text_is_used() -> None:
    using = PLAYBOOK.read_text() + "".join(
        path.read_text() for folder in ("tasks", "templates") for path in (REPOSITORY / "playbooks" / folder).iterdir()
    )
    for key in (*TEXTS["en"], *TEXTS["en"]["labels"]):
        assert re.search(rf"(step: |'|\.){key}\b", using), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_tour_says_all_of_it_and_leaves_a_vm_alone_that_is_off(tour: Tour, language: str) -> None:
    options = {"language": language, "start_vm": False, "pause_between_steps": True}
    code, output, calls = tour.run("-e", json.dumps(options))
    assert code == 0, output
    for step in ("overview", "vm", "no_files", "left", "bucket", "function", "costs"):
        assert TEXTS[language][step]["title"] in output, step
    for fact in (
        "TERMINATED, us-central1-a", "30 GB", "debian-12-bookworm", "2 vCPU", "7200 s", "Visa (Finance, 91.0%)",
        "14.2 ms", f"4.48 MB  blobs/{DIGEST}/model.onnx", "87.80%", "10.96", "gs://fanops-m4-models", "changed=0",
    ):  # fmt: skip
        assert fact in output, fact
    assert "{{" not in output, output
    assert {name for name, _state, _check in calls}.isdisjoint({"gce_instance", "free_tier_guard"})


def test_the_tour_looks_into_a_vm_that_runs_and_leaves_it_running(tour: Tour) -> None:
    tour.answers["gce_instance_info"]["instance"]["status"] = "RUNNING"
    tour.list_the_vm(ansible_connection="local", ansible_become=False)  # this machine, without a login
    code, output, calls = tour.run()
    assert code == 0, output
    for shown in ("$ python3.10 --version", "$ git --version", "$ ls -l /opt/fanops", "RUNNING"):
        assert shown in output
    assert TEXTS["en"]["files"]["title"] in output and TEXTS["en"]["left"]["title"] in output
    assert "gce_instance" not in {name for name, _state, _check in calls}


def test_a_vm_that_is_lost_is_a_failure_so_that_what_was_started_is_stopped(tour: Tour) -> None:
    tour.answers["gce_instance_info"]["instance"]["status"] = "RUNNING"
    tour.list_the_vm(ansible_port=1, ansible_ssh_retries=0)
    code, output, _calls = tour.run()
    assert code == 2 and "cannot be reached over SSH" in output.splitlines()[-1], output


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"failed": True, "msg": "the answer got lost"}, "the answer got lost"),
        ({"changed": True, "instance": INSTANCE}, "imed out"),
    ],
    ids=["at the API", "at the login"],
)
def test_a_vm_that_the_tour_started_is_stopped_although_it_failed(tour: Tour, answer: dict[str, Any], why: str) -> None:
    tour.answers["gce_instance"] = answer
    tour.answers["gce_instance_info"]["host_keys"] = ["ssh-ed25519 AAAA"]
    tour.list_the_vm(ansible_port=1, ansible_ssh_retries=0)
    code, output, calls = tour.run("-e", "training_vm_boot_timeout=1")
    assert code == 2 and why in output.splitlines()[-1], output
    names = [name for name, _state, _check in calls]
    assert names.index("free_tier_guard") < names.index("gce_instance")
    assert [state for name, state, _check in calls if name == "gce_instance"] == ["running", "stopped"]
    assert names[-1] == "gce_instance_info" and "ml-training-vm is TERMINATED" in output
    assert TEXTS["en"]["bucket"]["title"] not in output


def test_a_plan_starts_nothing(tour: Tour) -> None:
    tour.answers["gce_instance"] = {"changed": True, "instance": INSTANCE}
    code, output, calls = tour.run("--check", "-e", "pause_between_steps=true")
    assert code == 0, output
    assert [call for call in calls if call[0] == "gce_instance"] == [["gce_instance", "running", True]]
    assert TEXTS["en"]["no_files"]["title"] in output and not (tour.folder / "cache").exists()


@pytest.mark.parametrize(
    ("release", "arguments", "why"),
    [
        (True, ("-e", "language=de"), 'language is "de": give one of en, fr'),
        (False, (), 'Run "ansible-playbook site.yml" first.'),
    ],
)
def test_what_cannot_be_shown_ends_in_one_line(tour: Tour, release: bool, arguments: tuple[str, ...], why: str) -> None:
    if not release:
        tour.answers["model_release_info"]["release"] = None
    code, output, calls = tour.run(*arguments)
    assert code != 0 and why in output.splitlines()[-1], output
    assert "gce_instance" not in {name for name, _state, _check in calls}


def test_the_talk_types_what_exists_and_the_same_in_both_languages() -> None:
    assert TALK.count("```mermaid") == 1
    english, french = TALK.split("\n## Français", 1)
    blocks = [re.findall(r"```bash\n(.*?)```", part, re.DOTALL) for part in (english, french)]
    commands = [[line.split("  #")[0].strip() for block in part for line in block.splitlines()] for part in blocks]
    assert commands[0]
    assert [line.replace("language=fr", "language=en") for line in commands[1]] == commands[0]
    known = PLAYBOOK.read_text(encoding="utf-8")
    played = [line for line in commands[0] if "ansible-playbook" in line]
    assert any("playbooks/demonstrate.yml" in line for line in played)
    for line in played:
        for playbook in re.findall(r"[\w/]+\.yml", line):
            assert (REPOSITORY / playbook).exists(), line
        if "demonstrate.yml" in line:
            for name in re.findall(r"-e (\w+)=", line):
                assert name in known, line
    for playbook in re.findall(r"playbooks/\w+\.yml", TALK):
        assert (REPOSITORY / playbook).exists(), playbook


def test_the_talk_quotes_prices_and_limits_as_they_are() -> None:
    prices = yaml.safe_load((REPOSITORY / "pricing/google_cloud.yml").read_text(encoding="utf-8"))
    settings: dict[str, Any] = {}
    for path in (REPOSITORY / "inventory/group_vars/all").glob("*.yml"):
        settings |= yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    hours, machines = prices["hours_per_month"], prices["machine_types"]
    disk = settings["vm_disk_size_gb"] * prices["disk_types"][settings["vm_disk_type"]]["gib_month"]
    address = prices["external_ipv4"]["in_use_hour"]
    free = prices["always_free"]
    # French: 6,11 $ and 5 Go.
    english, french = TALK.split("\n## Français", 1)
    french = re.sub(r"(\d+),(\d+) \$", r"$\1.\2", french).replace(" Go", " GB")
    for part in (english, french):
        digits = re.sub(r"(?<=\d)[ ,](?=\d{3})", "", part)
        for figure in (
            prices["as_of"],
            f"${machines[settings['vm_machine_type']]['hour'] * hours:.2f}",
            f"${machines['e2-small']['hour'] * hours:.2f}",
            f"${disk:.2f}",
            f"${address:.3f}",
            f"${address * hours:.2f}",
            f"{settings['vm_max_run_seconds']} s",
            f"{settings['vm_lease_seconds']} s",
            f"{settings['vm_grace_seconds']} s",
            settings["function_memory"],
            f"{free['disk_gib']} GB",
            f"{free['bucket_gb']} GB",
            str(free["function_requests"]),
        ):
            assert figure in digits, figure
