"""How many files and sockets the process may have open."""

from __future__ import annotations

import resource

from relay.settings.values import Settings

_FOR_THE_HOUSE = 128  # queue, log, web, workers and what starts up


def allow_open_files(settings: Settings) -> None:
    """Raise the soft limit to what the settings may need, as far as the hard one allows.

    No further: programs that channels start inherit it, and some close all files up to it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # a client may have a file of the spool, a transaction the content and pipes to a program
    clients = sum(listener.max_connections for listener in settings.listeners)
    transactions = sum(channel.connections for channel in settings.channels.values())
    wanted = _FOR_THE_HOUSE + 2 * clients + 4 * transactions
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
