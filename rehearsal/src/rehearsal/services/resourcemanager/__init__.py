# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud Resource Manager: projects and their policies."""
