"""The password of the mailbox is changed while mail is being sent, and connected anew."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon import ROOT, Daemon
from letters import invoice, newsletter, wire
from upstream import Upstream

ME = "me@example.com"
MANY = 30


@contextmanager
def served(upstream: Upstream) -> Iterator[asyncio.AbstractEventLoop]:
    """Let a scripted upstream run beside the test, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(upstream.__aenter__(), loop).result(10)
        yield loop
        asyncio.run_coroutine_threadsafe(upstream.__aexit__(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def connect(relay: Daemon, *words: str, password: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relay", "connect", "direct", *words]
    return subprocess.run(
        [*command, "--config", str(relay.settings_file), "--password-file", "-"],
        cwd=ROOT,
        input=password,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_invoices_go_by_native_newsletters_wait_and_all_drains(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("old\n")
    password.chmod(0o600)
    upstream = Upstream(accounts={ME: "old"})
    with served(upstream):
        smtp = {
            "host": "localhost",
            "port": upstream.port,
            "security": "none",
            "username": ME,
            "password": {"file": str(password)},
            "messages_per_connection": 1,
        }
        out = tmp_path / "native"
        channels = {"direct": {"smtp": smtp}, "native": {"folder": {"path": str(out)}}}
        with Daemon(tmp_path / "relay", {"channels": channels}) as relay:
            for number in range(MANY):
                reader = f"r{number}@example.net"
                relay.submit("news@example.com", [reader], wire(newsletter(reader, number)))
                if number == MANY // 3:
                    relay.wait_until(lambda: relay.states().get("sent", 0) >= 1)
                    upstream.accounts[ME] = "new"
            health = relay.wait_until(lambda: is_paused(relay))
            assert health["category"] == "auth"
            for number in range(5):
                customer = f"c{number}@example.net"
                relay.submit("shop@example.com", [customer], wire(invoice(customer)))
            relay.wait_until(lambda: len(list(out.glob("*.eml"))) == 5)
            waiting = relay.queue(channel="direct", state="deferred") + relay.queue(state="queued")
            assert waiting
            assert {row["kind"] for row in waiting} == {"marketing"}

            said = connect(relay, password="mistyped\n")
            assert said.returncode == 23, said.stdout
            assert is_paused(relay)
            said = connect(relay, password="new\n")
            assert said.returncode == 0, said.stdout + said.stderr
            assert "the running relay uses it, and direct sends" in said.stdout
            assert "news@example.com" in said.stdout  # who waits is asked for before the flood
            relay.wait_until(lambda: relay.states() == {"sent": MANY + 5})
            assert relay.channel("direct")["connected_at"]
        got = Counter(message.forward_paths[0] for message in upstream.messages)
        assert got == Counter(f"r{number}@example.net" for number in range(MANY))
        assert refused_sign_ins(upstream) <= 8  # connections that were open at once, and the typo


def is_paused(relay: Daemon) -> dict[str, str] | None:
    health: dict[str, str] = relay.channel("direct")["health"]
    return health if health["state"] == "paused" else None


def refused_sign_ins(upstream: Upstream) -> int:
    """Return how many passwords the account saw that were not its own."""
    connections = {number for number, line in upstream.commands if line.startswith("AUTH")}
    good = {message.connection for message in upstream.transactions}
    asked = {number for number, line in upstream.commands if line.startswith("MAIL")}
    return len(connections - good - asked)
