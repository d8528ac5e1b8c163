# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of every module that talks to Google (``SHARED_OPTIONS`` in module_utils/fanops/api/options.py)."""

from __future__ import annotations


class ModuleDocFragment:
    """Read by ansible-doc, wherever a module extends ``google_api``."""

    DOCUMENTATION = r"""
options:
  project:
    description:
      - The Google Cloud project id.
      - The environment variable E(GCP_PROJECT) is used where the option is not set.
    type: str
    required: true
  auth_kind:
    description:
      - Where the credentials come from. V(application) means application default credentials.
      - The environment variable E(GCP_AUTH_KIND) is used where the option is not set. Without either, a given
        O(service_account_file) or O(access_token) decides, and V(application) is the rest.
    type: str
    choices: [application, serviceaccount, accesstoken]
  service_account_file:
    description:
      - Path of a service account's JSON key, for O(auth_kind=serviceaccount).
      - The environment variable E(GCP_SERVICE_ACCOUNT_FILE) is used where the option is not set.
    type: path
  access_token:
    description:
      - An OAuth access token, for O(auth_kind=accesstoken).
      - The environment variable E(GCP_ACCESS_TOKEN) is used where the option is not set.
    type: str
  timeout:
    description: Longest wait, in seconds, for one operation at Google's side.
    type: int
    default: 300
notes:
  - When a call fails, the result has C(failure), the call as Google reported it (C(code), C(reason), C(target), C(message),
    C(retryable), C(details)).
"""
