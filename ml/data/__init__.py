# SPDX-License-Identifier: GPL-3.0-or-later
"""Where training rows come from: drawn from a known distribution, or read from files."""
