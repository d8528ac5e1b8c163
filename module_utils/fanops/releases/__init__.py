# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases in a bucket: read, promoted, pruned."""
