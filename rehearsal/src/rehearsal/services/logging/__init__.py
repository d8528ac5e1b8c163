# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud Logging, as far as deploys need it."""
