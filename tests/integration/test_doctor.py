"""The doctor and the real PostgreSQL, the real redis-server, and vendors that check what they are sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import trio

from medic.cli.checks import database as database_checks
from medic.cli.checks.database import (
    look_at_cleanup,
    look_at_database,
    look_at_its_clock,
    look_at_privileges,
    look_at_room,
    look_at_schema,
    look_at_server,
)
from medic.cli.checks.finding import Finding, Verdict
from medic.cli.checks.redis import look_at_redis
from medic.cli.checks.targets import known_webhooks, look_at_webhooks
from medic.cli.checks.vendors import send_test
from medic.cli.doctor import examine
from medic.config.load import load_settings
from medic.core.author import Author
from medic.store.postgres.database import Database
from medic.store.redis.address import RedisAddress
from medic.store.redis.connection import RedisConnection
from medic.store.redis.wire import encode
from medic.store.tables.webhooks import PgWebhookStore
from tests.e2e.process import free_port
from tests.fakes.alerting import WallClock
from tests.patience import PATIENCE_SECONDS
from tests.redis_server import RedisServer
from tests.vendors.behaviour import Refuse
from tests.vendors.pagerduty import ROUTING_KEY, PagerDutyServer

PASSWORD = "a-password-nobody-sees"
ROLE_NAME = "medic_small_role"


# ------------------------------------------------------------------------------------------------------------- Redis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, "--requirepass", PASSWORD)
    server.start()
    yield server
    server.stop()


async def said_of(url: str) -> Finding:
    [finding] = await look_at_redis(load_settings({"REDIS_URL": url}))
    return finding


async def test_a_real_redis_is_found_well_full_a_replica_locked_and_gone(redis: RedisServer) -> None:
    url = f"unix://:{PASSWORD}@{redis.path}"
    with trio.fail_after(PATIENCE_SECONDS):
        assert await said_of(url) == Finding("Redis", Verdict.OK, "answers, and counts")
        locked = [await said_of(f"unix://:wrong-{PASSWORD}@{redis.path}"), await said_of(redis.url)]
        assert {finding.verdict for finding in locked} == {Verdict.BAD}
        assert "password" in locked[0].found
        async with await RedisConnection.open(RedisAddress.of(url)) as connection:
            for key, value in (("maxmemory-policy", "noeviction"), ("maxmemory", "1")):
                await connection.ask([encode("CONFIG", "SET", key, value)])
            full = await said_of(url)
            assert (full.verdict, "out of memory" in full.found) == (Verdict.BAD, True)
            await connection.ask([encode("CONFIG", "SET", "maxmemory", "0"), encode("REPLICAOF", "127.0.0.1", "1")])
            replica = await said_of(url)
            assert replica.verdict is Verdict.BAD
            assert re.search("replica|primary", replica.found)
        redis.stop()
        gone = await said_of(url)
        assert gone.verdict is Verdict.BAD
    assert PASSWORD not in str((locked, full, replica, gone))


# -------------------------------------------------------------------------------------------------------- PostgreSQL


async def verdicts(database: Database, *checks: object) -> dict[str, Finding]:
    return {finding.part: finding for check in checks for finding in await check(database)}


async def test_a_database_in_order_is_said_to_be(database: Database) -> None:
    server = await look_at_server(database, "external")
    # On a busy machine five answers may take longer than a far database needs.
    assert server.verdict in {Verdict.OK, Verdict.NOTE}
    assert re.search(r"external, version 1\d.*, answers in [\d.]+ ms", server.found)
    found = await verdicts(database, look_at_schema, look_at_privileges, look_at_room, look_at_its_clock)
    assert {part: finding.verdict for part, finding in found.items()} == {
        "schema": Verdict.OK,
        "active Medic": Verdict.NOTE,
        "privileges": Verdict.OK,
        "pool": Verdict.OK,
        "PostgreSQL's clock": Verdict.OK,
    }


async def test_a_server_that_is_too_old_far_or_read_only_is_said_to_be(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_checks, "FAR_MS", -1.0)
    assert (await look_at_server(database, "external")).verdict is Verdict.NOTE
    async with database.transaction() as transaction:
        await transaction.execute("SET LOCAL default_transaction_read_only = on")
        assert "takes no writes" in (await look_at_server(transaction, "external")).found
    monkeypatch.setattr(database_checks, "SERVER_VERSION_MIN", 990_000)
    old = await look_at_server(database, "external")
    assert (old.verdict, old.to_do) == (Verdict.BAD, "Medic needs PostgreSQL 99 or newer")


async def test_a_role_that_may_not_is_told_what_to_grant(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(f"DROP ROLE IF EXISTS {ROLE_NAME}")
        await transaction.execute(f"CREATE ROLE {ROLE_NAME} CONNECTION LIMIT 3")
        await transaction.execute("GRANT USAGE ON SCHEMA medic TO PUBLIC")
        await transaction.execute(f"SET LOCAL ROLE {ROLE_NAME}")
        [privileges] = await look_at_privileges(transaction)
        assert privileges.verdict is Verdict.BAD
        assert "belong to another role" in privileges.found
        [room] = await look_at_room(transaction)
        assert (room.verdict, "room for 3 connections" in room.found) == (Verdict.BAD, True)
        await transaction.execute("RESET ROLE")
        await transaction.execute("ALTER SCHEMA medic RENAME TO hidden")
        await transaction.execute(f"SET LOCAL ROLE {ROLE_NAME}")
        [missing] = await look_at_privileges(transaction)
        assert missing.verdict is Verdict.BAD
        assert missing.to_do.startswith("GRANT CREATE ON DATABASE")
        await transaction.execute("RESET ROLE")
        assert (await look_at_privileges(transaction))[0].verdict is Verdict.OK
        await transaction.execute(f"DROP ROLE {ROLE_NAME}")
        await transaction.execute("ALTER SCHEMA hidden RENAME TO medic")
        await transaction.execute("REVOKE USAGE ON SCHEMA medic FROM PUBLIC")


async def test_a_clock_that_differs_is_said_with_how_much(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    real = database_checks.wall_now
    for shift_ms, word in ((-90_000, "ahead of"), (90_000, "behind")):
        monkeypatch.setattr(database_checks, "wall_now", lambda shift_ms=shift_ms: real() + shift_ms)
        [clock] = await look_at_its_clock(database)
        assert clock.verdict is Verdict.NOTE
        assert re.match(rf"(89|90|91)\.\d s {word} this machine's", clock.found), clock.found


async def test_the_last_cleanup_is_read_where_the_schema_has_it(database: Database) -> None:
    async with database.transaction() as transaction:
        made = await transaction.fetchrow("SELECT to_regclass('medic.cleanup') AS made")
        if made["made"] is None:
            assert await look_at_cleanup(transaction) == []
            await transaction.execute("CREATE TABLE medic.cleanup (last_success_at timestamptz)")
            await transaction.execute("INSERT INTO medic.cleanup VALUES (NULL)")
        await transaction.execute("UPDATE medic.cleanup SET last_success_at = now() - interval '40 hours'")
        [finding] = await look_at_cleanup(transaction)
    assert (finding.verdict, "40 h ago" in finding.found) == (Verdict.NOTE, True)


async def test_all_of_it_is_asked_over_one_connection(database: Database, tmp_path: Path) -> None:
    target = database.target
    where = {"DB_HOST": target.host, "DB_PORT": str(target.port), "DB_NAME": target.database, "PG_USER": target.user}
    found = [finding.part for finding in await look_at_database(load_settings(where))]
    of_all = ["PostgreSQL", "schema", "active Medic", "privileges", "pool", "PostgreSQL's clock"]
    assert [part for part in found if part != "last cleanup"] == of_all


# ---------------------------------------------------------------------------------------------------------- webhooks


async def test_webhooks_are_those_of_postgresql_and_of_the_copy_while_it_is_away(
    database: Database, tmp_path: Path
) -> None:
    target = database.target
    where = {"DB_HOST": target.host, "DB_PORT": str(target.port), "DB_NAME": target.database, "PG_USER": target.user}
    folder = {"MEDIC_DATA_DIR": str(tmp_path), "MEDIC_ALLOWED_WEBHOOK_HOSTS": "127.0.0.1"}
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    there, gone = listener.socket.getsockname()[1], free_port()
    store = PgWebhookStore(database, WallClock())
    urls = [f"http://127.0.0.1:{there}/{PASSWORD}", f"http://127.0.0.1:{gone}/{PASSWORD}", "http://10.1.2.3/x"]
    urls.append(f"https://127.0.0.1:{there}/")
    for url in urls:
        await store.insert(url=url, heartbeat_name=None, headers=(("Authorization", PASSWORD),), by=Author("test"))
    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, _hang_up, [listener])
        findings = await look_at_webhooks(load_settings({**where, **folder}))
        nursery.cancel_scope.cancel()
    assert findings[0] == Finding("webhooks", Verdict.OK, "1 of 4 can be reached")
    troubles = "\n".join(finding.found for finding in findings[1:])
    assert {finding.verdict for finding in findings[1:]} == {Verdict.BAD}
    for word in ("cannot be reached: connection refused", "nothing is sent there", "cannot be reached: .*eof"):
        assert re.search(word, troubles), troubles
    assert len(findings) == 4
    assert PASSWORD not in str(findings)

    kept = await known_webhooks(load_settings({**where, **folder}))
    (tmp_path / "webhooks").write_bytes(orjson.dumps(kept))
    away = {"DATABASE_URL": f"postgresql://me:{PASSWORD}@127.0.0.1:{free_port()}/medic"}
    assert await known_webhooks(load_settings({**away, **folder})) == tuple(kept)


async def _hang_up(stream: trio.SocketStream) -> None:
    await stream.aclose()


# ---------------------------------------------------------------------------------------------------------- the page


async def test_a_test_page_is_a_marked_trigger_and_its_resolve_under_one_key() -> None:
    with PagerDutyServer() as pagerduty:
        settings = load_settings({"PAGERDUTY_ROUTING_KEY": ROUTING_KEY, "PAGERDUTY_EVENTS_URL": pagerduty.url})
        [sent] = await send_test(settings)
        trigger, resolve = (arrival.document for arrival in pagerduty.taken)
        assert pagerduty.faults() == []
        pagerduty.behave(Refuse(403))
        [refused] = await send_test(settings)
    assert sent.verdict is Verdict.OK
    assert trigger["payload"]["summary"].startswith("TEST - ")
    assert trigger["payload"]["severity"] == "info"
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"]
    assert trigger["dedup_key"] in sent.found
    assert pagerduty.open == {}
    assert refused.verdict is Verdict.BAD
    assert "answered 403" in refused.found
    assert ROUTING_KEY not in str((sent, refused))


async def test_a_test_page_without_pagerduty_is_bad() -> None:
    [finding] = await send_test(load_settings({}))
    assert (finding.verdict, finding.found) == (Verdict.BAD, "PagerDuty is not configured")


async def test_nothing_that_is_found_shows_a_secret(tmp_path: Path) -> None:
    """Everything is away, every address and key is a secret, and each is named by what it is."""
    port = free_port()
    secrets = {
        "DATABASE_URL": f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/medic",
        "REDIS_URL": f"redis://me:{PASSWORD}@127.0.0.1:{port}/0",
        "PAGERDUTY_ROUTING_KEY": PASSWORD,
        "PAGERDUTY_EVENTS_URL": f"http://127.0.0.1:{port}/v2/enqueue",
        "SLACK_API_TOKEN": PASSWORD,
        "SLACK_CHANNEL_ID": "C1",
        "SLACK_API_URL": f"http://127.0.0.1:{port}/api",
        "MEDIC_DEADMAN_URL": f"http://127.0.0.1:{port}/{PASSWORD}",
        "MEDIC_DEADMAN_KEY": PASSWORD,
        "MEDIC_ALLOWED_WEBHOOK_HOSTS": "127.0.0.1",
        "MEDIC_ADMIN_API_KEY": f"{PASSWORD}-{PASSWORD}",
        "MEDIC_WEBHOOK_SECRET": PASSWORD,
        "SLACK_SIGNING_SECRET": PASSWORD,
        "MEDIC_DATA_DIR": str(tmp_path / "data"),
        "PORT": str(port),
    }
    findings = await examine(load_settings(secrets))
    assert PASSWORD not in str([finding.as_json() for finding in findings])
    bad = {finding.part for finding in findings if finding.verdict is Verdict.BAD}
    assert bad == {"PostgreSQL", "Redis", "PagerDuty", "Slack", "deadman"}
    assert all(finding.to_do for finding in findings if finding.verdict is Verdict.BAD)
