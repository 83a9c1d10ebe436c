"""PostgreSQL: whether it answers, and whether Medic may do there what it has to.

One connection for all of it. What the first look finds too bad to go on is all that is said.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from medic.actors.clock import wall_now
from medic.alerting.wording import duration_words
from medic.cli.checks.finding import Finding, Verdict
from medic.cli.environment import database_in_use
from medic.config.settings import Settings
from medic.core.units import DAY_MS, HOUR_MS, DurationMs, InstantMs, isoformat
from medic.errors import ConfigurationError, DatabaseUnavailableError
from medic.store.adoption.earlier import require_no_earlier
from medic.store.postgres.database import CONNECTIONS_MAX, Database, Row, StatementRefusedError, open_database
from medic.store.postgres.leadership import sight
from medic.store.postgres.migrate import SERVER_VERSION_MIN, known_migrations

EXTERNAL: Final = "check DB_HOST, DB_PORT, DB_NAME, PG_USER, PG_PASS, and that it is up"
OWN_USER: Final = "run this as Medic's user"
EMBEDDED_LOG: Final = "see postgres.log in MEDIC_DATA_DIR"

QUESTIONS: Final = 5
FAR_MS: Final = 50.0
"""An answer that takes so long comes from another region. It slows history and changes, not heartbeats and pages."""

APART_MS: Final = 1_000
"""Two clocks further apart than this show in the table of alerts, and in what is purged."""

CLEANUP_DUE_MS: Final = DurationMs(26 * HOUR_MS)
"""A day, and the hours that a large one may take."""

CLEANUP_MISSED_MS: Final = DurationMs(4 * DAY_MS)
"""More than a weekend without one: heartbeats fill the disk of PostgreSQL."""

CONNECTIONS_NEEDED: Final = CONNECTIONS_MAX + 2
"""The pool, the session that holds the lock of the active Medic, and that of a cleanup."""

_SERVER: Final = """
SELECT current_setting('server_version') AS shown, current_setting('server_version_num')::integer AS version,
       current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS is_replica,
       current_setting('default_transaction_read_only') AS read_only
"""

_PRIVILEGES: Final = """
SELECT current_user::text AS role, current_database()::text AS name,
       has_database_privilege(current_database(), 'CREATE') AS may_create,
       (SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = 'medic') AS may_add,
       (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('medic') AND relkind IN ('r', 'p')
           AND NOT pg_has_role(relowner, 'USAGE')) AS of_others
"""

_ROOM: Final = """
SELECT least(
           current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
               - coalesce(current_setting('reserved_connections', true)::integer, 0) - everybody,
           CASE WHEN rolconnlimit < 0 THEN 1000000 ELSE rolconnlimit - of_role END,
           CASE WHEN datconnlimit < 0 THEN 1000000 ELSE datconnlimit - of_database END
       ) + ours AS room, ours
FROM (SELECT count(*) AS everybody, count(*) FILTER (WHERE usename = current_user) AS of_role,
             count(*) FILTER (WHERE datname = current_database()) AS of_database,
             count(*) FILTER (WHERE usename = current_user AND datname = current_database()
                 AND application_name = 'medic') AS ours
      FROM pg_stat_activity WHERE datname IS NOT NULL) AS used,
     pg_roles, pg_database
