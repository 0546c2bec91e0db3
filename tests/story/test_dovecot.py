"""The password of the mailbox is changed while mail is being sent; the server is a real one."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from daemon import ROOT, Daemon
from dovecot import SubmissionServer
from letters import invoice, newsletter, wire

ME, SHOP = "news@shop.example", "rechnung@shop.example"
READER, CUSTOMER = "ann@example.net", "bob@example.net"
BEFORE, AFTER, BILLS = 5, 20, 5


def connect(relay: Daemon, password: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relay", "connect", "direct", "--password-file", "-"]
    return subprocess.run(
        [*command, "--config", str(relay.settings_file)],
        cwd=ROOT,
        input=password,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_changed_password_loses_nothing_and_locks_nothing(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("old\n")
    password.chmod(0o600)
    with SubmissionServer("direct", {ME: "old"}) as upstream:
        smtp = {
            "host": "localhost",
            "port": upstream.port,
            "security": "none",
            "username": ME,
            "password": {"file": str(password)},
            "messages_per_connection": 2,
        }
        out = tmp_path / "native"
        channels = {
            "direct": {"smtp": smtp, "connections": 2},
            "native": {"folder": {"path": str(out)}},
        }
        with Daemon(tmp_path / "relay", {"channels": channels}) as relay:
            send_news(relay, range(BEFORE))
            relay.wait_until(lambda: relay.states().get("sent", 0) >= 1)
            upstream.change_password(ME, "quite new")
            numbers = count(BEFORE)
            health = relay.wait_until(lambda: pause_of(relay) or send_news(relay, [next(numbers)]))
            assert health["category"] == "auth"
            for _ in range(AFTER):
                send_news(relay, [next(numbers)])
            news = next(numbers)  # so many, then

            for number in range(BILLS):
                relay.submit(ME, [CUSTOMER], wire(invoice(CUSTOMER, f"RE-{number}")))
            relay.wait_until(lambda: len(list(out.glob("*.eml"))) == BILLS)
            relay.wait_until(lambda: waiting_kinds(relay) == {"marketing"})

            assert connect(relay, "mistyped\n").returncode == 23
            assert pause_of(relay)
            said = connect(relay, "quite new\n")
            assert said.returncode == 0, said.stdout + said.stderr
            relay.wait_until(lambda: relay.states() == {"sent": news + BILLS})
        upstream.wait_for(news)
        got = Counter(mail.content for mail in upstream.mailbox(READER))
        assert len(got) == news
        assert set(got.values()) == {1}
        # the connections that were open at once, and the typo by both forms of the name
        assert 1 <= upstream.refused_sign_ins <= 5


def send_news(relay: Daemon, numbers: Iterable[int]) -> None:
    for number in numbers:
        relay.submit(ME, [READER], wire(newsletter(READER, number)))


def waiting_kinds(relay: Daemon) -> set[str]:
    return {row["kind"] for row in relay.queue() if row["state"] != "sent"}


def pause_of(relay: Daemon) -> dict[str, str] | None:
    health: dict[str, str] = relay.channel("direct")["health"]
    return health if health["state"] == "paused" else None


def test_a_sender_that_is_only_refused_with_its_recipients_is_kept_back(tmp_path: Path) -> None:
    """Postfix says at RCPT what it thinks of a sender. Nothing is sent, and nothing bounces."""
    password = tmp_path / "password"
    password.write_text("old\n")
    password.chmod(0o600)
    with SubmissionServer("direct", {ME: "quite new"}, owners={ME: ME, SHOP: "shop"}) as upstream:
        smtp = {
            "host": "localhost",
            "port": upstream.port,
            "security": "none",
            "username": ME,
            "password": {"file": str(password)},
        }
        with Daemon(tmp_path / "relay", {"channels": {"direct": {"smtp": smtp}}}) as relay:
            relay.submit(ME, [READER], wire(newsletter(READER, 1)))
            relay.wait_until(lambda: pause_of(relay))
            for number in range(3):
                relay.submit(SHOP, [CUSTOMER], wire(invoice(CUSTOMER, f"RE-{number}")))
            said = connect(relay, "quite new\n")
            assert said.returncode == 0, said.stdout + said.stderr
            assert f"to {SHOP}, who waits to send" in said.stdout
            relay.wait_until(lambda: relay.states() == {"sent": 1, "held": 3})
            for row in relay.queue(state="held"):
                assert row["why"].startswith(f"direct does not take {SHOP} as sender: 553 5.7.1")
        upstream.wait_for(1)
        assert "not owned by user" in upstream.log()
