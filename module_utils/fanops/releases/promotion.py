# SPDX-License-Identifier: GPL-3.0-or-later
"""Which release is live: promotion and rollback are one compare-and-swap of the pointer, as in ``ml/publish/publisher.py``."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import uuid
from typing import Any

from ansible.module_utils.fanops.api.client import Client
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource
from ansible.module_utils.fanops.releases.listing import (
    HISTORY,
    MANIFESTS,
    POINTER,
    SCHEMA,
    Bucket,
    digest_in,
    promotions,
    read_manifest,
    read_pointer,
)
from ansible.module_utils.fanops.resources.memory import memory_bytes

MIRRORS = ("model.joblib", "model_columns.joblib")
REGRESSION = 0.005  # as in ml.core.gate
LIST = "playbooks/list_releases.yml shows what there is."


class LiveRelease(Resource):
    """The pointer of a bucket."""

    kind = "live release of"

    def __init__(self, client: Client, options: dict[str, Any]) -> None:
        super().__init__(client, options)
        self.bucket = Bucket(client, options["bucket"])
        self.attempting = f"{options['action']} release {options['release']} of gs://{self.bucket.name}"
        self._generation = "0"
        self._pointer: dict[str, Any] = {}
        self._digest = ""
        self._refusals: list[str] = []

    @property
    def title(self) -> str:
        """The bucket."""
        return f"{self.kind} gs://{self.bucket.name}"

    def fetch(self) -> dict[str, Any]:
        """The pointer; an error when there is none, since there is nothing to choose from either."""
        pointer, self._generation = read_pointer(self.bucket)
        if pointer is None:
            raise GoogleApiError(self.attempting, "nothing was ever published there", "Run site.yml first.")
        self._pointer = pointer
        return pointer

    def wanted(self) -> dict[str, Any]:
        """The manifest that shall be live."""
        if not self._digest:
            self._digest = resolve(self.bucket, self._pointer, self.options["release"], self.attempting)
        return self._view(self._digest)

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        """The manifest that is live."""
        return self._view(digest_in(current, self.bucket.name))

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any] | None:
        """The next pointer."""
        return self._next(current or {}, write_id="")

    def update(self, current: dict[str, Any], plan: Plan) -> None:
        """List the swap, after everything was checked that can be checked without changing anything."""
        manifest = read_manifest(self.bucket, self._digest)
        self._check_files(manifest)
        if self.options["action"] == "promote":
            self._refusals = self._judge(manifest, read_manifest(self.bucket, digest_in(current, self.bucket.name)))
            if self._refusals and not self.options["force"]:
                found = "; ".join(self._refusals)
                raise GoogleApiError(self.attempting, found, "To promote it all the same: -e force=true.")
        version = current["version"] + 1
        forced = f", forced although {'; '.join(self._refusals)}" if self._refusals else ""
        done = f"make release {self._digest[:12]} live as version {version}{forced}"
        plan.act(done, lambda: self._swap(current, manifest))
        plan.act("copy its joblib files to the root of the bucket", lambda: self._mirror(manifest))

    # -- inside --------------------------------------------------------------------------------------------------

    def _view(self, digest: str) -> dict[str, Any]:
        try:
            manifest = read_manifest(self.bucket, digest)
        except GoogleApiError:
            if digest == self._digest:
                raise
            manifest = {}  # a damaged live release is a reason to roll back
        return {
            "release": digest,
            "created": manifest.get("created"),
            "accuracy": manifest.get("metrics", {}).get("accuracy"),
        }

    def _check_files(self, manifest: dict[str, Any]) -> None:
        """Refuse a release of which a file is missing or damaged; the served one is read as a whole."""
        for name, entry in manifest.get("files", {}).items():
            found = self.bucket.look(entry["path"])
            if found is None or (int(found["size"]), found.get("crc32c")) != (entry["size"], entry["crc32c"]):
                state = "is missing" if found is None else "is damaged"
                raise GoogleApiError(self.attempting, f"its file {name} {state}", f"Choose another one; {LIST}")
        entry = manifest.get("files", {}).get("model.onnx", {})
        data = self.bucket.read(entry.get("path", "none"))
        if data is None or hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise GoogleApiError(self.attempting, "its model.onnx is damaged", f"Choose another one; {LIST}")

    def _judge(self, manifest: dict[str, Any], live: dict[str, Any]) -> list[str]:
        """The quality gate of ``ml/core/gate.py``, on what the manifests recorded."""
        metrics, before = manifest.get("metrics", {}), live.get("metrics", {})
        accuracy, floor = float(metrics.get("accuracy", 0)), self.options["accuracy_floor"]
        refusals = []
        if accuracy < floor:
            refusals.append(f"its accuracy {accuracy:.2%} is below the floor of {floor:.2%}")
        if metrics.get("held_out") != before.get("held_out"):
            refusals.append("it was measured on other held-out rows than the live release")
        elif accuracy < before["accuracy"] - REGRESSION:
            refusals.append(
                f"its accuracy {accuracy:.2%} is more than {REGRESSION:.1%} below the {before['accuracy']:.2%} of the live release"
            )
        refusals += [
            f"its {name} are not those of the live release"
            for name in ("columns", "classes")
            if manifest.get(name) != live.get(name)
        ]
        needed, given = manifest.get("memory", {}).get("serving_bytes"), self._function_memory()
        if needed is None:
            refusals.append("its memory was never measured")
        elif needed > given:
            refusals.append(f"serving it takes {needed / 2**20:.0f} MiB, the function has {given / 2**20:.0f} MiB")
        return refusals

    def _function_memory(self) -> int:
        try:
            return memory_bytes(self.options["function_memory"])
        except ValueError as error:
            raise GoogleApiError("read function_memory", f"{error}", "Give a size such as 512Mi or 1Gi.") from error

    def _next(self, current: dict[str, Any], write_id: str) -> dict[str, Any]:
        manifest = read_manifest(self.bucket, self._digest)
        refused = "; ".join(self._refusals)
        reason = self.options["reason"] or ("" if refused else f"asked for {self.options['release']}")
        return {
            "schema": SCHEMA,
            "version": current["version"] + 1,
            "manifest": self._digest,
            "write_id": write_id,
            "updated": now(),
            "action": self.options["action"],
            "reason": "; ".join(part for part in (reason, refused) if part),
            "forced": bool(self._refusals),
            "fingerprint": manifest.get("fingerprint", {}).get("fingerprint", ""),
            "previous": current["manifest"],
            "history": promotions(current)[:HISTORY],
        }

    def _swap(self, current: dict[str, Any], manifest: dict[str, Any]) -> None:
        """Mark everything as used, so that no pruning can take it away any more, and swap the pointer."""
        for path in (f"{MANIFESTS}{self._digest}.json", *(entry["path"] for entry in manifest["files"].values())):
            self.bucket.touch(path, self.bucket.look(path) or {"generation": "0"}, now())
        wanted = self._next(current, uuid.uuid4().hex)
        content = (json.dumps(wanted, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()
        for attempt in range(1, 6):
            try:
                return self.bucket.replace(POINTER, content, self._generation)
            except GoogleApiError as failure:
                # A success whose answer got lost looks like a failure, or like somebody else's change.
                pointer, generation = read_pointer(self.bucket)
                if any(entry["write_id"] == wanted["write_id"] for entry in promotions(pointer)):
                    return None
                if generation != self._generation:
                    found = f"version {(pointer or {}).get('version')} was made live at the same time"
                    raise GoogleApiError(self.attempting, found, f"Look at it, then run again; {LIST}") from failure
                if not failure.retryable or attempt == 5:
                    raise
                self.client.sleep(0.5 * 2**attempt)

    def _mirror(self, manifest: dict[str, Any]) -> None:
        """Copy what people and older clients read; nothing of ours does."""
        for name in MIRRORS:
            pointer, _ = read_pointer(self.bucket)
            entry = manifest["files"].get(name)
            if entry is None or (pointer or {}).get("manifest") != self._digest:
                return
            there = self.bucket.look(name)
            if there is None or there.get("crc32c") != entry["crc32c"]:
                generation = there["generation"] if there else "0"
                self.bucket.copy(entry["path"], name, generation, {"release": self._digest})


def resolve(bucket: Bucket, pointer: dict[str, Any], name: str, attempting: str) -> str:
    """The SHA-256 of the manifest that a person means: a version, the beginning of a digest, or "previous"."""
    known = promotions(pointer)
    if name == "previous":
        # After a rollback, "previous" is one further back: not the release that was just rolled back from.
        live = known[0]["manifest"]
        origin = max(place for place, entry in enumerate(known) if entry["manifest"] == live)
        found = [entry["manifest"] for entry in known[origin + 1 :] if entry["manifest"] != live]
        if not found:
            raise GoogleApiError(attempting, "no release was live before this one", LIST)
        return str(found[0])
    for entry in known:
        if str(entry["version"]) == name:
            return str(entry["manifest"])
    if not re.fullmatch(r"[0-9a-f]{6,64}", name):
        remembered = ", ".join(str(entry["version"]) for entry in known)
        raise GoogleApiError(attempting, f"there is no such version, remembered are {remembered}", LIST)
    found = [item["name"].removeprefix(MANIFESTS).removesuffix(".json") for item in bucket.list(f"{MANIFESTS}{name}")]
    if len(found) != 1:
        raise GoogleApiError(attempting, f"{len(found)} releases have a digest that begins like this", LIST)
    return str(found[0])


def now() -> str:
    """The time, UTC, ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
