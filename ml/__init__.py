# SPDX-License-Identifier: GPL-3.0-or-later
"""The sponsor model: its data, its training, its releases and what the function needs to serve it.

Nothing is imported here: ``ml.fingerprint`` has to run where only the standard library is installed.
"""
