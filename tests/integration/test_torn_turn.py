"""A crash in the middle of a turn: no start finds an alert that is closed and whose end nobody decided to tell."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trio

from medic.actors.outbox import Outbox
from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.effects import ChangeStatus, CloseAlert, Effect, Notify, RecordHeartbeat
from medic.core.events import DeadlineExpired, Event, HeartbeatReceived, ServiceDeleted
from medic.core.policy import Defaults
from medic.core.status import HeartbeatStatus, NotificationKind
from medic.core.step import register, step
from medic.core.units import DurationMs, EventId, InstantMs, ServiceId, SightedMs
from medic.ports import Position
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.frames import HEADER_BYTES
from medic.store.recovery import Recovered, recover
from tests.actors.world import Ear
from tests.fakes.alerting import StandingClock

NOW = 1_790_000_000_000
MINUTE = 60_000
DEFAULTS = Defaults(first_heartbeat_ms=DurationMs(0))


def beat(minute: int, status: HeartbeatStatus = HeartbeatStatus.UP) -> HeartbeatReceived:
    at = NOW + minute * MINUTE
    return HeartbeatReceived(InstantMs(at), SightedMs(at), EventId(100 + minute), status, status.value)


def deadline(minute: int) -> DeadlineExpired:
    at = NOW + minute * MINUTE
    return DeadlineExpired(InstantMs(at), SightedMs(at), EventId(100 + minute), armed_for=SightedMs(at))


def deletion(minute: int) -> ServiceDeleted:
    at = NOW + minute * MINUTE
    return ServiceDeleted(InstantMs(at), SightedMs(at), Author("Ann"))


STORIES = {
    "it got well": ([beat(0), deadline(5), beat(6)], NotificationKind.RESOLVE),
    "it was deleted": ([beat(0), deadline(5), deletion(6)], NotificationKind.RESOLVE),
    "it became late": ([beat(0), deadline(5)], NotificationKind.TRIGGER),
    "it says that it is down": ([beat(0), beat(1, HeartbeatStatus.DOWN)], NotificationKind.TRIGGER),
}


async def journaled(path: Path, events: list[Event]) -> list[int]:
    """A journal of these turns, each a commit; where the records of the last one end, behind where it begins."""
    journal = FileJournal(path)
    outbox = Outbox(journal, Ear(journal), StandingClock())
    row = ServiceDraft(heartbeat_name="a", service_name="a", interval_ms=DurationMs(5 * MINUTE)).row(
        ServiceId(7), InstantMs(NOW), "Ann"
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        service, effects = register(row, DEFAULTS, at=InstantMs(NOW), sighted=SightedMs(NOW))
        outbox.carry_nowait(service, effects)
        begun = journal.newest
        for event in events:
            await journal.wait_durable(journal.newest)
            begun = journal.newest
            outbox.carry_nowait(service, step(service, event))
        await journal.wait_durable(journal.newest)
        ends = [entry.position for entry in await journal.read_after(begun, most=100)]
        nursery.cancel_scope.cancel()
    return [begun, *ends]


def opened_when_cut(path: Path, position: int) -> FileJournal:
    """The journal as a start finds it whose predecessor had written up to there."""
    place = path.with_name("cut")
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(path, place)
    [file] = place.glob("*.journal")
    with file.open("r+b") as opened:
        opened.truncate(HEADER_BYTES + position)
    return FileJournal(place)


async def effects_of(journal: FileJournal) -> list[Effect]:
    return [entry.effect for entry in await journal.read_after(Position(0), most=100)]


async def recovered(journal: FileJournal) -> Recovered:
    return await recover(None, journal, DEFAULTS)


def is_open(found: Recovered) -> bool:
    return any(service.alert is not None for service in found.services)


@pytest.mark.parametrize("story", STORIES)
async def test_a_turn_that_was_cut_anywhere_was_not(story, tmp_path):
    events, told = STORIES[story]
    path = tmp_path / "whole"
    begun, *ends = await journaled(path, events)
    assert len(ends) >= 3
    before = await effects_of(opened_when_cut(path, begun))
    for position in sorted({place for end in ends for place in (end - 1, end, end + 1) if place < ends[-1]}):
        assert await effects_of(opened_when_cut(path, position)) == before
    assert len(await effects_of(opened_when_cut(path, ends[-1]))) == len(before) + len(ends)
    # And what a start makes of it, were it only the last record that is missing.
    was = await recovered(opened_when_cut(path, begun))
    found = await recovered(opened_when_cut(path, ends[-1] - 1))
    became = await recovered(opened_when_cut(path, ends[-1]))
    assert is_open(found) == is_open(was) != is_open(became)
    assert found.ledger.pending() == was.ledger.pending()
    assert [one.kind for one in became.ledger.pending()][-1] is told


async def test_what_is_journaled_behind_a_cut_turn_is_read_back(tmp_path):
    begun, first, *_ = await journaled(tmp_path / "whole", STORIES["it got well"][0])
    journal = opened_when_cut(tmp_path / "whole", first + 3)
    assert journal.newest == begun
    effects = await effects_of(journal)
    [service] = (await recovered(journal)).services
    outbox = Outbox(journal, Ear(journal), StandingClock())
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        outbox.carry_nowait(service, step(service, beat(7)))
        await journal.wait_durable(journal.newest)
        nursery.cancel_scope.cancel()
    journal = FileJournal(tmp_path / "cut")
    assert (journal.opening.torn_bytes, journal.opening.damage) == (0, ())
    kinds = [type(effect) for effect in await effects_of(journal)]
    assert kinds == [*map(type, effects), RecordHeartbeat, ChangeStatus, CloseAlert, Notify]
