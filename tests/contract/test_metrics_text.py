"""What `/metrics` and `/metrics/services` say can be read by Prometheus, in both of its formats."""

from __future__ import annotations

import gzip
import re
import time
from itertools import pairwise

import pytest
import trio
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from medic.alerting.deadman import DeadmanStatistics
from medic.core.service import Mute
from medic.core.status import Status
from medic.errors import OverloadedError
from medic.metrics import catalogue
from medic.metrics.collector import MedicCollector
from medic.metrics.exposition import (
    OPENMETRICS,
    STREAMS_MAX,
    TEXT,
    Exposition,
    Pieces,
    Turns,
    accepts_gzip,
    wants_openmetrics,
)
from medic.metrics.services import FAMILIES, ServiceFilter
from medic.store.redis.client import RedisStatistics
from tests.unit.metrics.parts import NOW, Bench, FixedClock, FixedHealth, ListRoster, service

PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
HOSTILE = 'a "quoted" \\ name {with="labels"}, ß and 日本'


def exposition(services=(), *, bench=None, services_max=1_000, components=None):
    bench = bench or Bench()
    collector = MedicCollector(
        parts=bench.parts,
        health=FixedHealth(components or {}, NOW),
        version="1.2.3",
        services_max=services_max,
    )
    return Exposition(collector=collector, roster=ListRoster(services), clock=FixedClock(), services_max=services_max)


async def text_of(page):
    body = b"".join([piece async for piece in page.body])
    return (gzip.decompress(body) if page.content_encoding == "gzip" else body).decode()


def samples(text, *, openmetrics=False):
    found = {}
    for family in (read_openmetrics if openmetrics else read_text)(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} stands there twice"
            found[key] = sample.value
    return found


def fleet():
    muted = service(3, "muted", status=Status.LATE)
    muted.mute = Mute(muted_at=NOW, until=None)
    return [
        service(1, "up"),
        service(2, "degraded", status=Status.DEGRADED),
        muted,
        service(4, "new", status=Status.NEW, heard=False),
        service(5, "inactive", status=Status.INACTIVE),
        service(6, HOSTILE, service_name='own\\er "x"', team="tëam", priority="p1"),
    ]


def labels(name, owner="owner", team="site-reliability", priority="p3"):
    return tuple(sorted({"heartbeat_name": name, "service_name": owner, "team": team, "priority": priority}.items()))


@pytest.mark.parametrize("accept", ["", "text/plain", "*/*"])
async def test_plain_text_is_read_by_prometheus(accept):
    page = exposition(fleet()).metrics(accept=accept)
    assert page.content_type == TEXT
    found = samples(await text_of(page))
    assert found["medic_registered_services", ()] == 21
    assert found["medic_active_services", ()] == 17
    assert found["medic_service_up", labels("up")] == 1


async def test_openmetrics_is_read_by_its_strict_parser():
    page = exposition(fleet()).metrics(accept=PROMETHEUS_ACCEPT)
    assert page.content_type == OPENMETRICS
    text = await text_of(page)
    assert text.endswith("\n# EOF\n")
    assert text.count("# EOF") == 1
    found = samples(text, openmetrics=True)
    assert found["medic_service_heartbeats_total", labels("up")] == 101
    assert "# TYPE medic_service_heartbeats counter\n" in text


async def test_both_formats_say_the_same():
    plain = samples(await text_of(exposition(fleet()).metrics()))
    strict = samples(await text_of(exposition(fleet()).metrics(accept=PROMETHEUS_ACCEPT)), openmetrics=True)
    of_medic = {key for key in plain if key[0].startswith("medic_")}
    assert of_medic == {key for key in strict if key[0].startswith("medic_")}
    assert {key: plain[key] for key in of_medic} == {key: strict[key] for key in of_medic}


async def test_every_metric_of_the_catalogue_is_there_and_no_other():
    bench = Bench()
    bench.redis = RedisStatistics(failing=None, failures=0, connections=1)
    bench.deadman = DeadmanStatistics(succeeded=1, last_success_at=NOW)
    text = await text_of(exposition(bench=bench).metrics())
    families = {
        re.sub(r"_(total|created)$", "", family.name) + ("_total" if family.type == "counter" else "")
        for family in read_text(text)
        if family.name.startswith("medic_") and not family.name.startswith("medic_service_")
    }
    assert families == {spec.name for spec in catalogue.ALL}


async def test_labels_are_those_of_the_catalogue():
    bench = Bench()
    bench.redis = RedisStatistics(failing=None, failures=0, connections=1)
    bench.deadman = DeadmanStatistics(succeeded=1, last_success_at=NOW)
    bench.meter.observe("GET", "/health", 200, 0.001)
    bench.meter.refuse_heartbeat("not_registered")
    bench.meter.fail_authentication("invalid_key")
    bench.operations.observe("copy", 0.1)
    text = await text_of(exposition(bench=bench, components={"wheel": "healthy"}).metrics())
    by_name = {spec.name: set(spec.labels) for spec in catalogue.ALL}
    seen = set()
    for family in read_text(text):
        for sample in family.samples:
            name = re.sub(r"_(bucket|sum|count)$", "", sample.name) if family.type == "histogram" else sample.name
            if name in by_name:
                seen.add(name)
                assert set(sample.labels) - {"le"} == by_name[name], name
    assert seen == set(by_name)