WHERE rolname = current_user AND pg_database.datname = current_database()
"""


async def look_at_database(settings: Settings) -> list[Finding]:
    """All there is to say of PostgreSQL."""
    kind = settings.database.kind
    try:
        target, runs = database_in_use(settings)
    except ConfigurationError:
        return [Finding("PostgreSQL", Verdict.BAD, "embedded; this user may not look into its folder", OWN_USER)]
    if settings.database.target is None and not settings.storage.folder.exists():
        return [Finding("PostgreSQL", Verdict.NOTE, "embedded, and not there yet", "medic serve makes it")]
    if not runs:
        found = "embedded; it runs while medic serve does, and that does not run now"
        return [Finding("PostgreSQL", Verdict.NOTE, found, "medic serve starts it")]
    findings: list[Finding] = []
    async with open_database(target, connections_max=1) as database:
        try:
            findings.append(await look_at_server(database, kind))
            if findings[0].verdict is not Verdict.BAD:
                for look in LOOKS:
                    findings += await look(database)
        except DatabaseUnavailableError as error:
            to_do = EXTERNAL if kind == "external" else EMBEDDED_LOG
            findings.append(Finding("PostgreSQL", Verdict.BAD, f"{kind}; {error.message}", to_do))
        except StatementRefusedError as error:
            to_do = "see its log: it refuses what every Medic asks"
            findings.append(Finding("PostgreSQL", Verdict.BAD, f"{kind}; {error.message}", to_do))
    return findings


async def look_at_server(database: Database, kind: str) -> Finding:
    """Release, encoding, whether it takes writes, and how far away it is."""
    row = _row(await database.fetchrow(_SERVER))
    spent = []
    for _ in range(QUESTIONS):
        begun = trio.current_time()
        await database.fetchrow("SELECT 1")
        spent.append(trio.current_time() - begun)
    took_ms = statistics.median(spent) * 1000
    found = f"{kind}, version {row['shown']}, answers in {took_ms:.1f} ms"
    if row["version"] < SERVER_VERSION_MIN:
        to_do = f"Medic needs PostgreSQL {SERVER_VERSION_MIN // 10_000} or newer"
        return Finding("PostgreSQL", Verdict.BAD, found, to_do)
    if row["encoding"] != "UTF8":
        to_do = "make a database with ENCODING 'UTF8' TEMPLATE template0"
        return Finding("PostgreSQL", Verdict.BAD, f"{found}; its encoding is {row['encoding']}", to_do)
    if row["is_replica"] or row["read_only"] == "on":
        to_do = "point DB_HOST at the primary" if row["is_replica"] else "unset default_transaction_read_only"
        return Finding("PostgreSQL", Verdict.BAD, f"{found}; it takes no writes", to_do)
    if took_ms > FAR_MS:
        return Finding("PostgreSQL", Verdict.NOTE, found, "bring Medic and PostgreSQL nearer to each other")
    return Finding("PostgreSQL", Verdict.OK, found)


async def look_at_schema(database: Database) -> list[Finding]:
    """Which migration it is at, and, where it is this release's, who watches on it."""
    try:
        await require_no_earlier(database)
    except ConfigurationError as earlier:
        found = "the earlier system's tables are in it, or were taken over only in part"
        return [Finding("schema", Verdict.BAD, found, "; ".join(one.message for one in earlier.faults))]
    newest = known_migrations()[-1].version
    made = _row(await database.fetchrow("SELECT to_regclass('medic.migrations') IS NOT NULL AS made"))["made"]
    if not made:
        return [Finding("schema", Verdict.NOTE, "not there yet", "medic serve makes it, and so does medic migrate")]
    row = _row(await database.fetchrow("SELECT coalesce(max(version), 0) AS version FROM medic.migrations"))
    version = int(row["version"])
    if version > newest:
        found = f"at migration {version}, newer than this release knows ({newest})"
        return [Finding("schema", Verdict.BAD, found, "start the newer release of Medic again")]
    if version < newest:
        found = f"at migration {version} of {newest}"
        return [Finding("schema", Verdict.NOTE, found, "medic serve brings it forward, and so does medic migrate")]
    return [Finding("schema", Verdict.OK, f"at migration {version}, as this release has it"), await _active(database)]


