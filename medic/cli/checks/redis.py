"""Redis: asked with the very write that limits need."""

from __future__ import annotations

from medic.alerting.outbound import safe
from medic.cli.checks.finding import Finding, Verdict, words
from medic.config.settings import Settings
from medic.store.redis.address import RedisAddress
from medic.store.redis.connection import RedisConnection
from medic.store.redis.script import probe
from medic.store.redis.wire import RedisReplyError, RedisUnavailableError


async def look_at_redis(settings: Settings) -> list[Finding]:
    """Whether it counts: a replica, a full one and one that wants another password answer, and do not."""
    url = settings.limits.redis_url
    if url is None:
        to_do = "set REDIS_URL where several Medics are to count together"
        return [Finding("Redis", Verdict.NOTE, "not configured: limits will be counted in memory", to_do)]
    try:
        async with await RedisConnection.open(RedisAddress.of(url.get_secret_value())) as connection:
            await probe(connection)
    except RedisReplyError as refused:
        to_do = "check the password and the database in REDIS_URL, and that this Redis takes writes"
        return [Finding("Redis", Verdict.BAD, f"answers, and cannot be used: {safe(refused.reason)}", to_do)]
    except RedisUnavailableError as error:
        found = safe(error.reason) if error.__cause__ is None else f"{error.reason}: {words(error)}"
        return [Finding("Redis", Verdict.BAD, found, "check REDIS_URL, and that it is up")]
    return [Finding("Redis", Verdict.OK, "answers, and counts")]
