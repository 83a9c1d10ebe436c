"""Alerts while the writer is behind (HARD-CASES H23): what is true now, or an error, never what was true before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medic.access.reach import Reach
from medic.core.author import Author
from medic.core.effects import AmendAlert, Notify, OpenAlert, RemoveService, SetMute, SettleNotification
from medic.core.policy import Defaults
from medic.core.service import Mute
from medic.core.status import Outcome
from medic.errors import DatabaseUnavailableError
from medic.history import AlertQuery
from medic.store.tables import history as history_module
from medic.store.tables import tail as tail_module
from medic.store.tables.history import PgHistory
from medic.store.tables.services import PgServiceStore
from tests.fakes.ticking import CountedIds, HandClock
from tests.fakes.written import CaughtUp, FixedRoster, StuckAt
from tests.integration.writing import NOW, World, alert, closed, heartbeat, notify, opened

QUERIES = [
    AlertQuery(),
    AlertQuery(limit=2),
    AlertQuery(limit=2, before=(NOW + 3, 300)),
    AlertQuery(active=True),
    AlertQuery(active=False),
    AlertQuery(heartbeat_name="NäME-3"),
    AlertQuery(team="platform"),
    AlertQuery(team="nobody"),
    AlertQuery(reach=Reach(names=("*-1", "*-3"))),
]


@pytest.fixture
def world(database, tmp_path, monkeypatch) -> World:
    monkeypatch.setattr(history_module, "OWN_WRITES_SECONDS", 0.0)
    return World(database, tmp_path)


def behind(world: World, position: int) -> PgHistory:
    return PgHistory(world.database, world.journal, StuckAt(position), FixedRoster())


def caught_up(world: World) -> PgHistory:
    return PgHistory(world.database, world.journal, CaughtUp(world.journal), FixedRoster())


def told(notification_id: str, alert_id: int, *targets: str) -> Notify:
    decided = notify(notification_id, *targets)
    return replace(decided, notification=replace(decided.notification, alert_id=alert_id))


async def everything(history: PgHistory) -> list[object]:
    return [
        *[await history.alerts(query) for query in QUERIES],
        *[await history.alert(alert_id) for alert_id in (100, 200, 300, 400, 999)],
    ]


async def test_a_reader_ahead_of_the_writer_sees_what_the_writer_will_write(world: World) -> None:
    for service_id in (1, 2, 3, 4):
        await world.register(service_id)
    await world.write(
        opened(1, 100, NOW + 1),
        told("100.0", 100, "slack", "pagerduty"),
        SettleNotification(NOW, NOW, "100.0", 1, "slack", Outcome.DELIVERED, 1),
        opened(2, 200, NOW + 2),
    )
    committed = world.journal.newest
    seen = alert(300, opened_at=NOW + 3, acknowledged_at=NOW + 4, acknowledged_by="a\x00b")
    for effect in (
        heartbeat(5),
        closed(1, 100, by="anna", note="mine\x00"),
        SettleNotification(NOW + 5, NOW, "100.0", 1, "pagerduty", Outcome.REFUSED, 2, "4\x00"),
        told("100.1", 100, "slack"),
        OpenAlert(3, NOW + 3, NOW, alert(300, opened_at=NOW + 3)),
        SetMute(3, NOW + 4, NOW, Mute(NOW, None, reason="", muted_by="anna")),
        AmendAlert(3, NOW + 4, NOW, seen, "acknowledged", by="a\x00b", note="seen"),
        opened(4, 400, NOW + 4),
        closed(4, 400),
    ):
        world.journal.append_nowait(effect)

    ahead = await everything(behind(world, committed))
    await world.write(writer=world.another_writer())

    assert ahead == await everything(caught_up(world))
    assert ahead == await everything(behind(world, committed)), "the writer brought it while it was asked for"
    (_, all_of_them), (_, still_open) = ahead[0], ahead[3]
    assert (all_of_them, still_open) == (4, 2)


async def test_an_alert_of_a_service_that_is_deleted_has_its_name(world: World) -> None:
    await world.register(1)
    store = PgServiceStore(world.database, CountedIds(), HandClock(), Defaults())
    world.journal.append_nowait(opened(1, 100))
    world.journal.append_nowait(closed(1, 100))
    world.journal.append_nowait(RemoveService(service_id=1, at=NOW, sighted=NOW, by="anna"))
    await store.delete(1, by=Author("anna"))

    [row], total = await behind(world, 0).alerts(AlertQuery())

    assert (row.heartbeat_name, row.service_name, total) == ("näme-1", "label-1", 1)


async def test_an_alert_whose_service_nobody_knows_is_shown_without_a_name_as_it_will_be_written(world: World) -> None:
    world.journal.append_nowait(opened(1, 100))
    found = await behind(world, 0).alert(100)
    await world.write()
    assert found == await caught_up(world).alert(100)


async def test_more_than_can_be_read_in_time_is_an_error_and_no_old_answer(world: World, monkeypatch) -> None:
    monkeypatch.setattr(tail_module, "TAIL_SECONDS", 0.0)
    await world.register(1)
    world.journal.append_nowait(opened(1, 100))
    for question in (behind(world, 0).alerts(AlertQuery()), behind(world, 0).alert(100)):
        with pytest.raises(DatabaseUnavailableError):
            await question


async def test_a_record_of_which_there_is_no_row_is_an_error_until_the_writer_put_it_aside(world: World) -> None:
    world.journal.append_nowait(heartbeat(1, at=1 << 62))
    with pytest.raises(DatabaseUnavailableError):
        await behind(world, 0).alert(100)
    await world.write()
    assert await caught_up(world).alert(100) is None
