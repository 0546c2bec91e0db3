"""What a request asks for, read from its query or JSON body; what is wrong with it is a Problem."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from relay.mail.message import decode_id
from relay.policy.accounting import State
from relay.policy.kinds import Kind
from relay.queue.store import Selection
from relay.web.problem import Problem

DEFAULT_ROWS, MAX_ROWS = 100, 1000
MAX_IDS = 1000

ID_FIX = "Take the id from the reply to the application, the log or `relay queue list`."
_ACTION_FIX = (
    'Send {"ids": [...]} or {"all_in": state}, and if needed "recipient", "channel", "kind".'
)
_LIST_KEYS = frozenset({"state", "channel", "kind", "recipient", "limit"})
_ACTION_KEYS = frozenset({"ids", "all_in", "channel", "kind", "recipient"})
_CORRECTION_KEYS = frozenset({"ids", "kind"})
_CORRECTION_FIX = 'Send {"ids": [...], "kind": kind}.'
_Choice = TypeVar("_Choice", bound=StrEnum)


def listing(query: Iterable[tuple[str, str]]) -> tuple[Selection, int]:
    """Return what `GET /queue` is to list, and how many rows at most."""
    asked: dict[str, str] = {}
    for key, value in query:
        if key in asked:
            raise Problem(400, f"`{key}` is given twice.", "Give it once.")
        asked[key] = value
    _check_keys(asked, _LIST_KEYS)
    limit = asked.get("limit", str(DEFAULT_ROWS))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MAX_ROWS):
        raise Problem(400, f"`limit` is {limit!r}.", f"Give a number from 1 to {MAX_ROWS}.")
    chosen = Selection(
        forward_path=asked.get("recipient"),
        state=_choice(State, "state", asked.get("state")),
        channel=asked.get("channel"),
        kind=_choice(Kind, "kind", asked.get("kind")),
    )
    return chosen, int(limit)


def selection(content_type: str, body: bytes) -> Selection:
    """Return what an action is to be done to; never everything by accident."""
    asked = _json_object(content_type, body)
    _check_keys(asked, _ACTION_KEYS)
    ids = _ids(asked)
    state = _choice(State, "all_in", asked.get("all_in"))
    if not ids and state is None:
        raise Problem(400, "Nothing is selected.", _ACTION_FIX)
    return Selection(
        queue_ids=ids,
        forward_path=_text(asked, "recipient"),
        state=state,
        channel=_text(asked, "channel"),
        kind=_choice(Kind, "kind", asked.get("kind")),
    )


def correction(content_type: str, body: bytes) -> tuple[tuple[str, ...], Kind]:
    """Return which messages are of which kind by the word of a person."""
    asked = _json_object(content_type, body)
    _check_keys(asked, _CORRECTION_KEYS)
    kind = _choice(Kind, "kind", asked.get("kind"))
    ids = _ids(asked)
    if kind is None or not ids:
        raise Problem(400, "A correction names messages and their kind.", _CORRECTION_FIX)
    return ids, kind


def queue_id(value: object) -> str:
    """Return a queue id as it is stored."""
    if not isinstance(value, str):
        raise Problem(400, "A queue id has to be a string.", ID_FIX)
    try:
        decode_id(value)
    except ValueError as error:
        raise Problem(400, f"{error}.", ID_FIX) from error
    return value.upper()


def _ids(asked: Mapping[str, object]) -> tuple[str, ...]:
    ids = asked.get("ids", [])
    if not isinstance(ids, list) or len(ids) > MAX_IDS:
        raise Problem(400, "`ids` is not a list of at most 1000 queue ids.", _ACTION_FIX)
    return tuple(queue_id(each) for each in ids)


def _json_object(content_type: str, body: bytes) -> dict[str, object]:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "The body is not declared to be JSON.", "Send it as application/json.")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "The body is not JSON.", _ACTION_FIX) from error
    if not isinstance(value, dict):
        raise Problem(400, "The body is not a JSON object.", _ACTION_FIX)
    return value


def _check_keys(asked: Mapping[str, object], known: frozenset[str]) -> None:
    unknown = sorted(set(asked) - known)
    if unknown:
        raise Problem(400, f"`{unknown[0][:100]}` is not known here.", _one_of(known))


def _text(asked: Mapping[str, object], key: str) -> str | None:
    value = asked.get(key)
    if value is not None and not isinstance(value, str):
        raise Problem(400, f"`{key}` is not a string.", _ACTION_FIX)
    return value


def _choice(choices: type[_Choice], key: str, value: object) -> _Choice | None:
    if value is None:
        return None
    try:
        return choices(str(value))
    except ValueError:
        raise Problem(400, f"`{key}` is {str(value)[:100]!r}.", _one_of(choices)) from None


def _one_of(names: Iterable[str]) -> str:
    return "Give one of: " + ", ".join(sorted(str(name) for name in names)) + "."
