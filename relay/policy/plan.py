"""By which channels a recipient's copy may go, in order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The channels to use, the first one first; what the owner's rule asks for besides."""

    channels: tuple[str, ...]  # at least one, all of them configured
    hold: str | None = None  # why a person has to release it first
    redirect: str | None = None  # forward-path that takes the recipient's place
    rule: str = "default"  # which rule decided, in words


@dataclass(frozen=True, slots=True)
class Refusal:
    """The owner's rule, or the size of the channels, says no."""

    text: str  # for the client, ASCII
    rule: str
    is_size: bool = False  # the message is too large for every channel of its plan
