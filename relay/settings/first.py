"""The owner's first settings file: what stands in it, and how it comes to be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import NamedTemporaryFile

NAMES = ("direct", "native")
"""Channels that it may begin with: mail takes them by itself."""

_TEXT = """\
# Settings of relay, begun by `relay connect {channel}`. This file is yours: relay never writes it
# again. config/relay.yaml of the relay shows every key with its unit and default.
#
# Look it over with `relay check`; `relay reload` takes it into use.

# Where mail waits until it is sent.
state_dir: {state_dir}

channels:
  # What `relay connect {channel}` found and tried, server and password, is kept below state_dir.
  {channel}:
    smtp: {{}}
{other}"""
_NATIVE = """\
  # A second way out makes invoices and other mail that matters independent of your mailbox: they
  # go by `native` then, and by `direct` when that fails. Try it before you take the # away.
  #native:
    #sendmail: {command: [/usr/sbin/sendmail, -i]}
"""
_DIRECT = """\
  # Your own mailbox, for people and newsletters: `relay connect direct` once the # is away.
  #direct:
    #smtp: {}
"""


def first_text(channel: str, state_dir: str) -> str:
    """Return settings with one channel, which waits to be connected.

    There is no other: nothing goes by a way that was not tried, or ends in a folder.
    """
    other = _NATIVE if channel == "direct" else _DIRECT
    return _TEXT.format(channel=channel, state_dir=json.dumps(state_dir), other=other)


def write_first(file: Path, text: str) -> None:
    """Write it, whole or not at all, and never over another.

    It holds no secret, so that all may read it. Raises OSError.
    """
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=file.parent, prefix=".relay") as temporary:
        temporary.write(text.encode())
        temporary.flush()
        os.fsync(temporary.fileno())
        Path(temporary.name).chmod(0o644)
        file.hardlink_to(temporary.name)
