#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cloud_function
short_description: Deploy an HTTP function (Cloud Run functions, 2nd generation)
description:
  - Packs the sources, and builds and deploys the function if the content or the settings changed.
  - The SHA-256 over both is kept in the label C(content-hash). When it agrees and the function is ACTIVE, nothing is
    uploaded and nothing is built.
  - When a build fails, the error carries the lines of the build's log, and the version before keeps serving.
author: FanOps (!UNKNOWN)
extends_documentation_fragment: [attributes.manages, google_api]
options:
  name:
    description: The function's name, 4 to 63 characters.
    type: str
    required: true
  region:
    description: The region.
    type: str
    required: true
  source:
    description: What goes into the function's archive. Required for O(state=present).
    type: list
    elements: dict
    suboptions:
      src:
        description: A file or folder on the controller.
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
  runtime:
    description: The language runtime, such as V(python313). Required for O(state=present).
    type: str
  entry_point:
    description: The Python function that answers requests. Required for O(state=present).
    type: str
  memory:
    description: Memory of an instance.
    type: str
    default: 256M
  cpu:
    description: CPUs of an instance, such as V(1). Without it, Google's choice for O(memory), which is V(0.333) for V(512Mi).
    type: str
  concurrency:
    description: The most requests that one instance answers at once. More than one takes a O(cpu) of V(1) at least.
    type: int
  timeout_seconds:
    description: Longest time one request may take.
    type: int
    default: 60
  max_instances:
    description: The most instances that run at once. It caps the bill.
    type: int
    default: 3
  min_instances:
    description: Instances kept warm. Anything above V(0) costs money around the clock.
    type: int
    default: 0
  environment:
    description: Environment variables to set. Others are left alone.
    type: dict
  service_account_email:
    description: The identity of the function. Without it, the project's default one.
    type: str
  public:
    description: Whether everybody may call it. Without it, the access is left as it is, which is private at first.
    type: bool
  labels:
    description: Labels to set. Labels that are not mentioned are left alone.
    type: dict
  state:
    description: Whether the function exists.
    type: str
    choices: [present, absent]
    default: present
  timeout:
    description: Longest wait, in seconds, for one operation at Google's side.
    type: int
    default: 1200
"""

EXAMPLES = r"""
- name: Deploy the prediction function
  cloud_function:
    name: m4-sponsor-ai
    region: us-central1
    source:
      - src: ml/function
      - src: ml/core
        dest: ml/core
    runtime: python313
    entry_point: recommend_sponsor
    memory: 512M
    cpu: "1"
    concurrency: 40
    max_instances: 3
    environment: {MODEL_BUCKET: fanops-m4-models}
    service_account_email: m4-server@my-project.iam.gserviceaccount.com
    public: true
    labels: {app: fanops-m4, managed-by: ansible}

- name: Delete it
  cloud_function:
    name: m4-sponsor-ai
    region: us-central1
    state: absent
"""

RETURN = r"""
function:
  description: The function as the Cloud Functions API returns it, null when absent. In check mode, what it would be.
  returned: success
  type: dict
  sample: {state: ACTIVE, url: "https://us-central1-my-project.cloudfunctions.net/m4-sponsor-ai"}
content_hash:
  description: SHA-256 over the sources and settings, null for O(state=absent).
  returned: success
  type: str
"""

from ansible.module_utils.fanops.api.options import SHARED_OPTIONS, google_module, manage
from ansible.module_utils.fanops.resources.function import Function

OPTIONS = {
    **SHARED_OPTIONS,
    "name": {"type": "str", "required": True},
    "region": {"type": "str", "required": True},
    "source": {
        "type": "list",
        "elements": "dict",
        "options": {
            "src": {"type": "path", "required": True},
            "dest": {"type": "str", "default": ""},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "replace": {"type": "bool", "default": False},
        },
    },
    "runtime": {"type": "str"},
    "entry_point": {"type": "str"},
    "memory": {"type": "str", "default": "256M"},
    "cpu": {"type": "str"},
    "concurrency": {"type": "int"},
    "timeout_seconds": {"type": "int", "default": 60},
    "max_instances": {"type": "int", "default": 3},
    "min_instances": {"type": "int", "default": 0},
    "environment": {"type": "dict"},
    "service_account_email": {"type": "str"},
    "public": {"type": "bool"},
    "labels": {"type": "dict"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "timeout": {"type": "int", "default": 1200},
}


def main() -> None:
    """Run the module."""
    needed = [("state", "present", ("source", "runtime", "entry_point"))]
    manage(google_module(OPTIONS, required_if=needed), Function, "function", patient=True)


if __name__ == "__main__":
    main()
