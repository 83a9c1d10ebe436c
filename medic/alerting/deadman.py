"""One call to whoever notices when the calls end: `MEDIC_DEADMAN_URL`.

The address is an operator's, and is asked through the guarded client all the same: what stands in it behind the host is
a secret, and has to go nowhere else. For the same reason no detail of an attempt carries any piece of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from medic.access.concealment import SHORTEST
from medic.alerting.attempt import Attempt, Delivered, SecretMissing, Throttled
from medic.alerting.guard import Guard, guarded_client
from medic.alerting.outbound import Answer, host_of, judge, post, safe
from medic.alerting.resolving import Resolve, resolve_nothing
from medic.core.units import InstantMs
from medic.ports import Clock

FAILURES_TOLD: Final = 3
"""Failures in a row from which on it is said: one or two are a network's ordinary weather."""


@dataclass(frozen=True, slots=True)
class DeadmanStatistics:
    """How the calls go.

    Attributes:
        succeeded, failed: Calls, by how they ended.
        withheld: Times at which a call was due and was not made, because Medic made no progress.
        failures: In a row, until now.
        failing_since: When the first of these was.
        last_error: The newest failure, for anybody; empty where the newest call succeeded.
        stuck: The part because of which no call is made now, or None.
        last_success_at: Or None.
    """

    succeeded: int = 0
    failed: int = 0
    withheld: int = 0
    failures: int = 0
    failing_since: InstantMs | None = None
    last_error: str = ""
    stuck: str | None = None
    last_success_at: InstantMs | None = None


class DeadmanCall:
    """Makes calls, over connections of its own.

    Args:
        url: The address; may refer to stored secrets.
        key: Sent as `Authorization: Bearer`; may be such a reference; empty: none is sent.
        clock: To measure a Retry-After that is a date.
        guard: Says whether anything may be sent there.
        resolve: Puts values in place of references.
    """

    def __init__(
        self, url: str, *, key: str = "", clock: Clock, guard: Guard, resolve: Resolve = resolve_nothing
    ) -> None:
        self._url = url
        self._key = key
        self._clock = clock
        self._resolve = resolve
        self._client = guarded_client(guard)

    async def attempt(self) -> Attempt:
        """Call once. 2xx is delivered. The details of the others show nothing of the address."""
        url, key = self._resolve(self._url), self._resolve(self._key)
        if isinstance(url, SecretMissing):
            return url
        if isinstance(key, SecretMissing):
            return key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = await post(self._client, url, content=b"", headers=headers, clock=self._clock)
        attempt = judge(answer, "") if isinstance(answer, Answer) else answer
        if isinstance(attempt, Delivered):
            return attempt
        return replace(attempt, detail=safe(attempt.detail, *_secrets_of(url), key))

    def describe(self) -> str:
        """The host: the rest of the address may be a secret."""
        return host_of(self._url)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()


def asked_wait(attempt: Attempt) -> float:
    """The seconds that whoever was called asked for; 0 where he asked for none."""
    match attempt:
        case Throttled(retry_after=seconds) if seconds is not None:
            return seconds
        case _:
            return 0.0


def _secrets_of(url: str) -> tuple[str, ...]:
    """The address, and the pieces of it by which it could be told."""
    parts = urlsplit(url)
    pieces = (url, parts.path.strip("/"), parts.query, *parts.path.split("/"))
    return tuple(piece for piece in pieces if len(piece) >= SHORTEST)
