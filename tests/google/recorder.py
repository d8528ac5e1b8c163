# SPDX-License-Identifier: GPL-3.0-or-later
"""A mitmproxy addon that keeps a transcript of what Google answers; loaded by `mitmdump -s`.

TRANSCRIPT names the file, which is written anew after each answer: whatever ends the run, it is there.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from mitmproxy import http

from tests.google.transcript import Transcript

GOOGLE = re.compile(r"(.+\.)?(googleapis\.com|run\.app|cloudfunctions\.net)")


class Recorder:
    """Adds each answer of a Google host to the transcript."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.transcript = Transcript()

    def response(self, flow: http.HTTPFlow) -> None:
        """Keep what the answer looks like."""
        request, response = flow.request, flow.response
        if response is None or not GOOGLE.fullmatch(request.pretty_host.lower()):
            return
        content = None
        if "json" in response.headers.get("Content-Type", "") and request.query.get("alt") != "media":
            try:
                content = json.loads(response.get_text(strict=False) or "null")
            except ValueError:
                content = None
        seconds = (response.timestamp_end or request.timestamp_start) - request.timestamp_start
        self.transcript.add(request.method, request.pretty_url, response.status_code, content, seconds)
        self.transcript.save(self.path)


addons = [Recorder(Path(os.environ["TRANSCRIPT"]))]
