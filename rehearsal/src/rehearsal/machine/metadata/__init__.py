# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata server, which tells a guest who it is."""
