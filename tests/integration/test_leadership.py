"""The lock and the token on a real PostgreSQL: one leads, others stand by, and whoever is overtaken finds out."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from medic.core.units import InstantMs
from medic.errors import DatabaseUnavailableError, OvertakenError
from medic.store.postgres import leadership as leadership_module
from medic.store.postgres.bridge import Bridge
from medic.store.postgres.database import CONNECTIONS_MAX, Database, Limits, open_database
from medic.store.postgres.leadership import Identity, Leadership, Sighting, lead, lead_alone
from medic.store.postgres.target import ConnectionTarget
from medic.store.tokens import TokenFile, may_start_alone
from tests.integration.postgres_proxy import Fault, PostgresProxy, proxied
from tests.patience import PATIENCE_SECONDS
from tests.postgres_server import PostgresServer

LONG = 60.0
"""Nobody waits for it in a test: what depends on it does not happen."""

END_LOCK = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1296385097 AND objid = 1"
)
ROW = "SELECT token, active_name, active_address, active_since IS NOT NULL AS is_active FROM medic.medic_instance"


class Medics:
    """Data directories on one database."""

    def __init__(self, database: Database, bridge: Bridge, path: Path) -> None:
        self.database = database
        self.bridge = bridge
        self.path = path
        self.target = database.target
        self.seen: list[Sighting] = []
        self.stands_by = trio.Event()

    def tokens(self, name: str) -> TokenFile:
        (self.path / name).mkdir(exist_ok=True)
        return TokenFile(self.path / name)

    def lead(self, name: str, target: ConnectionTarget | None = None) -> AbstractAsyncContextManager[Leadership]:
        """As a process on the directory of that name."""
        return lead(
            target or self.target,
            bridge=self.bridge,
            identity=Identity(name, f"http://{name}"),
            tokens=self.tokens(name),
            watch=self._watch,
        )

    def _watch(self, sighting: Sighting) -> None:
        self.seen.append(sighting)
        self.stands_by.set()

    async def end_lock(self) -> None:
        """What an administrator may do, or a firewall."""
        assert await self.database.fetch(END_LOCK)


@pytest.fixture
async def medics(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[Medics]:
    async with postgres.fresh_database() as (database, bridge):
        yield Medics(database, bridge, tmp_path)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_EVERY_SECONDS", "TAKE_BACK_SECONDS", "WATCH_EVERY_SECONDS"):
        monkeypatch.setattr(leadership_module, name, 0.02)
    monkeypatch.setattr(leadership_module, "HEAD_START_SECONDS", LONG)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A path short enough for a socket."""
    made = Path(tempfile.mkdtemp(prefix="medic-"))
    yield made
    shutil.rmtree(made)


@asynccontextmanager
async def kept(leadership: Leadership) -> AsyncIterator[None]:
    """The lock is kept for the block."""
    async with trio.open_nursery() as nursery:
        await nursery.start(leadership.run)
        yield
        nursery.cancel_scope.cancel()


async def wait_until(leadership: Leadership, *, lost: int, has_lock: bool = True) -> None:
    """The lock was lost so often, or more often where answers are given up on early and the machine is slow."""
    with trio.fail_after(PATIENCE_SECONDS):
        while leadership.statistics().locks_lost < lost or leadership.statistics().has_lock is not has_lock:
            await trio.lowlevel.checkpoint()


def give_up_after(leadership: Leadership, seconds: float) -> None:
    """So long it waits for the answers to what it asks from now on."""
    database = leadership._database
    database._limits = replace(database._limits, operation_seconds=seconds)


async def test_the_first_medic_leads_at_once_and_its_name_stands_in_the_database(medics: Medics) -> None:
    async with medics.lead("first") as leadership:
        assert (leadership.token, leadership.inherits) == (1, False)
        assert leadership.statistics().has_lock
        row = await medics.database.fetchrow(ROW)
        assert row is not None
        assert tuple(row) == (1, "first", "http://first", True)
    assert medics.seen == []
    assert (medics.tokens("first").tokens.own, medics.tokens("first").tokens.newest_seen) == (1, 1)


async def test_a_second_medic_stands_by_and_takes_over_at_once_from_one_that_steps_down(medics: Medics) -> None:
    order: list[str] = []
    async with trio.open_nursery() as nursery:

        async def second() -> None:
            async with medics.lead("second") as leadership:
                order.append("second leads")
                assert (leadership.token, leadership.inherits) == (2, True)
                await leadership.end_inheriting()
                assert not leadership.inherits

        async with medics.lead("first") as leadership:
            nursery.start_soon(second)
            with trio.fail_after(PATIENCE_SECONDS):
                await medics.stands_by.wait()
            seen = medics.seen[0]
            assert (seen.token, seen.name, seen.address, seen.held) == (1, "first", "http://first", True)
            assert medics.tokens("second").tokens.newest_seen == 1
            order.append("first ends")
            await leadership.step_down()
            await leadership.step_down()
    assert order == ["first ends", "second leads"]
    assert medics.tokens("second").tokens.own == 2


