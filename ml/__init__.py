# SPDX-License-Identifier: GPL-3.0-or-later
"""The sponsor model: its data, its training, its releases and what the function needs to serve it.

Only the standard library is imported here: ``ml.fingerprint`` has to run where nothing else is installed.
"""

import warnings

# The training machine has Python 3.10 by design; its lock holds versions of Google's clients that run on it. What they say
# about that while they are imported would be the last line of a failed run's log, where people look for the reason.
warnings.filterwarnings("ignore", message="You are using a non-supported Python version", category=FutureWarning)
