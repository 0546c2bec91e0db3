"""The queue's contract as the outside sees it: the system calls behind a 250, and a full disk."""

from __future__ import annotations

import os
import re
import shutil
import smtplib
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from daemon import PATIENCE, ROOT, Daemon, wait_until

CONTENT = b"Subject: Invoice 7\r\n\r\nInvoice 7 over 10.00 EUR\r\n"
LARGE = CONTENT + b"x" * 76 + b"\r\n" + (b"y" * 76 + b"\r\n") * 3000


def settings(folder: Path) -> dict[str, object]:
    return {"channels": {"native": {"folder": {"path": str(folder / "out")}}}}


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace (tools/programs)")
@pytest.mark.parametrize("content", [CONTENT, LARGE], ids=["in the database", "in a file"])
def test_between_354_and_250_everything_was_written_and_synced(tmp_path, content):
    trace = tmp_path / "trace"
    with Daemon(tmp_path, settings(tmp_path)) as relay:
        strace = subprocess.Popen(
            ["strace", "-f", "-y", "-s", "64", "-o", str(trace), "-p", str(relay.pid),
             "-e", "trace=fsync,fdatasync,write,sendto,writev,sendmsg,pwrite64"],
            stderr=subprocess.PIPE,
        )  # fmt: skip
        assert b"attached" in strace.stderr.readline()
        for _ in range(5):
            relay.submit("a@example.com", ["b@example.net"], content)
        strace.terminate()
        strace.wait()
        strace.stderr.close()
    calls = trace.read_text("utf-8", "replace").splitlines()
    synced, asked, answers = False, False, 0
    for call in calls:
        if '"354 ' in call:
            synced, asked = False, True
        elif re.search(r"f(data)?sync\(\d+<[^>]*queue\.sqlite-wal>\)\s*= 0|resumed>\)\s*= 0", call):
            synced = synced or "sync" in call
        elif '"250 2.0.0 queued' in call:
            assert asked
            assert synced, "a 250 before the sync"
            answers += 1
            asked = False
    assert answers == 5
    if content is LARGE:
        assert sum(".eml>" in call and "sync" in call for call in calls) >= 5


def test_what_was_refused_or_broken_off_is_never_delivered(tmp_path):
    with Daemon(tmp_path, settings(tmp_path)) as relay:
        with smtplib.SMTP("127.0.0.1", relay.smtp_port, timeout=PATIENCE) as smtp:
            smtp.ehlo("app.test")
            smtp.mail("a@example.com")
            smtp.rcpt("b@example.net")
            smtp.putcmd("data")
            assert smtp.getreply()[0] == 354
            smtp.send(LARGE)
            smtp.sock.close()
            smtp.close()
        relay.submit("a@example.com", ["b@example.net"], CONTENT)
        relay.wait_until(lambda: relay.states() == {"sent": 1})
        wait_until(lambda: not list((relay.state_dir / "spool").iterdir()))
    assert len(list((tmp_path / "out").glob("*.eml"))) == 1


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Give a disk of its own, or skip the test where that is not possible."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not allow mounting")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up_loses_nothing_and_recovers_by_itself(tmp_path):
    with small_disk(tmp_path, 24) as disk:
        with Daemon(tmp_path, {**settings(tmp_path), "state_dir": str(disk / "state")}) as relay:
            taken = 1
            relay.submit("a@example.com", ["b@example.net"], CONTENT)
            with (disk / "ballast").open("wb") as ballast:
                while os.statvfs(disk).f_bavail * 4096 > 1_000_000:
                    ballast.write(b"x" * 65536)
                    ballast.flush()
            for content in (CONTENT, LARGE):
                with pytest.raises(smtplib.SMTPResponseException) as refused:
                    relay.submit("a@example.com", ["b@example.net"], content)
                assert refused.value.smtp_code in (451, 452)
            (disk / "ballast").unlink()
            relay.submit("a@example.com", ["b@example.net"], LARGE)
            taken += 1
            relay.wait_until(lambda: relay.states() == {"sent": taken})
    assert len(list((tmp_path / "out").glob("*.eml"))) == taken


def test_mail_that_fills_the_disk_can_leave_it_while_more_is_tried(tmp_path):
    """What clients try to hand in does not take the room that what is here needs to go."""
    over = threading.Event()

    def insist(port: int) -> None:
        while not over.is_set():
            with suppress(OSError, smtplib.SMTPException):
                with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as smtp:
                    smtp.sendmail("a@example.com", ["late@example.net"], LARGE)

    with small_disk(tmp_path, 24) as disk:
        with Daemon(tmp_path, {**settings(tmp_path), "state_dir": str(disk / "state")}) as relay:
            relay.control.stop("native")
            taken = 0
            with suppress(smtplib.SMTPResponseException):
                while True:
                    for content in (CONTENT, CONTENT, LARGE):
                        relay.submit("a@example.com", ["b@example.net"], content)
                        taken += 1
            others = [threading.Thread(target=insist, args=(relay.smtp_port,)) for _ in range(4)]
            for other in others:
                other.start()
            try:
                relay.control.resume("native")
                relay.wait_until(lambda: relay.states().get("sent", 0) >= taken)
            finally:
                over.set()
                for other in others:
                    other.join()


def test_a_state_folder_that_cannot_be_written_is_said_at_start(tmp_path):
    (tmp_path / "state").write_text("a file where the folder should be")
    relay = Daemon(tmp_path, settings(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "relay", "run", "--config", str(relay.settings_file)],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 1
    assert str(tmp_path / "state") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_queue_is_said_at_start_and_left_alone(tmp_path):
    with Daemon(tmp_path, settings(tmp_path)) as relay:
        relay.submit("a@example.com", ["b@example.net"], CONTENT)
        relay.wait_until(lambda: relay.states() == {"sent": 1})
    file = relay.state_dir / "queue.sqlite"
    raw = bytearray(file.read_bytes())
    raw[8192:16384] = os.urandom(8192)
    file.write_bytes(raw)
    done = subprocess.run(
        [sys.executable, "-m", "relay", "run", "--config", str(relay.settings_file)],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 1
    assert "queue.sqlite" in done.stderr
    assert "Traceback" not in done.stderr
    assert file.read_bytes() == raw
