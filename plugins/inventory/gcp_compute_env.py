# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The google.cloud.gcp_compute inventory, with the project taken from the environment."""

# ruff: noqa: E402 - Ansible wants the documentation before the imports
from __future__ import annotations

DOCUMENTATION = r"""
name: gcp_compute_env
short_description: The google.cloud.gcp_compute inventory, with the project taken from the environment
description:
  - Runs P(google.cloud.gcp_compute#inventory) unchanged, but lets E(GCP_PROJECT) name the project. The original has no
    environment variable for it and does not template its configuration file, so that the project id would have to
    be written into the repository.
  - Three situations give an empty inventory with a warning instead of an error, because the playbooks can say more about
    them than an inventory can. There are no usable credentials, the Compute Engine API of a new project is not yet
    enabled, or the account lacks the permission to list instances (which the preflight names together with all others
    that are missing).
options:
  plugin:
    description: The name of this plugin.
    required: true
    choices: [gcp_compute_env]
  projects:
    description: The projects to list. Nothing is listed when it is empty.
    type: list
    elements: string
    default: []
    env:
      - name: GCP_PROJECT
  folders:
    description: Folders whose projects are listed.
    type: list
    elements: string
  zones:
    description: Only these zones. All zones when absent.
    type: list
    elements: string
  filters:
    description: Filters of instances.aggregatedList, joined with AND.
    type: list
    elements: string
  hostnames:
    description: What a host is called, the first that exists.
    type: list
    elements: string
    default: [name]
  name_suffix:
    description: Appended to every host name.
    type: string
    default: ""
  vars_prefix:
    description: Prefix of the host variables that come from the API.
    default: ""
  retrieve_image_info:
    description: Look up the image of every boot disk.
    type: bool
    default: false
  use_contrib_script_compatible_sanitization:
    description: Keep group names as they are.
    type: bool
    default: false
  auth_kind:
    description:
      - The type of credential used, V(application), V(serviceaccount), V(machineaccount) or V(accesstoken), in any case of letters.
      - Without one, V(serviceaccount) where a key file is given, and V(application) otherwise, as for the modules.
      - With V(application), calls count for the first of O(projects), whatever project the credentials come from.
    env:
      - name: GCP_AUTH_KIND
  scopes:
    description: The OAuth scopes asked for.
    type: list
    elements: string
    default: ["https://www.googleapis.com/auth/compute.readonly"]
    env:
      - name: GCP_SCOPES
  service_account_file:
    description: The key file, with O(auth_kind=serviceaccount).
    type: path
    env:
      - name: GCP_SERVICE_ACCOUNT_FILE
  service_account_contents:
    description: The content of a key file, with O(auth_kind=serviceaccount).
    type: string
    env:
      - name: GCP_SERVICE_ACCOUNT_CONTENTS
  service_account_email:
    description: The account, with O(auth_kind=machineaccount).
    env:
      - name: GCP_SERVICE_ACCOUNT_EMAIL
  access_token:
    description: The token, with O(auth_kind=accesstoken).
    env:
      - name: GCP_ACCESS_TOKEN
extends_documentation_fragment:
  - constructed
  - inventory_cache
"""

EXAMPLES = r"""
plugin: gcp_compute_env
filters:
  - labels.app = fanops-m4
  - status = RUNNING
hostnames:
  - name
compose:
  ansible_host: networkInterfaces[0].accessConfigs[0].natIP
"""

import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.utils.display import Display
from ansible_collections.google.cloud.plugins.inventory.gcp_compute import InventoryModule as GcpComputeInventory

try:
    from google.auth.exceptions import GoogleAuthError as CredentialsError
except ImportError:  # the parent class says which package is missing
    CredentialsError = OSError  # type: ignore[assignment,misc] # a class that is caught in its place

display = Display()

# How Google says that a project has not enabled an API: the reason of the v1 errors and of newer ones.
_API_DISABLED = ("accessNotConfigured", "SERVICE_DISABLED", "has not been used in project")
# And that the account may not list: "Required 'compute.instances.list' permission for 'projects/…'".
_PERMISSION = "compute.instances.list"

# Which kind of credentials an option belongs to; the original refuses it beside any other.
_KIND_OF = {
    "access_token": "accesstoken",
    "service_account_contents": "serviceaccount",
    "service_account_email": "machineaccount",
    "service_account_file": "serviceaccount",
}


class InventoryModule(GcpComputeInventory):  # type: ignore[misc] # collections carry no types
    """See DOCUMENTATION."""

    NAME = "gcp_compute_env"

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Add the project's instances to the inventory.

        Raises AnsibleError for whatever is no problem of credentials, of the permission to list, or of a disabled API.
        """
        try:
            super().parse(inventory, loader, path, cache)
            self._forget_metadata(inventory)
        except CredentialsError as error:
            display.warning(f"No VM is listed: the Google credentials cannot be used ({_first_line(error)})")
        except AnsibleError as error:
            if self._key_file_is_missing():
                display.warning(f"No VM is listed: there is no key file {self.get_option('service_account_file')}")
            elif any(reason in str(error) for reason in _API_DISABLED):
                display.warning("No VM is listed: the Compute Engine API of the project is not enabled yet")
            elif _PERMISSION in str(error):
                display.warning(f"No VM is listed: the permission {_PERMISSION} is missing")
            else:
                raise

    def _read_config_data(self, path: str) -> Any:
        """Read the options, and tell google-auth whose quota and APIs count, and the project, which it would look up."""
        found = super()._read_config_data(path)
        if self.get_option("auth_kind") == "application" and self.get_option("projects"):
            for name in ("GOOGLE_CLOUD_QUOTA_PROJECT", "GOOGLE_CLOUD_PROJECT"):
                os.environ.setdefault(name, self.get_option("projects")[0])
        return found

    def get_option(self, option: str, hostvars: Any = None) -> Any:
        """Return an option's value; of those that belong to one kind of credentials, only the ones of the kind that is used."""
        kind = str(super().get_option("auth_kind", hostvars) or "").lower()
        if not kind:
            kind = "serviceaccount" if super().get_option("service_account_file", hostvars) else "application"
        if option == "auth_kind":
            return kind
        return super().get_option(option, hostvars) if _KIND_OF.get(option, kind) == kind else None

    def _forget_metadata(self, inventory: Any) -> None:
        """Drop the variable with the VMs' metadata: no play needs it, people keep secrets there, and facts are shown and logged."""
        name = f"{self.get_option('vars_prefix') or ''}metadata"
        for host in inventory.hosts.values():
            host.vars.pop(name, None)

    def _key_file_is_missing(self) -> bool:
        if self.get_option("auth_kind") != "serviceaccount" or self.get_option("service_account_contents"):
            return False
        file = self.get_option("service_account_file")
        return not file or not Path(file).expanduser().is_file()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
