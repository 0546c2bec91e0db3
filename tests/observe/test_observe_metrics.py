"""What is counted, under which names and labels, and what a snapshot shows."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from every_event import ACCEPTED, ATTEMPTED, EVERY_EVENT, HOSTILE, NOON
from prometheus_client.parser import text_string_to_metric_families

from relay.observe.events import Event, RefusalReason, Refused, Result
from relay.observe.journal import Journal
from relay.observe.metrics import CONTENT_TYPE, Metrics
from relay.observe.snapshot import ChannelView, Snapshot
from relay.policy.accounting import Accounting, State
from relay.policy.health import Health, Open, Paused, Stopped
from relay.policy.kinds import Kind
from relay.policy.limits import Limit, Unit, Usage
from relay.queue.rows import Depth

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
OPEN = Open()
PAUSED = Paused(
    entry="auth",
    category="auth",
    cause="c",
    fix="f",
    reply="535",
    since=NOON,
    until=NOON,
    failures=1,
)


def channel(name: str, health: Health = OPEN, throttled: timedelta | None = None) -> ChannelView:
    until = None if throttled is None else NOON + throttled
    return ChannelView(
        name=name, upstream="mail:25", health=health, throttled_until=until, usage=()
    )


def snapshot(*channels: ChannelView, depths: tuple[Depth, ...] = (), accepted: int = 0) -> Snapshot:
    states = {state: sum(d.recipients for d in depths if d.state is state) for state in State}
    return Snapshot(
        now=NOON, depths=depths, accounting=Accounting(accepted, states), channels=channels
    )


def values(page: bytes) -> dict[str, float]:
    """Return every sample as Prometheus reads it, `name{label="value"}` to value."""
    rows = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            rows[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return rows


FULL = snapshot(
    replace(
        channel("direct"),
        usage=(
            Usage(Limit(Unit.RECIPIENTS, 500, DAY), 120, None),
            Usage(Limit(Unit.RECIPIENTS, 400, DAY), 120, None),
            Usage(Limit(Unit.MESSAGES, 1, timedelta(seconds=1)), 1, NOON),
        ),
    ),
    depths=(
        Depth(
            state=State.QUEUED,
            channel="direct",
            kind=Kind.MARKETING,
            recipients=7,
            oldest_at=NOON - HOUR,
        ),
        Depth(
            state=State.SENT,
            channel="native",
            kind=Kind.INVOICE,
            recipients=3,
            oldest_at=NOON - DAY,
        ),
    ),
    accepted=11,
)


@pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: type(event).__name__)
def test_every_event_counts(event: Event) -> None:
    metrics = Metrics("1.0")
    if type(event).__name__ == "Stopped":
        metrics(EVERY_EVENT[0])  # what runs can stop
    before = values(metrics.render(None))
    Journal(metrics).record(event)
    after = values(metrics.render(None))
    changed = {name for name in after if after[name] != before.get(name, 0)}
    assert any(name.startswith("relay_") for name in changed)


def test_what_is_counted_of_mail() -> None:
    metrics = Metrics("1.0")
    for event in EVERY_EVENT:
        metrics(event)
    metrics(replace(ACCEPTED, listener="[::1]:25"))
    metrics(replace(ATTEMPTED, result=Result.IN_DOUBT))
    seen = values(metrics.render(None))
    for name, value in {
        'relay_accepted_total{kind="invoice",listener="127.0.0.1:2525"}': 1,
        'relay_accepted_total{kind="invoice",listener="[::1]:25"}': 1,
        "relay_accepted_bytes_total": 4096,
        "relay_accept_seconds_count": 2,
        'relay_accept_seconds_bucket{le="0.001"}': 0,
        'relay_accept_seconds_bucket{le="0.0025"}': 2,
        'relay_refused_total{listener="127.0.0.1:2525",reason="syntax"}': 1,
        'relay_attempts_total{channel="native",kind="invoice",result="sent"}': 1,
        'relay_attempts_total{channel="native",kind="invoice",result="in_doubt"}': 1,
        'relay_attempt_seconds_count{channel="native"}': 2,
        'relay_channel_pauses_total{category="auth",channel="direct"}': 1,
        'relay_reports_total{action="failed"}': 1,
        "relay_possible_duplicates_total": 4,  # three recovered, one in doubt
        "relay_store_trouble_total": 1,
        "relay_inspection_failures_total": 1,
        "relay_crashes_total": 1,
        'relay_build_info{version="1.0"}': 1,
    }.items():
        assert seen[name] == value, name


def test_two_houses_in_one_process_do_not_share_counts() -> None:
    first, second = Metrics("1.0"), Metrics("1.0")
    first(ACCEPTED)
    assert "relay_accepted_bytes_total 0.0" in second.render(None).decode()


def test_the_queue_and_the_limits_at_the_scrape() -> None:
    seen = values(Metrics("1.0").render(FULL))
    for name, value in {
        "relay_store_up": 1,
        'relay_queue_recipients{channel="direct",kind="marketing",state="queued"}': 7,
        'relay_queue_recipients{channel="native",kind="invoice",state="sent"}': 3,
        'relay_queue_oldest_seconds{state="queued"}': 3600,
        'relay_queue_oldest_seconds{state="held"}': 0,
        "relay_accounting_difference": 1,
        'relay_limit_used{channel="direct",unit="recipients",window="24h"}': 120,
        'relay_limit_maximum{channel="direct",unit="recipients",window="24h"}': 400,
        'relay_limit_maximum{channel="direct",unit="messages",window="1s"}': 1,
    }.items():
        assert seen[name] == value, name
    assert 'relay_queue_oldest_seconds{state="sent"}' not in seen


def test_without_an_answer_of_the_store_the_counters_are_still_there() -> None:
    seen = values(Metrics("1.0").render(None))
    assert seen["relay_store_up"] == 0
    assert "relay_store_trouble_total" in seen
    assert "relay_accounting_difference" not in seen


@pytest.mark.parametrize(
    ("view", "state"),
    [
        pytest.param(channel("a"), "open", id="open"),
        pytest.param(channel("a", throttled=HOUR), "throttled", id="waits for a limit"),
        pytest.param(channel("a", throttled=timedelta()), "open", id="has room by now"),
        pytest.param(channel("a", PAUSED), "paused", id="paused"),
        pytest.param(channel("a", PAUSED, HOUR), "paused", id="paused and throttled"),
        pytest.param(channel("a", Stopped(by="me", since=NOON)), "stopped", id="stopped"),
    ],
)
def test_a_channel_is_in_exactly_one_state(view: ChannelView, state: str) -> None:
    seen = values(Metrics("1.0").render(snapshot(view)))
    assert {
        name: seen[f'relay_channel_state{{channel="a",state="{name}"}}']
        for name in ("open", "throttled", "paused", "stopped")
    } == {name: float(name == state) for name in ("open", "throttled", "paused", "stopped")}


def rendered_with_everything() -> bytes:
    metrics = Metrics("1.0")
    for event in EVERY_EVENT:
        metrics(event)
    return metrics.render(FULL)


def test_names_follow_the_conventions_of_prometheus() -> None:
    families = list(text_string_to_metric_families(rendered_with_everything().decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    for family in families:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
        assert family.documentation, family.name
        assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|mb|percent)(_|$)", family.name)
        is_total = all(sample.name.endswith("_total") for sample in family.samples)
        assert (family.type == "counter") == is_total or not family.samples, family.name
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
        assert not any(sample.name.endswith("_created") for sample in family.samples)
    page = rendered_with_everything().decode()
    for line in page.splitlines():
        if line.startswith("# TYPE") and line.endswith(" counter"):
            assert line.split()[2].endswith("_total")


def test_labels_come_from_closed_sets() -> None:
    page = rendered_with_everything().decode()
    assert set(re.findall(r"[{,](\w+)=", page)) <= {
        "listener", "kind", "reason", "channel", "result", "category", "action", "le",
        "state", "unit", "window", "version",
    }  # fmt: skip
    assert "@" not in page
    assert HOSTILE[:20] not in page


def test_every_reason_for_a_refusal_has_its_own_count() -> None:
    metrics = Metrics("1.0")
    for reason in RefusalReason:
        metrics(Refused(listener="l", client="c", reason=reason, detail="d"))
    assert metrics.render(None).decode().count("\nrelay_refused_total{") == len(RefusalReason)


def test_the_content_type_is_that_of_the_text_format() -> None:
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
