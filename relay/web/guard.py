"""ASGI middleware: how large and how long a request may be, and what becomes of our mistakes."""

from __future__ import annotations

import asyncio
import traceback

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relay.observe.events import Crashed
from relay.observe.journal import Journal
from relay.web.problem import Problem, mistake, send_problem

MAX_BODY_BYTES = 64 * 1024
REQUEST_SECONDS = 30.0


class Guard:
    """Reads a body whole before `app` sees the request, limits its time, and tells of crashes."""

    def __init__(
        self, app: ASGIApp, journal: Journal, request_seconds: float = REQUEST_SECONDS
    ) -> None:
        self._app = app
        self._journal = journal
        self._request_seconds = request_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        has_begun = False

        async def watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            async with asyncio.timeout(self._request_seconds) as limit:
                body = await _read(scope, receive)
                if body is not None:
                    await self._app(scope, _replay(body, receive), watched)
            return
        except Problem as refused:
            problem = refused
        except Exception as error:
            if limit.expired():
                problem = self._too_slow()
            else:
                problem = mistake()
                detail = "".join(traceback.format_exception(error))
                self._journal.record(Crashed(where="web", detail=detail))
        if has_begun:
            raise problem  # nothing better can be said any more: the connection is closed
        await send_problem(problem, send)

    def _too_slow(self) -> Problem:
        return Problem(
            503,
            f"This took longer than {self._request_seconds:g} seconds.",
            "Try again; the log may say more.",
        )


async def _read(scope: Scope, receive: Receive) -> bytes | None:
    """Return the body, or None when the client went away. Raises Problem when it is too large."""
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > MAX_BODY_BYTES:
            raise _too_large()
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives `body` first and then what the connection says."""
    rest: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return rest.pop() if rest else await receive()

    return again


def _too_large() -> Problem:
    return Problem(
        413, f"The body is larger than {MAX_BODY_BYTES} bytes.", "Send less in one request."
    )
