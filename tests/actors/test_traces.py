"""What wears traces does what it did before: journal, intake and notifier over the real ones, with their spans."""

from __future__ import annotations

import subprocess
import sys

import pytest
import structlog
import trio
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from medic.alerting.attempt import Attempt, Refused
from medic.core.notification import Notification
from medic.errors import JournalRefusedError, UnknownServiceError
from medic.ports import Beat
from medic.tracing.journal import TracedJournal
from medic.tracing.notifiers import TracedNotifier, carried_headers
from medic.tracing.requests import TracedIntake
from tests.actors.world import World, settle, until
from tests.fakes.alerting import Scripted, trigger
from tests.fakes.traces import Kept
from tests.patience import PATIENCE_SECONDS


def names(kept: Kept) -> list[str]:
    return [span.name for span in kept.ended()]


def world_of(kept: Kept) -> World:
    return World(wear=lambda journal: TracedJournal(journal, kept.tracer, kept.alerts))


async def test_a_deadline_is_a_trace_that_ends_once_it_is_durable(autojump_clock, nursery):
    kept = Kept()
    world = world_of(kept)
    await world.start(nursery)
    await world.register("late", 60)
    world.journal.hold()
    await until(lambda: bool(world.directory.open_alerts()))
    assert names(kept) == ["deadline"]
    world.journal.release()
    await settle()
    assert sorted(names(kept)) == ["alert", "deadline", "journal"]
    await world.beat("late")
    await until(lambda: "resolve" in world.ear.kinds())
    assert names(kept)[3:] == ["journal", "alert closed"]


async def test_the_journal_that_is_worn_is_the_one_beneath(autojump_clock, nursery):
    kept = Kept()
    world = world_of(kept)
    await world.start(nursery)
    await world.register("well", 60)
    journal, worn = world.journal, world.worn
    assert (worn.shard, worn.journal_id, worn.oldest, worn.unreadable, worn.newest, worn.durable) == (
        journal.shard, journal.journal_id, journal.oldest, journal.unreadable, journal.newest, journal.durable,
    )  # fmt: skip
    position = journal.oldest
    await worn.wait_newer(position)
    assert await worn.read_after(position, most=9) == await journal.read_after(position, most=9)
    assert (await worn.read_records_after(position, most=9)).positions
    called = []
    worn.call_when_durable(journal.newest, called.append)
    assert called == [None]
    assert names(kept) == []


async def test_who_is_traced_sees_the_wait_for_the_journal(autojump_clock, nursery):
    kept = Kept()
    world = world_of(kept)
    await world.start(nursery)
    await world.register("well", 60)
    await world.beat("well")
    assert names(kept) == []
    with kept.tracer.start_as_current_span("request"):
        await world.beat("well")
    assert names(kept) == ["journal", "request"]


async def test_a_heartbeat_that_is_sampled_is_traced_from_the_intake_to_the_disk(autojump_clock, nursery):
    kept, silent = Kept(), Kept(ALWAYS_OFF)
    world = world_of(kept)
    await world.start(nursery)
    await world.register("well", 3_600)
    intake = TracedIntake(world.intake, world.worn, kept.tracer)
    world.journal.hold()
    position = intake.take_nowait(Beat("well", "UP"))
    assert names(kept) == []
    world.journal.release()
    await intake.wait_durable(position)
    assert names(kept) == ["journal", "POST /heartbeat"]
    # One request, or none that is traced: the intake does as it always does.
    with kept.tracer.start_as_current_span("bulk"):
        intake.take_nowait(Beat("well", "UP"))
        assert intake.take_plain_nowait([("well", "UP")])[0] == 1
        assert (await intake.take(Beat("well", "UP"))).heartbeats_total == 4
    assert names(kept)[2:] == ["journal", "bulk"]
    TracedIntake(world.intake, world.worn, silent.tracer).take_nowait(Beat("well", "UP"))
    assert silent.ended() == ()


async def test_a_heartbeat_that_is_refused_ends_its_span(autojump_clock, nursery):
    kept = Kept()
    world = world_of(kept)
    await world.start(nursery)
    intake = TracedIntake(world.intake, world.worn, kept.tracer)
    with pytest.raises(UnknownServiceError):
        intake.take_nowait(Beat("nobody", "UP"))
    [span] = kept.ended()
    assert not span.status.is_ok
    await world.register("well", 60)
    world.journal.hold()
    intake.take_nowait(Beat("well", "UP"))
    world.journal.refuse()
    await settle()
    with pytest.raises(JournalRefusedError):
        intake.take_nowait(Beat("well", "UP"))
    assert len(kept.ended()) >= 2


async def test_an_attempt_is_a_span_and_its_lines_and_headers_name_the_trace(autojump_clock):
    kept = Kept()
    carried: list[dict[str, str]] = []

    async def refuse(_: Notification) -> Attempt:
        await trio.lowlevel.checkpoint()
        carried.append(carried_headers())
        carried.append({"trace_id": structlog.contextvars.get_contextvars()["trace_id"]})
        return Refused("answered 400: no", 400)

    scripted = Scripted("webhook:4", refuse)
    worn = TracedNotifier(scripted, kept.tracer, kept.alerts)
    assert (worn.target, worn.describe(), worn.takes(trigger(1))) == ("webhook:4", scripted.describe(), True)
    assert await worn.send(trigger(1)) == Refused("answered 400: no")
    await worn.aclose()
    assert scripted.closed
    [span] = kept.ended()
    trace, attempt = f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"
    assert carried == [{"traceparent": f"00-{trace}-{attempt}-01"}, {"trace_id": trace}]
    assert span.name == "deliver webhook"
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 400
    assert (span.attributes["medic.outcome"], span.status.description) == ("refused", "answered 400: no")


UNSET = """
import sys
import medic.app.serve
from medic.app.traces import open_traces
from medic.config.load import load_settings

assert load_settings({"OTEL_TRACES_SAMPLER": "always_on"}).traces is None
assert load_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "1"}).traces is None
assert open_traces(None, "1") is None
theirs = ("opentelemetry", "medic.tracing", "google.protobuf", "requests")
print([name for name in sys.modules if name.startswith(theirs)])
"""


def test_nothing_of_it_is_imported_where_no_collector_is_named() -> None:
    run = subprocess.run(
        [sys.executable, "-c", UNSET], capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS
    )
    assert run.stdout == "[]\n"
