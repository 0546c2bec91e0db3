"""Numbers for Prometheus: counters of what happened, gauges of how it stands at the scrape.

The only door of prometheus-client. Labels come from closed sets (listener, channel, kind, result
…), never from mail: no address, subject or server's words is in them.
"""

from __future__ import annotations

from typing import assert_never

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from relay.observe.events import (
    Accepted,
    Attempted,
    ChannelPaused,
    ChannelResumed,
    ChannelThrottled,
    Crashed,
    Event,
    InspectionFailed,
    LimitLearned,
    ListenerOpened,
    OwnerActed,
    Refused,
    Reported,
    Result,
    SenderRefused,
    SettingsLoaded,
    Started,
    Stopped,
    StoreTrouble,
    Swept,
)
from relay.observe.gauges import Gauges
from relay.observe.snapshot import Snapshot

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_ACCEPT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ATTEMPT_BUCKETS = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    600.0,
)


class Metrics:
    """Counts each event, and renders the counts with the gauges of a snapshot."""

    def __init__(self, version: str) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self._registry)
        Info("relay_build", "The running version.", registry=self._registry).info(
            {"version": version}
        )
        self._mail = _MailCounts(self._registry)
        self._house = _HouseCounts(self._registry)

    def __call__(self, event: Event) -> None:
        """Count `event`."""
        match event:
            case Accepted():
                self._mail.accepted(event)
            case Attempted():
                self._mail.attempted(event)
            case Started(recovered=recovered):
                self._mail.possible_duplicates.inc(recovered)
                self._house.count(event)
            case Refused(listener=listener, reason=reason):
                self._mail.refused.labels(listener, reason.value).inc()
            case Reported(action=action):
                self._mail.reports.labels(action).inc()
            case InspectionFailed():
                self._mail.inspection_failures.inc()
            case (
                Stopped()
                | ListenerOpened()
                | ChannelPaused()
                | ChannelResumed()
                | ChannelThrottled()
                | LimitLearned()
                | SenderRefused()
                | OwnerActed()
                | StoreTrouble()
                | SettingsLoaded()
                | Swept()
                | Crashed()
            ):
                self._house.count(event)
            case _:
                assert_never(event)

    def render(self, snapshot: Snapshot | None) -> bytes:
        """Return everything in the text format 0.0.4 (`CONTENT_TYPE`).

        None: the store does not answer; the counters are shown without the gauges of the queue.
        """
        now = CollectorRegistry(auto_describe=False)
        now.register(Gauges(snapshot))
        return generate_latest(self._registry) + generate_latest(now)


