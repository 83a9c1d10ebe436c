"""Uses are written in batches, and people are told of ends once, whatever PostgreSQL does meanwhile."""

from __future__ import annotations

import pytest
import trio

from medic.access.caller import Author
from medic.access.endings import KeyStatistics
from medic.access.keys import ApiKey, KeyDraft
from medic.access.scope import Scope
from medic.access.uses import KeyUse, Unwritten
from medic.app.key_keeping import FORGET_EVERY_ROUNDS, LOOK_EVERY_SECONDS, WRITE_EVERY_SECONDS, KeyKeeping
from medic.core.status import NotificationKind
from medic.core.units import DAY_MS, HOUR_MS
from tests.actors.world import SteadyClock, World, settle
from tests.fakes.keys import MemoryKeyStore, keys_over

AUTHOR = Author("anna")


class NoLog:
    """Notices nothing."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()


class Kept:
    """A world with keys that are kept."""

    def __init__(self) -> None:
        self.world = World(clock=SteadyClock)
        self.store = MemoryKeyStore(self.world.clock)
        self.keys = keys_over(self.store, self.world.clock)
        self.keeping = self.another()

    def another(self) -> KeyKeeping:
        return KeyKeeping(self.keys, self.store, NoLog(), self.world.outbox, self.world.clock)  # type: ignore[arg-type]

    async def start(self, nursery: trio.Nursery) -> None:
        await self.world.start(nursery, sight=False)
        await nursery.start(self.keeping.run)

    async def create(self, days: float | None) -> ApiKey:
        lifetime = None if days is None else round(days * DAY_MS)
        draft = KeyDraft(f"of {days} days", frozenset({Scope.HEARTBEAT}), lifetime_ms=lifetime)
        return (await self.keys.create(draft, author=AUTHOR))[0]

    async def pass_days(self, days: float) -> None:
        """Let days go by, in one step of the wall clock."""
        self.world.wall.step_ms += round(days * DAY_MS)
        await trio.sleep(LOOK_EVERY_SECONDS + 1)

    def told(self) -> list[str]:
        return [told.text for told in self.world.ear.told if told.kind is NotificationKind.KEY_ENDS]


@pytest.fixture
async def kept() -> Kept:
    return Kept()


async def test_an_end_is_told_14_and_3_days_and_1_day_before_once_each(kept, autojump_clock, nursery):
    await kept.start(nursery)
    key = await kept.create(20)
    await kept.create(None)
    await kept.pass_days(5.9)
    assert kept.told() == []
    days = []
    for step in (0.2, 10, 0.8, 1.2, 1, 5):
        await kept.pass_days(step)
        days.append(len(kept.told()))
    assert days == [1, 1, 1, 2, 3, 3]
    assert all(f"`medic-cli key rotate {key.key_id}`" in text for text in kept.told())
    assert [text.partition("within ")[2].partition(".")[0] for text in kept.told()] == ["14 days", "3 days", "1 day"]


async def test_another_process_tells_none_of_it_again(kept, autojump_clock, nursery):
    await kept.world.start(nursery, sight=False)
    await kept.create(20)
    await kept.pass_days(7)
    assert await kept.keeping.tell_ends() == 1
    await kept.keys.follow()
    assert await kept.another().tell_ends() == 0


async def test_without_postgresql_it_is_told_once_and_remembered_later(kept, autojump_clock, nursery):
    await kept.start(nursery)
    key = await kept.create(20)
    kept.store.available = False
    await kept.pass_days(7)
    await kept.pass_days(1)
    assert len(kept.told()) == 1
    kept.store.available = True
    await trio.sleep(LOOK_EVERY_SECONDS + 1)
    assert len(kept.told()) == 1
    assert [stored.told_days_left for stored in await kept.store.all() if stored.key_id == key.key_id] == [14]


async def test_without_room_in_the_journal_it_is_told_later(kept, autojump_clock, nursery):
    await kept.start(nursery)
    kept.world.journal.refuse("The journal is full.")
    await kept.create(20)
    await kept.pass_days(7)
    assert kept.told() == []
    kept.world.journal.take_again()
    await trio.sleep(LOOK_EVERY_SECONDS + 1)
    assert len(kept.told()) == 1


async def test_a_rotated_key_is_told_of_anew(kept, autojump_clock, nursery):
    await kept.start(nursery)
    key = await kept.create(20)
    await kept.pass_days(7)
    assert len(kept.told()) == 1
    await kept.keys.rotate(key.key_id, HOUR_MS, author=AUTHOR)
    await kept.pass_days(1)
    assert len(kept.told()) == 1
    await kept.pass_days(6)
    assert len(kept.told()) == 2


async def test_a_key_made_for_a_short_time_is_told_of_once_in_its_last_day(kept, autojump_clock, nursery):
    await kept.start(nursery)
    await kept.create(5)
    await kept.pass_days(3.9)
    assert kept.told() == []
    await kept.pass_days(0.2)
    await kept.pass_days(0.2)
    assert len(kept.told()) == 1


async def test_keys_are_counted_for_health(kept, autojump_clock, nursery):
    await kept.world.start(nursery, sight=False)
    assert kept.keeping.statistics() == KeyStatistics(0, 0)
    key = await kept.create(15)
    assert kept.keeping.statistics() == KeyStatistics(1, 0)
    await kept.pass_days(2)
    assert kept.keeping.statistics() == KeyStatistics(1, 1)
    await kept.keys.revoke(key.key_id, author=AUTHOR)
    assert kept.keeping.statistics() == KeyStatistics(0, 0)


async def test_uses_are_written_once_a_minute_and_at_the_end(kept, autojump_clock, nursery):
    await kept.start(nursery)
    key, now = await kept.create(None), kept.world.clock.now()
    for second in range(100):
        kept.keys.uses.note(key, now + second, "192.0.2.7")
        kept.keys.uses.note_keyless(7, now)
    await trio.sleep(WRITE_EVERY_SECONDS / 2)
    assert kept.store.written == []
    await trio.sleep(WRITE_EVERY_SECONDS)
    written = Unwritten([KeyUse(key.key_id, now + 99, "192.0.2.7")], {7: now // DAY_MS})
    assert kept.store.written == [written]
    assert kept.keys.last_use(key.key_id) == written.uses[0]
    assert kept.keys.keyless_on(7) == now // DAY_MS
    kept.keys.uses.note_keyless(8, now)
    await kept.keeping.finish()
    assert kept.store.written[1:] == [Unwritten([], {8: now // DAY_MS})]


async def test_what_cannot_be_written_now_is_written_later(kept, autojump_clock, nursery):
    await kept.start(nursery)
    key = await kept.create(None)
    kept.store.available = False
    kept.keys.uses.note(key, 1, "192.0.2.7")
    await trio.sleep(5 * WRITE_EVERY_SECONDS)
    await kept.keeping.finish()
    kept.store.available = True
    await trio.sleep(2 * WRITE_EVERY_SECONDS)
    assert kept.store.written == [Unwritten([KeyUse(key.key_id, 1, "192.0.2.7")], {})]


async def test_a_start_learns_what_was_written_before_once_postgresql_says_it(kept, autojump_clock, nursery):
    today = kept.world.clock.now() // DAY_MS
    kept.store.written = [Unwritten([KeyUse("a" * 12, 5, "192.0.2.7")], {7: today})]
    kept.store.available = False
    await kept.start(nursery)
    await settle()
    assert kept.keys.last_use("a" * 12) is None
    kept.store.available = True
    await trio.sleep(WRITE_EVERY_SECONDS + 1)
    assert kept.keys.last_use("a" * 12) == KeyUse("a" * 12, 5, "192.0.2.7")
    assert kept.keys.keyless_on(7) == today


async def test_services_heard_long_ago_are_forgotten(kept, autojump_clock, nursery):
    await kept.start(nursery)
    kept.keys.uses.note_keyless(7, kept.world.clock.now())
    await kept.pass_days(9)
    await trio.sleep(WRITE_EVERY_SECONDS * FORGET_EVERY_ROUNDS)
    assert not kept.keys.uses._keyless
