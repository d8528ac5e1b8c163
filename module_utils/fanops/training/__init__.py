# SPDX-License-Identifier: GPL-3.0-or-later
"""A training run on the VM: started, followed, judged."""
