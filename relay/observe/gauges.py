"""The gauges that a snapshot gives; part of the door of prometheus-client."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from relay.observe.snapshot import ChannelView, Snapshot
from relay.policy.accounting import FINAL, State
from relay.policy.health import Open, Paused, Stopped

_CHANNEL_STATES = ("open", "throttled", "paused", "stopped")


class Gauges(Collector):
    """Turns one snapshot into metric families; without one, only says that the store is silent."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Return the families."""
        snapshot = self._snapshot
        yield GaugeMetricFamily(
            "relay_store_up", "Whether the queue answers.", value=0 if snapshot is None else 1
        )
        if snapshot is None:
            return
        yield _recipients(snapshot)
        yield _oldest(snapshot)
        yield GaugeMetricFamily(
            "relay_accounting_difference",
            "Accepted recipients that are in no state (or, negative, in two); it must be 0.",
            value=snapshot.accounting.difference,
        )
        yield GaugeMetricFamily(
            "relay_accounting_accepted",
            "Recipients accepted since the queue was made.",
            value=snapshot.accounting.accepted,
        )
        yield _accounting(snapshot)
        yield from _limits(snapshot)
        yield _states(snapshot)


def _accounting(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(
        "relay_accounting_recipients",
        "Recipients since the queue was made, by the state that they are in.",
        labels=("state",),
    )
    for state, count in snapshot.accounting.states.items():
        family.add_metric((state.value,), count)
    return family


def _recipients(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(
        "relay_queue_recipients",
        "Recipients that are not finished.",
        labels=("state", "channel", "kind"),
    )
    counts: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    for row in snapshot.depths:
        counts[row.state.value, row.channel, row.kind.value] += row.recipients
    for key, count in counts.items():
        family.add_metric(key, count)
    return family


def _oldest(snapshot: Snapshot) -> Metric:
    """Return the age of the oldest in each state that is not final, 0 when nothing is in it."""
    family = GaugeMetricFamily(
        "relay_queue_oldest_seconds", "Age of the oldest, from its reception.", labels=("state",)
    )
    oldest: dict[State, datetime] = {}
    for row in snapshot.depths:
        if row.oldest_at is not None and row.recipients:
            oldest[row.state] = min(row.oldest_at, oldest.get(row.state, row.oldest_at))
    for state in State:
        if state not in FINAL:
            age = (snapshot.now - oldest.get(state, snapshot.now)).total_seconds()
            family.add_metric((state.value,), max(0.0, age))
    return family


def _limits(snapshot: Snapshot) -> Iterator[Metric]:
    """Return used and maximum of each window; of two limits on one window, the stricter one."""
    labels = ("channel", "unit", "window")
    used = GaugeMetricFamily("relay_limit_used", "Sent within the window.", labels=labels)
    maximum = GaugeMetricFamily("relay_limit_maximum", "Allowed within the window.", labels=labels)
    refused = GaugeMetricFamily(
        "relay_limit_refused_at",
        "Sent within the window when the provider last refused more.",
        labels=labels,
    )
    for channel in snapshot.channels:
        strictest = {
            (channel.name, usage.limit.unit.value, usage.limit.span): usage
            for usage in sorted(channel.usage, key=lambda usage: -usage.limit.maximum)
        }
        for key, usage in strictest.items():
            if usage.lesson is not None:
                refused.add_metric(key, usage.lesson.counted)
            used.add_metric(key, usage.used)
            maximum.add_metric(key, usage.limit.maximum)
    yield used
    yield maximum
    yield refused


def _states(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(
        "relay_channel_state", "1 for the state a channel is in.", labels=("channel", "state")
    )
    for channel in snapshot.channels:
        current = channel_state(channel, snapshot.now)
        for state in _CHANNEL_STATES:
            family.add_metric((channel.name, state), int(state == current))
    return family


def channel_state(channel: ChannelView, now: datetime) -> str:
    """Return one word for how a channel is: open, throttled, paused or stopped."""
    match channel.health:
        case Paused():
            return "paused"
        case Stopped():
            return "stopped"
        case Open():
            until = channel.throttled_until
            return "throttled" if until is not None and until > now else "open"
