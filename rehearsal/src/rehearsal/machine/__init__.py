# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on this machine: containers, guests, their network, images and metadata server."""
