# SPDX-License-Identifier: GPL-3.0-or-later
"""A Google Cloud on this machine: real Debian guests behind Google's own APIs."""
