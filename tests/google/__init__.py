# SPDX-License-Identifier: GPL-3.0-or-later
"""The same run on a real Google Cloud and on the rehearsal, and where their answers differ."""
