"""How the wall clock, by which charges are dated, stands to one that nobody sets.

Their difference is kept on the disk with the boot that the steady clock counts from. So a wall
clock that is set is noticed, by how much, whether relay runs meanwhile or not. Only what happens
to it across a boot cannot be known.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from relay.policy.limits import from_ms, to_ms
from relay.queue.sqlite import charges, upkeep

_NAME = "wall_clock"
_TREMBLING = timedelta(seconds=1)  # of two clocks that are read one after the other
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(slots=True)
class WallClock:
    """Compares two clocks; what it remembers of the database may only be older than that."""

    steady: Callable[[], timedelta] | None  # None: nothing is ever noticed
    boot: str  # that it counts from; "" if that is not known
    _ahead: timedelta = timedelta()  # as of the last time that it was written

    def ahead(self, now: datetime) -> timedelta:
        """Return how far the wall clock is ahead; call it right when `now` was read."""
        return self._ahead if self.steady is None else now - from_ms(0) - self.steady()

    def is_set(self, ahead: timedelta) -> bool:
        """Return whether it was set since the last time that was written."""
        return abs(ahead - self._ahead) > _TREMBLING

    def begin(self, db: sqlite3.Connection, now: datetime, ahead: timedelta) -> None:
        """Begin a run: move what was charged with a clock that was set since the last one.

        After another boot, or without a steady clock, dates are left as they are, and what depends
        on one moment is forgotten.
        """
        noted = _read(db)
        if self.boot and noted is not None and noted.boot == self.boot:
            self._ahead = noted.ahead
            self.follow(db, ahead)
            self.followed(ahead)
            return
        charges.forget_first_sends(db)
        _write(db, _Noted(self.boot, ahead, now))
        self._ahead = ahead

    def follow(self, db: sqlite3.Connection, ahead: timedelta) -> None:
        """Move what was charged with the clock, if it was set."""
        noted = _read(db)
        assert noted is not None, "begun"
        step = ahead - noted.ahead
        if abs(step) > _TREMBLING:
            upkeep.shift(db, step, noted.since)
            _write(db, _Noted(noted.boot, ahead, noted.since + step))

    def followed(self, ahead: timedelta) -> None:
        """Remember that what `is_set` has been committed."""
        if self.is_set(ahead):
            self._ahead = ahead


@dataclass(frozen=True, slots=True)
class _Noted:
    boot: str
    ahead: timedelta
    since: datetime  # beginning of the first run in this boot, by the wall clock as it is now


def _read(db: sqlite3.Connection) -> _Noted | None:
    row = db.execute("SELECT value FROM note WHERE name = ?", (_NAME,)).fetchone()
    if row is None:
        return None
    value = json.loads(row[0])
    return _Noted(value["boot"], value["ahead_ms"] * _MILLISECOND, from_ms(value["since_ms"]))


def _write(db: sqlite3.Connection, noted: _Noted) -> None:
    value = {
        "boot": noted.boot,
        "ahead_ms": noted.ahead // _MILLISECOND,
        "since_ms": to_ms(noted.since),
    }
    db.execute(
        "INSERT OR REPLACE INTO note (name, value) VALUES (?, ?)", (_NAME, json.dumps(value))
    )
