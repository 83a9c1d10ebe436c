"""`medic migrate --plan`, `--adopt`, `--back`, `--finish` as people see them, and the message of the first start."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from medic.app import adopted as first_start
from medic.app.adopted import NAMES_CHARACTERS_MAX, said_of, tell_adopted
from medic.cli.adoption import Step, take_step
from medic.config.load import load_settings
from medic.core.notification import SLACK, Notification
from medic.core.units import InstantMs
from medic.errors import ConfigurationError, JournalRefusedError
from medic.store.adoption import adopt as steps
from medic.store.adoption.adopt import adopt
from medic.store.adoption.unheard import Unheard, read_unheard
from medic.store.postgres.database import Database
from tests.earlier_system import small_fleet
from tests.patience import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(steps, "LOCK_SECONDS", PATIENCE_SECONDS)


@asynccontextmanager
async def filled(postgres, *statements):
    async with postgres.fresh_database(template="template1") as (database, _):
        for statement in statements:
            await database.execute(statement)
        yield database


class Operator:
    """Takes steps, and reads what is said of them."""

    def __init__(self, database: Database, folder: Path) -> None:
        target = database.target
        where = {
            "DB_HOST": target.host,
            "DB_PORT": str(target.port),
            "DB_NAME": target.database,
            "PG_USER": target.user,
        }
        self._settings = load_settings({**where, "MEDIC_DATA_DIR": str(folder)})

    async def says(self, step: Step, *, settled: bool = True) -> str:
        lines: list[str] = []
        assert await take_step(self._settings, step, None, lines.append) is settled
        return "\n".join(lines)


async def test_from_the_plan_to_the_end(postgres, tmp_path):
    wrong = (
        "INSERT INTO medic.services (service_id, heartbeat_name, service_name, alert_interval, max_duration_ms) VALUES"
        " (30, 'zero', 'fakeservice', 0, 5000)"
    )
    view = "CREATE VIEW public.late AS SELECT heartbeat_name FROM medic.services WHERE down = 1"
    async with filled(postgres, *small_fleet(), wrong, view) as database:
        operator = Operator(database, tmp_path)
        planned = await operator.says(Step.PLAN, settled=False)
        assert 'UPDATE medic."services" SET alert_interval = 1 WHERE service_id = 30;' in planned
        assert "Medic does not limit how long a run takes: zero" in planned
        assert "The label fakeservice meant that nobody looked. Medic watches these as well: zero" in planned
        assert "2 services are muted" in planned
        assert "dropped with them by --finish: public.late" in planned
        assert (await operator.says(Step.ADOPT, settled=False)).endswith("Nothing was changed.")
        await database.execute("UPDATE medic.services SET alert_interval = 1 WHERE service_id = 30")
        assert "Nothing has to be settled first" in await operator.says(Step.PLAN)
        taken = await operator.says(Step.ADOPT)
        assert "moved the tables from schema medic to medic_before" in taken
        assert "heartbeats: 1007" in taken
        assert "told of once by the first start: given-up, given-up-and-muted" in taken
        assert "mail-queue: DOWN, 1 times" in taken
        assert "Nothing was left to do" in await operator.says(Step.ADOPT)
        with pytest.raises(ConfigurationError, match="the earlier system's tables were moved already"):
            await operator.says(Step.PLAN)
        await database.execute(
            "INSERT INTO medic.alerts (alert_id, alert_name, service_id, heartbeat_name, service_name, team, priority,"
            " reason, created_date, external_reference_id)"
            " VALUES (9000, 'n', 1, 'pay-nightly', 'pay', 't', 'p1', 'late', now(), 'k')"
        )
        await database.execute(
            "INSERT INTO medic.notifications (notification_id, target, kind, alert_id, decided_at, outcome)"
            " VALUES ('9000.0', 'pagerduty', 'trigger', 9000, now(), 'delivered')"
        )
        returned = await operator.says(Step.BACK)
        assert "in schema medic again" in returned
        assert "resolve them by hand: k" in returned
        await database.execute("DROP SCHEMA medic_after CASCADE")
        await operator.says(Step.ADOPT)
        # As a start of Medic leaves it.
        await database.execute("UPDATE medic.medic_instance SET active_directory = 'of a Medic'")
        assert "no way back" in await operator.says(Step.FINISH)


class Ear:
    """Stands for the outbox, and for a writer that is always done."""

    newest = 7

    def __init__(self) -> None:
        self.told: list[Notification] = []
        self.refuses = 0

    def require_room(self) -> None:
        if self.refuses:
            self.refuses -= 1
            raise JournalRefusedError("full")

    def tell_nowait(self, notification: Notification) -> None:
        self.told.append(notification)

    async def wait_committed(self, position: int) -> None:
        assert position == self.newest
        await trio.lowlevel.checkpoint()


async def test_the_first_start_tells_once_also_where_it_could_not_at_first(postgres, monkeypatch):
    monkeypatch.setattr(first_start, "RETRY_SECONDS", 0.01)
    async with filled(postgres, *small_fleet()) as database:
        await adopt(database, load_settings({}).tuning.defaults, zone="UTC", retention_days=30, announce=lambda _: None)
        ear = Ear()
        ear.refuses = 1
        database.hold("away")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_adopted, database, ear, ear, ear)
            await wait_all_tasks_blocked()
            assert ear.told == []
            database.release()
        await tell_adopted(database, ear, ear, ear)
        [told] = ear.told
        assert "2 services have not been heard of in 30 days" in told.text
        assert await read_unheard(database) is None


async def test_it_is_not_told_again_where_the_start_before_died_between_telling_and_remembering(postgres):
    async with filled(postgres, *small_fleet()) as database:
        await adopt(database, load_settings({}).tuning.defaults, zone="UTC", retention_days=30, announce=lambda _: None)
        unheard = await read_unheard(database)
        assert unheard is not None
        await database.execute(
            "INSERT INTO medic.notifications (notification_id, target, kind, decided_at)"
            " VALUES ($1, $2, 'adopted', now())",
            unheard.notification_id,
            SLACK,
        )
        ear = Ear()
        await tell_adopted(database, ear, ear, ear)
        assert ear.told == []
        assert await read_unheard(database) is None


def test_very_many_names_are_cut_so_that_slack_takes_them():
    said = said_of(Unheard(InstantMs(1), tuple(f"service-{number:06}" for number in range(5_000)), 30, decided=False))
    assert "5000 services have not been heard of" in said
    assert " more. Delete or deactivate" in said
    assert len(said) < NAMES_CHARACTERS_MAX + 400
    assert "1 service has not been heard of" in said_of(Unheard(InstantMs(1), ("a",), 30, decided=False))
