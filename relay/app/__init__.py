"""The object graph, the lifetime and the only clock.

In: settings. Out: a running relay that answers the web, the command line and systemd.
Never: decides about mail; it only knows which store and which channels there are.
"""

from relay.app.run import run

__all__ = ["run"]
