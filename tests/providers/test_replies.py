"""The reply dictionary: its data, its matching, and what is judged when it knows nothing."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from relay.mail.attempt import Refused
from relay.mail.reply import Phase, make_reply
from relay.policy.judgement import Category, Retry, Scope
from relay.providers.detect import Providers
from relay.providers.entries import BOUNCE, Entry, Failure, expression, normalise
from relay.providers.replies import LOADER, ReplyDictionary, named_wait
from relay.providers.rfc3463 import BEFORE_MAIL, ENTRY

HERE = Path(__file__).parent
DATA = yaml.load((HERE / "replies_examples.yaml").read_bytes(), Loader=LOADER)
DICTIONARY = ReplyDictionary.load()
BY_ID = {entry.id: entry for entry in DICTIONARY.entries}


def refused(phase: Phase, reply: str, error: str | None = None, errno: int | None = None):
    code, _, text = reply.partition(reply[3:4] or " ")
    return Refused(phase=phase, reply=make_reply(int(code), text), error=error, errno=errno)


def failure_of(example: dict) -> Failure:
    """Return an example as a failure: with a code it is a reply, else an exception."""
    code, error = example.get("code"), example.get("exception")
    if code == "-" or example["stage"] == BOUNCE:
        status = re.search(r"\b[245]\.\d+\.\d+\b", example["text"])
        return Failure(
            stage=example["stage"],
            code=code or "-",
            status=example.get("status") or (status[0] if status else None),
            text=example["text"],
        )
    is_reply = code not in (None, "-1")
    phase = Phase(example["stage"])
    return normalise(
        Refused(
            phase=phase,
            reply=make_reply(int(code) if is_reply else 451, example["text"]),
            error=None if is_reply else error,
            errno=example.get("errno"),
        ),
        example.get("host", ""),
        example.get("port", 0),
        example.get("security", ""),
    )


@pytest.mark.parametrize("example", DATA["examples"], ids=lambda example: example["entry"])
def test_each_example_falls_on_its_own_entry(example):
    entry = DICTIONARY.find(failure_of(example), example.get("provider"))
    assert entry is not None
    assert entry.id == example["entry"]


@pytest.mark.parametrize("row", DATA["categories"], ids=lambda row: row["reply"][:60])
def test_each_known_reply_has_its_category(row):
    if row["stage"] == BOUNCE:
        match = re.match(r"(\d{3})[ -](.*)", row["reply"], re.DOTALL)
        code, text = match.groups() if match else ("-", row["reply"])
        status = re.match(r"[245]\.\d+\.\d+", text)
        failure = Failure(stage=BOUNCE, code=code, status=status[0] if status else None, text=text)
        entry = DICTIONARY.find(failure, row["provider"])
        assert entry is not None
        assert entry.category == row["category"]
        return
    judgement = DICTIONARY.judge(
        refused(Phase(row["stage"]), row["reply"]), provider=row["provider"]
    )
    assert judgement.category == row["category"]


def test_the_data_is_complete_and_means_something():
    providers = Providers().all
    assert len(BY_ID) == len(DICTIONARY.entries) == len(DATA["examples"]) == 233
    assert len(DATA["categories"]) == 65
    for entry in DICTIONARY.entries:
        assert entry.providers <= set(providers), entry.id
        assert entry.stages <= {*Phase, BOUNCE}, entry.id
        assert entry.codes or entry.exceptions or entry.text, entry.id
        for code in entry.codes:
            assert re.fullmatch(r"\d{3}|[45]xx|-1?", code), entry.id
        for pattern in (entry.text, entry.status, entry.host):
            if pattern is not None:
                expression(pattern)
        if entry.provider_required:
            assert entry.providers, entry.id
    assert [entry.id for entry in DICTIONARY.entries if entry.catch_all] == [
        "generic-4xx",
        "generic-5xx",
        "generic-exception",
    ]


def test_every_key_of_the_data_is_known():
    text = Path("relay/providers/replies.yaml")
    data = yaml.load((HERE.parent.parent / text).read_bytes(), Loader=LOADER)
    known = {
        *("id", "providers", "provider_required", "stage", "match", "catch_all", "category"),
        *(
            "persistence",
            "certain",
            "retry",
            "retry_after_s",
            "pause",
            "quota",
            "cause",
            "fix",
            "propose",
        ),
        *("confidence", "source", "note"),
    }
    for entry in data["entries"]:
        assert set(entry) <= known, entry["id"]
        assert set(entry["match"]) <= {"code", "status", "text", "exception", "errno", "when"}
        assert set(entry["match"].get("when", {})) <= {"port", "security", "host"}
        assert set(entry.get("quota", {})) <= {
            *("what", "window", "window_s", "scope", "max", "restarts_on_attempt"),
        }
        assert entry["source"] in data["sources"], entry["id"]


# Whose fault it is


@pytest.mark.parametrize(
    ("phase", "entry"),
    [
        pytest.param(phase, entry, id=f"{phase} {entry.id}")
        for entry in DICTIONARY.entries
        for phase in sorted(BEFORE_MAIL)
        if phase in entry.stages
    ],
)
def test_nothing_said_before_mail_fails_a_message(phase: Phase, entry: Entry):
    """Whatever an entry says for other steps: here it is the channel, and it is kept."""
    dictionary = ReplyDictionary([entry])
    example = next(one for one in DATA["examples"] if one["entry"] == entry.id)
    for code in ("554", "451"):
        judgement = dictionary.judge(
            Refused(
                phase=phase,
                reply=make_reply(int(code), example["text"]),
                error=example.get("exception"),
            ),
            provider=example.get("provider"),
        )
        assert judgement.is_channel_fault
        assert judgement.retry is not Retry.NONE


@pytest.mark.parametrize(
    ("phase", "reply", "category", "retry", "pause"),
    [
        # before MAIL: the channel, whatever was said
        (Phase.DNS, "451 4.4.3 x", Category.NETWORK, Retry.BACKOFF, Scope.ACCOUNT),
        (Phase.CONNECT, "554 5.3.2 x", Category.NETWORK, Retry.BACKOFF, Scope.ACCOUNT),
        (Phase.CONNECT, "421 4.3.2 x", Category.NETWORK, Retry.BACKOFF, Scope.ACCOUNT),
        (Phase.TLS, "454 4.7.5 x", Category.TLS, Retry.BACKOFF, Scope.ACCOUNT),
        (Phase.STARTTLS, "554 x", Category.TLS, Retry.BACKOFF, Scope.ACCOUNT),
        (Phase.EHLO, "550 x", Category.SERVER, Retry.BACKOFF, Scope.ACCOUNT),
        (Phase.AUTH, "535 x", Category.AUTH, Retry.FIX_FIRST, Scope.ACCOUNT),
        (Phase.AUTH, "454 x", Category.AUTH, Retry.BACKOFF, Scope.ACCOUNT),
        # MAIL
        (Phase.MAIL, "451 4.3.0 x", Category.SERVER, Retry.BACKOFF, Scope.NONE),
        (Phase.MAIL, "550 x", Category.POLICY, Retry.NONE, Scope.NONE),
        (Phase.MAIL, "553 5.1.8 x", Category.POLICY, Retry.NONE, Scope.NONE),
        (Phase.MAIL, "550 5.7.1 x", Category.POLICY, Retry.NONE, Scope.NONE),
        (Phase.MAIL, "552 5.3.4 x", Category.CONTENT, Retry.NONE, Scope.NONE),
        (Phase.MAIL, "552 x", Category.CONTENT, Retry.NONE, Scope.NONE),
        (Phase.MAIL, "554 5.6.0 x", Category.CONTENT, Retry.NONE, Scope.NONE),
        (Phase.MAIL, "554 5.3.0 x", Category.CONFIG, Retry.FIX_FIRST, Scope.ACCOUNT),
        (Phase.MAIL, "554 5.4.0 x", Category.CONFIG, Retry.FIX_FIRST, Scope.ACCOUNT),
        (Phase.MAIL, "503 x", Category.CONFIG, Retry.FIX_FIRST, Scope.ACCOUNT),
        (Phase.MAIL, "530 x", Category.CONFIG, Retry.FIX_FIRST, Scope.ACCOUNT),
        # RCPT
        (Phase.RCPT, "450 x", Category.RECIPIENT, Retry.BACKOFF, Scope.RECIPIENT),
        (Phase.RCPT, "550 x", Category.RECIPIENT, Retry.NONE, Scope.RECIPIENT),
        (Phase.RCPT, "550 5.1.1 x", Category.RECIPIENT, Retry.NONE, Scope.RECIPIENT),
        (Phase.RCPT, "554 5.4.4 x", Category.RECIPIENT, Retry.NONE, Scope.RECIPIENT),
        (Phase.RCPT, "550 5.7.1 x", Category.POLICY, Retry.NONE, Scope.RECIPIENT),
        (Phase.RCPT, "552 5.2.2 x", Category.RECIPIENT, Retry.NONE, Scope.RECIPIENT),
        (Phase.RCPT, "552 x", Category.OVER_QUOTA, Retry.SPLIT, Scope.NONE),
        (Phase.RCPT, "503 5.5.1 x", Category.CONFIG, Retry.FIX_FIRST, Scope.ACCOUNT),
        # DATA and after
        (Phase.DATA, "451 x", Category.SERVER, Retry.BACKOFF, Scope.NONE),
        (Phase.DATA, "554 x", Category.CONTENT, Retry.NONE, Scope.NONE),
        (Phase.AFTER_DATA, "452 4.3.1 x", Category.SERVER, Retry.BACKOFF, Scope.NONE),
        (Phase.AFTER_DATA, "554 5.6.0 x", Category.CONTENT, Retry.NONE, Scope.NONE),
        (Phase.AFTER_DATA, "550 5.7.1 x", Category.POLICY, Retry.NONE, Scope.NONE),
        (Phase.AFTER_DATA, "552 x", Category.CONTENT, Retry.NONE, Scope.NONE),
        (Phase.AFTER_DATA, "550 5.1.1 x", Category.RECIPIENT, Retry.NONE, Scope.NONE),
    ],
)
def test_a_reply_that_nobody_knows_is_judged_by_step_and_status(
    phase, reply, category, retry, pause
):
    judgement = ReplyDictionary([]).judge(refused(phase, reply), provider=None)
    assert (judgement.category, judgement.retry, judgement.pause) == (category, retry, pause)
    assert judgement.entry == ENTRY
    assert judgement.cause.endswith(".")


@pytest.mark.parametrize(
    ("phase", "reply", "provider", "retry", "pause"),
    [
        pytest.param(
            Phase.AFTER_DATA, "550-5.4.5 Daily user sending limit exceeded.", "gmail",
            Retry.WAIT_WINDOW, Scope.ACCOUNT, id="5yz for a quota holds",
        ),
        pytest.param(
            Phase.MAIL, "550 5.4.5 Daily sending quota exceeded.", None,
            Retry.WAIT_WINDOW, Scope.ACCOUNT, id="also when the provider is not known",
        ),
        pytest.param(
            Phase.AUTH, "535 5.7.8 Username and Password not accepted", "gmail",
            Retry.FIX_FIRST, Scope.ACCOUNT, id="password",
        ),
        pytest.param(
            Phase.RCPT, "550 5.1.1 <a@b.example>: Recipient address rejected: User unknown", None,
            Retry.NONE, Scope.RECIPIENT, id="unknown user",
        ),
        pytest.param(
            Phase.RCPT, "450 5.1.1 <a@b.example>: User unknown", None,
            Retry.BACKOFF, Scope.RECIPIENT, id="4yz is never final",
        ),
        pytest.param(
            Phase.RCPT, "550 Requested action not taken", None,
            Retry.NONE, Scope.RECIPIENT, id="a plain 550 fails its recipient only",
        ),
        pytest.param(
            Phase.CONNECT, "554 Requested action not taken", None,
            Retry.BACKOFF, Scope.ACCOUNT, id="the same words at the greeting fail nobody",
        ),
        pytest.param(
            Phase.CONNECT, "554 5.7.1 blocked using zen.spamhaus.org", None,
            Retry.BACKOFF, Scope.ACCOUNT, id="nor does a block list",
        ),
    ],
)  # fmt: skip
def test_whose_fault(phase, reply, provider, retry, pause):
    judgement = DICTIONARY.judge(refused(phase, reply), provider=provider)
    assert (judgement.retry, judgement.pause) == (retry, pause), judgement.entry


@pytest.mark.parametrize(
    ("phase", "reply", "error", "errno", "expected"),
    [
        (
            Phase.DNS,
            "451 4.4.3 [Errno -2] Name or service not known",
            "gaierror",
            -2,
            "dns-nxdomain",
        ),
        (
            Phase.CONNECT,
            "451 4.4.1 [Errno 111] Connection refused",
            "ConnectionRefusedError",
            111,
            "connect-refused",
        ),
        (
            Phase.CONNECT,
            "451 4.4.1 [Errno 113] No route to host",
            "OSError",
            113,
            "connect-no-route",
        ),
        (Phase.CONNECT, "451 4.4.2 timed out", "TimeoutError", None, "connect-timeout"),
        (
            Phase.CONNECT,
            "451 4.4.2 [Errno 110] Connection timed out",
            "TimeoutError",
            110,
            "connect-timeout",
        ),
        (
            Phase.CONNECT,
            "451 4.4.1 no reply: * OK IMAP4rev1",
            "SMTPConnectError",
            None,
            "connect-not-smtp-server",
        ),
        (
            Phase.CONNECT,
            "451 4.4.2 Connection unexpectedly closed",
            "SMTPServerDisconnected",
            None,
            "connect-closed-by-peer",
        ),
        (
            Phase.TLS,
            "454 4.7.5 [SSL: WRONG_VERSION_NUMBER] wrong version number",
            "SSLError",
            None,
            "tls-on-starttls-port",
        ),
        (
            Phase.STARTTLS,
            "454 4.7.5 certificate verify failed: certificate has expired",
            "SSLCertVerificationError",
            None,
            "tls-cert-expired",
        ),
        (
            Phase.STARTTLS,
            "454 4.7.4 STARTTLS extension not supported by server.",
            "SMTPNotSupported",
            None,
            "starttls-not-offered",
        ),
        (
            Phase.AUTH,
            "454 4.7.4 SMTP AUTH extension not supported by server.",
            "SMTPNotSupported",
            None,
            "auth-not-offered",
        ),
        (
            Phase.AUTH,
            "451 4.3.0 No suitable authentication method found.",
            "SMTPException",
            None,
            "auth-no-common-mechanism",
        ),
        (Phase.MAIL, "451 4.4.2 timed out", "TimeoutError", None, "session-connection-lost"),
        (
            Phase.DATA,
            "451 4.4.2 [Errno 104] Connection reset by peer",
            "ConnectionResetError",
            104,
            "data-connection-lost",
        ),
        (Phase.DATA, "451 4.3.0 [Errno 5] Input/output error", "OSError", 5, "generic-exception"),
        (Phase.RCPT, "451 4.5.0 a reply that does not end", "OutOfStep", None, ENTRY),
        (Phase.MAIL, "554 5.6.0 a control character in an address", "ValueError", None, ENTRY),
    ],
)
def test_what_the_channels_make_up_is_known(phase, reply, error, errno, expected):
    judgement = DICTIONARY.judge(refused(phase, reply, error, errno), provider=None)
    assert judgement.entry == expected
    assert (judgement.retry is Retry.NONE) is reply.startswith("5")
    assert judgement.is_channel_fault is (phase in BEFORE_MAIL)


@pytest.mark.parametrize(
    ("provider", "reply", "expected"),
    [
        ("ionos", "450 Requested action not taken: Mail send limit exceeded.", "ionos-send-limit"),
        ("fastmail", "450 5.1.90 reached your daily limit for message recipients", False),
    ],
)
def test_the_accounts_provider_is_asked_first_and_others_not_at_all(provider, reply, expected):
    judgement = DICTIONARY.judge(refused(Phase.MAIL, reply), provider=provider)
    if expected:
        assert judgement.entry == expected
    else:
        assert not BY_ID[judgement.entry].providers


# When to try again


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Too many messages. Try again in 92 seconds", 92),
        ("Greylisting in action, please come back in 00:05:00", 300),
        ("please retry after 5 minutes", 300),
        ("greylisted, try again after 300s", 300),
        ("Please try again in about 2 hours", 7200),
        ("wait 10 min before the next message", 600),
        ("your account is blocked for 1 day", 86400),
        ("retry in 99 days", 86400),
        ("try again later", None),
        ("You have sent 500 messages in 24 hours", None),
        ("version 12.3.4", None),
        ("come back in 9:99:99", None),
    ],
)
def test_the_wait_that_a_reply_names(text, seconds):
    assert named_wait(text) == (None if seconds is None else timedelta(seconds=seconds))


def test_the_wait_that_a_reply_names_is_kept_apart_from_the_usual_one():
    named = DICTIONARY.judge(
        refused(Phase.RCPT, "451 4.7.1 Greylisting in action, please come back in 00:05:00"),
        provider=None,
    )
    usual = DICTIONARY.judge(
        refused(Phase.RCPT, "450 4.2.0 <a@b.example>: Recipient address rejected: Greylisted"),
        provider=None,
    )
    assert (named.entry, usual.entry) == ("greylisting", "greylisting")
    assert (named.retry_after, usual.retry_after) == (timedelta(minutes=5), None)
    assert usual.advice == timedelta(minutes=10)
    final = DICTIONARY.judge(refused(Phase.RCPT, "550 5.1.1 User unknown"), provider=None)
    assert final.retry_after is None


def test_a_quota_tells_the_length_of_its_window():
    judgement = DICTIONARY.judge(
        refused(Phase.MAIL, "550 5.4.5 Daily user sending limit exceeded."), provider="gmail"
    )
    assert judgement.window == timedelta(hours=24)
