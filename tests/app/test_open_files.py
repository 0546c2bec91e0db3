"""As many clients as the settings allow are served, whatever a shell allows by default."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack

from daemon import Daemon

CONTENT = b"Subject: Invoice 1\r\n\r\n" + b"Invoice 1 over 10.00 EUR\r\n" * 4000


def test_a_low_limit_of_open_files_is_raised_to_what_the_settings_need(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    settings = {"channels": {"native": {"folder": {"path": str(tmp_path / "out")}}}}
    with ExitStack() as clients:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
        try:
            relay = clients.enter_context(Daemon(tmp_path, settings))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for _ in range(150):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", relay.smtp_port)))
            assert client.recv(100).startswith(b"220")
        relay.submit("a@example.com", ["b@example.net"], CONTENT)
        relay.wait_until(lambda: relay.states() == {"sent": 1})
