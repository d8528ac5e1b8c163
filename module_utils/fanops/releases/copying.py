# SPDX-License-Identifier: GPL-3.0-or-later
"""A release of another environment: copied by digest, create-only, and proven. Nothing here makes it live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.fanops.api.errors import GoogleApiError
from ansible.module_utils.fanops.core.releases import Pointer, Release, ReleaseError, manifest_path, read_file
from ansible.module_utils.fanops.releases.listing import Bucket, read_manifest


def replay_golden_rows(digest: str, manifest: Mapping[str, Any], model: bytes, attempting: str) -> None:
    """Load ``model`` (verified bytes of model.onnx) as the function does, and refuse it if it answers a golden row otherwise.

    The forest is not asked again: that takes scikit-learn, and unpickles. Its bytes are those that were proven where it was trained.
    """
    try:
        from ansible.module_utils.fanops.core.serving import model_of
    except ImportError as error:
        found = f"the golden rows cannot be replayed here, {error.name or error} is not installed"
        remedy = 'Run "make controller PYTHON=python3.13", or another Python of 3.11 to 3.13, then again.'
        raise GoogleApiError(attempting, found, remedy) from error
    if "model_schema" not in manifest:  # what it would be judged by is not part of an Ansible module
        found = "it carries no description of its fields, since an older version of this project made it"
        raise GoogleApiError(attempting, found, "Train it again there.")
    try:
        model_of(Release(Pointer(0, digest, "", ""), manifest, {"model.onnx": model}))
    except ReleaseError as error:
        raise GoogleApiError(attempting, f"it failed its proof: {error}", "Train it again there.") from error


def copy_release(source: Bucket, target: Bucket, digest: str, manifest: Mapping[str, Any], attempting: str) -> None:
    """Copy files and manifest on Google's side to the same names, and read all of it back by its digests.

    What is there already, from an earlier promotion or a lost answer, is not written again. The manifest comes last: whoever
    finds one finds its files.
    """
    origin = {"copied_from": f"gs://{source.name}"}
    paths = dict.fromkeys((entry["path"] for entry in manifest["files"].values()), "application/octet-stream")
    for path, content_type in {**paths, manifest_path(digest): "application/json"}.items():
        try:
            source.copy(path, path, "0", origin, into=target, content_type=content_type)
        except GoogleApiError as error:
            if error.status != 412:
                raise
    try:
        for name in read_manifest(target, digest)["files"]:
            read_file(target.need, manifest, name)
    except ReleaseError as error:
        found = f"in gs://{target.name} {error}"
        raise GoogleApiError(attempting, found, "Delete that object, then run it again.") from error
