# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud Storage v1."""

import rehearsal.storage.buckets
import rehearsal.storage.objects  # noqa: F401 - importing registers the handlers
