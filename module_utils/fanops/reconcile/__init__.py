# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch, compare, act, fetch again."""
