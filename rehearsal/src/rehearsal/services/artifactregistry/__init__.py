# SPDX-License-Identifier: GPL-3.0-or-later
"""Artifact Registry: the images that deployments of functions leave."""
