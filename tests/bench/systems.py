"""What is measured: relay, and a private Postfix; each with its own folder, both with one sink."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_START_SECONDS = 30
_STOP_SECONDS = 45

_RELAY_YAML = """\
state_dir: {folder}/state
listeners:
  - address: 127.0.0.1:{port}
http:
  address: 127.0.0.1:{http_port}
channels:
{channels}
log:
  level: info
"""
_CHANNEL = """\
  {name}:
    smtp: {{host: 127.0.0.1, port: {sink_port}, security: none}}
    connections: 20
    limits:
      - {{messages: 100000, per: 1h}}
      - {{recipients: 1000000, per: 24h}}"""

# All that differs from the defaults: where it lives, where mail goes, and no DNS.
_MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}/log
multi_instance_enable = no
myhostname = bench.example.com
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
relayhost = [127.0.0.1]:{sink_port}
smtp_dns_support_level = disabled
smtp_host_lookup = native
"""

# The services of the distribution's master.cf that such an instance uses.
_MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
local     unix  - n n - - local
virtual   unix  - n n - - virtual
lmtp      unix  - - n - - lmtp
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


class CannotMeasureError(Exception):
    """Something did not start, or lost mail."""


@dataclass(frozen=True, slots=True)
class System:
    """One that runs: where it takes mail, and the process that all its others descend from."""

    name: str
    port: int
    root: int


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def relay(folder: Path, sink_port: int) -> Iterator[System]:
    """Run `relay run` with limits, classification, history and log on."""
    folder.mkdir()
    port = free_port()
    config = folder / "relay.yaml"
    channels = "\n".join(
        _CHANNEL.format(name=name, sink_port=sink_port) for name in ("direct", "native")
    )
    config.write_text(
        _RELAY_YAML.format(folder=folder, port=port, http_port=free_port(), channels=channels)
    )
    log = folder / "relay.log"
    command = [sys.executable, "-m", "relay", "run", "--config", str(config)]
    with log.open("wb") as told:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=told, stderr=told)
    try:
        _wait_for(port, log, lambda: process.poll() is None)
        yield System("relay", port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def postfix(folder: Path, sink_port: int) -> Iterator[System]:
    """Run a Postfix that shares nothing with the machine's own but its programs."""
    _lay_out_postfix(folder, sink_port, port := free_port())
    program = [_postfix_program() or "postfix", "-c", str(folder / "etc")]
    started = subprocess.run([*program, "start"], capture_output=True, timeout=_START_SECONDS)
    if started.returncode != 0:
        raise CannotMeasureError(f"Postfix does not start: {started.stderr.decode()}")
    try:
        _wait_for(port, folder / "log/mail.log")
        yield System("Postfix", port, int((folder / "queue/pid/master.pid").read_text()))
    finally:
        subprocess.run([*program, "stop"], check=True, capture_output=True, timeout=_STOP_SECONDS)


def why_no_postfix() -> str:
    """Return what is missing for a private Postfix, "" when nothing is."""
    if _postfix_program() is None:
        return "there is no Postfix here (on Debian: apt-get install postfix)"
    if os.geteuid() != 0:
        return "only root may start a Postfix"
    return ""


def _postfix_program() -> str | None:
    return shutil.which("postfix", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _lay_out_postfix(folder: Path, sink_port: int, port: int) -> None:
    """Write its configuration; Postfix itself makes what belongs into its queue."""
    owner = pwd.getpwnam("postfix")
    for name in ("", "etc", "queue", "data", "log"):
        (folder / name).mkdir()
    os.chown(folder / "data", owner.pw_uid, owner.pw_gid)
    (folder / "etc/main.cf").write_text(_MAIN_CF.format(folder=folder, sink_port=sink_port))
    (folder / "etc/master.cf").write_text(_MASTER_CF.format(port=port))


def _wait_for(port: int, log: Path, runs: Callable[[], bool] = lambda: True) -> None:
    """Return when a greeting comes."""
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and runs():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                if connection.recv(512).startswith(b"220"):
                    connection.sendall(b"QUIT\r\n")
                    connection.recv(512)
                    return
        except OSError:
            time.sleep(0.05)
    raise CannotMeasureError(f"nobody greets at port {port}; its log: {log.read_text()[-4000:]}")
