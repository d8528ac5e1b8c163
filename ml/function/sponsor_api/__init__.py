# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP API of the sponsor model: requests in, answers out, the live release in between."""
