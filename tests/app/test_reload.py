"""New settings while mail is under way: taken when they are right, refused when they are not."""

from __future__ import annotations

import signal
import smtplib

import pytest
from daemon import Daemon, free_port
from test_crash import Sink
from test_password import served
from upstream import Upstream

from relay.web.client import ControlError

CONTENT = b"Subject: Invoice 1\r\n\r\nInvoice 1 over 10.00 EUR\r\n"


def folders(daemon_folder, *names):
    return {name: {"folder": {"path": str(daemon_folder / name)}} for name in names}


def test_a_new_channel_and_rule_take_effect_without_a_restart(tmp_path):
    with Daemon(tmp_path, {"channels": folders(tmp_path, "native")}) as relay:
        relay.submit("a@example.com", ["b@example.net"], CONTENT)
        relay.wait_until(lambda: relay.states() == {"sent": 1})
        pid = relay.pid
        relay.configure(
            {
                "channels": folders(tmp_path, "native", "archive"),
                "routing": {"rules": [{"when": {"sender": "a@*"}, "via": ["archive"]}]},
            }
        )
        assert "routing" in relay.control.reload()
        relay.submit("a@example.com", ["b@example.net"], CONTENT)
        relay.wait_until(lambda: relay.states() == {"sent": 2})
        assert relay.pid == pid
    assert len(list((tmp_path / "archive").glob("*.eml"))) == 1


def test_settings_with_a_mistake_are_refused_and_the_old_ones_stay(tmp_path):
    with Daemon(tmp_path, {"channels": folders(tmp_path, "native")}) as relay:
        good = relay.settings_file.read_text()
        relay.settings_file.write_text(good.replace('"channels"', '"chanels"'))
        with pytest.raises(ControlError, match="chanels"):
            relay.control.reload()
        relay.signal(signal.SIGHUP)
        relay.wait_until(lambda: relay.log().count("chanels") >= 2)
        relay.submit("a@example.com", ["b@example.net"], CONTENT)
        relay.wait_until(lambda: relay.states() == {"sent": 1})


def test_a_listener_moves_and_another_that_cannot_open_changes_nothing(tmp_path):
    with Daemon(tmp_path, {"channels": folders(tmp_path, "native")}) as relay:
        old, new = relay.smtp_port, free_port()
        relay.configure({**relay.settings, "listeners": [{"address": f"127.0.0.1:{new}"}]})
        assert "listeners" in relay.control.reload()
        relay.submit("a@example.com", ["b@example.net"], CONTENT)
        with pytest.raises(OSError, match="refused"):
            smtplib.SMTP("127.0.0.1", old, timeout=5)
        taken = f"127.0.0.1:{relay.http_port}"
        relay.configure({**relay.settings, "listeners": [{"address": taken}]})
        with pytest.raises(ControlError, match=taken):
            relay.control.reload()
        relay.configure({**relay.settings, "listeners": [{"address": f"127.0.0.1:{new}"}]})
        relay.submit("a@example.com", ["b@example.net"], CONTENT)
        relay.wait_until(lambda: relay.states() == {"sent": 2})


def test_the_state_folder_needs_a_restart(tmp_path):
    with Daemon(tmp_path, {"channels": folders(tmp_path, "native")}) as relay:
        relay.configure({**relay.settings, "state_dir": str(tmp_path / "other")})
        with pytest.raises(ControlError, match="restart"):
            relay.control.reload()


def test_what_a_person_had_to_mend_is_tried_at_once(tmp_path):
    """It was refused when the server knew of it, and so would wait behind other mail."""
    with Sink() as sink:
        sink.upstream.script["mail"] = "550 5.7.1 Your account has been suspended"
        smtp = {"host": "127.0.0.1", "port": sink.upstream.port, "security": "none"}
        with Daemon(tmp_path, {"channels": {"native": {"smtp": smtp}}}) as relay:
            relay.submit("a@example.com", ["b@example.net"], CONTENT)
            relay.wait_until(lambda: relay.states() == {"deferred": 1})
            (row,) = relay.queue()
            assert row["due_at"] > relay.control.status()["snapshot"]["now"]
            sink.upstream.script.clear()
            relay.control.reload()
            relay.wait_until(lambda: relay.states() == {"sent": 1})


def test_a_pace_of_connections_outlives_a_reload_and_a_restart(tmp_path):
    upstream = Upstream()
    with served(upstream):
        smtp = {"host": "127.0.0.1", "port": upstream.port, "security": "none"}
        paced = {**smtp, "messages_per_connection": 1, "new_connections": "1 per 1h"}
        with Daemon(tmp_path, {"channels": {"native": {"smtp": paced}}}) as relay:
            relay.submit("a@example.com", ["b@example.net"], CONTENT)
            relay.wait_until(lambda: relay.states() == {"sent": 1})
            slower = {"native": {"smtp": {**paced, "command_timeout": "4m"}}}
            relay.configure({**relay.settings, "channels": slower})
            assert "channels" in relay.control.reload()
            relay.submit("a@example.com", ["b@example.net"], CONTENT)
            relay.wait_until(lambda: relay.states() == {"sent": 1, "sending": 1})
            relay.kill()
            relay.start()
            relay.control.retry(all_in="in_doubt")
            relay.wait_until(lambda: relay.states() == {"sent": 1, "sending": 1})
            assert upstream.connections == 1
            relay.kill()
