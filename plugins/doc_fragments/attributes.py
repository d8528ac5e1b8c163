# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module of a kind supports and returns."""

from __future__ import annotations


class ModuleDocFragment:
    """Read by ansible-doc: ``attributes.manages`` for modules that change Google's state, ``attributes.reads`` for others."""

    MANAGES = r"""
attributes:
  check_mode:
    support: full
    description: Predicts the change without making it.
  diff_mode:
    support: full
    description: Returns what differs, before and after.
notes:
  - Returns C(actions), a list of what was done, or would be done in check mode.
  - Returns C(plan), a list with one entry for each resource. C(resource) is its name, C(change) what is done to it (C(none), C(create),
    C(update), C(delete) or C(power)), and C(actions) the actions.
"""

    READS = r"""
attributes:
  check_mode:
    support: full
    description: Reads only, in check mode as otherwise.
  diff_mode:
    support: none
    description: There is nothing to change.
"""
