"""Metrics, health, readiness and the summary, as a scraper or an orchestrator reads them."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from small_house import PAUSED, SmallHouse, open_house

from relay.observe.metrics import Metrics


def get(house: SmallHouse, *paths: str) -> list[httpx.Response]:
    async def run() -> list[httpx.Response]:
        async with open_house(house, Metrics("1.0")) as server, httpx.AsyncClient() as client:
            return [await client.get(f"http://127.0.0.1:{server.port}{path}") for path in paths]

    return asyncio.run(run())


def test_a_scrape_gives_counters_and_the_queue() -> None:
    (reply,) = get(SmallHouse(), "/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name for family in text_string_to_metric_families(reply.text)}
    assert {"relay_accepted", "relay_queue_recipients", "relay_channel_state"} <= families


def test_a_scrape_works_while_the_queue_does_not() -> None:
    (reply,) = get(SmallHouse(store_down=True), "/metrics")
    assert reply.status_code == 200
    assert "relay_store_up 0.0" in reply.text


def test_many_scrapes_at_once_ask_the_queue_once() -> None:
    house = SmallHouse()

    async def run() -> None:
        async with open_house(house) as server, httpx.AsyncClient() as client:
            address = f"http://127.0.0.1:{server.port}/metrics"
            await asyncio.gather(*(client.get(address) for _ in range(20)))

    asyncio.run(run())
    assert house.snapshots == 1


@pytest.mark.parametrize(
    ("house", "path", "status", "text"),
    [
        pytest.param(SmallHouse(), "/healthz", 200, "ok\n", id="well"),
        pytest.param(SmallHouse(), "/readyz", 200, "ok\n", id="ready"),
        pytest.param(
            SmallHouse(unhealthy=("the writer is dead",)),
            "/healthz",
            503,
            '"the writer is dead"\n',
            id="unwell",
        ),
        pytest.param(
            SmallHouse(not_ready=("state_dir is full", "no listener is open")),
            "/readyz",
            503,
            '"state_dir is full"\n"no listener is open"\n',
            id="not ready",
        ),
    ],
)
def test_health_and_readiness(house: SmallHouse, path: str, status: int, text: str) -> None:
    (reply,) = get(house, path)
    assert (reply.status_code, reply.text) == (status, text)


def test_a_store_that_fails_while_health_is_asked_for_is_ill_health() -> None:
    (reply,) = get(SmallHouse(store_down=True), "/healthz")
    assert reply.status_code == 503
    assert reply.json()["error"] == "The queue does not answer: disk I/O error"


def test_the_summary_says_what_this_is_and_how_it_stands() -> None:
    (reply,) = get(SmallHouse(health=PAUSED), "/")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.text.splitlines() == [
        "relay 1.0: a local SMTP relay; this is its HTTP address.",
        "REHEARSAL: nothing leaves this machine.",
        "listeners: 127.0.0.1:2525",
        "queue: 1 deferred, 1 held",
        'channel direct: paused, "The password is wrong." "Set it anew."',
        "",
        "GET /metrics /healthz /readyz; more by `relay status` and `relay queue list`.",
    ]


def test_the_summary_of_a_house_whose_queue_is_silent() -> None:
    (reply,) = get(SmallHouse(store_down=True), "/")
    assert reply.status_code == 200
    assert "queue: DOES NOT ANSWER, see the log" in reply.text


def test_no_address_of_a_person_is_on_any_of_it() -> None:
    for reply in get(SmallHouse(health=PAUSED), "/", "/metrics", "/healthz", "/readyz"):
        assert "bob" not in reply.text
        assert "<script>" not in reply.text
