"""Addresses that users and operators chose: webhooks, `MEDIC_DEADMAN_URL`. Connected to; nothing is sent."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from typing import Final

import httpx
import trio

from medic.access.references import UnresolvedReferenceError, resolved
from medic.actors.clock import SightedClock, wall_now
from medic.alerting.guard import ADDRESSES_TRIED_MAX, LOOKUPS_MAX, Guard, place_of
from medic.alerting.outbound import PlaceRefusedError, host_of
from medic.cli.checks.finding import Finding, Verdict, words
from medic.cli.checks.secrets import open_vault
from medic.cli.checks.vendors import connect
from medic.cli.environment import database_in_use
from medic.config.settings import Settings
from medic.core.units import SightedMs
from medic.core.webhook import Webhook
from medic.errors import ConfigurationError, DatabaseUnavailableError
from medic.store.postgres.database import StatementRefusedError, open_database
from medic.store.tables.webhook_copy import read_copied
from medic.store.tables.webhooks import PgWebhookStore

WEBHOOKS_MAX: Final = 100
"""Webhooks that are connected to: a person reads the table."""

REACH_SECONDS: Final = 5.0
"""How long one of them may take, all at once: one that hangs must not hide what was found of the others."""

ALLOWLIST: Final = "MEDIC_ALLOWED_WEBHOOK_HOSTS says where requests may go"


async def look_at_webhooks(settings: Settings) -> list[Finding]:
    """Whether each can be told: its name resolves, is allowed, takes a connection and shows a good certificate."""
    webhooks = await known_webhooks(settings)
    if not webhooks:
        return [Finding("webhooks", Verdict.OK, "none are stored")]
    guard = Guard(settings.telling.webhook_hosts)
    troubles: dict[int, tuple[str, str]] = {}

    async def look(webhook: Webhook) -> None:
        trouble = await trouble_with(webhook.url, guard)
        if trouble is not None:
            troubles[webhook.webhook_id] = trouble

    async with trio.open_nursery() as nursery:
        for webhook in webhooks[:WEBHOOKS_MAX]:
            nursery.start_soon(look, webhook)
    return list(_told(webhooks, troubles))


async def look_at_deadman(settings: Settings) -> list[Finding]:
    """The same of `MEDIC_DEADMAN_URL`, of which nothing but the host is shown."""
    if settings.deadman is None:
        to_do = "set MEDIC_DEADMAN_URL, so that somebody notices when Medic is gone"
        return [Finding("deadman", Verdict.NOTE, "nobody is called while Medic lives", to_do)]
    vault = await open_vault(settings)
    try:
        url = resolved(settings.deadman.url.get_secret_value(), vault.find)
    except UnresolvedReferenceError:
        return []  # that it is missing is said of the secrets
    host = host_of(url)
    trouble = await trouble_with(url, Guard(settings.telling.webhook_hosts))
    if trouble is not None:
        return [Finding("deadman", Verdict.BAD, f"{host}: {trouble[0]}", trouble[1])]
    found = f"{host} can be reached; it is called every {settings.deadman.seconds:g} s while Medic makes progress"
    return [Finding("deadman", Verdict.OK, found)]


async def trouble_with(url: str, guard: Guard) -> tuple[str, str] | None:
    """Why nothing would arrive there, and what to do about it; None where it would. Takes `REACH_SECONDS` at most."""
    with trio.move_on_after(REACH_SECONDS):
        return await _trouble_with(url, guard)
    return f"it does not answer within {REACH_SECONDS:g} s", "see that it is up, and to DNS and the firewall"


async def _trouble_with(url: str, guard: Guard) -> tuple[str, str] | None:
    try:
        parsed = httpx.URL(url)
        place = place_of(parsed)
        addresses = await guard.addresses_of(place, trio.CapacityLimiter(LOOKUPS_MAX))
    except PlaceRefusedError as refused:
        return f"nothing is sent there: the address {refused.reason}", ALLOWLIST
    except httpx.InvalidURL:
        return "the address cannot be read in one way only", "write it anew"
    except httpx.TransportError as error:
        return str(error), "see to DNS"
    failure = ""
    for address in addresses[:ADDRESSES_TRIED_MAX]:
        try:
            await connect(place.host, place.port, with_tls=parsed.scheme == "https", address=address)
        except (OSError, ssl.SSLError, trio.BrokenResourceError) as error:
            failure = failure or words(error)
        else:
            return None
    return f"it cannot be reached: {failure}", "see that it is up, and to the firewall and its certificate"


async def known_webhooks(settings: Settings) -> Sequence[Webhook]:
    """The webhooks as PostgreSQL has them; where it is away or not there yet, as the data folder knew them last."""
    clock = SightedClock(resume_at=SightedMs(wall_now()))
    try:
        target, runs = database_in_use(settings)
        if runs:
            async with open_database(target, connections_max=1) as database:
                return await PgWebhookStore(database, clock).all()
    except (ConfigurationError, DatabaseUnavailableError, StatementRefusedError):
        pass  # what is the matter with PostgreSQL is said of it
    return await trio.to_thread.run_sync(read_copied, settings.storage.folder / "webhooks")


def _told(webhooks: Sequence[Webhook], troubles: dict[int, tuple[str, str]]) -> Iterable[Finding]:
    looked_at = webhooks[:WEBHOOKS_MAX]
    well = len(looked_at) - len(troubles)
    more = f", and {len(webhooks) - WEBHOOKS_MAX} more were not looked at" if len(webhooks) > WEBHOOKS_MAX else ""
    if well or more:
        yield Finding("webhooks", Verdict.OK, f"{well} of {len(looked_at)} can be reached{more}")
    for webhook in looked_at:
        if webhook.webhook_id in troubles:
            found, to_do = troubles[webhook.webhook_id]
            where = f"webhook {webhook.webhook_id} at {host_of(webhook.url)}"
            yield Finding("webhooks", Verdict.BAD, f"{where}: {found}", to_do)
