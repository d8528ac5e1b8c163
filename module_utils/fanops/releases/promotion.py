# SPDX-License-Identifier: GPL-3.0-or-later
"""Which release is live: promotion and rollback are one compare-and-swap of the pointer, as in ``ml/publish/publisher.py``.

A release of another bucket is copied and proven before.
"""

from __future__ import annotations

import datetime
import json
import re
import uuid
from typing import Any

from ansible.module_utils.fanops.api.client import Client, segment
from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.core import gate
from ansible.module_utils.fanops.core.releases import (
    HISTORY,
    POINTER,
    Candidate,
    Pointer,
    Release,
    ReleaseError,
    manifest_path,
    read_file,
)
from ansible.module_utils.fanops.reconcile.reconciler import Plan, Resource
from ansible.module_utils.fanops.releases.copying import copy_release, replay_golden_rows
from ansible.module_utils.fanops.releases.listing import MANIFESTS, Bucket, read_manifest, read_pointer
from ansible.module_utils.fanops.resources.memory import memory_bytes

MIRRORS = ("model.joblib", "model_columns.joblib")
LIST = "List what there is: model_release_info with all=true."


class LiveRelease(Resource):
    """The pointer of a bucket."""

    kind = "live release of"

    def __init__(self, client: Client, options: dict[str, Any]) -> None:
        super().__init__(client, options)
        self.bucket = Bucket(client, options["bucket"])
        self.source = Bucket(client, options["source_bucket"] or options["bucket"])
        self.copies = self.source.name != self.bucket.name
        self.attempting = f"{options['action']} release {options['release']} of gs://{self.source.name}"
        self._generation = "0"
        self._pointer: Pointer | None = None
        self._digest = ""
        self._refusals: list[str] = []
        #: Where a copied release comes from, and what the gate saw, for the history.
        self._origin, self._notes = "", list[str]()

    @property
    def title(self) -> str:
        """The bucket."""
        return f"{self.kind} gs://{self.bucket.name}"

    def fetch(self) -> dict[str, Any]:
        """The pointer, empty before the first release; an error when there is nothing to choose from either."""
        self._pointer, self._generation = read_pointer(self.bucket)
        if self._pointer is not None:
            return _document(self._pointer)
        if not self.copies:
            raise GoogleApiError(self.attempting, "nothing was ever published there", "Train and publish first.")
        url = f"https://storage.googleapis.com/storage/v1/b/{segment(self.bucket.name)}"
        if self.client.find(url, attempting=f"look at gs://{self.bucket.name}") is None:
            found = f"there is no gs://{self.bucket.name} to copy it to"
            raise GoogleApiError(self.attempting, found, "Run playbooks/provision_resources.yml first.")
        return {}

    def wanted(self) -> dict[str, Any]:
        """The manifest that shall be live."""
        if not self._digest:
            known = read_pointer(self.source)[0] if self.copies else self._pointer
            if known is None:
                raise GoogleApiError(
                    self.attempting, "nothing was ever published there", "Train and publish there first."
                )
            self._digest = resolve(self.source, known, self.options["release"], self.attempting)
            if self.copies:
                self._origin = self._copied_from(known)
        return self._view(self.source, self._digest)

    def view(self, current: dict[str, Any]) -> dict[str, Any]:
        """The manifest that is live."""
        return self._view(self.bucket, current["manifest"]) if current else {}

    def predict(self, current: dict[str, Any] | None) -> dict[str, Any] | None:
        """The next pointer."""
        return _document(self._next(write_id=""))

    def update(self, current: dict[str, Any], plan: Plan) -> None:
        """List the swap, after everything was checked that can be checked without changing anything."""
        manifest = read_manifest(self.source, self._digest)
        model = self._check_files(manifest)
        if self.copies:
            replay_golden_rows(self._digest, manifest, model, self.attempting)
        # Only what was live here before is brought back without asking.
        if self.options["action"] == "promote" or self.copies:
            self._refusals = self._judge(manifest)
            if self._refusals and not self.options["force"]:
                found = "; ".join(self._refusals)
                raise GoogleApiError(self.attempting, found, "Give force=true to promote it all the same.")
        forced = f", forced although {'; '.join(self._refusals)}" if self._refusals else ""
        done = f"make release {self._digest[:12]} live as version {self._version}{forced}"
        if self.copies:
            copied = f"copy its {len(manifest['files'])} files and its manifest from gs://{self.source.name}"
            plan.act(copied, lambda: copy_release(self.source, self.bucket, self._digest, manifest, self.attempting))
        plan.act(done, lambda: self._swap(manifest))
        plan.act("copy its joblib files to the root of the bucket", lambda: self._mirror(manifest))

    # -- inside --------------------------------------------------------------------------------------------------

    @property
    def _version(self) -> int:
        """The number that the next promotion gets."""
        return self._pointer.version + 1 if self._pointer else 1

    def _copied_from(self, known: Pointer) -> str:
        """Where the release comes from, in words; ``known`` is the pointer over there."""
        version = next((entry.version for entry in known.promotions() if entry.manifest == self._digest), None)
        which = f"version {version}" if version else "a candidate"
        name = f"{self.options['source_environment']}, " if self.options["source_environment"] else ""
        return f"copied from {name}{which} of gs://{self.source.name}"

    def _view(self, bucket: Bucket, digest: str) -> dict[str, Any]:
        try:
            manifest = read_manifest(bucket, digest)
        except GoogleApiError:
            if digest == self._digest:
                raise
            manifest = {}  # a damaged live release is a reason to roll back
        return {
            "release": digest,
            "created": manifest.get("created"),
            "accuracy": manifest.get("metrics", {}).get("accuracy"),
        }

    def _check_files(self, manifest: dict[str, Any]) -> bytes:
        """Refuse a release of which a file is missing or damaged; the served one is read as a whole, and returned."""
        for name, entry in manifest.get("files", {}).items():
            found = self.source.look(entry["path"])
            if found is None or (int(found["size"]), found.get("crc32c")) != (entry["size"], entry["crc32c"]):
                state = "is missing" if found is None else "is damaged"
                raise GoogleApiError(self.attempting, f"its file {name} {state}", f"Choose another one. {LIST}")
        try:
            return read_file(self.source.need, manifest, "model.onnx")
        except ReleaseError as error:
            raise GoogleApiError(
                self.attempting, f"its model.onnx is damaged: {error}", f"Choose another one. {LIST}"
            ) from error

    def _judge(self, manifest: dict[str, Any]) -> list[str]:
        """What the quality gate says to what the manifests recorded: each release was measured on held-out rows of its own."""
        live = read_manifest(self.bucket, self._pointer.manifest) if self._pointer else None
        limits = gate.Limits(self.options["accuracy_floor"], self._function_memory())
        memory = manifest.get("memory", {})
        try:
            release = Release(self._pointer, live, {}) if self._pointer and live is not None else None
            verdict = gate.judge(Candidate({}, manifest), release, limits, compare=None)
            refusals = verdict.refusals + verdict.breaking
            proof = gate.Proof(memory["base_bytes"], memory["load_bytes"], memory["peak_bytes"])
        except (KeyError, TypeError, ValueError) as error:
            raise GoogleApiError(
                self.attempting, f"its manifest states no {error}", "Train and publish it again."
            ) from error
        self._notes = ["passed the quality gate", *verdict.notes]
        return refusals + gate.memory_refusals(proof, limits)

    def _function_memory(self) -> int:
        try:
            return memory_bytes(self.options["function_memory"])
        except ValueError as error:
            raise GoogleApiError("read function_memory", f"{error}", "Give a size such as 512Mi or 1Gi.") from error

    def _next(self, write_id: str) -> Pointer:
        manifest = read_manifest(self.source, self._digest)
        refused = "; ".join(self._refusals)
        said = self._origin or ("" if self.options["reason"] or refused else f"asked for {self.options['release']}")
        judged = refused or ("; ".join(self._notes) if self.copies else "")
        return Pointer(
            version=self._version,
            manifest=self._digest,
            write_id=write_id,
            updated=now(),
            action=self.options["action"],
            reason="; ".join(part for part in (said, self.options["reason"], judged) if part),
            forced=bool(self._refusals),
            fingerprint=manifest.get("fingerprint", {}).get("fingerprint", ""),
            previous=self._pointer.manifest if self._pointer else None,
            history=self._pointer.promotions()[:HISTORY] if self._pointer else (),
        )

    def _swap(self, manifest: dict[str, Any]) -> None:
        """Mark everything as used, so that no pruning can take it away any more, and swap the pointer."""
        for path in (manifest_path(self._digest), *(entry["path"] for entry in manifest["files"].values())):
            self.bucket.touch(path, self.bucket.look(path) or {"generation": "0"}, now())
        wanted = self._next(uuid.uuid4().hex)
        for attempt in range(1, 6):
            try:
                return self.bucket.replace(POINTER, wanted.to_bytes(), self._generation)
            except GoogleApiError as failure:
                # A success whose answer got lost looks like a failure, or like somebody else's change.
                pointer, generation = read_pointer(self.bucket)
                if pointer and any(entry.write_id == wanted.write_id for entry in pointer.promotions()):
                    return None
                if generation != self._generation:
                    found = f"version {pointer.version if pointer else None} was made live at the same time"
                    raise GoogleApiError(self.attempting, found, f"Look at it, then run again. {LIST}") from failure
                if not failure.retryable or attempt == 5:
                    raise
                self.client.sleep(0.5 * 2**attempt)

    def _mirror(self, manifest: dict[str, Any]) -> None:
        """Copy what people and older clients read; nothing of ours does."""
        for name in MIRRORS:
            pointer, _ = read_pointer(self.bucket)
            entry = manifest["files"].get(name)
            if entry is None or pointer is None or pointer.manifest != self._digest:
                return
            there = self.bucket.look(name)
            if there is None or there.get("crc32c") != entry["crc32c"]:
                generation = there["generation"] if there else "0"
                self.bucket.copy(entry["path"], name, generation, {"release": self._digest})


