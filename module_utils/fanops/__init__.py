# SPDX-License-Identifier: GPL-3.0-or-later
"""Code shared by the modules in ``library/``: a Google API client, a reconciler and one small class per resource."""
