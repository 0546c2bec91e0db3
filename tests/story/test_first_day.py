"""A relay runs before its owner has connected the mailbox; then that is done, and mail flows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from daemon import ROOT, Daemon
from dovecot import SubmissionServer
from letters import invoice, newsletter, wire

ME, READER, CUSTOMER = "news@shop.example", "ann@example.net", "bob@example.net"


def run(relay: Daemon, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relay", "--config", str(relay.settings_file), *words]
    return subprocess.run(
        command, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=60
    )


def connect(relay: Daemon, port: int) -> subprocess.CompletedProcess[str]:
    where = ("--host", "localhost", "--port", str(port), "--security", "none")
    return run(relay, "connect", "direct", ME, *where, "--password-file", "-", stdin="secret\n")


def test_newsletters_wait_invoices_go_and_the_account_lets_all_of_it_out(tmp_path: Path) -> None:
    out = tmp_path / "native"
    channels = {"direct": {}, "native": {"folder": {"path": str(out)}}}
    with SubmissionServer("direct", {ME: "secret"}) as upstream:
        settings = {"channels": channels, "routing": {"only_use_for_direct_emails": False}}
        with Daemon(tmp_path / "relay", settings) as relay:
            said = run(relay, "check")
            assert "direct   not connected yet" in said.stdout
            assert "run `relay connect direct`" in said.stdout
            health = relay.channel("direct")["health"]  # before the first mail
            assert health["state"] == "paused"
            assert health["cause"] == "This channel is not connected to an account yet."
            status = run(relay, "status").stdout
            assert "to do  Run `relay connect` with its name and your address." in status
            relay.submit(ME, [READER], wire(newsletter(READER)))
            relay.submit(ME, [CUSTOMER], wire(invoice(CUSTOMER)))
            relay.wait_until(lambda: len(list(out.glob("*.eml"))) == 1)
            relay.control.resume("direct")  # nothing is lost by it, and it is paused again
            relay.wait_until(lambda: relay.channel("direct")["health"]["state"] == "paused")
            assert relay.states()["sent"] == 1

            said = connect(relay, upstream.port)
            assert said.returncode == 0, said.stdout + said.stderr
            assert "the running relay uses it, and direct sends" in said.stdout
            relay.wait_until(lambda: relay.states() == {"sent": 2})
            said = run(relay, "connect", "direct", "--forget")
            assert "direct is not connected any more; mail for direct waits, or" in said.stdout
            health = relay.channel("direct")["health"]
            assert health["cause"] == "This channel is not connected to an account yet."
        upstream.wait_for(1)
        assert len(upstream.mailbox(READER)) == 1


def test_what_is_connected_while_no_relay_runs_is_used_at_the_next_start(tmp_path: Path) -> None:
    with SubmissionServer("direct", {ME: "secret"}) as upstream:
        relay = Daemon(tmp_path / "relay", {"channels": {"direct": {}}})
        with relay:
            relay.submit(ME, [CUSTOMER], wire(invoice(CUSTOMER)))
            relay.control.resume("direct")
            relay.wait_until(lambda: relay.channel("direct")["health"]["state"] == "paused")
            relay.wait_until(lambda: sum(relay.states().values()) == 1)
            relay.terminate()
        assert connect(relay, upstream.port).returncode == 0
        with relay:
            relay.wait_until(lambda: relay.states() == {"sent": 1})
        upstream.wait_for(1)