async def test_what_a_service_is_becomes_its_series():
    found = samples(await text_of(exposition(fleet()).services(ServiceFilter())))
    up = {key[1]: value for key, value in found.items() if key[0] == "medic_service_up"}
    assert up == {
        labels("up"): 1,
        labels("degraded"): 1,
        labels("muted"): 0,
        labels(HOSTILE, 'own\\er "x"', "tëam", "p1"): 1,
    }
    assert found["medic_service_muted", labels("muted")] == 1
    assert found["medic_service_muted", labels("up")] == 0
    assert found["medic_service_last_heartbeat_timestamp_seconds", labels("up")] == (NOW - 10_000) / 1000
    assert ("medic_service_last_heartbeat_timestamp_seconds", labels("new")) not in found
    # The last sign was 15 s ago in sighted time, which is 5 s behind: at now - 10 s on the wall. Promised is a minute.
    assert found["medic_service_deadline_timestamp_seconds", labels("up")] == (NOW - 10_000 + 60_000) / 1000
    assert ("medic_service_deadline_timestamp_seconds", labels("inactive")) not in found
    assert found["medic_service_heartbeats_total", labels("new")] == 0


async def test_services_are_in_families_of_one_piece():
    text = await text_of(exposition([service(n, f"s{n:04d}") for n in range(500)]).services(ServiceFilter()))
    names = [line.split("{")[0] for line in text.splitlines() if not line.startswith("#")]
    order = list(dict.fromkeys(names))
    assert names == [name for name in order for _ in range(500)]
    assert order == [family.name for family in FAMILIES]


async def test_metrics_has_services_up_to_its_limit_and_says_how_many_it_left_out():
    bench = Bench()
    services = [service(number, f"s{number:02d}") for number in range(21)]
    text = await text_of(exposition(services, bench=bench, services_max=5).metrics())
    found = samples(text)
    assert {dict(key[1])["heartbeat_name"] for key in found if key[0] == "medic_service_up"} == {
        "s00",
        "s01",
        "s02",
        "s03",
        "s04",
    }
    assert found["medic_metrics_services_left_out", ()] == 16


async def test_metrics_without_services_has_no_service_families():
    text = await text_of(exposition(fleet(), services_max=0).metrics())
    assert "medic_service_" not in text


async def test_the_kept_names_carry_what_the_parts_counted():
    bench = Bench()
    bench.meter.observe("POST", "/heartbeat", 201, 0.002)
    bench.meter.refuse_heartbeat("not_registered")
    found = samples(await text_of(exposition(bench=bench).metrics()))
    assert found["medic_alerts_active", ()] == 2
    assert found["medic_alerts_active_muted", ()] == 1
    assert found["medic_alerts_untold", ()] == 2
    assert found["medic_alerts_total", (("priority", "p1"), ("team", 'team "a"\\b'))] == 33
    assert found["medic_alerts_resolved_total", ()] == 34
    assert found["medic_heartbeats_total", (("status", "UP"),)] == 31
    assert found["medic_heartbeats_total", (("status", "OTHER"),)] == 32
    assert found["medic_heartbeats_total", (("status", "FAILED"),)] == 0
    assert found["medic_heartbeats_refused_total", (("reason", "not_registered"),)] == 1
    assert found["medic_services_muted", ()] == 3
    route = (("method", "POST"), ("route", "/heartbeat"))
    assert found["medic_http_requests_total", (*route, ("status", "201"))] == 1
    assert found["medic_http_request_duration_seconds_count", route] == 1
    assert found["medic_http_request_duration_seconds_bucket", (("le", "0.0025"), *route)] == 1
    assert found["medic_db_connection_errors_total", ()] == 71
    assert found["medic_pagerduty_requests_total", (("action", "trigger"), ("status", "success"))] == 85
    assert found["medic_slack_requests_total", (("status", "success"),)] == 87 + 88
    assert found["medic_wheel_timers_armed", ()] == 11
    assert found["medic_wheel_fired_total", ()] == 12
    assert found["medic_wheel_lateness_seconds_count", ()] == 12
    assert found["medic_journal_commit_seconds_count", ()] == 9
    assert found["medic_journal_backlog_bytes", ()] == 63
    assert found["medic_writer_batches_total", ()] == 92
    assert found["medic_writer_rows_total", ()] == 93
    assert found["medic_writer_lag_seconds", ()] == 1.5
    assert found["medic_active_token", ()] == 73
    assert found["medic_active_lock_held", ()] == 1
    assert found["medic_active_locks_lost_total", ()] == 74
    assert (found["medic_api_keys", ()], found["medic_api_keys_expiring", ()]) == (90, 91)
    assert found["medic_outbox_pending", ()] == 36
    assert found["medic_progress_timestamp_seconds", ()] == NOW / 1000
    assert found["medic_actors", ()] == 21
    assert found["medic_actor_restarts_total", ()] == 42


