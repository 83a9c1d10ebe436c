"""A service as it was: restored over what it is, or registered anew, and paging nobody."""

from __future__ import annotations

import pytest
import trio

from medic.actors.changes import EDIT_ATTEMPTS_MAX
from medic.core.author import Author
from medic.core.draft import ServiceDraft, ServiceEdit
from medic.core.effects import StoreService
from medic.core.status import Status
from medic.core.units import DurationMs
from medic.errors import InvalidInputError, NameTakenError, OverloadedError, SnapshotRestoredError
from tests.actors.world import World

ANN, BOB = Author("ann"), Author("bob")
DRAFT = ServiceDraft("Job", "owner", DurationMs(60_000), threshold=2, renotify_ms=DurationMs(1_000))


async def changed(nursery):
    """A world with a service that was edited once, and the snapshot of before."""
    world = World()
    await world.start(nursery)
    await world.changes.register(DRAFT, by=ANN)
    edit = ServiceEdit(interval_ms=DurationMs(1_000), team="other", active=False, renotify_default=True)
    await world.changes.update("job", edit, by=BOB)
    [kept] = world.services.snapshots.values()
    return world, kept


async def test_a_restore_is_an_edit_with_a_fresh_deadline(autojump_clock, nursery):
    world, kept = await changed(nursery)
    await trio.sleep(500)

    service = await world.changes.restore(kept, by=BOB)

    row = service.row
    assert (row.interval_ms, row.team, row.active, row.renotify_ms) == (60_000, "site-reliability", True, 1_000)
    assert (row.version, row.changed_by) == (3, "bob")
    assert [effect.row.version for effect in world.effects(StoreService)] == [1, 2, 3]
    assert (service.status, service.alert) == (Status.NEW, None)
    with pytest.raises(SnapshotRestoredError):
        await world.changes.restore(kept, by=BOB)
    with pytest.raises(SnapshotRestoredError):
        await world.changes.restore(world.services.snapshots[kept.snapshot_id], by=BOB)


async def test_a_restore_of_what_is_so_already_uses_the_snapshot_up_all_the_same(autojump_clock, nursery):
    world, kept = await changed(nursery)
    await world.changes.update("job", kept.edit(), by=ANN)

    service = await world.changes.restore(kept, by=BOB)

    assert (service.row.version, service.row.changed_by) == (4, "bob")
    assert world.services.snapshots[kept.snapshot_id].restored_by == "bob"


async def test_a_deleted_service_is_registered_anew(autojump_clock, nursery):
    world, _ = await changed(nursery)
    before = world.directory.find("job").row.service_id
    await world.changes.delete("job", by=ANN)
    *_, deleted = world.services.snapshots.values()

    service = await world.changes.restore(deleted, by=BOB)

    assert service is world.directory.find("job")
    assert service.row.service_id != before
    assert (service.row.team, service.row.active, service.status) == ("other", False, Status.INACTIVE)


async def test_older_snapshots_of_a_service_that_came_back_are_restored_over_it(autojump_clock, nursery):
    world, edited = await changed(nursery)
    for _ in range(2):
        await world.changes.delete("job", by=ANN)
        *_, deleted = world.services.snapshots.values()
        await world.changes.restore(deleted, by=BOB)
    there = world.directory.find("job").row

    service = await world.changes.restore(edited, by=BOB)

    assert (there.team, service.row.team) == ("other", "site-reliability")
    assert (service.row.service_id, service.row.version) == (there.service_id, there.version + 1)


async def test_a_name_that_is_taken_stays_with_whom_it_is(autojump_clock, nursery):
    world, kept = await changed(nursery)
    await world.changes.delete("job", by=ANN)
    taken, _ = await world.changes.register(DRAFT, by=ANN)

    with pytest.raises(NameTakenError):
        await world.changes.restore(kept, by=BOB)

    # Taken by SQL a moment ago: PostgreSQL knows, the actors do not yet.
    await world.changes.take_deletion(taken.row.service_id, by=ANN)
    with pytest.raises(NameTakenError):
        await world.changes.restore(kept, by=BOB)
    assert world.services.snapshots[kept.snapshot_id].restored_at is None


async def test_a_restore_that_meets_another_change_comes_after_it(autojump_clock, nursery):
    world, kept = await changed(nursery)
    replace_from = world.services.replace_from
    meets = iter([ServiceEdit(team="third"), None])

    async def replace_late(snapshot, wanted, *, by):
        edit = next(meets)
        if edit is not None:
            row = await world.services.read(wanted.service_id)
            await world.services.replace(edit.apply(row, world.wall(), "eve"), by=Author("eve"))
        return await replace_from(snapshot, wanted, by=by)

    world.services.replace_from = replace_late
    service = await world.changes.restore(kept, by=BOB)

    assert (service.row.version, service.row.team) == (4, "site-reliability")


async def test_a_restore_among_others_who_never_rest_is_refused(autojump_clock, nursery):
    world, kept = await changed(nursery)
    attempts = []

    async def replace_never(snapshot, wanted, *, by):
        attempts.append(wanted.version)

    world.services.replace_from = replace_never
    with pytest.raises(OverloadedError):
        await world.changes.restore(kept, by=BOB)
    assert len(attempts) == EDIT_ATTEMPTS_MAX


async def test_a_restored_threshold_has_to_have_room(autojump_clock, nursery):
    world, kept = await changed(nursery)
    world.changes._ring_bytes_max = 0

    with pytest.raises(InvalidInputError):
        await world.changes.restore(kept, by=BOB)