class _MailCounts:
    """What happens to mail. Children are looked up once: this runs for every message."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._accepted_total = Counter(
            "relay_accepted_total",
            "Messages accepted, which is after their commit.",
            ("listener", "kind"),
            registry=registry,
        )
        self._accepted_bytes = Counter(
            "relay_accepted_bytes_total", "Size of the accepted messages.", registry=registry
        )
        self._accept_seconds = Histogram(
            "relay_accept_seconds",
            "Time from the final dot to the commit.",
            buckets=_ACCEPT_BUCKETS,
            registry=registry,
        )
        self._attempts = Counter(
            "relay_attempts_total",
            "Attempts, counted once for each recipient.",
            ("channel", "kind", "result"),
            registry=registry,
        )
        self._attempt_seconds = Histogram(
            "relay_attempt_seconds",
            "Time an attempt took, counted once for each recipient.",
            ("channel",),
            buckets=_ATTEMPT_BUCKETS,
            registry=registry,
        )
        self.refused = Counter(
            "relay_refused_total",
            "What a listener did not take.",
            ("listener", "reason"),
            registry=registry,
        )
        self.reports = Counter(
            "relay_reports_total", "Delivery reports queued.", ("action",), registry=registry
        )
        self.inspection_failures = Counter(
            "relay_inspection_failures_total",
            "Messages that could not be read whole; the default rule decided.",
            registry=registry,
        )
        self.possible_duplicates = Counter(
            "relay_possible_duplicates_total",
            "Recipients who may get a message twice: in doubt, or being sent at a crash.",
            registry=registry,
        )
        self._of_accepted: dict[tuple[str, str], Counter] = {}
        self._of_attempted: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    def accepted(self, event: Accepted) -> None:
        """Count a message."""
        key = (event.listener, event.kind)
        child = self._of_accepted.get(key)
        if child is None:
            child = self._of_accepted[key] = self._accepted_total.labels(*key)
        child.inc()
        self._accepted_bytes.inc(event.size_bytes)
        self._accept_seconds.observe(event.seconds)

    def attempted(self, event: Attempted) -> None:
        """Count one recipient of an attempt."""
        key = (event.channel, event.kind, event.result)
        children = self._of_attempted.get(key)
        if children is None:
            children = self._of_attempted[key] = (
                self._attempts.labels(*key),
                self._attempt_seconds.labels(event.channel),
            )
        children[0].inc()
        children[1].observe(event.seconds)
        if event.result is Result.IN_DOUBT:
            self.possible_duplicates.inc()


_OfHouse = (
    Started
    | Stopped
    | ListenerOpened
    | ChannelPaused
    | ChannelResumed
    | ChannelThrottled
    | LimitLearned
    | SenderRefused
    | OwnerActed
    | StoreTrouble
    | SettingsLoaded
    | Swept
    | Crashed
)


class _HouseCounts:
    """What happens to channels, queue and process: seldom."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(name, what, labels, registry=registry)

        self._running = Gauge("relay_running", "1 until a clean stop.", registry=registry)
        self._listeners = Gauge("relay_listeners", "Listeners opened.", registry=registry)
        self._pauses = counter(
            "relay_channel_pauses_total",
            "Pauses of a channel after a fault of its own.",
            "channel",
            "category",
        )
        self._resumes = counter("relay_channel_resumes_total", "Ends of pauses.", "channel")
        self._throttles = counter(
            "relay_channel_throttles_total", "Times a limit of a channel was reached.", "channel"
        )
        self._lessons = counter(
            "relay_limit_lessons_total",
            "Times a provider said that a limit is used up before relay thought so.",
            "channel",
        )
        self._senders = counter(
            "relay_channel_senders_refused_total",
            "Senders whose mail a mended channel does not take.",
            "channel",
        )
        self._owner_actions = counter(
            "relay_owner_action_recipients_total", "Recipients a person acted upon.", "action"
        )
        self._store_trouble = counter(
            "relay_store_trouble_total", "Times the queue could not be read or written."
        )
        self._settings_loads = counter(
            "relay_settings_loads_total", "Times the settings were read.", "result"
        )
        self._expired = counter("relay_expired_recipients_total", "Recipients given up.")
        self._purged = counter("relay_purged_messages_total", "Finished messages forgotten.")
        self._notices = counter("relay_delayed_notices_total", "Notices of a delay sent.")
        self._crashes = counter("relay_crashes_total", "Mistakes of relay's own.")

    def count(self, event: _OfHouse) -> None:
        """Count one event."""
        match event:
            case Started():
                self._running.set(1)
            case Stopped():
                self._running.set(0)
            case ListenerOpened():
                self._listeners.inc()
            case ChannelPaused(channel=channel, category=category):
                self._pauses.labels(channel, category).inc()
            case ChannelResumed(channel=channel):
                self._resumes.labels(channel).inc()
            case ChannelThrottled(channel=channel):
                self._throttles.labels(channel).inc()
            case LimitLearned(channel=channel):
                self._lessons.labels(channel).inc()
            case SenderRefused(channel=channel):
                self._senders.labels(channel).inc()
            case OwnerActed(action=action, recipients=recipients):
                self._owner_actions.labels(action).inc(recipients)
            case StoreTrouble():
                self._store_trouble.inc()
            case SettingsLoaded(ok=ok):
                self._settings_loads.labels("ok" if ok else "refused").inc()
            case Swept(expired=expired, purged=purged, notices=notices):
                self._expired.inc(expired)
                self._purged.inc(purged)
                self._notices.inc(notices)
            case Crashed():
                self._crashes.inc()
            case _:
                assert_never(event)
