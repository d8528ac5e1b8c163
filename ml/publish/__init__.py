# SPDX-License-Identifier: GPL-3.0-or-later
"""From a forest to a release in the bucket: candidates, their proof, the publish protocol."""
