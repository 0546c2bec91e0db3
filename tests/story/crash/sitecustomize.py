"""Makes a daemon die at a chosen point: `CRASH=before:SqliteStore.settle:3` at the third call.

Python imports this by itself in a process whose PYTHONPATH has its folder; the product knows
nothing of it.
"""

import os

_EXIT = 137  # as a SIGKILL shows in a shell


def _arm(when: str, owner: type, name: str, nth: int) -> None:
    original = getattr(owner, name)
    calls = 0

    async def armed(self, *args, **kwargs):
        nonlocal calls
        calls += 1
        if when == "before" and calls == nth:
            os._exit(_EXIT)
        result = await original(self, *args, **kwargs)
        if when == "after" and calls >= nth:
            os._exit(_EXIT)
        return result

    setattr(owner, name, armed)


if point := os.environ.get("CRASH"):
    from relay.channels.smtp import SmtpChannel
    from relay.queue.sqlite.store import SqliteStore

    _when, _what, _nth = point.split(":")
    _class, _name = _what.split(".")
    _owners = {"SqliteStore": SqliteStore, "SmtpChannel": SmtpChannel}
    _arm(_when, _owners[_class], _name, int(_nth))
