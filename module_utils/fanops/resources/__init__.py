# SPDX-License-Identifier: GPL-3.0-or-later
"""One class per kind of Google resource that is too large for its module file."""
