"""What every WebhookStore does: the fake that other tests use, and the one on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from medic.access.signed import SECRET_BYTES, read_secret
from medic.core.author import Author
from medic.core.units import HOUR_MS, DurationMs, InstantMs
from medic.ports import WebhookStore
from medic.store.tables.webhooks import PgWebhookStore
from tests.fakes.ticking import HandClock
from tests.fakes.webhooks import MemoryWebhookStore
from tests.postgres_server import PostgresServer

NOW = 1_700_000_000_123
URL = "https://hooks.example.org/medic?to=ünicode"
HEADERS = (("X-Token", "sesame"), ("X-Token", "twice"))


@pytest.fixture
async def store(server: PostgresServer | None) -> AsyncIterator[WebhookStore]:
    if server is None:
        yield MemoryWebhookStore(now=HandClock(NOW).now)
        return
    async with server.fresh_database() as (database, _):
        yield PgWebhookStore(database, HandClock(NOW))


async def test_a_webhook_is_listed_as_it_was_made(store: WebhookStore) -> None:
    made = await store.insert(url=URL, heartbeat_name="nightly", headers=HEADERS, by=Author("anna"))

    assert (made.url, made.heartbeat_name, made.headers) == (URL, "nightly", HEADERS)
    assert (made.date_added, made.added_by) == (InstantMs(NOW), "anna")
    assert list(await store.all()) == [made]


async def test_webhooks_have_targets_of_their_own_and_are_listed_oldest_first(store: WebhookStore) -> None:
    made = [await store.insert(url=URL, heartbeat_name=None, headers=(), by=Author("")) for _ in range(3)]

    assert list(await store.all()) == made
    assert len({webhook.target for webhook in made}) == 3


async def test_each_webhook_has_a_secret_of_its_own_and_keeps_the_one_before_for_a_while(store: WebhookStore) -> None:
    made = await store.insert(url=URL, heartbeat_name=None, headers=(), by=Author("anna"))
    other = await store.insert(url=URL, heartbeat_name=None, headers=(), by=Author("anna"))
    assert len(read_secret(made.secret)) == len(read_secret(other.secret)) == SECRET_BYTES
    assert made.secret != other.secret
    assert made.secrets_at(InstantMs(NOW)) == (made.secret,)

    rotated = await store.rotate(made.webhook_id, overlap=HOUR_MS, by=Author("anna"))
    assert rotated is not None
    assert (rotated.former_secret, rotated.former_until) == (made.secret, NOW + HOUR_MS)
    assert rotated.secrets_at(InstantMs(NOW + HOUR_MS - 1)) == (rotated.secret, made.secret)
    assert rotated.secrets_at(InstantMs(NOW + HOUR_MS)) == (rotated.secret,)
    assert list(await store.all()) == [rotated, other]

    again = await store.rotate(made.webhook_id, overlap=DurationMs(0), by=Author("anna"))
    assert again is not None
    assert again.former_secret == rotated.secret
    assert again.secrets_at(InstantMs(NOW)) == (again.secret,)
    assert len({made.secret, rotated.secret, again.secret}) == 3
    assert made.secret not in repr(made)

    assert await store.rotate(99_999, overlap=HOUR_MS, by=Author("anna")) is None


async def test_a_deleted_webhook_is_gone_and_its_id_is_not_used_again(store: WebhookStore) -> None:
    made = await store.insert(url=URL, heartbeat_name=None, headers=(), by=Author("anna"))

    assert await store.delete(made.webhook_id, by=Author("anna"))
    assert not await store.delete(made.webhook_id, by=Author("anna"))
    assert list(await store.all()) == []

    again = await store.insert(url=URL, heartbeat_name=None, headers=(), by=Author("anna"))
    assert again.webhook_id != made.webhook_id
