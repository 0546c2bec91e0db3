"""ASGI middleware: which names this page may be asked for.

It is the only thing that stops DNS rebinding: a page of another site whose name has been made to
point at this machine sends a plain GET without `Origin`, but with its own name in `Host`. So the
raw field is compared whole, before routing, for every method and path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from relay.web.problem import Problem, send_problem

# RFC 9110 §7.2: a name or an address in brackets, and perhaps a port
_HOST = re.compile(rb"([a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")


class HostCheck:
    """Passes on what asks for one of `allowed` (lower case, no port, IPv6 in brackets).

    Any port is taken: a forwarded or published port is not ours, and says nothing of who asks.
    """

    def __init__(self, app: ASGIApp, allowed: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(name.encode("ascii") for name in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or say why not."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        problem = judge(hosts, scope["raw_path"], self._allowed)
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await send_problem(problem, send)


def judge(hosts: list[bytes], raw_path: bytes, allowed: frozenset[bytes]) -> Problem | None:
    """Return what is wrong with the `Host` fields or the target of a request, None for nothing.

    The absolute form of a target (RFC 9112 §3.2.2) names a host a second time; it is for proxies,
    and refused.
    """
    if len(hosts) != 1:
        return Problem(
            400, f"The request has {len(hosts)} Host fields.", "Send exactly one (RFC 9112 §3.2)."
        )
    if not raw_path.startswith(b"/"):
        return Problem(
            400, "The target of the request is not a path.", "Ask for a path that begins with /."
        )
    match = _HOST.fullmatch(hosts[0].lower())
    if match is None or match[1] not in allowed:
        return Problem(
            421,
            "This relay does not go by the name in the Host field.",
            "Open it as http://localhost or http://127.0.0.1 with its port, or put the name into "
            "`http.allowed_hosts` of the settings.",
        )
    return None
