# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud Functions (2nd generation) and the Cloud Run services beneath them."""

from rehearsal.functions import (  # noqa: F401 - imported to register their handlers
    functions_api,
    invoke,
    lifecycle,
    logging_api,
    operations,
    run_api,
    uploads,
)
