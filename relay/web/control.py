"""The JSON API of the control socket, by which the command line talks to the running relay.

Who may use it is decided by the file: the socket belongs to the user relay runs as, mode 0600.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from relay.queue.store import Selection
from relay.web.asked import ID_FIX, correction, listing, queue_id, selection
from relay.web.encode import encode
from relay.web.house import House
from relay.web.problem import HANDLERS, Problem

SOCKET_NAME = "control.sock"
"""Name of the socket in `state_dir`."""

_Action = Callable[[Selection], Awaitable[int]]
_ChannelAction = Callable[[str], Awaitable[str]]


def control_app(house: House) -> Starlette:
    """Return the app that answers for `house`."""
    control = _Control(house)
    app = Starlette(
        routes=[
            Route("/status", control.status),
            Route("/queue", control.queue),
            Route("/queue/retry", _acting(house.retry), methods=["POST"]),
            Route("/queue/hold", _acting(house.hold), methods=["POST"]),
            Route("/queue/release", _acting(house.release), methods=["POST"]),
            Route("/queue/drop", _acting(house.drop), methods=["POST"]),
            Route("/queue/correct", control.correct, methods=["POST"]),
            Route("/queue/{id:path}", control.message),
            Route("/corrections", control.corrections),
            Route("/channels/{name:path}/resume", _on_channel(house.resume), methods=["POST"]),
            Route("/channels/{name:path}/stop", _on_channel(house.stop), methods=["POST"]),
            Route("/reload", control.reload, methods=["POST"]),
        ],
        exception_handlers=HANDLERS,
    )
    app.router.redirect_slashes = False
    return app


class _Control:
    def __init__(self, house: House) -> None:
        self._house = house

    async def status(self, request: Request) -> Response:  # noqa: ARG002
        """Answer with what runs and how it stands."""
        status = await self._house.status()
        snapshot = await self._house.snapshot()
        not_ready = await self._house.why_not_ready()
        return JSONResponse(
            {
                "status": encode(status),
                "not_ready": list(not_ready),
                "snapshot": encode(snapshot),
            }
        )

    async def queue(self, request: Request) -> Response:
        """Answer with recipients."""
        wanted, limit = listing(request.query_params.multi_items())
        rows = await self._house.queue(wanted, limit)
        return JSONResponse({"recipients": [encode(row) for row in rows]})

    async def message(self, request: Request) -> Response:
        """Answer with one message and its history."""
        wanted = queue_id(request.path_params["id"])
        row = await self._house.message(wanted)
        if row is None:
            raise Problem(404, f"No message {wanted} is known.", ID_FIX)
        return JSONResponse(encode(row))

    async def correct(self, request: Request) -> Response:
        """Set the kind of messages."""
        content_type = request.headers.get("content-type", "")
        queue_ids, kind = correction(content_type, await request.body())
        return JSONResponse(encode(await self._house.correct(queue_ids, kind)))

    async def corrections(self, request: Request) -> Response:  # noqa: ARG002
        """Answer with rules for what was corrected."""
        proposals = await self._house.proposals()
        return JSONResponse({"proposals": [encode(each) for each in proposals]})

    async def reload(self, request: Request) -> Response:  # noqa: ARG002
        """Read the settings anew."""
        return JSONResponse({"message": await self._house.reload()})


def _acting(act: _Action) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that does `act` to what the body selects."""

    async def endpoint(request: Request) -> Response:
        chosen = selection(request.headers.get("content-type", ""), await request.body())
        return JSONResponse({"recipients": await act(chosen)})

    return endpoint


def _on_channel(act: _ChannelAction) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that does `act` to the channel in the path."""

    async def endpoint(request: Request) -> Response:
        return JSONResponse({"message": await act(request.path_params["name"])})

    return endpoint
