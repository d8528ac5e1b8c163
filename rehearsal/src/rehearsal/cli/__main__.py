# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m rehearsal.cli`: the command, for programs that know no path to it."""

import sys

from rehearsal.cli import main

sys.exit(main())
