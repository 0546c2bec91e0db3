"""One of each event, with hostile text wherever the outside has a say."""

from __future__ import annotations

from datetime import UTC, datetime

from relay.observe import events as of
from relay.policy.kinds import Kind

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = 'x\r\nerror forged id=1 "quoted" \\ \x1b[31m\x00\u202e\u2028'

ACCEPTED = of.Accepted(
    queue_id="01ABCDEFGHJKM",
    listener="127.0.0.1:2525",
    application=None,
    client="127.0.0.1",
    reverse_path="billing@example.com",
    recipients=2,
    size_bytes=2048,
    kind=Kind.INVOICE,
    certainty=0.98,
    channels=("native", "direct"),
    seconds=0.002,
)
ATTEMPTED = of.Attempted(
    queue_id="01ABCDEFGHJKM",
    channel="native",
    upstream="mail.example.com:25",
    kind=Kind.INVOICE,
    forward_path="bob@example.net",
    result=of.Result.SENT,
    reply="250 2.0.0 Ok: queued as 4F1C2",
    entry=None,
    attempts=1,
    seconds=0.012,
    due_at=None,
)
EVERY_EVENT: tuple[of.Event, ...] = (
    of.Started(version="1.0", settings=HOSTILE, recovered=3, rehearsal=False),
    of.Stopped(drained=True),
    of.ListenerOpened(address="127.0.0.1:2525", tls="none", auth="off"),
    ACCEPTED,
    of.Refused(
        listener="127.0.0.1:2525",
        client="127.0.0.1",
        reason=of.RefusalReason.SYNTAX,
        detail=HOSTILE,
    ),
    ATTEMPTED,
    of.ChannelPaused(
        channel="direct",
        category="auth",
        cause="The password is wrong.",
        fix="Set it anew.",
        reply=HOSTILE,
        until=NOON,
    ),
    of.ChannelResumed(channel="direct", why="a probe was sent"),
    of.ChannelThrottled(channel="direct", limit="500 recipients per 24h", until=NOON),
    of.LimitLearned(channel="direct", limit="500 recipients per 24h", counted=412, until=NOON),
    of.SenderRefused(
        channel="direct", reverse_path="shop@example.com", reply=HOSTILE, moved=1, held=2
    ),
    of.Reported(queue_id="01ABCDEFGHJKN", about="01ABCDEFGHJKM", action="failed", recipients=1),
    of.OwnerActed(action="retry", recipients=4),
    of.StoreTrouble(detail=HOSTILE),
    of.InspectionFailed(queue_id="01ABCDEFGHJKM", detail=HOSTILE),
    of.SettingsLoaded(path="/etc/relay/relay.yaml", ok=False, detail="1: no\n2: neither"),
    of.Swept(expired=1, purged=2, notices=3),
    of.Crashed(where="worker", detail=HOSTILE),
)
