"""Stories of the sendmail channel with real programs."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from pathlib import Path

import pytest

from relay.channels.channel import Parcel
from relay.channels.options import SendmailOptions
from relay.channels.sendmail import SendmailChannel
from relay.mail.attempt import Attempt, InDoubt, Refused, Sent
from relay.mail.message import Spooled
from relay.mail.reply import Phase

PARCEL = Parcel(
    queue_id="0123456789ABC",
    reverse_path="me@example.com",
    forward_paths=("ann@example.net", "-v@example.net"),
    content=b"Subject: a bill\r\n\r\n.\r\nend\r\n",
    body_8bit=False,
    smtputf8=False,
)
RECORDER = """
import json, os, sys
content = sys.stdin.buffer.read().decode("latin-1")
record = {"argv": sys.argv[2:], "content": content, "environment": sorted(os.environ)}
open(sys.argv[1], "w").write(json.dumps(record))
"""


def program(script: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", script, *arguments)


async def send(
    command: tuple[str, ...], parcel: Parcel = PARCEL, timeout_seconds: float = 10.0
) -> Attempt:
    channel = SendmailChannel(
        "native", SendmailOptions(command=command, timeout_seconds=timeout_seconds)
    )
    attempt = await channel.send(parcel)
    await channel.close()
    return attempt


@pytest.mark.parametrize("reverse_path", ["me@example.com", None, "-oQ/tmp@example.com"])
def test_hands_over_envelope_and_content(run, tmp_path, reverse_path, monkeypatch):
    monkeypatch.setenv("SECRET", "s3cret")
    record = tmp_path / "record"

    async def story():
        parcel = dataclasses.replace(PARCEL, reverse_path=reverse_path)
        attempt = await send(program(RECORDER, str(record)), parcel)
        assert [type(outcome) for outcome in attempt.outcomes] == [Sent, Sent]
        assert attempt.data_sent
        assert attempt.upstream == sys.executable

    run(story())
    seen = json.loads(record.read_text())
    assert seen["argv"] == ["-i", "-f", reverse_path or "<>", "--", *PARCEL.forward_paths]
    assert seen["content"] == "Subject: a bill\n\n.\nend\n"
    assert "SECRET" not in seen["environment"]
    assert "PATH" in seen["environment"]


def test_line_ends_are_this_systems_across_the_borders_of_chunks(run, tmp_path):
    content = b"x" * (256 * 1024 - 1) + b"\r\n" + b"\r\n" * 300_000
    path, record = tmp_path / "content.eml", tmp_path / "record"
    path.write_bytes(content)

    async def story():
        parcel = dataclasses.replace(PARCEL, content=Spooled(str(path), len(content)))
        await send(program(RECORDER, str(record)), parcel)

    run(story())
    assert json.loads(record.read_text())["content"].encode() == content.replace(b"\r\n", b"\n")


@pytest.mark.parametrize(
    ("status", "phase", "reply"),
    [
        (64, Phase.CONNECT, "451 4.3.5 EX_USAGE: the command line is not understood: oh no"),
        (65, Phase.AFTER_DATA, "554 5.6.0 EX_DATAERR: the message is not understood: oh no"),
        (67, Phase.RCPT, "550 5.1.1 EX_NOUSER: no such user: oh no"),
        (69, Phase.CONNECT, "451 4.3.0 EX_UNAVAILABLE: the service is unavailable: oh no"),
        (75, Phase.AFTER_DATA, "451 4.3.0 EX_TEMPFAIL: try again later: oh no"),
        (78, Phase.CONNECT, "451 4.3.5 EX_CONFIG: it is not configured: oh no"),
        (1, Phase.AFTER_DATA, "451 4.3.0 exit status 1: oh no"),
    ],
)
def test_the_exit_status_is_the_reply_for_all(run, status, phase, reply):
    script = (
        f"import sys; sys.stdin.read(); print('oh\\x1b no', file=sys.stderr); sys.exit({status})"
    )

    async def story():
        attempt = await send(program(script))
        for outcome in attempt.outcomes:
            assert isinstance(outcome, Refused)
            assert (outcome.phase, str(outcome.reply)) == (phase, reply)

    run(story())


def test_what_it_says_is_capped(run):
    script = "import sys; sys.stdin.read(); sys.stderr.write('x' * 1_000_000); sys.exit(75)"

    async def story():
        attempt = await send(program(script))
        assert len(attempt.outcomes[0].reply.text) == 1000

    run(story())


def test_a_program_that_reads_nothing_still_answers(run):
    async def story():
        parcel = dataclasses.replace(PARCEL, content=b"x\r\n" * 1_000_000)
        attempt = await send(program("import sys; sys.exit(75)"), parcel)
        assert str(attempt.outcomes[0].reply).startswith("451 4.3.0 EX_TEMPFAIL")
        assert not attempt.data_sent

    run(story())


@pytest.mark.parametrize("command", [("/nonexistent/sendmail",), ("/etc/passwd",)])
def test_a_program_that_cannot_run_is_the_channels_fault(run, command):
    async def story():
        attempt = await send(command)
        outcome = attempt.outcomes[0]
        assert isinstance(outcome, Refused)
        assert (outcome.phase, outcome.reply.code) == (Phase.CONNECT, 451)
        assert outcome.error in ("FileNotFoundError", "PermissionError")

    run(story())


@pytest.mark.parametrize(
    ("reads", "content", "expected"),
    [("cat > /dev/null;", b"x\r\n", InDoubt), ("", b"x\r\n" * 1_000_000, Refused)],
    ids=["took it all", "took nothing"],
)
def test_a_program_that_hangs_is_ended_with_its_children(run, tmp_path, reads, content, expected):
    fifo = tmp_path / "alive"  # written to by the child only; it ends when the child does
    os.mkfifo(fifo)
    alive = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    script = f"{reads} (echo child; exec sleep 60) > {fifo} & exec sleep 60"

    async def story():
        attempt = await send(
            ("/bin/sh", "-c", script),
            dataclasses.replace(PARCEL, content=content),
            timeout_seconds=0.3,
        )
        assert isinstance(attempt.outcomes[0], expected)

    run(story())
    os.set_blocking(alive, True)
    with os.fdopen(alive, "rb") as words:
        assert words.read() == b"child\n"


def test_a_program_that_is_killed_leaves_it_in_doubt(run):
    script = "import os, sys; sys.stdin.read(); os.kill(os.getpid(), 9)"

    async def story():
        attempt = await send(program(script))
        assert isinstance(attempt.outcomes[0], InDoubt)
        assert "SIGKILL" in attempt.outcomes[0].reply.text

    run(story())


@pytest.mark.parametrize("path", ["a\0@b", "a\r@b", "a\nb"])
def test_an_address_that_cannot_be_an_argument_is_refused_for_good(run, path):
    async def story():
        attempt = await send(("/bin/true",), dataclasses.replace(PARCEL, forward_paths=(path,)))
        assert attempt.outcomes[0].reply.status == "5.6.0"

    run(story())


def test_half_a_message_is_never_handed_over(run, tmp_path):
    short, record = tmp_path / "short.eml", tmp_path / "record"
    short.write_bytes(b"abc\r\n")

    async def story():
        parcel = dataclasses.replace(PARCEL, content=Spooled(str(short), 10))
        attempt = await send(program(RECORDER, str(record)), parcel)
        outcome = attempt.outcomes[0]
        assert isinstance(outcome, Refused)
        assert (outcome.phase, outcome.reply.status) == (Phase.DATA, "4.3.0")

    run(story())
    assert not record.exists()


def test_a_cancelled_run_ends_the_program(run, tmp_path):
    fifo = tmp_path / "pid"
    os.mkfifo(fifo)
    script = f"import os, time; open({str(fifo)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    seen = []

    async def story():
        sending = asyncio.ensure_future(send(program(script)))
        pid = await asyncio.to_thread(fifo.read_text)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        seen.append(pid)

    run(story())
    assert not Path(f"/proc/{seen[0]}").exists()
