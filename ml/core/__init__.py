# SPDX-License-Identifier: GPL-3.0-or-later
"""What training and function share: the match context, its encoding, sponsors, releases, the gate and the served model."""
