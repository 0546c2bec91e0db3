"""One HTTP/1.1 connection: uvicorn's, with limits it lacks and our header fields on every reply."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from http import HTTPStatus

from uvicorn.protocols.http.h11_impl import H11Protocol

from relay.web.problem import Problem

MAX_CONNECTIONS = 50
CONNECTION_SECONDS = 35.0  # from its begin, or the last reply, to the next reply's end

SECURITY_FIELDS: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; "
            b"frame-ancestors 'none'; base-uri 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""On every reply, those to requests that could not even be read included."""

_BUSY = Problem(
    503, f"There are {MAX_CONNECTIONS} connections already.", "Close some, or try again shortly."
)
_UNREADABLE = Problem(400, "This is not a request of HTTP/1.1.", "Check what sent it.")


class Connection(H11Protocol):
    """Hangs up on those who come too many, send what is not HTTP, or take too long.

    The time limit here is for those who do not send their request or do not read the reply; the one
    for making the reply is the Guard's, and shorter.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._hang_up(_BUSY)
        else:
            self._expect_reply()

    def data_received(self, data: bytes) -> None:
        """Read on; replies are dated at this moment (RFC 9110 §6.6.1)."""
        self.server_state.default_headers = _common_fields()
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._expect_reply()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- the words are ours
        """Answer what cannot be read, unless a reply has been begun."""
        cycle = self.cycle
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            self.transport.close()
        else:
            self._hang_up(_UNREADABLE)

    def _expect_reply(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(CONNECTION_SECONDS, self.transport.abort)

    def _hang_up(self, problem: Problem) -> None:
        if not self.transport.is_closing():
            self.transport.write(_reply(problem))
            self.transport.close()


def _common_fields() -> list[tuple[bytes, bytes]]:
    return [(b"date", formatdate(usegmt=True).encode()), *SECURITY_FIELDS]


def _reply(problem: Problem) -> bytes:
    """Return a whole reply as it goes on the wire."""
    body = problem.body
    fields = [
        *_common_fields(),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    status = HTTPStatus(problem.status)
    head = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    head += [name + b": " + value for name, value in fields]
    return b"\r\n".join([*head, b"", body])
