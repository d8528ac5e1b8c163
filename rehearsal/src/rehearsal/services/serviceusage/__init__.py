# SPDX-License-Identifier: GPL-3.0-or-later
"""Service Usage: which APIs a project has enabled."""
