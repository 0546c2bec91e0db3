"""The embedded queue: one SQLite file (WAL, synchronous=FULL), one writer, group commit."""

from relay.queue.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
