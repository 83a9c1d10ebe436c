"""`medic doctor`: looks at everything Medic needs, all at once, and says what to do about what it finds.

It tells nobody and changes nothing: PagerDuty is connected to and not called, Slack is asked who the token belongs to,
a file is written and removed in the data folder. Each look has a time limit, so the answer comes within seconds.
"""

from __future__ import annotations

import os
import shutil
import ssl
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import httpx
import orjson
import trio
from pydantic import SecretStr

from medic.alerting.outbound import outbound_client, safe
from medic.cli.doctor_secrets import missing_secrets, open_vault, token_of
from medic.cli.environment import database_in_use
from medic.config.folder import prepare
from medic.config.settings import PagerDutySettings, Settings
from medic.core.units import isoformat
from medic.errors import ConfigurationError, DatabaseUnavailableError
from medic.http.answers import JsonObject, JsonValue
from medic.http.standby import STANDS_BY
from medic.store.postgres.database import Database, StatementRefusedError, open_database
from medic.store.postgres.leadership import sight
from medic.store.postgres.migrate import known_migrations
from medic.store.redis.address import RedisAddress
from medic.store.redis.connection import RedisConnection
from medic.store.redis.script import probe
from medic.store.redis.wire import RedisReplyError, RedisUnavailableError

LOOK_SECONDS: Final = 8.0
"""Longest look at one part: a vendor that is up answers well within it, and a person waits that long."""

SYNCS: Final = 20
SYNC_BYTES: Final = 4_096
SLOW_SYNC_MS: Final = 20.0
"""A disk that syncs slower than this makes every heartbeat wait as long."""

ROOM_LOW_BYTES: Final = 1 << 30
ROOM_NONE_BYTES: Final = 64 << 20
"""Under 1 GiB there is room for hours of PostgreSQL being away, under 64 MiB for none."""

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

_PARTS: Final = (
    "configuration",
    "data folder",
    "disk",
    "PostgreSQL",
    "schema",
    "active Medic",
    "secrets",
    "PagerDuty",
    "Slack",
    "Redis",
    "Medic",
)