def resolve(bucket: Bucket, pointer: Pointer, name: str, attempting: str) -> str:
    """The SHA-256 of the manifest that a person means: a version, the beginning of a digest, "previous" or "live"."""
    known = pointer.promotions()
    if name == "live":
        return pointer.manifest
    if name == "previous":
        # After a rollback, "previous" is one further back: not the release that was just rolled back from.
        origin = max(place for place, entry in enumerate(known) if entry.manifest == pointer.manifest)
        before = [entry.manifest for entry in known[origin + 1 :] if entry.manifest != pointer.manifest]
        if not before:
            raise GoogleApiError(attempting, "no release was live before this one", LIST)
        return before[0]
    for entry in known:
        if str(entry.version) == name:
            return entry.manifest
    if not re.fullmatch(r"[0-9a-f]{6,64}", name):
        remembered = ", ".join(str(entry.version) for entry in known)
        raise GoogleApiError(attempting, f"there is no such version, remembered are {remembered}", LIST)
    found = [item["name"].removeprefix(MANIFESTS).removesuffix(".json") for item in bucket.list(f"{MANIFESTS}{name}")]
    if len(found) != 1:
        raise GoogleApiError(attempting, f"{len(found)} releases have a digest that begins like this", LIST)
    return str(found[0])


def _document(pointer: Pointer) -> dict[str, Any]:
    """The pointer as JSON has it."""
    return dict(json.loads(pointer.to_bytes()))


def now() -> str:
    """The time, UTC, ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
