"""Counting in Redis: the arithmetic of `medic.access.gcra` as one script call for each name, by Redis's own clock.

A script runs alone, so what it reads is what it writes over: two processes can never both take the last request. The
clock is the server's, so that processes whose clocks differ count the same; only lengths of time come back.

A name that has no backlog is not there: each is kept as long as its backlog is, by PX. The names are independent, so
one call has one name and several calls share a round trip; that is also what a Redis Cluster wants. Commands of Redis
6.2 only.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import Final, NamedTuple

from medic.access.gcra import Limit
from medic.access.leases import Asking
from medic.store.redis.connection import RedisConnection
from medic.store.redis.wire import RedisReplyError, RedisUnavailableError, Reply, encode

SCRIPT: Final = """
local emission, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local owed, wanted = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local backlog = math.max(0, tonumber(redis.call('GET', KEYS[1]) or now) - now)
backlog = math.min(backlog + owed * emission, 2 * burst)
local granted = math.max(0, math.min(wanted, math.floor((burst - backlog) / emission)))
backlog = backlog + granted * emission
if backlog > 0 then
    redis.call('SET', KEYS[1], string.format('%.0f', now + backlog), 'PX', math.ceil(backlog / 1000))
end
return {granted, backlog}
"""
"""KEYS: the name. ARGV: emission and burst of the limit in µs; requests to count whether they fit or not; requests to
count as far as they fit. Returns how many of these it counted, and the backlog in µs. What is owed adds at most a
burst, so that a name that was paid for with a wrong limit is not shut for long."""

SCRIPT_SHA: Final = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

PREFIX: Final = "medic:limit:"
PROBE: Final = Asking(f"{PREFIX}probe", Limit(1_000_000), owed=1, wanted=0)
"""A write that means nothing: it is gone after a millisecond."""


class Told(NamedTuple):
    """How many of the wanted requests were counted, and the backlog with them."""

    granted: int
    backlog_us: int


async def count_all(connection: RedisConnection, asking: Sequence[Asking]) -> list[Told]:
    """Count these, with one round trip; with a second and third where a restarted server has to learn the script.

    Raises:
        RedisUnavailableError: Redis refused one, which may be counted or not.
    """
    requests = [_request(each) for each in asking]
    replies = await connection.ask(requests)
    unknown = [place for place, reply in enumerate(replies) if _is_unknown(reply)]
    if unknown:
        await connection.ask([encode("SCRIPT", "LOAD", SCRIPT)])
        again = await connection.ask([requests[place] for place in unknown])
        for place, reply in zip(unknown, again, strict=True):
            replies[place] = reply
    return [_counted(reply) for reply in replies]


async def probe(connection: RedisConnection) -> None:
    """Return if this Redis counts.

    Raises:
        RedisUnavailableError: it does not.
    """
    await count_all(connection, [PROBE])


def _request(asking: Asking) -> bytes:
    limit = asking.limit
    return encode("EVALSHA", SCRIPT_SHA, 1, asking.name, limit.emission_us, limit.burst_us, asking.owed, asking.wanted)


def _is_unknown(reply: Reply) -> bool:
    return isinstance(reply, RedisReplyError) and reply.code == "NOSCRIPT"


def _counted(reply: Reply) -> Told:
    if isinstance(reply, RedisReplyError):
        raise reply
    match reply:
        case [int(granted), int(backlog_us)]:
            return Told(granted, backlog_us)
        case _:
            raise RedisUnavailableError("it answers what was not asked")
