"""One message of the queue with its history, as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from relay.cli.daemon import Json
from relay.cli.terminal import Styled, Words, say
from relay.cli.words import clock, count, due, moment, parse_time, percent, size, when
from relay.policy.accounting import FINAL, WAITING, State
from relay.policy.judgement import Retry

if TYPE_CHECKING:
    from relay.providers.entries import Entry


def state_style(state: str) -> str:
    """Return how a state looks."""
    match State(state):
        case State.SENT:
            return "green"
        case State.FAILED:
            return "red"
        case State.HELD | State.IN_DOUBT | State.DEFERRED:
            return "yellow"
        case _:
            return ""


def show_message(message: Json, closed: Mapping[str, str], now: datetime) -> None:
    """Write all that is known of it; `closed` says of each channel why it does not send."""
    for name, value in _envelope(message, now):
        say(f"{name:<9} ", value)
    say()
    say("it is     ", Styled(message["kind"], "bold"), f", {_told(message, now)}, because of")
    for reason in message["reasons"]:
        say(f"          {reason['where']}: {reason['what']}")
    for fact in message["facts"]:
        say("it says   ", _fact(fact))
    for recipient in message["recipients"]:
        say()
        _show_recipient(recipient, message["attempts"], closed, now)


def _envelope(message: Json, now: datetime) -> Iterator[tuple[str, Words]]:
    envelope, origin = message["envelope"], message["origin"]
    received = parse_time(message["received_at"])
    yield "id", Styled(message["queue_id"], "bold")
    yield "subject", message["subject"]
    yield "from", envelope["reverse_path"] or "<> (the null path: no reports are sent)"
    yield "received", f"{moment(received)}, {when(received, now)}, {_origin(origin)}"
    gone = "" if message["has_content"] else ", its content is no longer kept"
    yield "size", f"{size(message['size_bytes'])}{gone}"


def _told(message: Json, now: datetime) -> str:
    """Return who said what it is; the reasons are those of relay."""
    certain = f"{percent(message['certainty'])} certain"
    by_hand = message["corrected"]
    if by_hand is None:
        return certain
    at = when(parse_time(by_hand["at"]), now)
    return f"said by hand {at}; relay took it for {by_hand['kind']}, {certain}"


def _fact(fact: Json) -> str:
    """Return what an e-invoice says of itself."""
    words = f"{fact['syntax']} {fact['document']} {fact['number']}".rstrip()
    if fact["total"]:
        words = f"{words}, {fact['total']} {fact['currency']}".rstrip()
    return f"{words}, due {fact['due']}" if fact["due"] else words


def _origin(origin: Json) -> str:
    if origin["listener"] == "relay":
        return "made by relay itself"
    words = f"at {origin['listener']}"
    if origin["client"]:
        words = f"{words} from {origin['client']} ({origin['helo']})"
    if origin["application"]:
        words = f"{words}, signed in as {origin['application']}"
    return words


def _show_recipient(
    recipient: Json, attempts: list[tuple[int, Json]], closed: Mapping[str, str], now: datetime
) -> None:
    plan = recipient["plan"]
    state = recipient["state"]
    say("to        ", Styled(recipient["forward_path"], "bold"))
    if plan["redirect"]:
        say(f"          goes to {plan['redirect']} instead")
    say("state     ", Styled(state, state_style(state)), _since(recipient, now))
    say(
        f"channel   {recipient['channel']}, planned {', then '.join(plan['channels'])}", _rule(plan)
    )
    for name, value in _waits(recipient, closed, now):
        say(f"{name:<9} ", value)
    mine = [attempt for number, attempt in attempts if number == recipient["id"]]
    for index, attempt in enumerate(mine, 1):
        _show_attempt(index, attempt)
    if mine and (known := _known().get(mine[-1]["entry"])) and _is_of_use(known, State(state)):
        say(f"to do     {known.fix}")
    if not mine and recipient["attempts"]:
        say(f"attempts  {recipient['attempts']}")


def _since(recipient: Json, now: datetime) -> str:
    finished = recipient["finished_at"]
    return f", {when(parse_time(finished), now)}" if finished else ""


def _rule(plan: Json) -> str:
    return " (by its kind)" if plan["rule"] == "default" else f" (by {plan['rule']})"


def _waits(recipient: Json, closed: Mapping[str, str], now: datetime) -> Iterator[tuple[str, str]]:
    """Yield why it is not sent now, and until when."""
    state, channel = State(recipient["state"]), recipient["channel"]
    if state in FINAL:
        return
    if state is State.HELD:
        yield "why", recipient["why"] or recipient["plan"]["hold"] or "held"
        yield "to do", f"`relay queue release {recipient['queue_id']}`, or drop"
        return
    if state in WAITING and recipient["due_at"]:
        yield "due", due(parse_time(recipient["due_at"]), now)
    if recipient["why"]:
        yield "last", recipient["why"]
    if turn := recipient["turn"]:
        yield "waits", _turn(turn, channel, now)
    elif closed.get(channel):
        yield "waits", f"{channel} is {closed[channel]}"


def _turn(turn: Json, channel: str, now: datetime) -> str:
    """Return which limit it waits for, how that stands, and when it goes."""
    usage = turn["usage"]
    words = f"for a limit of {channel}, {usage['limit']['name']}: {usage['used']} used"
    if usage["room_at"]:
        words = f"{words}, first room {clock(parse_time(usage['room_at']), now)}"
    before = f", {count(turn['ahead'], 'recipient')} before it" if turn["ahead"] else ""
    return f"{words}, its turn about {clock(parse_time(turn['at']), now)}{before}"


def _show_attempt(index: int, attempt: Json) -> None:
    result = attempt["result"]
    style = "green" if result == "sent" else "yellow"
    place = f"{attempt['channel']} ({attempt['upstream']})"
    head = f"attempt {index:<2}"
    at = moment(parse_time(attempt["at"]))
    say(f"{head}{at} by {place}: ", Styled(result, style), f" after {attempt['seconds']:.1f} s")
    say(f"          {attempt['reply']}")
    if known := _known().get(attempt["entry"]):
        say(f"          {known.cause} ({known.id})")


def _is_of_use(known: Entry, state: State) -> bool:
    """Return whether to say what can be done; of what is over, not that it will pass."""
    if state in WAITING:
        return True
    return state in (State.HELD, State.FAILED) and known.retry in (Retry.NONE, Retry.FIX_FIRST)


@cache
def _known() -> Mapping[str, Entry]:
    """Return the entries that say what a reply means; those that only know its code do not."""
    from relay.providers.replies import ReplyDictionary  # of all commands only this one needs it

    return {entry.id: entry for entry in ReplyDictionary.load().entries if not entry.catch_all}
