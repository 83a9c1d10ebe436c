"""The copy of the webhooks: as PostgreSQL said last, and no reason to fail."""

from __future__ import annotations

import pytest

from medic.core.author import Author
from medic.core.units import DurationMs, InstantMs
from medic.core.webhook import Webhook
from medic.errors import DatabaseUnavailableError
from medic.store.tables.webhook_copy import CopiedWebhooks
from tests.fakes.ticking import HandClock
from tests.fakes.webhooks import MemoryWebhookStore

URL = "https://hooks.example.org/medic"


class Moody(MemoryWebhookStore):
    """Away after each change, if a test says so."""

    away = False

    async def all(self):
        if self.away:
            raise DatabaseUnavailableError("PostgreSQL does not answer")
        return await super().all()


@pytest.fixture
def store() -> Moody:
    return Moody(now=HandClock(1_700_000_000_000).now)


async def test_each_change_and_each_question_renews_the_copy(store, tmp_path):
    webhooks = CopiedWebhooks(store, tmp_path / "webhooks")
    assert await webhooks.last_seen() == ()
    first = await webhooks.insert(url=URL, heartbeat_name=None, headers=(("X", "secret"),), by=Author("Ann"))
    second = await store.insert(url=URL, heartbeat_name="job", headers=(), by=Author("Ann"))
    another = CopiedWebhooks(store, tmp_path / "webhooks")
    assert await another.last_seen() == (first,)
    assert list(await webhooks.all()) == [first, second]
    assert await another.last_seen() == (first, second)
    rotated = await webhooks.rotate(first.webhook_id, overlap=DurationMs(1_000), by=Author("Ann"))
    assert await another.last_seen() == (rotated, second)
    assert first.secret.encode() in (tmp_path / "webhooks").read_bytes()
    assert await webhooks.delete(first.webhook_id, by=Author("Ann"))
    assert await another.last_seen() == (second,)
    assert (tmp_path / "webhooks").stat().st_mode & 0o777 == 0o600


async def test_a_change_that_cannot_be_copied_is_made_all_the_same(store, tmp_path):
    webhooks = CopiedWebhooks(store, tmp_path / "webhooks")
    store.away = True
    made = await webhooks.insert(url=URL, heartbeat_name=None, headers=(), by=Author("Ann"))
    assert await webhooks.last_seen() == ()
    store.away = False
    assert list(await CopiedWebhooks(store, tmp_path / "missing" / "webhooks").all()) == [made]


async def test_a_copy_of_an_earlier_release_knows_no_secrets(store, tmp_path):
    written = (
        b'[{"webhook_id":1,"url":"https://a.example","heartbeat_name":null,"headers":[],"date_added":5,"added_by":""}]'
    )
    (tmp_path / "webhooks").write_bytes(written)
    (webhook,) = await CopiedWebhooks(store, tmp_path / "webhooks").last_seen()
    assert webhook == Webhook(1, "https://a.example", date_added=InstantMs(5))
    assert webhook.secrets_at(InstantMs(6)) == ()


async def test_a_copy_that_cannot_be_read_is_none(store, tmp_path):
    (tmp_path / "webhooks").write_bytes(b"[{]")
    assert await CopiedWebhooks(store, tmp_path / "webhooks").last_seen() == ()
