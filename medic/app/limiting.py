"""Builds what counts requests."""

from __future__ import annotations

from medic.access.limits import Limits
from medic.config.settings import RateLimits
from medic.store.limiter import Limiter
from medic.store.redis.address import RedisAddress
from medic.store.redis.client import Redis
from medic.store.redis.script import probe


def build_limiter(settings: RateLimits) -> Limiter:
    """The limiter of this process; with Redis where the settings say so."""
    limits = Limits(
        caller=settings.heartbeats_caller,
        unknown=settings.unknown,
        management=settings.management,
        reads=settings.reads,
    )
    redis = None
    if settings.limiter == "redis" and settings.redis_url is not None:
        address = RedisAddress.of(settings.redis_url.get_secret_value())
        redis = Redis(address, pool_size=settings.redis_pool_size, probe=probe)
    return Limiter(limits, redis)
