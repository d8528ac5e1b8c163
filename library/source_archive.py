#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: source_archive
short_description: Pack source files into a reproducible tar
description:
  - Writes an uncompressed tar whose bytes depend on the names and contents of the files only.
  - The same files have the same SHA-256 on every controller, so the digest can name a version of the code.
author: FanOps (!UNKNOWN)
attributes:
  check_mode:
    support: full
    description: Computes the digest without writing the archive.
  diff_mode:
    support: none
    description: The digest says whether the files differ.
options:
  path:
    description: The archive to write. Missing folders above it are created.
    type: path
    required: true
  source:
    description: What goes into the archive.
    type: list
    elements: dict
    required: true
    suboptions:
      src:
        description: A file or folder.
        type: path
        required: true
      dest:
        description:
          - Its place in the archive. Without it, a file keeps its name and a folder's files go to the top.
        type: str
        default: ""
      exclude:
        description:
          - Patterns of files and folders to leave out, as a path below O(source[].src) or as a name.
          - Hidden files, C(__pycache__) and C(*.pyc) are always left out.
        type: list
        elements: str
        default: []
      replace:
        description: Whether its files take the place of files that an earlier source gave.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: Pack the code
  source_archive:
    path: .cache/build/code.tar
    source:
      - src: ml
        dest: ml
        exclude: [function]
      - src: requirements/training.txt
        dest: requirements/training.txt
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The archive.
  returned: success
  type: str
sha256:
  description: SHA-256 of the archive, in hex.
  returned: success
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
"""

import hashlib
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.fanops.resources.source_archive import SourceError, collect, pack_tar

OPTIONS = {
    "path": {"type": "path", "required": True},
    "source": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "src": {"type": "path", "required": True},
            "dest": {"type": "str", "default": ""},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "replace": {"type": "bool", "default": False},
        },
    },
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    path = Path(module.params["path"])
    try:
        archive = pack_tar(collect(module.params["source"]))
        changed = not path.is_file() or path.read_bytes() != archive
        if changed and not module.check_mode:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive)
    except (SourceError, OSError) as error:
        module.fail_json(
            msg=f"Could not write the archive {path}: {error}. Check source, and that the folder of path can be written."
        )
    module.exit_json(changed=changed, path=str(path), sha256=hashlib.sha256(archive).hexdigest())


if __name__ == "__main__":
    main()
