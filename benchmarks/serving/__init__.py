# SPDX-License-Identifier: GPL-3.0-or-later
"""The function beside a no-op handler and the plain way: ``python -m benchmarks.serving``."""
