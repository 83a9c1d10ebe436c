"""Operators' changes keep PostgreSQL, journal and actors of one mind, whatever races with what."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from medic.actors.changes import EDIT_ATTEMPTS_MAX
from medic.core.author import Author
from medic.core.draft import ServiceDraft, ServiceEdit
from medic.core.effects import CloseAlert, EndMute, RemoveService, SetMute, StoreService
from medic.core.service import Mute
from medic.core.status import ClosedReason, Status
from medic.core.units import DurationMs, EventId, InstantMs, ServiceId
from medic.errors import (
    AlertClosedError,
    DatabaseUnavailableError,
    InactiveServiceError,
    JournalRefusedError,
    OverloadedError,
    UnknownAlertError,
    UnknownServiceError,
)
from medic.history import AlertHistory, AlertRow
from tests.actors.world import World, row, settle

DRAFT = ServiceDraft(heartbeat_name="Job", service_name="owner", interval_ms=DurationMs(60_000))


async def started(nursery):
    world = World()
    await world.start(nursery)
    return world


# ------------------------------------------------------------------------------------------------------- registration


async def test_a_registration_is_committed_journaled_and_watched(autojump_clock, nursery):
    world = await started(nursery)
    service, is_new = await world.changes.register(DRAFT, by=Author("ann"))
    assert is_new
    assert service is world.directory.find("job")
    assert [effect.row for effect in world.effects(StoreService)] == [service.row]
    assert service.row.changed_by == "ann"
    assert world.host.statistics().timers_armed == 1


async def test_registering_again_changes_nothing_whatever_the_case(autojump_clock, nursery):
    world = await started(nursery)
    first, _ = await world.changes.register(DRAFT, by=Author("ann"))
    again, is_new = await world.changes.register(replace(DRAFT, heartbeat_name="JOB"), by=Author("bob"))
    assert again is first
    assert not is_new
    assert len(world.effects(StoreService)) == 1


async def test_two_registrations_at_once_make_one_service(autojump_clock, nursery):
    world = await started(nursery)
    insert, outcomes = world.services.insert, []

    async def insert_slowly(draft, *, by):
        stored = await insert(draft, by=by)
        await trio.sleep(0.01)
        return stored

    world.services.insert = insert_slowly

    async def register(name):
        outcomes.append(await world.changes.register(replace(DRAFT, heartbeat_name=name), by=Author(name)))

    async with trio.open_nursery() as callers:
        for name in ("job", "JOB", "Job"):
            callers.start_soon(register, name)
    assert len({id(service) for service, _ in outcomes}) == 1
    assert sorted(is_new for _, is_new in outcomes) == [False, False, True]
    assert len(world.effects(StoreService)) == 1


async def test_while_postgresql_is_away_nothing_is_registered(autojump_clock, nursery):
    world = await started(nursery)
    world.services.available = False
    with pytest.raises(DatabaseUnavailableError):
        await world.changes.register(DRAFT, by=Author("ann"))
    assert world.directory.find("job") is None
    assert world.journal.effects() == []


async def test_a_registration_the_journal_refuses_can_be_repeated(autojump_clock, nursery):
    world = await started(nursery)
    world.journal.refuse()
    with pytest.raises(JournalRefusedError):
        await world.changes.register(DRAFT, by=Author("ann"))
    assert world.directory.find("job") is None
    assert world.host.statistics().timers_armed == 0
    world.journal.take_again()
    await world.changes.register(DRAFT, by=Author("ann"))
    assert world.directory.find("job") is not None


# --------------------------------------------------------------------------------------------------------------- edits


async def test_an_edit_is_committed_journaled_and_taken(autojump_clock, nursery):
    world = await started(nursery)
    await world.changes.register(DRAFT, by=Author("ann"))
    service = await world.changes.update("job", ServiceEdit(team="pay", priority="p1"), by=Author("bob"))
    assert (service.row.team, service.row.priority, service.row.version) == ("pay", "p1", 2)
    assert await world.services.read(service.row.service_id) == service.row
    assert world.effects(StoreService)[-1].row == service.row


async def test_an_edit_that_changes_nothing_commits_nothing(autojump_clock, nursery):
    world = await started(nursery)
    await world.changes.register(DRAFT, by=Author("ann"))
    service = await world.changes.update("job", ServiceEdit(interval_ms=DurationMs(60_000)), by=Author("bob"))
    assert service.row.version == 1
    assert len(world.services.audit) == 1


async def test_an_edit_while_postgresql_is_away_changes_nothing(autojump_clock, nursery):
    world = await started(nursery)
    service, _ = await world.changes.register(DRAFT, by=Author("ann"))
    world.services.available = False
    with pytest.raises(DatabaseUnavailableError):
        await world.changes.update("job", ServiceEdit(team="pay"), by=Author("bob"))
    assert service.row.team == DRAFT.team


async def test_two_edits_at_once_are_both_kept(autojump_clock, nursery):
    world = await started(nursery)
    await world.changes.register(DRAFT, by=Author("ann"))
    replace_row = world.services.replace

    async def replace_slowly(wanted, *, by):
        await trio.sleep(0.01)
        return await replace_row(wanted, by=by)

    world.services.replace = replace_slowly
    async with trio.open_nursery() as callers:
        for edit in (ServiceEdit(team="pay"), ServiceEdit(priority="p1"), ServiceEdit(runbook="https://wiki/job")):
            callers.start_soon(lambda edit=edit: world.changes.update("job", edit, by=Author("x")))
    kept = world.directory.find("job").row
    assert (kept.team, kept.priority, kept.runbook, kept.version) == ("pay", "p1", "https://wiki/job", 4)
    assert await world.services.read(kept.service_id) == kept


async def test_an_edit_that_always_loses_is_answered_with_try_again(autojump_clock, nursery):
    world = await started(nursery)
    service, _ = await world.changes.register(DRAFT, by=Author("ann"))
    attempts = 0

    async def lose(wanted, *, by):
        nonlocal attempts
        attempts += 1
        await trio.lowlevel.checkpoint()

    world.services.replace = lose
    with pytest.raises(OverloadedError):
        await world.changes.update("job", ServiceEdit(team="pay"), by=Author("bob"))
    assert attempts == EDIT_ATTEMPTS_MAX
    assert service.row.team == DRAFT.team


async def test_an_edit_of_a_service_that_is_deleted_meanwhile_finds_it_gone(autojump_clock, nursery):
    world = await started(nursery)
    await world.changes.register(DRAFT, by=Author("ann"))
    replace_row = world.services.replace

    async def replace_and_be_overtaken(wanted, *, by):
        stored = await replace_row(wanted, by=by)
        await world.changes.delete("job", by=Author("eve"))
        return stored

    world.services.replace = replace_and_be_overtaken
    with pytest.raises(UnknownServiceError):
        await world.changes.update("job", ServiceEdit(interval_ms=DurationMs(30_000)), by=Author("bob"))
    assert world.host.statistics().timers_armed == 0
    await trio.sleep(120)
    assert world.ear.told == []
    assert world.directory.find("job") is None


async def test_a_row_that_was_deleted_by_others_unregisters_at_the_next_edit(autojump_clock, nursery):
    world = await started(nursery)
    service, _ = await world.changes.register(DRAFT, by=Author("ann"))
    await world.services.delete(service.row.service_id, by=Author("SQL"))
    with pytest.raises(UnknownServiceError):
        await world.changes.update("job", ServiceEdit(team="pay"), by=Author("bob"))
    assert world.directory.find("job") is None
    assert len(world.effects(RemoveService)) == 1


# ------------------------------------------------------------------------------------------------------------ deletion


async def test_deletion_closes_and_resolves_and_frees_the_name(autojump_clock, nursery):
    world = await started(nursery)
    first, _ = await world.changes.register(DRAFT, by=Author("ann"))
    await trio.sleep(61)
    assert world.ear.kinds() == ["trigger"]
    await world.changes.delete("JOB", by=Author("bob"))
    await settle()
    assert world.ear.kinds() == ["trigger", "resolve"]
    assert [effect.reason for effect in world.effects(CloseAlert)] == [ClosedReason.DELETED]
    assert world.directory.find("job") is None
    assert world.directory.statistics().alerts_active == 0
    assert world.host.statistics().timers_armed == 0
    second, is_new = await world.changes.register(DRAFT, by=Author("ann"))
    assert is_new
    assert second.row.service_id != first.row.service_id


async def test_deleting_twice_at_once_deletes_once(autojump_clock, nursery):
    world = await started(nursery)
    await world.changes.register(DRAFT, by=Author("ann"))
    delete = world.services.delete

    async def delete_slowly(service_id, *, by):
        await trio.sleep(0.01)
        return await delete(service_id, by=by)

    world.services.delete = delete_slowly
    async with trio.open_nursery() as callers:
        callers.start_soon(lambda: world.changes.delete("job", by=Author("ann")))
        callers.start_soon(lambda: world.changes.delete("job", by=Author("bob")))
    assert len(world.effects(RemoveService)) == 1


async def test_deletion_while_postgresql_is_away_deletes_nothing(autojump_clock, nursery):
    world = await started(nursery)
    await world.changes.register(DRAFT, by=Author("ann"))
    world.services.available = False
    with pytest.raises(DatabaseUnavailableError):
        await world.changes.delete("job", by=Author("ann"))
    assert world.directory.find("job") is not None


# ---------------------------------------------------------------------------------------------- mutes and heartbeats


async def test_mute_and_unmute_work_without_postgresql(autojump_clock, nursery):
    world = await started(nursery)
    await world.changes.register(DRAFT, by=Author("ann"))
    world.services.available = False
    until = InstantMs(world.wall() + 600_000)
    service = await world.changes.mute("job", until=until, reason="works", by=Author("ann"))
    assert (service.mute.until, service.mute.reason, service.mute.muted_by) == (until, "works", "ann")
    await trio.sleep(61)
    assert service.status is Status.NEW or service.alert is not None
    assert world.ear.told == []
    service = await world.changes.unmute("job", by=Author("ann"))
    await settle()
    assert service.mute is None
    assert world.ear.kinds() == ["mute_ended", "trigger"]


async def test_a_mute_ends_by_itself_and_tells_what_is_still_down(autojump_clock, nursery):
    world = await started(nursery)
    await world.changes.register(DRAFT, by=Author("ann"))
    await world.changes.mute("job", until=InstantMs(world.wall() + 600_000), reason="", by=Author("ann"))
    await trio.sleep(599)
    assert world.directory.statistics().alerts_active_muted == 1
    assert world.ear.told == []
    await trio.sleep(2)
    assert world.ear.kinds() == ["mute_ended", "trigger"]
    assert world.directory.statistics().muted == 0


async def test_an_inactive_service_refuses_heartbeats_and_says_who_made_it_so(autojump_clock, nursery):
    world = await started(nursery)
    await world.changes.register(DRAFT, by=Author("ann"))
    await world.changes.update("job", ServiceEdit(active=False), by=Author("bob"))
    since = world.clock.now()
    await trio.sleep(60)
    await world.changes.update("job", ServiceEdit(team="core"), by=Author("carl"))
    with pytest.raises(InactiveServiceError) as refused:
        await world.beat("job")
    assert (refused.value.by, refused.value.since) == ("bob", since), "not who edited it last"
    assert world.host.statistics().timers_armed == 0
    assert world.directory.statistics().by_status[Status.INACTIVE] == 1
    await world.changes.update("job", ServiceEdit(active=True), by=Author("bob"))
    await world.beat("job")
    assert world.host.statistics().timers_armed == 1


async def test_a_heartbeat_for_nobody_is_refused(autojump_clock, nursery):
    world = await started(nursery)
    with pytest.raises(UnknownServiceError):
        await world.beat("nobody")


@pytest.mark.parametrize("verb", ["mute", "unmute", "update", "delete", "send_test"])
async def test_what_is_not_registered_cannot_be_changed(autojump_clock, nursery, verb):
    world = await started(nursery)
    arguments = {"mute": {"until": None, "reason": ""}, "update": {"edit": ServiceEdit()}}.get(verb, {})
    with pytest.raises(UnknownServiceError):
        await getattr(world.changes, verb)("nobody", **arguments, by=Author("ann"))


# --------------------------------------------------------------------------------------------------------------- alerts


async def test_acknowledge_and_resolve_find_the_service_by_its_alert(autojump_clock, nursery):
    world = await started(nursery)
    await world.changes.register(DRAFT, by=Author("ann"))
    await trio.sleep(61)
    alert_id = world.directory.find("job").alert.alert_id
    service = await world.changes.acknowledge(alert_id, by=Author("ann"), note="on it")
    assert service.alert.acknowledged_by == "ann"
    resolved = await world.changes.resolve(alert_id, by=Author("ann"), note="done")
    await settle()
    assert resolved.service.alert is None
    assert (resolved.alert.alert_id, resolved.alert.acknowledged_by, resolved.cycle) == (alert_id, "ann", 1)
    assert resolved.at == world.clock.now()
    assert world.ear.kinds() == ["trigger", "acknowledge", "resolve"]
    assert world.directory.find("job").alert is None
    # A fresh deadline.
    await trio.sleep(59)
    assert world.directory.find("job").alert is None
    await trio.sleep(2)
    assert world.directory.find("job").alert is not None


async def test_a_closed_alert_and_an_unknown_one_are_told_apart(autojump_clock, nursery):
    world = await started(nursery)
    await world.changes.register(DRAFT, by=Author("ann"))
    await trio.sleep(61)
    alert = world.directory.find("job").alert
    await world.changes.resolve(alert.alert_id, by=Author("ann"), note="")
    closed = AlertRow(
        alert.alert_id, ServiceId(1), "Job", "owner", "t", "p3", "", "late", 1, alert.opened_at, alert.opened_at,
        "by_hand", None, "", False,
    )  # fmt: skip
    world.history.alert_histories.append(AlertHistory(closed, (), ()))
    with pytest.raises(AlertClosedError):
        await world.changes.resolve(alert.alert_id, by=Author("bob"), note="")
    with pytest.raises(UnknownAlertError):
        await world.changes.acknowledge(EventId(999_999), by=Author("bob"), note="")


async def test_a_test_page_names_the_targets_it_goes_to(autojump_clock, nursery):
    world = await started(nursery)
    await world.changes.register(DRAFT, by=Author("ann"))
    assert await world.changes.send_test("job", by=Author("ann")) == ("pagerduty", "slack")
    await settle()
    assert world.ear.kinds() == ["test", "resolve"]
    assert world.directory.find("job").alert is None


# ------------------------------------------------------------------------------------------- rows changed by SQL


async def test_sql_registers_changes_and_unregisters(autojump_clock, nursery):
    world = await started(nursery)
    made = row(77, 60, name="by-sql", at=world.wall())
    await world.changes.take_row(made)
    assert world.directory.find("by-sql").row == made
    await world.changes.take_row(replace(made, team="pay", version=2))
    assert world.directory.find("by-sql").row.team == "pay"
    await world.changes.take_row(made)
    assert world.directory.find("by-sql").row.team == "pay", "an older version is not taken"
    await world.changes.take_deletion(ServiceId(77), by=Author("SQL"))
    assert world.directory.find("by-sql") is None
    await world.changes.take_deletion(ServiceId(77), by=Author("SQL"))
    assert [effect.by for effect in world.effects(RemoveService)] == ["SQL"]


async def test_sql_mutes_and_unmutes(autojump_clock, nursery):
    world = await started(nursery)
    await world.changes.take_row(row(77, 60, name="by-sql", at=world.wall()))
    mute = Mute(muted_at=world.wall(), until=None, reason="by hand", muted_by="SQL")
    await world.changes.take_mute(ServiceId(77), mute)
    assert world.directory.find("by-sql").mute.reason == "by hand"
    await world.changes.take_mute(ServiceId(77), None)
    assert world.directory.find("by-sql").mute is None
    await world.changes.take_mute(ServiceId(77), None)
    await world.changes.take_mute(ServiceId(999), mute)
    assert (len(world.effects(SetMute)), len(world.effects(EndMute))) == (1, 1)


async def test_sql_resolves_an_open_alert(autojump_clock, nursery):
    world = await started(nursery)
    await world.changes.take_row(row(77, 60, name="by-sql", at=world.wall()))
    await world.changes.take_resolution(ServiceId(77), by=Author("SQL"))
    await trio.sleep(61)
    await world.changes.take_resolution(ServiceId(77), by=Author("SQL"))
    assert [(effect.reason, effect.by) for effect in world.effects(CloseAlert)] == [(ClosedReason.BY_HAND, "SQL")]
    assert world.directory.find("by-sql").alert is None


async def test_a_row_replaced_by_sql_under_the_same_name_is_watched(autojump_clock, nursery):
    world = await started(nursery)
    await world.changes.take_row(row(77, 60, name="job", at=world.wall()))
    await world.changes.take_deletion(ServiceId(77), by=Author("SQL"))
    await world.changes.take_row(row(78, 60, name="JOB", at=world.wall()))
    assert world.directory.find("job").row.service_id == 78
    await trio.sleep(61)
    assert world.ear.kinds() == ["trigger"]