async def look_at_privileges(database: Database) -> list[Finding]:
    """Whether the role may make what Medic makes: its schema once, and a partition each day."""
    row = _row(await database.fetchrow(_PRIVILEGES))
    role = row["role"]
    if row["may_add"] is None:
        if row["may_create"]:
            return [Finding("privileges", Verdict.OK, f"{role} may make the schema")]
        to_do = f'GRANT CREATE ON DATABASE "{row["name"]}" TO "{role}", or let it own the database'
        return [Finding("privileges", Verdict.BAD, f"{role} may not make the schema", to_do)]
    if row["of_others"]:
        found = f"{row['of_others']} tables of schema medic belong to another role than {role}"
        return [Finding("privileges", Verdict.BAD, found, f'REASSIGN OWNED BY that role TO "{role}"')]
    if not row["may_add"]:
        to_do = f'ALTER SCHEMA medic OWNER TO "{role}"'
        return [Finding("privileges", Verdict.BAD, f"{role} may not add tables to schema medic", to_do)]
    return [Finding("privileges", Verdict.OK, f"{role} owns the tables of schema medic, and may add to them")]


async def look_at_room(database: Database) -> list[Finding]:
    """Whether as many connections can be had as one Medic makes."""
    row = _row(await database.fetchrow(_ROOM))
    room, ours = int(row["room"]), int(row["ours"]) - 1  # one is this question's
    beside = f", {ours} of them Medic's now" if ours > 0 else ""
    found = f"room for {room} connections{beside}; a Medic makes up to {CONNECTIONS_NEEDED}"
    if room >= CONNECTIONS_NEEDED:
        return [Finding("pool", Verdict.OK, found)]
    to_do = "raise max_connections, or the limit of the role or the database; close what idles in pg_stat_activity"
    return [Finding("pool", Verdict.BAD, found, to_do)]


async def look_at_its_clock(database: Database) -> list[Finding]:
    """How far its clock is from this machine's."""
    before = wall_now()
    at = int(_row(await database.fetchrow("SELECT clock_timestamp() AS at"))["at"])
    after = wall_now()
    # Its reading lies between both of ours; what lies within them is no difference.
    apart = max(0, at - after) - max(0, before - at)
    if abs(apart) <= APART_MS:
        return [Finding("PostgreSQL's clock", Verdict.OK, "agrees with this machine's")]
    ahead = "ahead of" if apart > 0 else "behind"
    found = f"{abs(apart) / 1000:.1f} s {ahead} this machine's"
    return [Finding("PostgreSQL's clock", Verdict.NOTE, found, "let NTP keep the clocks of both machines")]


async def look_at_cleanup(database: Database) -> list[Finding]:
    """When old heartbeats were removed last. Nothing is said where the schema knows of no such thing yet."""
    made = _row(await database.fetchrow("SELECT to_regclass('medic.cleanup') IS NOT NULL AS made"))["made"]
    if not made:
        return []
    last = _row(await database.fetchrow("SELECT max(last_success_at) AS at FROM medic.cleanup"))["at"]
    return [cleanup(None if last is None else InstantMs(last), wall_now())]


def cleanup(last: InstantMs | None, now: InstantMs) -> Finding:
    """What the last cleanup means: it comes once a day, by the active Medic."""
    to_do = "medic cleanup does it now and says what it finds; see the log of the active Medic"
    if last is None:
        soon = "medic serve does it five minutes after its start, then at 00:00 UTC"
        return Finding("last cleanup", Verdict.NOTE, "none yet", soon)
    ago = DurationMs(max(0, now - last))
    found = f"{duration_words(ago)} ago, at {isoformat(last)}"
    if ago <= CLEANUP_DUE_MS:
        return Finding("last cleanup", Verdict.OK, found)
    return Finding("last cleanup", Verdict.NOTE if ago <= CLEANUP_MISSED_MS else Verdict.BAD, found, to_do)


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


def _row(row: Row | None) -> Row:
    assert row is not None  # noqa: S101 - each of these questions is answered with one row
    return row


LOOKS: Final[tuple[Callable[[Database], Awaitable[list[Finding]]], ...]] = (
    look_at_schema,
    look_at_privileges,
    look_at_room,
    look_at_its_clock,
    look_at_cleanup,
)
"""In the order of the table."""
