"""Alive is refused where a part has work and does none for ten seconds, and only there (HARD-CASES H28)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from medic.app.health import STALLED_LOOKS
from tests.unit.app.test_health import Watched


async def watched_in(nursery):
    """A health that follows its parts, looked at between two of its own looks."""
    watched = Watched()
    await nursery.start(watched.health.run)
    await trio.sleep(0.5)
    return watched


async def test_an_idle_medic_is_alive_for_ever(autojump_clock, nursery):
    watched = await watched_in(nursery)
    await trio.sleep(3_600)
    assert watched.health.alive() is None


@pytest.mark.parametrize(
    ("part", "stuck", "moved"),
    [
        ("host", {"overdue_seconds": 5.0}, {"slices": 99}),
        ("journal", {"newest": 900}, {"durable": 700}),
        ("outbox", {"pending": 3}, {"handed_on": 99}),
    ],
)
async def test_a_part_with_work_that_does_none_for_ten_seconds_has_stalled(autojump_clock, nursery, part, stuck, moved):
    watched = await watched_in(nursery)
    setattr(watched.bench, part, replace(getattr(watched.bench, part), **stuck))
    await trio.sleep(STALLED_LOOKS - 1)
    assert watched.health.alive() is None
    await trio.sleep(2)
    assert {"host": "wheel"}.get(part, part) in watched.health.alive()
    assert watched.health.report().status == ("healthy" if part == "outbox" else "unhealthy")
    setattr(watched.bench, part, replace(getattr(watched.bench, part), **moved))
    await trio.sleep(1)
    assert watched.health.alive() is None


@pytest.mark.parametrize("stuck", [{"backlog_bytes": 500}, {"failing": "FATAL: no such table medic.secret"}])
async def test_a_writer_that_does_not_get_on_is_unhealthy_but_no_reason_to_restart(autojump_clock, nursery, stuck):
    watched = await watched_in(nursery)
    watched.bench.writer = replace(watched.bench.writer, **stuck)
    await trio.sleep(STALLED_LOOKS - 1)
    assert watched.component("writer").status == "healthy"
    await trio.sleep(2)
    assert watched.component("writer").status == "unhealthy"
    assert watched.facts("writer")["reason"] == "records are not reaching PostgreSQL"
    assert watched.health.alive() is None
    assert watched.health.ready() is None


async def test_a_part_that_gets_on_however_slowly_is_alive(autojump_clock, nursery):
    watched = await watched_in(nursery)
    for slices in range(100, 130):
        watched.bench.host = replace(watched.bench.host, overdue_seconds=60.0, slices=slices)
        await trio.sleep(STALLED_LOOKS - 2)
        assert watched.health.alive() is None


async def test_a_disk_that_fails_is_no_stall_as_long_as_the_journal_tries(autojump_clock, nursery):
    watched = await watched_in(nursery)
    for failures in range(20):
        watched.bench.journal = replace(
            watched.bench.journal, newest=900, refusing="The disk fails.", failures=failures
        )
        watched.bench.outbox = replace(watched.bench.outbox, pending=1, journal_retries=failures)
        watched.bench.host = replace(watched.bench.host, overdue_seconds=60.0)
        await trio.sleep(5)
    assert watched.health.alive() is None
    assert watched.health.report().status == "unhealthy"


async def test_since_is_followed_although_nobody_asks(autojump_clock, nursery):
    watched = await watched_in(nursery)
    watched.bench.database = replace(watched.bench.database, reachable=False)
    await trio.sleep(5)
    watched.clock.at += 60_000
    await trio.sleep(5)
    component = watched.component("database")
    assert component.status == "unhealthy"
    assert watched.clock.at - component.since == 60_000
