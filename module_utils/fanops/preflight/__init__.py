# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that would stop a run, found before it begins: each finding with the command that mends it."""
