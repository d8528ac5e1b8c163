# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM and OAuth: accounts, keys, tokens, roles and policies."""
