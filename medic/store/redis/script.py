"""Counting in Redis: the arithmetic of `medic.access.gcra` as one script call for many names, by Redis's own clock.

A script runs alone, so what it reads is what it writes over: two processes can never both take the last request. The
clock is the server's, so that processes whose clocks differ count the same; only lengths of time come back.

A name that has no backlog is not there: each is kept as long as its backlog is, by PX. What else a name holds, a list,
a text, an instant further ahead than any backlog, is not ours, and is written over.

One call for hundreds of names costs a third of as many calls with one each. Redis refuses a call for one of its names
(one that the user may not write, or that another node of a cluster has): then each is asked for alone, in one more
round trip, so that the others do not pay for it. Commands of Redis 6.2 only.
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
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local told = {}
for place, name in ipairs(KEYS) do
    local emission, burst = tonumber(ARGV[4 * place - 3]), tonumber(ARGV[4 * place - 2])
    local owed, wanted = tonumber(ARGV[4 * place - 1]), tonumber(ARGV[4 * place])
    local backlog = (tonumber(redis.pcall('GET', name)) or now) - now
    if not (backlog > 0 and backlog <= 2 * burst) then
        backlog = 0
    end
    backlog = math.min(backlog + owed * emission, 2 * burst)
    local granted = math.max(0, math.min(wanted, math.floor((burst - backlog) / emission)))
    backlog = backlog + granted * emission
    if backlog > 0 then
        redis.call('SET', name, string.format('%.0f', now + backlog), 'PX', math.ceil(backlog / 1000))
    end
    told[2 * place - 1], told[2 * place] = granted, backlog
end
return told
"""
"""KEYS: the names. ARGV, for each: emission and burst of the limit in µs; requests to count whether they fit or not;
requests to count as far as they fit. Returns for each how many of these it counted, and the backlog in µs. What is owed
adds at most a burst, so that a name that was paid for with a wrong limit is not shut for long."""

SCRIPT_SHA: Final = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

PREFIX: Final = "medic:limit:"
PROBE: Final = Asking(f"{PREFIX}probe", Limit(1_000_000), owed=1, wanted=0)
"""A write that means nothing: it is gone after a millisecond."""


class Told(NamedTuple):
    """How many of the wanted requests were counted, and the backlog with them."""

    granted: int
    backlog_us: int


async def count_all(
    connection: RedisConnection, asking: Sequence[Asking], prefix: str = ""
) -> Sequence[Told | RedisReplyError]:
    """Count these, by their names behind the prefix: what Redis says to each.

    Takes one round trip. A restarted server has to learn the script, and where one name is refused all are asked for
    again, each alone; what was refused was not counted.

    Raises:
        RedisUnavailableError: Redis refuses them all, whatever their names, or answers something else.
    """
    (reply,) = await _ask(connection, [_request(asking, prefix)])
    if not isinstance(reply, RedisReplyError):
        return _all_told(reply, len(asking))
    if len(asking) == 1:
        return [reply]
    replies = await _ask(connection, [_request([each], prefix) for each in asking])
    return [reply if isinstance(reply, RedisReplyError) else _all_told(reply, 1)[0] for reply in replies]


async def probe(connection: RedisConnection) -> None:
    """Return if this Redis counts.

    Raises:
        RedisUnavailableError: it does not.
    """
    (told,) = await count_all(connection, [PROBE])
    if isinstance(told, RedisReplyError):
        raise told


def _request(asking: Sequence[Asking], prefix: str) -> bytes:
    words: list[str | int] = ["EVALSHA", SCRIPT_SHA, len(asking)]
    words += [prefix + each.name for each in asking]
    for _, limit, owed, wanted in asking:
        words += (limit.emission_us, limit.burst_us, owed, wanted)
    return encode(*words)


async def _ask(connection: RedisConnection, requests: Sequence[bytes]) -> list[Reply]:
    replies = await connection.ask(requests)
    unknown = [place for place, reply in enumerate(replies) if _is_unknown(reply)]
    if unknown:
        await connection.ask([encode("SCRIPT", "LOAD", SCRIPT)])
        again = await connection.ask([requests[place] for place in unknown])
        for place, reply in zip(unknown, again, strict=True):
            replies[place] = reply
    for reply in replies:
        if isinstance(reply, RedisReplyError) and reply.refuses_all:
            raise reply
    return replies


def _is_unknown(reply: Reply) -> bool:
    return isinstance(reply, RedisReplyError) and reply.code == "NOSCRIPT"


def _all_told(reply: Reply, count: int) -> list[Told]:
    if isinstance(reply, list) and len(reply) == 2 * count:
        numbers = [each for each in reply if isinstance(each, int)]
        if len(numbers) == 2 * count:
            return list(map(Told, numbers[::2], numbers[1::2]))
    raise RedisUnavailableError("it answers what was not asked")