async def test_health_is_a_number_a_component_and_absent_where_nothing_is_configured():
    components = {
        "database": "healthy",
        "writer": "degraded",
        "wheel": "unhealthy",
        "slack": "configured",
        "redis": "not_configured",
    }
    found = samples(await text_of(exposition(components=components).metrics()))
    status = {dict(key[1])["component"]: value for key, value in found.items() if key[0] == "medic_health_status"}
    assert status == {"database": 1, "writer": 0.5, "wheel": 0, "slack": 1}


@pytest.mark.parametrize("accept", ["", PROMETHEUS_ACCEPT])
async def test_gzip_carries_the_same_text(accept):
    scraped = exposition(fleet())
    packed = scraped.services(ServiceFilter(), accept=accept, accept_encoding="gzip, deflate")
    plain = scraped.services(ServiceFilter(), accept=accept)
    assert packed.content_encoding == "gzip"
    assert await text_of(packed) == await text_of(plain)


async def test_only_so_many_listings_are_read_at_a_time():
    scraped = exposition(fleet())
    first, *others = [scraped.services(ServiceFilter()) for _ in range(STREAMS_MAX)]
    with pytest.raises(OverloadedError) as refused:
        scraped.services(ServiceFilter())
    assert refused.value.retry_after_seconds > 0
    await text_of(first)
    assert (await text_of(scraped.services(ServiceFilter()))).startswith("# HELP medic_service_up")
    del others


async def test_a_listing_that_its_reader_gave_up_makes_room():
    scraped = exposition(fleet())
    for _ in range(STREAMS_MAX * 2):
        page = scraped.services(ServiceFilter())
        await page.body.__anext__()
        await page.body.aclose()
        with pytest.raises(StopAsyncIteration):
            await page.body.__anext__()
    for _ in range(STREAMS_MAX * 2):
        scraped.services(ServiceFilter())  # dropped before its first piece


async def test_a_listing_gives_way_to_others_between_slices():
    scraped = exposition([service(number, f"s{number:05d}") for number in range(20_000)])
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    pieces = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        async for piece in scraped.services(ServiceFilter()).body:
            assert len(piece) < 4_000_000
            pieces += 1
        nursery.cancel_scope.cancel()
    assert pieces >= 2 * len(FAMILIES)
    assert turns >= pieces - 1


async def read_all(pieces: Pieces) -> None:
    async for _ in pieces:
        pass


class LoopTurns(trio.abc.Instrument):
    """Counts the turns of the loop."""

    count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


@pytest.mark.parametrize("gzip", [False, True])
async def test_listings_that_are_read_together_hold_the_loop_no_longer_than_one(gzip):
    loop, turns, seen = LoopTurns(), Turns(), []

    def slices():
        for _ in range(5):
            seen.append(loop.count)
            yield b"text"

    trio.lowlevel.add_instrument(loop)
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(STREAMS_MAX):
                nursery.start_soon(read_all, Pieces(slices(), turns=turns, gzip=gzip))
    finally:
        trio.lowlevel.remove_instrument(loop)
    assert len(seen) == 5 * STREAMS_MAX
    assert len(set(seen)) == len(seen)


async def test_after_a_slice_there_is_none_for_as_long_as_it_took(autojump_clock):
    turns, took, begun = Turns(), 0.02, []

    def slices():
        for _ in range(3):
            begun.append(trio.current_time())
            until = time.perf_counter() + took
            while time.perf_counter() < until:
                pass
            yield b"text"

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(read_all, Pieces(slices(), turns=turns, gzip=False))
    # The clock of the test stands still while a slice is made.
    assert all(later - earlier >= took for earlier, later in pairwise(begun))
    assert len(begun) == 6


async def test_whoever_gives_up_while_it_waits_for_its_turn_lets_the_others_go_on():
    turns = Turns()
    with trio.move_on_after(0):
        await Pieces(iter([b"text"]), turns=turns, gzip=False).__anext__()
    assert [piece async for piece in Pieces(iter([b"text"]), turns=turns, gzip=False)] == [b"text"]


def test_openmetrics_is_answered_only_where_it_is_wanted_more():
    assert wants_openmetrics(PROMETHEUS_ACCEPT)
    assert wants_openmetrics("application/openmetrics-text")
    assert not wants_openmetrics("text/plain;version=0.0.4, application/openmetrics-text;q=0.1")
    assert not wants_openmetrics("application/openmetrics-text;q=0")
    assert not wants_openmetrics("application/openmetrics-text;q=nonsense")
    assert not wants_openmetrics("text/html,*/*;q=0.8")


def test_gzip_is_used_only_where_it_is_allowed():
    assert accepts_gzip("gzip")
    assert accepts_gzip("br;q=1.0, GZIP;q=0.5")
    assert not accepts_gzip("gzip;q=0, identity")
    assert not accepts_gzip("")
