# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules that look into the bucket of the releases (``BUCKET_OPTIONS`` in module_utils/fanops/releases/listing.py)."""

from __future__ import annotations


class ModuleDocFragment:
    """Read by ansible-doc, wherever a module extends ``release_bucket``."""

    DOCUMENTATION = r"""
options:
  bucket:
    description: The bucket of the releases.
    type: str
    required: true
  timeout:
    description: Longest wait, in seconds, for one operation at Google's side.
    type: int
    default: 60
"""
