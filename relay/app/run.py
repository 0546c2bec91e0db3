"""The lifetime of a relay: open, run, reload, drain, close."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from relay import __version__
from relay.app.clock import Ids, boot, steady, utc_now
from relay.app.graph import Foundation, Graph, build
from relay.app.house import House
from relay.app.open_files import allow_open_files
from relay.app.systemd import Notifier, inherited_sockets
from relay.channels.pace import Paces
from relay.delivery.board import Board
from relay.delivery.lane import Lane
from relay.delivery.sweep import STEP
from relay.inspect.inspector import Inspector
from relay.listener.listeners import Servers, open_listeners
from relay.listener.tls import ListenerError
from relay.mail.message import Message
from relay.mail.reply import Reply
from relay.observe import events
from relay.observe.journal import Journal
from relay.observe.log import Form, open_log
from relay.observe.metrics import Metrics
from relay.policy.accounting import State
from relay.providers.replies import ReplyDictionary
from relay.providers.sms import load_gateways
from relay.queue.spool import Spool
from relay.queue.sqlite import SqliteStore
from relay.queue.store import Opened, Selection, StoreError
from relay.settings.mistakes import SettingsError
from relay.settings.provided import known_providers
from relay.settings.values import Settings
from relay.web.control import SOCKET_NAME, control_app
from relay.web.house import HouseError
from relay.web.public import public_app
from relay.web.server import ListenError, Tcp, UnixSocket, WebServer

_STATUS = "taking mail on {}"
_PARTS = (
    "hostname",
    "listeners",
    "channels",
    "classification",
    "routing",
    "retry",
    "reports",
    "history",
)  # of the settings, as a reload tells of them
_WORLD = (StoreError, ListenerError, ListenError, OSError)


class CannotRunError(Exception):
    """The relay cannot start; the words say why and what to do."""


async def run(
    load: Callable[[], Settings],
    environ: Mapping[str, str],
    ready: Callable[[Settings], None] = lambda _: None,
) -> bool:
    """Run until SIGTERM or SIGINT; return whether all that was under way was settled.

    `ready` is told when mail can be handed in. Raises SettingsError, CannotRunError.
    """
    settings = load()
    try:
        relay = Relay(settings, load, environ)
        return await relay.run(lambda: ready(settings))
    except _WORLD as error:
        raise CannotRunError(str(error)) from error
    except BaseExceptionGroup as group:
        known, others = group.split(_WORLD)
        if known is None or others is not None:
            raise
        raise CannotRunError("; ".join(str(error) for error in _leaves(known))) from group


@dataclass(slots=True)
class Front:
    """The reception under the settings in use; listeners outlive a change of them."""

    graph: Graph

    def new_id(self) -> int:
        """Return a number that no other message has."""
        return self.graph.reception.new_id()

    def now(self) -> datetime:
        """Return the time."""
        return self.graph.reception.now()

    async def accept(self, message: Message) -> Reply:
        """Hand a message in."""
        return await self.graph.reception.accept(message)


class Relay:
    """One process: what it opens, and closes in the other order."""

    def __init__(
        self, settings: Settings, load: Callable[[], Settings], environ: Mapping[str, str]
    ) -> None:
        self._settings = settings
        self._load = load
        self._notifier = Notifier(environ)
        self._sockets = inherited_sockets(environ)
        self._log = open_log(
            level=settings.log.level, form=Form(settings.log.format), clock=utc_now, environ=environ
        )
        self._metrics = Metrics(__version__)
        self._journal = Journal(self._log, self._metrics)
        self._spool = Spool(settings.state_dir / "spool")
        self._store = SqliteStore(settings.state_dir, self._spool, steady, boot(environ))
        self._inspector = Inspector(load_gateways(), settings.classification.guide)
        self._stopping = asyncio.Event()
        self._servers: Servers | None = None
        self._web: list[WebServer] = []
        self._watchdog: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []  # of the settings in use, lanes apart
        self._lanes: list[Lane] = []  # of these and of earlier settings, until they are drained
        self._reloading = asyncio.Lock()
        self._house: House
        self._front: Front

    async def run(self, ready: Callable[[], None]) -> bool:
        """Open everything, serve until told to stop, close everything."""
        allow_open_files(self._settings)
        now = utc_now()
        opened = await self._store.open(now, now + self._settings.retry.waits[0])
        try:
            async with asyncio.TaskGroup() as self._group:
                try:
                    await self._start(opened)
                    ready()
                    await self._stopping.wait()
                finally:
                    drained = await self._drain()
        finally:
            await self._inspector.close()
            await self._store.close()
        self._journal.record(events.Stopped(drained=drained))
        self._log.flush()
        return drained

    async def _start(self, opened: Opened) -> None:
        settings = self._settings
        base = self._foundation(opened)
        graph = build(settings, base)
        self._front = Front(graph)
        self._house = House(
            base=base,
            graph=graph,
            started_at=utc_now(),
            addresses=self._addresses,
            again=self.reload,
        )
        self._journal.record(
            events.Started(
                version=__version__,
                settings=settings.source,
                recovered=opened.recovered,
                rehearsal=settings.rehearsal,
            )
        )
        self._warn(settings)
        if opened.latest_at > utc_now() + STEP:
            await graph.sweep.after_step_back()
        await self._use(graph)
        await self._open_web(settings)
        self._refuse_strangers(settings)
        self._servers = await self._listen(settings)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        self._watchdog = self._group.create_task(self._watch(), name="watchdog")
        gc.collect()
        gc.freeze()  # what is here now stays; collections need not look at it
        self._notifier.ready(_STATUS.format(", ".join(self._addresses())))

    def _foundation(self, opened: Opened) -> Foundation:
        idle = max(utc_now() - opened.latest_at, timedelta())
        return Foundation(
            store=self._store,
            board=Board(opened.health),
            journal=self._journal,
            clock=utc_now,
            ids=Ids(utc_now),
            inspector=self._inspector,
            replies=ReplyDictionary.load(),
            providers=known_providers(),
            paces=Paces(asyncio.get_running_loop().time() - idle.total_seconds()),
        )

    async def _use(self, graph: Graph) -> None:
        """Let `graph` send: plan what waits under its rules, then start its lanes."""
        self._store.set_limits(
            {name: channel.limits for name, channel in graph.settings.channels.items()}
        )
        self._store.keep_content(graph.settings.history.keep_content)
        self._store.tell(graph.changed)
        await self._store.plan_again(graph.fingerprint, graph.plan_again, utc_now())
        await graph.sweep.hold_doubts()
        for lane in graph.lanes.values():
            self._lanes.append(lane)
            self._group.create_task(lane.run(self._group), name=f"lane {lane.name}")
        self._tasks.append(self._group.create_task(graph.sweep.run(), name="sweep"))

    async def _listen(self, settings: Settings) -> Servers:
        return await open_listeners(
            settings.listeners,
            reception=self._front,
            journal=self._journal,
            spool=self._spool,
            sockets={address: sock.dup() for address, sock in self._sockets.items()},
        )

    def _refuse_strangers(self, settings: Settings) -> None:
        """Close sockets that were handed over and are no listener's: their clients would hang."""
        known = {listener.address for listener in settings.listeners}
        for address in self._sockets.keys() - known:
            self._sockets.pop(address).close()
            detail = f"a socket was handed over for {address}, which is no listener of the settings"
            self._journal.record(
                events.SettingsLoaded(path=settings.source, ok=True, detail=detail)
            )

    def _addresses(self) -> tuple[str, ...]:
        found = self._servers.addresses if self._servers else ()
        return tuple(str(Tcp(host, port)) for host, port in found)

    async def _open_web(self, settings: Settings) -> None:
        control = UnixSocket(settings.state_dir / SOCKET_NAME)
        self._web.append(WebServer(control_app(self._house), control, self._journal))
        if settings.http is not None:
            app = public_app(self._house, self._metrics, settings.http)
            at = Tcp(settings.http.host, settings.http.port)
            self._web.append(WebServer(app, at, self._journal))
        for server in self._web:
            await server.start()

    async def _drain(self) -> bool:
        """Take no more mail, settle what is being sent; return whether that was in time."""
        self._notifier.stopping()
        seconds = self._settings.drain.total_seconds()
        if self._servers is not None:
            self._servers.close()
        in_time = True
        try:
            async with asyncio.timeout(seconds):
                if self._servers is not None:
                    await self._servers.drain(seconds)
                await asyncio.gather(*(lane.drain() for lane in self._lanes))
        except TimeoutError:
            in_time = False
        for server in self._web:
            await server.close()
        for task in (*self._tasks, self._watchdog):
            if task is not None:
                task.cancel()
        for lane in self._lanes:
            lane.abandon()
            await lane.worker.channel.close()
        return in_time

    # -- reloading ----------------------------------------------------------------------------

    def _hang_up(self) -> None:
        self._group.create_task(self._reload_quietly(), name="reload")

    async def _reload_quietly(self) -> None:
        """Reload for a signal, which nobody answers; what is wrong is in the log."""
        try:
            await self.reload()
        except HouseError:
            return

    async def reload(self) -> str:
        """Use the settings as they are now; say what changed. HouseError changes nothing."""
        async with self._reloading:
            self._notifier.reloading()
            try:
                said = await self._reload()
            finally:
                self._notifier.ready(_STATUS.format(", ".join(self._addresses())))
            return said

    async def _reload(self) -> str:
        old = self._settings
        try:
            new = self._load()
        except SettingsError as error:
            self._journal.record(
                events.SettingsLoaded(path=old.source, ok=False, detail=str(error))
            )
            raise HouseError(str(error), "mend the settings and reload again") from error
        if new.state_dir != old.state_dir or new.http != old.http:
            raise HouseError(
                "state_dir and http change only with a restart",
                "restart relay, or set them back and reload again",
            )
        try:
            graph = build(new, self._house.base)
            await self._change_listeners(old, new)
        except (OSError, ListenerError) as error:
            self._house.base.board.set_channels(old.channels)
            raise HouseError(str(error), "mend the settings and reload again") from error
        if new.classification.guide != old.classification.guide:
            await self._inspector.follow(new.classification.guide)
        await self._change_graph(graph)
        self._settings = new
        allow_open_files(new)
        self._warn(new)
        said = _difference(old, new)
        self._journal.record(events.SettingsLoaded(path=new.source, ok=True, detail=said))
        return said

    async def _change_graph(self, graph: Graph) -> None:
        """Let the old lanes finish what they began while the new ones take over."""
        self._house.base.board.hurry(utc_now())  # what was mended is tried at once
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        old, self._lanes = self._lanes, []
        self._front.graph = self._house.graph = graph
        for channel in filter(self._house.base.board.is_paused, graph.channels):
            await self._store.retry(Selection(channel=channel, state=State.DEFERRED), utc_now())
        await self._use(graph)
        for lane in old:
            self._group.create_task(self._retire(lane), name=f"retire {lane.name}")

    async def _retire(self, lane: Lane) -> None:
        self._lanes.append(lane)
        await lane.drain()
        await lane.worker.channel.close()
        self._lanes.remove(lane)

    async def _change_listeners(self, old: Settings, new: Settings) -> None:
        """Open the new listeners if they differ; the old ones stay if that fails."""
        if new.listeners == old.listeners or self._servers is None:
            return
        before = self._servers
        before.close()
        try:
            self._servers = await self._listen(new)
        except (OSError, ListenerError):
            self._servers = await self._listen(old)
            raise
        finally:
            self._group.create_task(before.drain(new.drain.total_seconds()), name="old listeners")

    # -- telling ------------------------------------------------------------------------------

    def _warn(self, settings: Settings) -> None:
        for warning in settings.warnings:
            self._journal.record(
                events.SettingsLoaded(path=settings.source, ok=True, detail=warning)
            )

    async def _watch(self) -> None:
        """Feed the service manager's watchdog as long as the queue answers."""
        seconds = self._notifier.watchdog_seconds
        if seconds is None:
            return
        while True:
            if not await self._house.why_unhealthy():
                self._notifier.alive()
            await asyncio.sleep(seconds)


def _difference(old: Settings, new: Settings) -> str:
    """Return in words which parts of the settings differ."""
    parts = [name for name in _PARTS if getattr(old, name) != getattr(new, name)]
    return f"changed: {', '.join(parts)}" if parts else "nothing changed"


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Return the errors of a group and of the groups in it."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