async def test_a_medic_that_vanished_is_given_its_head_start_first(
    medics: Medics, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with medics.lead("first"):
        pass
    with trio.move_on_after(0.2) as waited:
        async with medics.lead("second"):
            pass
    assert waited.cancelled_caught
    monkeypatch.setattr(leadership_module, "HEAD_START_SECONDS", 0.1)
    with trio.fail_after(PATIENCE_SECONDS):
        async with medics.lead("second") as leadership:
            assert leadership.token == 2


async def test_a_directory_that_was_killed_and_started_again_leads_at_once_and_inherits_nothing(medics: Medics) -> None:
    for token in (1, 2, 3):
        with trio.fail_after(PATIENCE_SECONDS):
            async with medics.lead("first") as leadership:
                assert (leadership.token, leadership.inherits) == (token, False)


async def test_a_takeover_that_was_cut_off_is_begun_again(medics: Medics) -> None:
    async with medics.lead("first") as leadership:
        await leadership.step_down()
    for token in (2, 3):
        async with medics.lead("second") as leadership:
            assert (leadership.token, leadership.inherits) == (token, True)
    async with medics.lead("second") as leadership:
        await leadership.end_inheriting()
    async with medics.lead("second") as leadership:
        assert (leadership.token, leadership.inherits) == (5, False)


async def test_a_lock_that_was_lost_is_taken_back_with_the_same_token(medics: Medics) -> None:
    async with medics.lead("first") as leadership, trio.open_nursery() as nursery:
        nursery.start_soon(medics.lead("second").__aenter__)
        async with kept(leadership):
            for lost in (1, 2):
                await medics.end_lock()
                await wait_until(leadership, lost=lost)
            assert leadership.token == 1
        nursery.cancel_scope.cancel()
    assert await medics.database.fetch(ROW)


async def test_a_newer_token_ends_the_one_that_held_the_lock(medics: Medics) -> None:
    async with medics.lead("first") as leadership:
        with pytest.RaisesGroup(pytest.RaisesExc(OvertakenError, match="token 1"), flatten_subgroups=True):
            async with kept(leadership):
                await medics.database.execute("UPDATE medic.medic_instance SET token = 2")
                await trio.sleep(PATIENCE_SECONDS)


async def test_whoever_was_overtaken_does_not_start_alone_any_more(medics: Medics) -> None:
    with pytest.RaisesGroup(OvertakenError, flatten_subgroups=True):
        async with medics.lead("first") as leadership, kept(leadership):
            assert may_start_alone(medics.tokens("first").tokens)
            await medics.database.execute("UPDATE medic.medic_instance SET token = 2")
            await trio.sleep(PATIENCE_SECONDS)
    assert not may_start_alone(medics.tokens("first").tokens)


async def test_whoever_was_overtaken_ends_as_such_although_it_cannot_be_written_down(
    medics: Medics, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_tokens: TokenFile, _token: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.RaisesGroup(OvertakenError, flatten_subgroups=True):
        async with medics.lead("first"):
            monkeypatch.setattr(TokenFile, "see", full)
            raise OvertakenError(1)


async def test_one_that_lost_the_lock_to_another_ends_as_soon_as_it_looks(
    medics: Medics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership_module, "HEAD_START_SECONDS", 0.0)
    async with medics.lead("first") as first:
        # Nobody runs it: as if its process had been stopped.
        await medics.end_lock()
        with trio.fail_after(PATIENCE_SECONDS):
            async with medics.lead("second") as second:
                assert second.token == 2
                with pytest.RaisesGroup(pytest.RaisesExc(OvertakenError), flatten_subgroups=True):
                    async with kept(first):
                        await trio.sleep(PATIENCE_SECONDS)


async def test_what_the_overtaken_one_has_begun_is_undone_and_it_begins_nothing_more(
    medics: Medics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership_module, "HEAD_START_SECONDS", 0.0)
    await medics.database.execute("CREATE TABLE medic.kept (number integer)")
    async with open_database(medics.target, bridge=medics.bridge) as own, medics.lead("first") as first:
        own.fence(first.token)
        async with own.transaction() as transaction:
            await transaction.execute("INSERT INTO medic.kept VALUES (1)")
        with pytest.raises(DatabaseUnavailableError), trio.fail_after(PATIENCE_SECONDS):
            await _overtaken_in_the_midst(own, medics)
        with pytest.raises(OvertakenError, match="token 1"):
            async with own.transaction():
                pass
    assert [row["number"] for row in await medics.database.fetch("SELECT number FROM medic.kept")] == [1]


async def _overtaken_in_the_midst(own: Database, medics: Medics) -> None:
    async with own.transaction() as transaction:
        await transaction.execute("INSERT INTO medic.kept VALUES (2)")
        await medics.end_lock()
        async with medics.lead("second"):
            await transaction.execute("INSERT INTO medic.kept VALUES (3)")


async def test_a_server_that_says_nothing_has_lost_the_lock_and_gives_it_back_when_it_speaks(
    medics: Medics, short_folder: Path
) -> None:
    behind = replace(medics.target, host=str(short_folder))
    async with proxied(medics.target, short_folder) as proxy, medics.lead("first", behind) as leadership:
        give_up_after(leadership, 0.2)
        async with kept(leadership):
            await _silent_for_a_while(proxy, leadership)
            await wait_until(leadership, lost=1)
        give_up_after(leadership, PATIENCE_SECONDS)
        await leadership.step_down()
    row = await medics.database.fetchrow(ROW)
    assert row is not None
    assert tuple(row) == (1, "", "", False)


async def _silent_for_a_while(proxy: PostgresProxy, leadership: Leadership) -> None:
    """The server keeps its end of the connection: it still has the lock when the same Medic comes back."""
    proxy.fault = Fault.SILENCE
    await wait_until(leadership, lost=1, has_lock=False)
    proxy.fault = Fault.NONE


async def test_a_medic_that_stands_by_outlasts_an_outage_and_one_that_starts_in_it_ends(
    medics: Medics, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = replace(medics.target, host=str(short_folder))
    led = trio.Event()

    async def second() -> None:
        while not led.is_set():
            try:
                async with medics.lead("second", behind):
                    led.set()
            except DatabaseUnavailableError:
                assert not medics.stands_by.is_set(), "it is not outlasting the outage"

    async with (
        proxied(medics.target, short_folder) as proxy,
        trio.open_nursery() as nursery,
        medics.lead("first") as leadership,
    ):
        # From here on: those who are behind the proxy wait for a connection, or for an answer, no longer than this.
        monkeypatch.setattr(Limits.__init__, "__defaults__", (CONNECTIONS_MAX, 0.5, 0.5))
        monkeypatch.setattr(leadership_module, "ANSWER_SECONDS", 0.1)
        nursery.start_soon(second)
        await medics.stands_by.wait()
        proxy.fault = Fault.SILENCE
        with pytest.raises(DatabaseUnavailableError):
            async with medics.lead("third", behind):
                pass
        await leadership.step_down()
        await trio.sleep(0.3)  # the one that stands by asks in vain
        assert not led.is_set()
        proxy.fault = Fault.NONE
        with trio.fail_after(PATIENCE_SECONDS):
            await led.wait()


async def test_one_that_started_alone_takes_its_lock_with_its_own_token_or_ends(medics: Medics) -> None:
    async with medics.lead("first") as leadership:
        await leadership.step_down()
    tokens = medics.tokens("first")
    alone = {"bridge": medics.bridge, "identity": Identity("first", "http://alone"), "since": InstantMs(5)}
    assert may_start_alone(tokens.tokens)
    async with lead_alone(medics.target, tokens=tokens, **alone) as leadership:
        assert (leadership.token, leadership.inherits) == (1, False)
        assert (leadership.statistics().since, leadership.statistics().has_lock) == (5, False)
        async with kept(leadership):
            await wait_until(leadership, lost=1)
        row = await medics.database.fetchrow(ROW)
        assert row is not None
        assert tuple(row) == (1, "first", "http://alone", True)
        await leadership.step_down()
    async with medics.lead("second"):
        pass
    async with lead_alone(medics.target, tokens=tokens, **alone) as leadership:
        with pytest.RaisesGroup(pytest.RaisesExc(OvertakenError), flatten_subgroups=True):
            async with kept(leadership):
                await trio.sleep(PATIENCE_SECONDS)


async def test_stepping_down_without_postgresql_is_no_failure(medics: Medics) -> None:
    async with medics.lead("first") as leadership:
        await medics.end_lock()
        await leadership.step_down()
        assert not leadership.statistics().has_lock
