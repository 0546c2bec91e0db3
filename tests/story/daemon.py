"""A relay in a process of its own, as on a machine: real sockets, real files, real signals.

    with Daemon(tmp_path, {"channels": {"native": {"folder": {"path": "/tmp/out"}}}}) as relay:
        queue_id = relay.submit("shop@example.com", ["ann@example.net"], content)
        relay.wait_until(lambda: relay.states() == {"sent": 1})
        relay.kill()   # as a power cut would
        relay.start()  # again, on the same state

The settings are those of relay.yaml. What a test does not care about may be left out: `state_dir`
is in the folder, `hostname` is relay.test, and every listener without an address, like the page,
gets a free port of 127.0.0.1, which stays the same over restarts.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self, TypeVar

import yaml

from relay.web.client import ControlClient, ControlError, NotRunning
from relay.web.control import SOCKET_NAME

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0  # seconds that anything may take on a busy machine
_PAUSE = 0.01  # between two looks
_LOG_TAIL = 4000
_OUTSIDE_EPHEMERAL = range(20_000, 32_000)  # no outgoing connection takes one of these meanwhile

_INHERITED = frozenset({"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV"})
_given: set[int] = set()


class DaemonError(AssertionError):
    """The relay did not do what a test waits for; the words hold what is known of it."""


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens; never the same twice."""
    for port in random.sample(_OUTSIDE_EPHEMERAL, 100):
        if port in _given:
            continue
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port
    raise DaemonError("no port is free")


