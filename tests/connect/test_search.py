"""What is tried when a connection fails, and what is not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relay.channels.channel import Parcel
from relay.channels.options import Security, SmtpOptions
from relay.channels.smtp_probe import Questions, Report, Stage
from relay.connect.account import account_of
from relay.connect.connector import Connector
from relay.connect.search import Found, not_tested, search
from relay.mail.attempt import Refused
from relay.mail.reply import Phase, Reply
from relay.providers.detect import Providers
from relay.providers.replies import ReplyDictionary

PROVIDERS, REPLIES = Providers(), ReplyDictionary.load()
ME = "me@fastmail.com"
LETTER = Parcel(
    queue_id="1",
    reverse_path=ME,
    forward_paths=(ME,),
    content=b"\r\n",
    body_8bit=False,
    smtputf8=False,
)
QUESTIONS = Questions(senders=(ME,), recipient=ME, parcel=LETTER)
REFUSED = (Phase.AUTH, Reply(535, "5.7.8", "no"), None)
CLOSED = (Phase.CONNECT, Reply(451, "4.4.1", "refused"), "ConnectionRefusedError")
UNTRUSTED = (Phase.TLS, Reply(454, "4.7.5", "certificate verify failed"), "SSLError")
NO_AUTH = (Phase.AUTH, Reply(454, "4.7.4", "AUTH not supported"), "SMTPNotSupported")
BUSY = (Phase.AUTH, Reply(454, "4.7.0", "later"), None)
NOT_YOURS = (Phase.MAIL, Reply(553, "5.7.1", "not yours"), None)


def options(**changes) -> SmtpOptions:
    given = {
        "host": "smtp.fastmail.com",
        "port": 465,
        "security": Security.IMPLICIT,
        "username": ME,
        "password": lambda: "x",
    }
    return SmtpOptions(**{**given, **changes})


def connector(folder: Path) -> Connector:
    return Connector(channel="direct", state_dir=folder, providers=PROVIDERS, replies=REPLIES)


class World:
    """Servers that answer as they are told, and remember who asked."""

    def __init__(self, answers) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.letters = 0

    async def __call__(self, options: SmtpOptions, questions: Questions) -> Report:
        way = f"{options.port} {options.username}"
        self.asked.append(way)
        assert options.verify, "certificate checks are never switched off"
        self.letters += questions.parcel is not None
        answer = self.answers.get(way, self.answers.get("*"))
        if answer is None:
            return Report(stages=(Stage(name="EHLO", seconds=0, detail=""),))
        phase, reply, error = answer
        refused = Refused(phase=phase, reply=reply, error=error)
        return Report(stages=(Stage(name="x", seconds=0, detail="", refused=refused),))


def find(world: World, tmp_path: Path) -> Found:
    account = account_of(ME, PROVIDERS)
    judge = connector(tmp_path).judge
    return asyncio.run(search(options(), account, QUESTIONS, judge, world))


@pytest.mark.parametrize(
    ("answers", "asked", "working"),
    [
        ({}, [f"465 {ME}"], True),
        ({f"465 {ME}": CLOSED}, [f"465 {ME}", f"587 {ME}"], True),
        ({f"465 {ME}": UNTRUSTED}, [f"465 {ME}", f"587 {ME}"], True),
        ({f"465 {ME}": NO_AUTH}, [f"465 {ME}", f"587 {ME}"], True),
        ({"*": CLOSED}, [f"465 {ME}", f"587 {ME}"], False),
        ({f"465 {ME}": REFUSED}, [f"465 {ME}", "465 me"], True),
        ({"*": REFUSED}, [f"465 {ME}", "465 me"], False),  # two sign-ins failed, not more
        ({f"465 {ME}": CLOSED, "*": REFUSED}, [f"465 {ME}", f"587 {ME}"], False),
        ({"*": BUSY}, [f"465 {ME}"], False),
        ({"*": NOT_YOURS}, [f"465 {ME}"], False),
    ],
)
def test_what_may_work_instead_is_tried(tmp_path, answers, asked, working):
    world = World(answers)
    found = find(world, tmp_path)
    assert world.asked == asked
    assert (found.working is not None) is working
    assert world.letters == 1  # by what was asked for, never by what is only offered
    if found.first.report.failure:
        assert found.first.judgement is not None
        assert found.first.judgement.cause


def test_a_refused_sign_in_is_not_repeated_at_every_door(tmp_path):
    """Each one is a failed attempt at the same account."""
    far = options(host="smtp.example.org", username="me@example.org")
    world = World({"465 me@example.org": CLOSED, "*": REFUSED})
    account = account_of("me@example.org", PROVIDERS)
    judge = connector(tmp_path).judge
    asyncio.run(search(far, account, QUESTIONS, judge, world))
    assert world.asked == ["465 me@example.org", "587 me@example.org"]


def test_it_says_what_it_did_not_test(tmp_path):
    found = find(World({}), tmp_path)
    words = "; ".join(not_tested(Questions(), [found.first]))
    assert "--send" in words
    assert "--from" in words
    assert "--to" in words
    words = "; ".join(not_tested(QUESTIONS, [found.first]))
    assert "among spam" in words
    assert "sender addresses other than me@fastmail.com" in words
