# SPDX-License-Identifier: GPL-3.0-or-later
"""What is inside a guest: the files baked into its image, and the agent that runs in it."""
