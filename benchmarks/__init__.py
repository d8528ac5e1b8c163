# SPDX-License-Identifier: GPL-3.0-or-later
"""Measured claims, with the plain way beside ours."""
