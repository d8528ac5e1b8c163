# SPDX-License-Identifier: GPL-3.0-or-later
"""What a configuration and a project cost, and what would leave Always Free."""