def wait_until(
    look: Callable[[], T], *, seconds: float = PATIENCE, tell: Callable[[], str] = str
) -> T:
    """Return what `look` gives as soon as that is true; after the deadline fail with `tell`."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise DaemonError(f"it did not happen within {seconds:g} s\n{tell()}")
        time.sleep(_PAUSE)
    return found


class Daemon:
    """`relay run` under the settings that a test gives; `with` starts it and ends it."""

    def __init__(
        self,
        folder: Path,
        settings: str | Mapping[str, Any],
        *,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Keep settings, state and log in `folder`; `environ` is added to the environment."""
        self.folder = folder
        self.environ = dict(environ or {})
        folder.mkdir(parents=True, exist_ok=True)
        self.settings_file = folder / "relay.yaml"
        self.log_file = folder / "relay.log"
        self.settings: dict[str, Any] = {}
        self.configure(settings)
        self.control = ControlClient(self.state_dir / SOCKET_NAME)
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, settings: str | Mapping[str, Any]) -> None:
        """Write the settings file; ports stay. `control.reload` or a restart takes it into use."""
        given = yaml.safe_load(settings) if isinstance(settings, str) else dict(settings)
        old = self.settings
        ports = itertools.chain(_ports(old), iter(free_port, None))
        new: dict[str, Any] = {
            "state_dir": str(self.folder / "state"),
            "hostname": "relay.test",
            "http": old.get("http") or {"address": f"127.0.0.1:{free_port()}"},
            "listeners": [{}],
            **given,
        }
        new["listeners"] = [
            {"address": f"127.0.0.1:{next(ports)}", **listener} for listener in new["listeners"]
        ]
        self.settings = new
        # JSON is YAML, without the references by which YAML would avoid to repeat itself
        self.settings_file.write_text(json.dumps(new, indent=2), "utf-8")

    # -- life ---------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it whatever happened; a test that cares how calls `terminate` itself."""
        if self.is_running:
            try:
                self.terminate()
            finally:
                self.kill()

    def start(self) -> None:
        """Start it and return when it takes mail; raises DaemonError with its words otherwise."""
        assert not self.is_running, "it runs already"
        with _notifications() as (sock, address), self.log_file.open("ab") as log:
            self._process = self._spawn(address, log)
            wait_until(lambda: self._is_ready(sock), tell=self._tell)

    def terminate(self, *, seconds: float = PATIENCE) -> int:
        """Let it drain and stop (SIGTERM); return its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds=seconds)

    def kill(self) -> None:
        """Take its life (SIGKILL), as a power cut would; nothing if it is dead."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None, "it was never started"
        self._process.send_signal(number)

    def wait(self, *, seconds: float = PATIENCE) -> int:
        """Return its exit status once it has ended; a signal that ended it is negative."""
        assert self._process is not None, "it was never started"
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise DaemonError(f"it still runs after {seconds:g} s\n{self._tell()}") from None

    @property
    def is_running(self) -> bool:
        """Return whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Return the process id of the last start."""
        assert self._process is not None, "it was never started"
        return self._process.pid

    # -- places -------------------------------------------------------------------------------

    @property
    def state_dir(self) -> Path:
        """Return where its queue is."""
        return Path(self.settings["state_dir"])

    @property
    def ports(self) -> tuple[int, ...]:
        """Return the port of each listener, in the order of the settings."""
        return tuple(_ports(self.settings))

    @property
    def smtp_port(self) -> int:
        """Return the port of the first listener."""
        return self.ports[0]

    @property
    def http_port(self) -> int:
        """Return the port of metrics and health."""
        return int(self.settings["http"]["address"].rpartition(":")[2])

    # -- what it does -------------------------------------------------------------------------

    def submit(self, sender: str, recipients: Sequence[str], content: bytes) -> str:
        """Hand in a message by SMTP as it is; return its queue id. Raises SMTPException."""
        with smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=PATIENCE) as smtp:
            smtp.ehlo("app.test")
            for reply in (smtp.mail(sender), *map(smtp.rcpt, recipients), smtp.data(content)):
                if reply[0] >= 400:
                    raise smtplib.SMTPResponseException(*reply)
        return reply[1].decode().partition("queued as ")[2].split()[0]

    def queue(self, **which: Any) -> list[dict[str, Any]]:
        """Return the recipients, the newest message first; `which` as `ControlClient.queue`."""
        return self.control.queue(**{"limit": 1000, **which})

    def states(self) -> dict[str, int]:
        """Return how many recipients are in each state that has any, and check the accounting."""
        accounting = self.control.status()["snapshot"]["accounting"]
        assert accounting["difference"] == 0, accounting
        return {state: count for state, count in accounting["states"].items() if count}

    def kinds(self) -> dict[str, int]:
        """Return how many recipients have each kind."""
        return dict(Counter(row["kind"] for row in self.queue()))

    def channel(self, name: str) -> dict[str, Any]:
        """Return how a channel stands: `health`, `throttled_until`, `usage`, `upstream`."""
        channels = self.control.status()["snapshot"]["channels"]
        found: dict[str, Any] = next(each for each in channels if each["name"] == name)
        return found

    def log(self) -> str:
        """Return what it has written to its log, earlier runs included."""
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    def wait_until(self, look: Callable[[], T], *, seconds: float = PATIENCE) -> T:
        """Return what `look` gives as soon as that is true; fails when the relay dies meanwhile."""

        def look_again() -> T:
            found = look()
            if not found and not self.is_running:
                raise DaemonError(f"it ended\n{self._tell()}")
            return found

        return wait_until(look_again, seconds=seconds, tell=self._tell)

    # -- inside -------------------------------------------------------------------------------

    def _spawn(self, notify: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
        inherited = {name: value for name, value in os.environ.items() if name in _INHERITED}
        return subprocess.Popen(
            [sys.executable, "-m", "relay", "run", "--config", str(self.settings_file)],
            cwd=ROOT,
            env={**inherited, "NOTIFY_SOCKET": notify, **self.environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the tests
        )

    def _is_ready(self, sock: socket.socket) -> bool:
        if not self.is_running:
            raise DaemonError(f"it does not start\n{self._tell()}")
        try:
            return b"READY=1" in sock.recv(4096)
        except BlockingIOError:
            return False

    def _tell(self) -> str:
        """Return what helps to see why a test fails."""
        assert self._process is not None
        lines = [f"exit status: {self._process.poll()}"]
        try:
            snapshot = self.control.status()["snapshot"]
            lines += [f"channel: {channel}" for channel in snapshot["channels"]]
            lines += [f"recipient: {row}" for row in self.queue(limit=20)]
        except (NotRunning, ControlError) as error:
            lines.append(str(error))
        return "\n".join([*lines, "log:", self.log()[-_LOG_TAIL:]])


def _ports(settings: Mapping[str, Any]) -> Iterator[int]:
    for listener in settings.get("listeners", ()):
        yield int(listener["address"].rpartition(":")[2])


@contextmanager
def _notifications() -> Iterator[tuple[socket.socket, str]]:
    """Give a socket that a daemon tells of itself (sd_notify), and how NOTIFY_SOCKET names it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind("")  # the kernel finds a name in the abstract namespace
        yield sock, "@" + sock.getsockname()[1:].decode()
