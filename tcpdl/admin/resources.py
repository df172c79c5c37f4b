"""What the administrator's port answers. Imports twisted.web and the modules beside it.

Nobody is asked who they are: who can connect may see all of this. It changes nothing.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from tcpdl.admin.provider import Provider
from tcpdl.admin.rendering import render

_PAGE = """\
/metrics       what was counted, for Prometheus
/health        whether all is well: 200 or 503, and a sentence
/health/live   200: the process answers
/health/ready  as /health
/status        what is under way, as JSON: see tcpdl status
"""

_log = Logger()


def site(provider: Provider) -> Resource:
    """All that is answered."""
    root = _Text(_PAGE)
    root.putChild(b"", root)
    root.putChild(b"metrics", _Metrics(provider))
    health = _Health(provider)
    health.putChild(b"live", _Text("the process answers\n"))
    health.putChild(b"ready", _Health(provider))
    root.putChild(b"health", health)
    root.putChild(b"status", _Status(provider))
    return root


class _Answering(Resource):
    """Base of what is answered to GET and HEAD."""

    def say(self, request: Request, text: bytes, media_type: str, code: int = 200) -> bytes:
        """The answer is `text`."""
        request.setResponseCode(code)
        request.setHeader(b"content-type", media_type.encode("ascii"))
        request.setHeader(b"content-length", str(len(text)).encode("ascii"))
        return text


class _Text(_Answering):
    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text.encode("utf-8")

    def render_GET(self, request: Request) -> bytes:
        return self.say(request, self._text, "text/plain; charset=utf-8")


class _Metrics(_Answering):
    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self._provider = provider

    def render_GET(self, request: Request) -> bytes:
        accept = (request.getHeader(b"accept") or b"").decode("latin-1")
        text, media_type = render(self._provider.snapshots(), accept)
        return self.say(request, text, media_type)


class _Health(_Answering):
    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self._provider = provider

    def render_GET(self, request: Request) -> bytes:
        well, sentence = self._provider.health()
        text = f"{sentence}\n".encode()
        return self.say(request, text, "text/plain; charset=utf-8", 200 if well else 503)


class _Status(_Answering):
    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self._provider = provider

    def render_GET(self, request: Request) -> int:
        gone: list[object] = []
        request.notifyFinish().addBoth(gone.append)

        def told(status: dict[str, Any]) -> None:
            well, sentence = self._provider.health()
            answer(200, {"healthy": well, "health": sentence, **status})

        def failed(failure: Failure) -> None:
            _log.failure("the status could not be told", failure)
            answer(503, {"error": "the status could not be told; the log says why"})

        def answer(code: int, document: dict[str, Any]) -> None:
            if gone:
                return
            text = json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"
            request.write(self.say(request, text, "application/json", code))
            request.finish()

        self._provider.status().addCallback(told).addErrback(failed)
        return NOT_DONE_YET
