"""The app on the network address: metrics, health, readiness and a short summary."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from relay.observe.gauges import channel_state
from relay.observe.line import quote
from relay.observe.metrics import CONTENT_TYPE, Metrics
from relay.observe.snapshot import ChannelView, Snapshot
from relay.policy.accounting import State
from relay.policy.health import Paused
from relay.queue.store import StoreError
from relay.web.host_check import HostCheck
from relay.web.house import House, Status
from relay.web.options import HttpOptions
from relay.web.problem import HANDLERS

_SNAPSHOT_SECONDS = 1.0


def public_app(house: House, metrics: Metrics, options: HttpOptions) -> ASGIApp:
    """Return the app; it only reads, and only for those who ask by an allowed name."""
    public = _Public(house, metrics)
    routes = [
        Route("/", public.summary),
        Route("/metrics", public.metrics),
        Route("/healthz", public.healthz),
        Route("/readyz", public.readyz),
    ]
    app = Starlette(routes=routes, exception_handlers=HANDLERS)
    app.router.redirect_slashes = False
    return HostCheck(app, options.allowed_hosts)


class _Public:
    def __init__(self, house: House, metrics: Metrics) -> None:
        self._house = house
        self._metrics = metrics
        self._recent = _Recent(house)

    async def metrics(self, request: Request) -> Response:  # noqa: ARG002
        """Answer a scrape, without the queue's part when the queue does not answer."""
        return Response(
            self._metrics.render(await self._recent.snapshot()),
            headers={"content-type": CONTENT_TYPE},
        )

    async def healthz(self, request: Request) -> Response:  # noqa: ARG002
        """Say whether the process is well."""
        return await self._say(await self._house.why_unhealthy())

    async def readyz(self, request: Request) -> Response:  # noqa: ARG002
        """Say whether mail can be taken."""
        return await self._say(await self._house.why_not_ready())

    async def summary(self, request: Request) -> Response:  # noqa: ARG002
        """Say what this is, how it stands, and where to look."""
        status, snapshot = await self._house.status(), await self._recent.snapshot()
        return PlainTextResponse("\n".join(_summary(status, snapshot)) + "\n")

    @staticmethod
    async def _say(troubles: Sequence[str]) -> Response:
        if not troubles:
            return PlainTextResponse("ok\n")
        return PlainTextResponse("".join(f"{quote(each)}\n" for each in troubles), 503)


class _Recent:
    """The snapshot, taken once a second at most, however many ask."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._lock = asyncio.Lock()
        self._taken: Snapshot | None = None
        self._until = 0.0

    async def snapshot(self) -> Snapshot | None:
        """Return it, None when the queue does not answer."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            if loop.time() >= self._until:
                try:
                    self._taken = await self._house.snapshot()
                except StoreError:
                    self._taken = None
                self._until = loop.time() + _SNAPSHOT_SECONDS
            return self._taken


def _summary(status: Status, snapshot: Snapshot | None) -> list[str]:
    """Return the lines of the summary; what others said stands in quotation marks, escaped."""
    lines = [f"relay {status.version}: a local SMTP relay; this is its HTTP address."]
    if status.rehearsal:
        lines.append("REHEARSAL: nothing leaves this machine.")
    lines.append(f"listeners: {', '.join(status.listeners) or 'none'}")
    if snapshot is None:
        lines.append("queue: DOES NOT ANSWER, see the log")
    else:
        lines.append(f"queue: {_counts(snapshot)}")
        lines += [_channel(channel, snapshot) for channel in snapshot.channels]
    lines += ["", "GET /metrics /healthz /readyz; more by `relay status` and `relay queue list`."]
    return lines


def _counts(snapshot: Snapshot) -> str:
    states = snapshot.accounting.states
    return (
        ", ".join(f"{states[state]} {state.value}" for state in State if states[state]) or "empty"
    )


def _channel(channel: ChannelView, snapshot: Snapshot) -> str:
    line = f"channel {channel.name}: {channel_state(channel, snapshot.now)}"
    if isinstance(channel.health, Paused):
        line += f", {quote(channel.health.cause)} {quote(channel.health.fix)}"
    return line
