"""Webhooks as operators change them: stored, and then known to alerting."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from medic.app.webhooks import OperatorWebhooks
from medic.core.author import Author
from medic.core.status import Outcome
from medic.core.units import HOUR_MS
from medic.errors import UnknownWebhookError
from tests.fakes.alerting import Scripted, answer_after, running, trigger
from tests.fakes.webhooks import MemoryWebhookStore

URL = "https://hooks.example/"


async def test_a_webhook_is_told_from_its_creation_to_its_end(autojump_clock):
    async with running(Scripted()) as bench:
        webhooks = OperatorWebhooks(MemoryWebhookStore(), bench.alerting)
        webhook = await webhooks.create(url=URL, heartbeat_name=None, headers=(), by=Author("ann"))
        assert list(await webhooks.all()) == [webhook]
        bench.offer(trigger(1))
        await wait_all_tasks_blocked()
        await webhooks.delete(webhook.webhook_id, by=Author("ann"))
        bench.offer(trigger(2))
        await wait_all_tasks_blocked()
        assert [made.ids for made in bench.made] == [["1.0"]]
        with pytest.raises(UnknownWebhookError):
            await webhooks.delete(webhook.webhook_id, by=Author("ann"))


async def test_a_rotated_webhook_is_told_with_its_new_secret(autojump_clock):
    async with running(Scripted()) as bench:
        webhooks = OperatorWebhooks(MemoryWebhookStore(), bench.alerting)
        webhook = await webhooks.create(url=URL, heartbeat_name=None, headers=(), by=Author("ann"))
        rotated = await webhooks.rotate(webhook.webhook_id, overlap=HOUR_MS, by=Author("ann"))
        assert rotated.former_secret == webhook.secret
        bench.offer(trigger(1))
        await wait_all_tasks_blocked()
        assert [made.ids for made in bench.made] == [[], ["1.0"]]
        with pytest.raises(UnknownWebhookError):
            await webhooks.rotate(99, overlap=HOUR_MS, by=Author("ann"))


async def test_what_postgresql_knows_better_costs_nothing_that_waits(autojump_clock):
    """A start without PostgreSQL knows webhooks from the copy; later PostgreSQL says what has become of them."""
    async with running(Scripted()) as bench:
        store = MemoryWebhookStore()
        kept, gone, new = [
            await store.insert(url=URL, heartbeat_name=None, headers=(), by=Author("ann")) for _ in range(3)
        ]
        copied = [replace(kept, secret=""), gone]
        for webhook in copied:
            bench.alerting.add_webhook(webhook)
        for made in bench.made:
            made.otherwise = answer_after(5)
        bench.offer(trigger(1))
        await wait_all_tasks_blocked()
        await store.delete(gone.webhook_id, by=Author("ann"))
        await OperatorWebhooks(store, bench.alerting).follow(copied)
        await wait_all_tasks_blocked()
        assert bench.outcomes(gone.target) == [("1.0", Outcome.GIVEN_UP)]
        await trio.sleep(10)
        assert bench.outcomes(kept.target) == [("1.0", Outcome.DELIVERED)]
        bench.offer(trigger(2))
        await wait_all_tasks_blocked()
        assert bench.outcomes(new.target) == [("2.0", Outcome.DELIVERED)]
