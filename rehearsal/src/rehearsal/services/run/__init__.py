# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud Run: the services beneath functions."""
