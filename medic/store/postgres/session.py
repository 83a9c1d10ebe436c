"""One session with PostgreSQL as all of Medic's are: its settings, and how instants cross.

Instants cross as `InstantMs`: every `timestamptz`, read or written, is an integer of milliseconds since 1970, so that a
million rows make no datetime objects. `FOREVER` stands for 'infinity'. `jsonb` is text. Each session shows in
`medic.writer` the word of `medic.own_sessions`, by which triggers know Medic's own changes from SQL by hand.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import asyncpg

from medic.core.units import InstantMs
from medic.store.postgres.target import ConnectionTarget

FOREVER: Final = InstantMs(9_223_372_036_854_775)
"""What `timestamptz 'infinity'` reads as, and what writes it."""

VANISHED_CLIENT: Final = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
"""How soon the server ends a session whose client's machine is gone without a word: after 5 + 3 x 2 = 11 s of silence,
or 10 s with an answer on its way. By default it takes two hours, and until then the session's locks stand: no other
Medic could take over. Without meaning on a Unix socket, where the kernel knows at once."""

SHOW_AS_OWN: Final = """
DO $$
BEGIN
    IF to_regclass('medic.own_sessions') IS NOT NULL THEN
        PERFORM set_config('medic.writer', word, false) FROM medic.own_sessions;
    END IF;
END
$$
"""
"""Makes the session Medic's own. Does nothing before the migration that makes the table; that says it once more. In the
server, so that the word is in no answer and in no log of statements."""

_POSTGRES_EPOCH_US: Final = 946_684_800_000_000
_INFINITY_US: Final = 9_223_372_036_854_775_807


async def open_connection(target: ConnectionTarget, seconds: float) -> asyncpg.Connection:
    """An asyncio coroutine function: a new connection with Medic's session settings and instants."""
    connection = await asyncpg.connect(
        dsn=target.ssl_dsn(),
        host=target.host,
        port=target.port,
        database=target.database,
        user=target.user,
        password=target.password,
        timeout=seconds,
        server_settings={
            "application_name": "medic",
            "search_path": "medic, public",
            "TimeZone": "UTC",
            "client_min_messages": "warning",
            "jit": "off",
            # A token has to be read as it is after the wait for its lock (`medic.require_token`).
            "default_transaction_isolation": "read committed",
            **VANISHED_CLIENT,
        },
    )
    try:
        await connection.set_type_codec(
            "timestamptz", schema="pg_catalog", encoder=_encode_instant, decoder=_decode_instant, format="tuple"
        )
        await connection.execute(SHOW_AS_OWN)
        # A statement that Medic no longer waits for ends within this, and with it its locks. Where the server's system
        # cannot see that a client went away, it refuses.
        with suppress(asyncpg.PostgresError):
            await connection.execute("SET client_connection_check_interval = '1s'")
    except BaseException:
        connection.terminate()
        raise
    return connection


def _encode_instant(instant: int) -> tuple[int]:
    return (_INFINITY_US,) if instant == FOREVER else (instant * 1000 - _POSTGRES_EPOCH_US,)


def _decode_instant(value: tuple[int]) -> InstantMs:
    microseconds = value[0]
    return FOREVER if microseconds == _INFINITY_US else InstantMs((microseconds + _POSTGRES_EPOCH_US) // 1000)
