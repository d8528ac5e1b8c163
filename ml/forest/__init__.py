# SPDX-License-Identifier: GPL-3.0-or-later
"""The forest: grown partition by partition, on threads or a Dask cluster, estimated, converted and evaluated."""
