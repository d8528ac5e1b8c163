# SPDX-License-Identifier: GPL-3.0-or-later
"""`make test-google GCP_PROJECT=…`: the whole path on a real project, and where its answers differ from the rehearsal's.

It makes an environment of its own, called trial, in that project: one free VM, one bucket, one function, two accounts.
It asks first, and deletes them at the end, also where a step failed. What was answered goes to build/google/google.json,
without any value. `rehearsal.json` beside this file has the same run on the rehearsal; `make record-rehearsal` writes it anew.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.google.transcript import differences, read

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / "build/google"
EXPECTED = Path(__file__).with_name("rehearsal.json")
BIN = Path(sys.executable).parent
STEPS = (
    ("plan", "site.yml", "--check"),
    ("train, deploy and verify", "site.yml"),
    ("predict", "playbooks/predict.yml", "-e", "zone=VIP", "-e", "event=Goal"),
    ("train with other parameters", "site.yml", "-e", "training_samples=12000"),
    ("roll back", "playbooks/rollback_release.yml", "-e", "reason=trial"),
    ("list the releases", "playbooks/list_releases.yml"),
    ("show the status", "playbooks/show_status.yml"),
    ("show the costs", "playbooks/show_costs.yml"),
)
BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def make_environment(project: str) -> Path:
    """Write the inventory of the environment "trial", which is staging under other names; return its folder."""
    source, target = REPOSITORY / "inventory/environments/staging", BUILD / "trial"
    shutil.rmtree(target, ignore_errors=True)
    (target / "group_vars/all").mkdir(parents=True)
    for name in ("gcp_compute.yml", "group_vars/all/names.yml"):
        text = (source / name).read_text(encoding="utf-8").replace("staging", "trial")
        (target / name).write_text(text.replace("fanops-m4-trial-models", f"{project}-m4-trial"), encoding="utf-8")
    for name in ("localhost.yml", "group_vars/training", "group_vars/all/00_common"):
        (target / name).symlink_to((source / name).resolve())
    return target


def trusted(environment: dict[str, str]) -> Path | None:
    """Return the bundle of authorities that clients trust without the recorder."""
    candidates = (environment.get("SSL_CERT_FILE"), environment.get("REQUESTS_CA_BUNDLE"), *BUNDLES)
    return next((Path(name) for name in candidates if name and Path(name).is_file()), None)


@contextlib.contextmanager
def recording(transcript: Path, *addons: Path) -> Iterator[dict[str, str]]:
    """Record what passes through a proxy while the context lasts; yield the environment that points clients at it.

    A proxy that the environment names already is gone through, as a company's is, or the rehearsal's front door.
    """
    environment = dict(os.environ)
    folder = BUILD / "authority"
    folder.mkdir(parents=True, exist_ok=True)
    transcript.unlink(missing_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    above = environment.get("HTTPS_PROXY") or environment.get("https_proxy")
    bundle = trusted(environment)
    command = [
        str(BIN / "mitmdump"), "--quiet", "--listen-host", "127.0.0.1", "--listen-port", str(port), "--set", f"confdir={folder}",
        *(("--mode", f"upstream:{above}") if above else ()),
        *(("--set", f"ssl_verify_upstream_trusted_ca={bundle}") if bundle else ()),
    ]  # fmt: skip
    for addon in (*addons, Path(__file__).with_name("recorder.py")):
        command += ["-s", str(addon)]
    where = environment | {"TRANSCRIPT": str(transcript), "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, env=where, stdin=subprocess.DEVNULL)
    try:
        _wait_for(process, port)
        own = (folder / "mitmproxy-ca-cert.pem").read_text(encoding="utf-8")
        both = BUILD / "authorities.pem"
        both.write_text(
            (bundle.read_text(encoding="utf-8").rstrip("\n") + "\n" if bundle else "") + own, encoding="utf-8"
        )
        names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
        proxy = f"http://127.0.0.1:{port}"
        yield environment | dict.fromkeys(names, str(both)) | {"HTTPS_PROXY": proxy, "https_proxy": proxy}
    finally:
        process.terminate()
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit("test-google: the recorder did not start; what it said is above")


def run(project: str, transcript: Path, *addons: Path) -> bool:
    """Run all steps, record their answers, and delete what they made; say each step's end. Return whether all came through."""
    inventory = make_environment(project)
    logs = BUILD / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    with recording(transcript, *addons) as environment:
        environment |= {"GCP_PROJECT": project, "PATH": f"{BIN}:{environment['PATH']}"}
        try:
            done = all(_step(environment, inventory, logs, *step) for step in STEPS)
        finally:
            confirmed = ("-e", f"confirm={project}/trial", "-e", "teardown_roles=true")
            gone = _step(environment, inventory, logs, "delete everything", "playbooks/teardown.yml", *confirmed)
            if not gone:
                print(
                    f"Something may be left in {project}. Once the cause is gone, run: ansible-playbook -i "
                    f"{inventory.relative_to(REPOSITORY)} playbooks/teardown.yml {' '.join(confirmed)}"
                )
    return done and gone


def _step(environment: dict[str, str], inventory: Path, logs: Path, what: str, *arguments: str) -> bool:
    began = time.monotonic()
    log = logs / f"{what.replace(' ', '-').replace(',', '')}.log"
    print(f"==> {what}: ansible-playbook {' '.join(arguments)}", flush=True)
    with log.open("w", encoding="utf-8") as output:
        command = [str(BIN / "ansible-playbook"), "-i", str(inventory), *arguments]
        code = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        ).returncode
    lines = log.read_text(encoding="utf-8").strip().splitlines()
    print(
        f"    {time.monotonic() - began:.0f} s"
        if code == 0
        else f"    {lines[-1]} (all of it: {log.relative_to(REPOSITORY)})",
        flush=True,
    )
    return code == 0


def main() -> int:
    """Ask, run, compare; return 0 where every step came through and nothing differs."""
    parser = argparse.ArgumentParser(prog="test-google", description=__doc__.partition("\n")[0])
    parser.add_argument("project", help="the id of the project")
    parser.add_argument("--confirm", default="", help="the project's id once more: it is not asked for then")
    parser.add_argument(
        "--record", action="store_true", help="write what the rehearsal answered, to which Google is compared"
    )
    wanted = parser.parse_args()
    print(
        f"In {wanted.project} this makes an environment called trial: one e2-micro VM, the bucket {wanted.project}-m4-trial, one function, "
        "two service accounts. Each is within Always Free if the project's other VMs leave it. At the end it deletes them. "
        "It takes about half an hour."
    )
    if (wanted.confirm or input("Type the project's id to go on: ").strip()) != wanted.project:
        print(
            "test-google: nothing was done, because the project's id was not confirmed. Run it again and type the id.",
            file=sys.stderr,
        )
        return 1
    transcript = EXPECTED if wanted.record else BUILD / "google.json"
    done = run(wanted.project, transcript)
    if wanted.record or not transcript.exists():
        return 0 if done else 1
    found = differences(read(transcript), read(EXPECTED), whole=done)
    print("\n".join(found))
    kinds = len(read(transcript))
    print(
        f"{kinds} kinds of answers, {len(found)} differences from the rehearsal: {transcript.relative_to(REPOSITORY)}"
    )
    if found:
        print("Please report them, with that file, which has no values: each says where the rehearsal must be mended.")
    return 0 if done and not found else 1


if __name__ == "__main__":
    raise SystemExit(main())
