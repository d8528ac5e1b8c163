# SPDX-License-Identifier: GPL-3.0-or-later
"""Between a client's socket and a handler: proxy, routing, schemas, faults, the request log."""
