"""Whose fault a failure is when all that is known is the step, the code and the status."""

from __future__ import annotations

from relay.mail.attempt import Refused
from relay.mail.reply import Phase, Reply
from relay.policy.judgement import Category, Judgement, Retry, Scope

ENTRY = "rfc3463"
BEFORE_MAIL = frozenset(
    {Phase.OAUTH, Phase.DNS, Phase.CONNECT, Phase.TLS, Phase.EHLO, Phase.STARTTLS, Phase.AUTH}
)
"""Steps that have nothing to do with any message."""

_CATEGORIES = {
    Phase.OAUTH: Category.AUTH,
    Phase.DNS: Category.NETWORK,
    Phase.CONNECT: Category.NETWORK,
    Phase.TLS: Category.TLS,
    Phase.STARTTLS: Category.TLS,
    Phase.EHLO: Category.SERVER,
    Phase.AUTH: Category.AUTH,
}
_NOT_UNDERSTOOD = frozenset({500, 502, 503, 504, 530, 534, 535, 538, 555})  # RFC 5321, 4954
_SIZE = frozenset({"5.2.3", "5.3.4"})
_SENDER = frozenset({"5.1.7", "5.1.8"})
_RECIPIENT = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", "5.2.2"})


_Words = tuple[str, str]  # cause and fix
_AGAIN = "Just wait: relay tries again by itself."
_AT_FIRST = (
    "Just wait at first: relay tries again by itself. If it stays so, try the channel with "
    "`relay connect`."
)
_READ = "Read the server's words. If they are not clear, send them to the provider's support."
_TOO_LARGE = (
    "The message is too large for the server.",
    "Make its attachment smaller, or send a link for downloading.",
)
_NOT_THIS_SENDER = (
    "The server does not take this sender address.",
    "Use the account's address as sender; `senders` lets relay do that.",
)
_NOT_THIS_RECIPIENT = (
    "The server does not take this recipient.",
    "Check the address; the server's words may say more.",
)


def judge_by_step(refused: Refused) -> Judgement:
    """Return the judgement that the step, the code and the status allow (RFC 3463, RFC 5321).

    Before MAIL it is the channel's fault whatever was said. From MAIL on, 4yz passes; 5yz fails
    the recipient or the message, unless it speaks of the session or of the server.
    """
    reply, phase = refused.reply, refused.phase
    if phase in BEFORE_MAIL:
        return _channel(refused, mend=phase is Phase.AUTH and reply.is_permanent)
    if not reply.is_permanent:
        return _passing(refused)
    if _is_about_the_session(reply, phase):
        return _channel(refused, mend=True)
    if phase is Phase.RCPT and _is_too_many(reply):
        return _judgement(
            Category.OVER_QUOTA,
            Retry.SPLIT,
            Scope.NONE,
            words=(
                "The message has more recipients than the server takes at once.",
                "Just wait: relay sends it in parts.",
            ),
        )
    category, words = _fault_of_mail(reply, phase)
    pause = Scope.RECIPIENT if phase is Phase.RCPT else Scope.NONE
    is_certain = reply.status in _RECIPIENT | _SIZE or _subject(reply) == 6
    return _judgement(
        category, Retry.NONE, pause, words=words, permanent=True, is_certain=is_certain
    )


def _channel(refused: Refused, *, mend: bool) -> Judgement:
    """Return that the message must not suffer for it."""
    return _judgement(
        _CATEGORIES.get(refused.phase, Category.CONFIG),
        Retry.FIX_FIRST if mend else Retry.BACKOFF,
        Scope.ACCOUNT,
        words=(
            "The server cannot be used as it is; its words give the reason.",
            _READ if mend else _AT_FIRST,
        ),
        permanent=mend,
    )


def _passing(refused: Refused) -> Judgement:
    at_recipient = refused.phase is Phase.RCPT
    return _judgement(
        Category.RECIPIENT if at_recipient else Category.SERVER,
        Retry.BACKOFF,
        Scope.RECIPIENT if at_recipient else Scope.NONE,
        words=("The server asks to try again later.", _AGAIN),
    )


def _is_about_the_session(reply: Reply, phase: Phase) -> bool:
    """Return whether 5yz refuses the client rather than an address or a content."""
    if reply.code in _NOT_UNDERSTOOD or _subject(reply) == 5:
        return True
    # At MAIL nobody was named but the sender: x.3 (system) and x.4 (network) are not about it.
    return phase is Phase.MAIL and _subject(reply) in (3, 4) and reply.status not in _SIZE


def _is_too_many(reply: Reply) -> bool:
    """Return whether it is the 552 that RFC 5321 §4.5.3.1.10 wants to be read as 452."""
    return reply.status == "5.5.3" or (reply.code == 552 and reply.status is None)


def _fault_of_mail(reply: Reply, phase: Phase) -> tuple[Category, _Words]:
    if reply.status in _SIZE or (reply.code == 552 and phase is not Phase.RCPT):
        return Category.CONTENT, _TOO_LARGE
    if reply.status in _SENDER:
        return Category.POLICY, _NOT_THIS_SENDER
    subject = _subject(reply)
    if subject == 6:
        return Category.CONTENT, ("The server does not take this content.", _READ)
    if subject == 7:
        return Category.POLICY, (
            "A rule of the server forbids it; its words give the reason.",
            _READ,
        )
    if phase is Phase.RCPT or subject in (1, 2):
        return Category.RECIPIENT, _NOT_THIS_RECIPIENT
    if phase is Phase.MAIL:
        return Category.POLICY, _NOT_THIS_SENDER
    return Category.CONTENT, ("The server refused the message; its words give the reason.", _READ)


def _subject(reply: Reply) -> int:
    """Return the second number of the status (RFC 3463 §3), 0 for none."""
    return int(reply.status.split(".")[1]) if reply.status else 0


def _judgement(
    category: Category,
    retry: Retry,
    pause: Scope,
    *,
    words: _Words,
    permanent: bool = False,
    is_certain: bool = False,
) -> Judgement:
    return Judgement(
        entry=ENTRY,
        category=category,
        is_permanent=permanent,
        retry=retry,
        pause=pause,
        retry_after=None,
        advice=None,
        window=None,
        cause=words[0],
        fix=words[1],
        is_certain=is_certain,
    )
