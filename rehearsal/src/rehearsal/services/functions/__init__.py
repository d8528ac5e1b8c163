# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud Functions of the second generation."""