class Verdict(StrEnum):
    """What a finding means."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; Medic works."""
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found, and what to do about it."""

    part: str
    verdict: Verdict
    found: str
    to_do: str = ""

    def as_json(self) -> JsonObject:
        """For `--output json`."""
        return {"part": self.part, "verdict": self.verdict.value, "found": self.found, "to_do": self.to_do}


async def examine(settings: Settings) -> list[Finding]:
    """The findings about everything, in a fixed order. Takes `LOOK_SECONDS` at most, and a little."""
    findings = list(_configuration(settings))
    looks: list[tuple[str, Callable[[], Awaitable[list[Finding]]]]] = [
        (
            "data folder",
            partial(
                trio.to_thread.run_sync,
                _examine_folder,
                settings.storage.folder,
                settings.storage.journal_bytes_max,
            ),
        ),
        ("PostgreSQL", partial(_look_at_database, settings)),
        ("PagerDuty", partial(_look_at_pagerduty, settings.telling.pagerduty)),
        ("Slack", partial(_look_at_slack, settings)),
        ("secrets", partial(_look_at_secrets, settings)),
        ("Redis", partial(_look_at_redis, settings.limits.redis_url)),
        ("Medic", partial(_look_at_medic, settings)),
    ]

    async def take(part: str, look: Callable[[], Awaitable[list[Finding]]]) -> None:
        with trio.move_on_after(LOOK_SECONDS) as scope:
            findings.extend(await look())
        if scope.cancelled_caught:
            findings.append(Finding(part, Verdict.BAD, f"no answer within {LOOK_SECONDS:g} s", "see that it is up"))

    async with trio.open_nursery() as nursery:
        for part, look in looks:
            nursery.start_soon(take, part, look)
    return sorted(findings, key=lambda finding: _PARTS.index(finding.part))


def _configuration(settings: Settings) -> list[Finding]:
    where = ", ".join(str(address) for address in settings.listen.addresses)
    sound = Finding("configuration", Verdict.OK, f"sound; listens on {where}, database {settings.database.kind}")
    return [sound, *(Finding("configuration", Verdict.NOTE, remark) for remark in settings.remarks)]


# ---------------------------------------------------------------------------------------------------------------- disk


def _examine_folder(folder: Path, journal_bytes_max: int) -> list[Finding]:
    if not folder.exists():
        there = next(parent for parent in folder.parents if parent.exists())
        if os.access(there, os.W_OK | os.X_OK):
            return [Finding("data folder", Verdict.NOTE, f"{folder} is not there yet", "medic serve makes it")]
        found = f"{folder} is not there, and this user may not make it"
        return [Finding("data folder", Verdict.BAD, found, "set MEDIC_DATA_DIR to a folder that can be written")]
    try:
        prepare(folder)
        sync_ms, free = _measure_disk(folder)
    except ConfigurationError as error:
        return [Finding("data folder", Verdict.BAD, fault.message) for fault in error.faults]
    except OSError as error:
        why = (error.strerror or "it cannot").lower()
        return [Finding("data folder", Verdict.BAD, f"{folder} cannot be written: {why}", "see to that disk")]
    slow = Verdict.NOTE if sync_ms > SLOW_SYNC_MS else Verdict.OK
    speed = Finding(
        "data folder",
        slow,
        f"{folder} can be written; a sync takes {sync_ms:.2f} ms",
        "every heartbeat waits for a sync: put MEDIC_DATA_DIR on a faster disk" if slow is Verdict.NOTE else "",
    )
    return [speed, _room(free, journal_bytes_max)]


def _measure_disk(folder: Path) -> tuple[float, int]:
    """The median milliseconds of a sync, and the bytes free."""
    spent = []
    with tempfile.TemporaryFile(dir=folder) as trial:
        for _ in range(SYNCS):
            trial.write(bytes(SYNC_BYTES))
            trial.flush()
            begun = time.perf_counter()
            os.fdatasync(trial.fileno())
            spent.append(time.perf_counter() - begun)
    return statistics.median(spent) * 1000, shutil.disk_usage(folder).free


def _room(free: int, journal_bytes_max: int) -> Finding:
    found = f"{free / (1 << 30):.1f} GiB free"
    if free < ROOM_NONE_BYTES:
        return Finding("disk", Verdict.BAD, found, "make room: a full disk refuses heartbeats")
    if free < ROOM_LOW_BYTES:
        return Finding("disk", Verdict.NOTE, found, "make room before PostgreSQL is away for long")
    if free < journal_bytes_max:
        found += f", less than the journal may take while PostgreSQL is away ({journal_bytes_max / (1 << 30):.1f} GiB)"
        return Finding("disk", Verdict.NOTE, found, "make room, or set MEDIC_JOURNAL_MAX_BYTES lower")
    return Finding("disk", Verdict.OK, found)


# ------------------------------------------------------------------------------------------------------------ database


async def _look_at_database(settings: Settings) -> list[Finding]:
    if settings.database.target is None and not settings.storage.folder.exists():
        return [Finding("PostgreSQL", Verdict.NOTE, "embedded; medic serve makes it at its first start")]
    try:
        target, runs = database_in_use(settings)
    except ConfigurationError as error:
        return [Finding("PostgreSQL", Verdict.BAD, fault.message) for fault in error.faults]
    if not runs:
        return [
            Finding("PostgreSQL", Verdict.NOTE, "embedded; it runs while medic serve does, and that does not run now")
        ]
    kind = settings.database.kind
    async with open_database(target, connections_max=1) as database:
        try:
            version = await database.fetchrow("SELECT current_setting('server_version') AS version")
            begun = trio.current_time()
            await database.fetchrow("SELECT 1")
            took = (trio.current_time() - begun) * 1000
            schema = await _schema(database)
            active = [await _active(database)] if schema.verdict is Verdict.OK else []
        except DatabaseUnavailableError as error:
            advice = (
                "check DB_HOST, DB_PORT, DB_NAME, PG_USER, PG_PASS, and that it is up" if kind == "external" else ""
            )
            return [Finding("PostgreSQL", Verdict.BAD, f"{kind}; {error.message}", advice)]
        except StatementRefusedError as error:
            return [Finding("PostgreSQL", Verdict.BAD, f"{kind}; {error.message}")]
    shown = "unknown" if version is None else str(version["version"])
    return [Finding("PostgreSQL", Verdict.OK, f"{kind}, version {shown}, answers in {took:.1f} ms"), schema, *active]


async def _schema(database: Database) -> Finding:
    newest = known_migrations()[-1].version
    made = await database.fetchrow("SELECT to_regclass('medic.migrations') IS NOT NULL AS made")
    if made is None or not made["made"]:
        return Finding("schema", Verdict.NOTE, "not there yet", "medic serve makes it, and so does medic migrate")
    row = await database.fetchrow("SELECT coalesce(max(version), 0) AS version FROM medic.migrations")
    version = 0 if row is None else int(row["version"])
    if version > newest:
        found = f"at migration {version}, newer than this release knows ({newest})"
        return Finding("schema", Verdict.BAD, found, "start the newer release of Medic again")
    if version < newest:
        found = f"at migration {version} of {newest}"
        return Finding("schema", Verdict.NOTE, found, "medic serve brings it forward, and so does medic migrate")
    return Finding("schema", Verdict.OK, f"at migration {version}, as this release has it")


async def _active(database: Database) -> Finding:
    """Who watches on this database."""
    seen = await sight(database)
    if seen.since is None:
        return Finding("active Medic", Verdict.NOTE, f"none (last token {seen.token})", "medic serve becomes it")
    found = f"{seen.name} at {seen.address} since {isoformat(seen.since)}, token {seen.token}"
    if seen.held:
        return Finding("active Medic", Verdict.OK, found)
    return Finding(
        "active Medic", Verdict.NOTE, f"{found}; its lock is free", "it ended without saying so, or is coming back"
    )


# ------------------------------------------------------------------------------------------------------------- vendors


async def _look_at_pagerduty(configured: PagerDutySettings | None) -> list[Finding]:
    if configured is None:
        return [Finding("PagerDuty", Verdict.NOTE, "not configured", "set PAGERDUTY_ROUTING_KEY to page people")]
    parts = urlsplit(configured.events_url)
    host = parts.hostname or ""
    try:
        await _connect(host, parts.port, with_tls=parts.scheme == "https")
    except (OSError, ssl.SSLError, trio.BrokenResourceError) as error:
        found = f"{host} cannot be reached: {_words(error)}"
        return [Finding("PagerDuty", Verdict.BAD, found, "see to DNS and the firewall, or to PAGERDUTY_EVENTS_URL")]
    return [
        Finding("PagerDuty", Verdict.OK, f"{host} can be reached; no page was sent", "medic-cli alerts test NAME pages")
    ]


async def _connect(host: str, port: int | None, *, with_tls: bool) -> None:
    """Connect, with the handshake of TLS, and hang up."""
    if not with_tls:
        await trio.aclose_forcefully(await trio.open_tcp_stream(host, port or 80))
        return
    stream = await trio.open_ssl_over_tcp_stream(host, port or 443)
    try:
        await stream.do_handshake()
    finally:
        await trio.aclose_forcefully(stream)


async def _look_at_secrets(settings: Settings) -> list[Finding]:
    if settings.secrets.key is None:
        return []
    missing = [
        Finding("secrets", Verdict.BAD, f"{variable}: there is no secret {name}", f"medic-cli secret set {name}")
        for variable, name in await missing_secrets(settings)
    ]
    stored = len((await open_vault(settings)).all())
    return missing or [Finding("secrets", Verdict.OK, f"{stored} stored, none is missing")]


async def _look_at_slack(settings: Settings) -> list[Finding]:
    configured = settings.telling.slack
    if configured is None:
        return [
            Finding("Slack", Verdict.NOTE, "not configured", "set SLACK_API_TOKEN and SLACK_CHANNEL_ID to post there")
        ]
    token = await token_of(settings, configured.token.get_secret_value())
    if token is None:
        return []  # that it is missing is said of the secrets
    try:
        said = await _ask("POST", f"{configured.api_url}/auth.test", headers={"Authorization": f"Bearer {token}"})
    except httpx.HTTPError as error:
        found = f"{configured.api_url} cannot be reached: {_words(error)}"
        return [Finding("Slack", Verdict.BAD, found, "see to DNS and the firewall, or to SLACK_API_URL")]
    if said.get("ok") is not True:
        if "error" not in said:
            return [Finding("Slack", Verdict.BAD, f"{configured.api_url} is not Slack's API", "check SLACK_API_URL")]
        found = f"Slack refuses the token: {safe(str(said['error']), token)}"
        return [Finding("Slack", Verdict.BAD, found, "check SLACK_API_TOKEN")]
    who = f"{said.get('user', 'a bot')} of {said.get('team', 'a workspace')}"
    to_do = f"medic-cli alerts test NAME shows whether it may post to {configured.channel}"
    return [Finding("Slack", Verdict.OK, f"the token is valid: {safe(who, token)}", to_do)]


# ------------------------------------------------------------------------------------------------- Redis, Medic itself


async def _look_at_redis(url: SecretStr | None) -> list[Finding]:
    if url is None:
        return [Finding("Redis", Verdict.NOTE, "not configured: limits will be counted in memory")]
    try:
        async with await RedisConnection.open(RedisAddress.of(url.get_secret_value())) as connection:
            await probe(connection)
    except RedisReplyError as refused:
        to_do = "check the password and the database in REDIS_URL, and that this Redis takes writes"
        return [Finding("Redis", Verdict.BAD, f"answers, and cannot be used: {safe(refused.reason)}", to_do)]
    except RedisUnavailableError as error:
        found = safe(error.reason) if error.__cause__ is None else f"{error.reason}: {_words(error)}"
        return [Finding("Redis", Verdict.BAD, found, "check REDIS_URL, and that it is up")]
    return [Finding("Redis", Verdict.OK, "answers, and counts")]


async def _look_at_medic(settings: Settings) -> list[Finding]:
    address = settings.listen.addresses[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104 - asked, not bound
    place = f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    try:
        said = await _ask("GET", f"{settings.listen.scheme}://{place}/health")
    except httpx.ConnectError as error:
        if isinstance(error.__context__, ssl.SSLError) or "CERTIFICATE" in str(error):
            return [Finding("Medic", Verdict.NOTE, f"answers on {place}, and TLS fails: {_words(error)}", "")]
        return [Finding("Medic", Verdict.NOTE, f"does not run on {place}", "medic serve starts it")]
    except httpx.HTTPError:
        said = {}
    if STANDS_BY in str(said.get("message", "")):
        return [Finding("Medic", Verdict.OK, f"runs on {place} and stands by")]
    if "components" not in said:
        return [Finding("Medic", Verdict.BAD, f"another program listens on {place}", "set PORT to a free port")]
    status = str(said.get("status", "unknown"))
    verdict = {"healthy": Verdict.OK, "degraded": Verdict.NOTE}.get(status, Verdict.BAD)
    return [
        Finding(
            "Medic", verdict, f"runs on {place} and is {status}", "" if verdict is Verdict.OK else "medic-cli health"
        )
    ]


async def _ask(method: str, url: str, headers: Mapping[str, str] = NO_HEADERS) -> JsonObject:
    """The JSON object that is answered; no fields where it is something else. Raises what httpx does."""
    async with outbound_client() as client:
        answer = await client.request(method, url, headers=dict(headers))
    try:
        said: JsonValue = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _words(error: BaseException) -> str:
    """Why a connection failed, in a few words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return safe(cause.reason or str(cause)).lower().replace("_", " ")
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return safe(str(error)).lower() or "the connection broke"
