# SPDX-License-Identifier: GPL-3.0-or-later
"""How modules call Google: client, credentials, errors, and the options they share."""
