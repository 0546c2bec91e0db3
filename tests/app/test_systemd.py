"""systemd's side: sockets handed over, words told, a watchdog fed."""

from __future__ import annotations

import os
import smtplib
import socket
import subprocess
import sys
import textwrap

import pytest
from daemon import PATIENCE, ROOT, Daemon, free_port, wait_until

from relay.app.systemd import Notifier

# What systemd does between fork and exec: descriptor 3 and the number of the process.
_HAND_OVER = """
import os, socket, sys
ports = [int(port) for port in sys.argv[2].split(",")]
opened = [socket.create_server(("127.0.0.1", port)) for port in ports]
for number, sock in enumerate(opened):
    os.dup2(sock.fileno(), 20 + number, inheritable=False)
for number in range(len(opened)):
    os.dup2(20 + number, 3 + number, inheritable=True)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(sys.argv[2].split(",")))
os.execv(sys.executable, [sys.executable, "-m", "relay", "run", "--config", sys.argv[1]])
"""


def test_a_socket_that_is_handed_over_is_listened_on_and_another_is_closed(tmp_path):
    settings = Daemon(tmp_path, {"channels": {"native": {"folder": {"path": str(tmp_path / "o")}}}})
    stranger = free_port()
    ports = f"{settings.smtp_port},{stranger}"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_HAND_OVER), str(settings.settings_file), ports],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:

        def banner() -> bool:
            try:
                with smtplib.SMTP("127.0.0.1", settings.smtp_port, timeout=PATIENCE) as smtp:
                    return smtp.noop()[0] == 250
            except OSError:
                return False

        assert wait_until(banner)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", stranger), timeout=5)
    finally:
        process.terminate()
        _, log = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "no listener of the settings" in log
    assert f"127.0.0.1:{stranger}" in log


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "60000000"}, 30.0),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "60000000"}, None),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_asked(environ, seconds):
    assert Notifier(environ).watchdog_seconds == seconds


def test_says_what_it_does():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("")
        notifier = Notifier({"NOTIFY_SOCKET": "@" + sock.getsockname()[1:].decode()})
        notifier.ready("taking mail")
        notifier.reloading()
        notifier.stopping()
        notifier.alive()
        said = [sock.recv(4096).decode() for _ in range(4)]
    assert said[0] == "READY=1\nSTATUS=taking mail"
    assert said[1].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert said[2].startswith("STOPPING=1")
    assert said[3] == "WATCHDOG=1"
    assert os.environ.get("NOTIFY_SOCKET") is None
