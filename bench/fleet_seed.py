"""A data directory whose embedded PostgreSQL has a fleet of services, as if Medic had watched them for a while.

    python -m bench.fleet_seed DIRECTORY --services 100000

The services are named `service-0000000` upwards and were heard of at one instant; their intervals say when each is due.
A state has no identity in it, so one state, packed by the code that Medic itself packs them with, is every service's,
and SQL makes the rows: a million take some twenty seconds. A start then finds an ordinary fleet whose directory was
lost: nothing to register, nothing overdue and, as there is no watermark, no blind time to credit.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from medic.core.policy import Defaults
from medic.core.service import Service, ServiceRow
from medic.core.status import HeartbeatStatus, Status
from medic.core.units import DurationMs, InstantMs, ServiceId, SightedMs
from medic.store.codec import pack_state
from medic.store.embedded.server import open_embedded_server
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import Limits, Transaction, open_database
from medic.store.postgres.migrate import migrate

HOUR_MS = 3_600_000
SEED_SECONDS = 600.0
"""For one statement that makes a million rows."""

_SERVICES = """
INSERT INTO medic.services (service_id, heartbeat_name, service_name, alert_interval, threshold, team, priority)
SELECT n + 1, $1 || lpad(n::text, 7, '0'), 'owner-' || n % 1000, round(($4 + (n - $2) * $5)::numeric / 60000, 12), $6,
       'team-' || n % 20, CASE WHEN $7 = '' THEN 'p' || 1 + n % 5 ELSE $7 END
FROM generate_series($2::bigint, $2::bigint + $3::bigint - 1) AS n
"""
_STATES = """
INSERT INTO medic.service_states (service_id, version, journal_id, position, status, last_heartbeat_at, last_status,
                                  heartbeats_total, deadline_at, hot)
SELECT service_id, 1, 'bench', 0, 'up', to_timestamp($3::float8 / 1000), 'UP', 1,
       to_timestamp(($3::float8 + interval_ms) / 1000), $4
FROM medic.services WHERE service_id > $1 AND service_id <= $1 + $2::bigint
"""


@dataclass(frozen=True, slots=True)
class Group:
    """Services alike but for their number.

    Attributes:
        first, count: Their numbers; `first` of one group follows the last of the one before.
        interval_ms: The promise of the first one.
        step_ms: What each further one has more, so that deadlines come spread.
        threshold: Signs of life they need in an interval.
        priority: Empty: p1 to p5 in turn.
    """

    first: int
    count: int
    interval_ms: int = HOUR_MS
    step_ms: int = 0
    threshold: int = 1
    priority: str = ""


def name_of(number: int) -> str:
    """The heartbeat name of a service by its number."""
    return f"service-{number:07d}"


def packed_state(heard_at: int, threshold: int) -> bytes:
    """The hot state of any service that was heard of once, at that instant."""
    row = ServiceRow(
        service_id=ServiceId(1),
        version=1,
        heartbeat_name=name_of(0),
        service_name="owner-0",
        active=True,
        interval_ms=DurationMs(HOUR_MS),
        grace_ms=DurationMs(0),
        threshold=threshold,
        recovery_ms=DurationMs(0),
        renotify_ms=None,
        team="team-0",
        priority="p3",
        runbook="",
        date_added=InstantMs(heard_at),
        date_modified=InstantMs(heard_at),
    )
    service = Service(row, row.policy(Defaults()), registered=SightedMs(heard_at))
    service.status = Status.UP
    service.heard_kind = HeartbeatStatus.UP
    service.last_sign = SightedMs(heard_at)
    service.last_heartbeat_at = InstantMs(heard_at)
    service.last_status = "UP"
    service.heartbeats_total = 1
    return pack_state(service)


async def add_group(transaction: Transaction, group: Group, heard_at: int) -> None:
    """Insert the services and their states."""
    await transaction.execute(
        _SERVICES,
        "service-",
        group.first,
        group.count,
        group.interval_ms,
        group.step_ms,
        group.threshold,
        group.priority,
        seconds=SEED_SECONDS,
    )
    hot = packed_state(heard_at, group.threshold)
    await transaction.execute(_STATES, group.first, group.count, float(heard_at), hot, seconds=SEED_SECONDS)


async def _seed(data_dir: Path, groups: Sequence[Group], heard_at: int) -> None:
    limits = Limits(operation_seconds=SEED_SECONDS)
    async with (
        open_bridge() as bridge,
        open_embedded_server(data_dir, bridge=bridge) as server,
        open_database(server.target, bridge=bridge, limits=limits) as database,
    ):
        await migrate(database)
        async with database.transaction() as transaction:
            await transaction.execute("SET LOCAL session_replication_role = replica")
            for group in groups:
                await add_group(transaction, group, heard_at)
            await transaction.execute("SELECT setval('medic.service_id_by_sql', 10000000)")
        await database.execute("ANALYZE medic.services, medic.service_states")


def seed(data_dir: Path, *groups: Group, heard_at: int | None = None) -> int:
    """Make the directory with these services: the instant, in wall milliseconds, at which all were heard of."""
    heard = int(time.time() * 1e3) if heard_at is None else heard_at
    trio.run(_seed, data_dir, groups, heard)
    return heard


def copy(data_dir: Path, to: Path) -> None:
    """A second directory with the same fleet; owners stay, because PostgreSQL looks at them."""
    subprocess.run(["cp", "-a", str(data_dir), str(to)], check=True)


def main() -> None:
    """Seed a directory and say what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="the data directory to make; MEDIC_DATA_DIR of the Medic to come")
    parser.add_argument("--services", type=int, default=100_000)
    parser.add_argument("--threshold", type=int, default=1)
    options = parser.parse_args()
    begun = time.monotonic()
    seed(options.directory, Group(first=0, count=options.services, threshold=options.threshold))
    print(f"{options.services:,} services in {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    main()
