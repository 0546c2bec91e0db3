"""What the owner of a small business reads when something fails: a cause and a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import typer
from pydantic import BaseModel
from test_replies import DICTIONARY

from relay.channels.options import Security
from relay.cli.app import app
from relay.mail.attempt import Attempt, Refused
from relay.mail.reply import Phase, make_reply
from relay.policy.judgement import Judgement, Retry
from relay.policy.runs import Run, blame, likeness
from relay.providers.rfc3463 import judge_by_step
from relay.settings import model

_TYPING_ERRORS = re.compile(
    r"[.,;:!?]{2}"  # two marks in a row
    r"|\s{2}|\s[.,;:!?)]|\(\s|[,;:](?=[A-Za-z])"  # blanks too many or missing
    r"|[{}<]|\S>|>\S|%\w|\b[A-Z]*NAME\b|\bID\b|TODO|\?"  # placeholders, questions
)
_STATUS_COLONS = re.compile(r"ses:SendRawEmail")  # a name of Amazon's
_FOREIGN = re.compile(r"\b(receivers?|the relay|the program here|below|above|e\.g\.|i\.e\.)\b")
_LONGEST = 180  # characters


def judgements() -> Iterator[tuple[str, str, str, Retry]]:
    """Yield where a sentence comes from, cause, fix, and what the queue does."""
    for entry in DICTIONARY.entries:
        yield entry.id, entry.cause, entry.fix, entry.retry
    seen = set[Judgement]()
    subjects = (
        "",
        *(f"{{}}.{subject}.0 " for subject in range(8)),
        "{}.3.4 ",
        "{}.1.8 ",
        "{}.5.3 ",
    )
    for phase, code, status in product(Phase, (421, 451, 503, 535, 550, 552, 554), subjects):
        reply = make_reply(code, f"{status.format(code // 100)}no")
        judgement = judge_by_step(Refused(phase=phase, reply=reply))
        if judgement not in seen:
            seen.add(judgement)
            yield f"{phase} {reply}", judgement.cause, judgement.fix, judgement.retry
    said = Refused(phase=Phase.RCPT, reply=make_reply(550, "no"))
    judgement = judge_by_step(said)
    for failed in ((), ("1M7YZMHG0DKVJ", "1M7YZMHG0DKVK")):
        run = Run(likeness=likeness(said.reply), domains=("a.x", "b.x", "c.x"), failed=failed)
        attempt = Attempt(
            channel="c", upstream="u", started_at=_NEVER, ended_at=_NEVER, outcomes=(said,),
            data_sent=False,
        )  # fmt: skip
        (blamed,) = blame(run, attempt, (judgement,))
        assert blamed is not None
        yield f"run of {len(failed)}", blamed.cause, blamed.fix, blamed.retry


_NEVER: Any = None
ALL = list(judgements())
IDS = [row[0] for row in ALL]


@pytest.mark.parametrize(("cause", "fix"), [row[1:3] for row in ALL], ids=IDS)
def test_it_is_a_sentence_as_one_writes_it(cause, fix):
    for text in (cause, fix):
        assert text[0].isupper(), text
        assert text.endswith("."), text
        assert not _TYPING_ERRORS.search(_STATUS_COLONS.sub("it", text)), text
        assert not _FOREIGN.search(text), text
        assert text.count("`") % 2 == 0, text
        assert text.count("(") == text.count(")"), text
        assert 12 <= len(text) <= _LONGEST, (len(text), text)
    assert cause != fix


@pytest.mark.parametrize(("fix", "retry"), [row[2:] for row in ALL], ids=IDS)
def test_who_has_to_do_something_is_told_what(fix, retry):
    """What a person has to mend never says just to wait."""
    if retry in (Retry.FIX_FIRST, Retry.NONE):
        assert not fix.startswith("Just wait")


def keys(part: type[BaseModel]) -> Iterator[str]:
    for name, field in part.model_fields.items():
        yield name
        for inner in re.findall(r"relay\.settings\.model\.(\w+)", repr(field.annotation)):
            below = getattr(model, inner)
            if isinstance(below, type) and issubclass(below, BaseModel):
                yield from keys(below)


KEYS = {*keys(model.File), *Security}


def is_command(words: list[str]) -> bool:
    """Return whether `words` are a command of relay, with arguments perhaps."""
    command: Any = typer.main.get_command(app)
    for word in words:
        if not hasattr(command, "commands"):
            return bool(re.fullmatch(r"[0-9A-Z]+", word))  # a queue id
        if word not in command.commands:
            return False
        command = command.commands[word]
    return not hasattr(command, "commands")


@pytest.mark.parametrize("fix", [row[2] for row in ALL], ids=IDS)
def test_settings_and_commands_that_it_names_exist(fix):
    for quoted in re.findall(r"`([^`]*)`", fix):
        program, *words = quoted.split()
        if program == "relay":
            assert is_command(words), quoted
        else:
            assert program.removesuffix(":") in KEYS, quoted
