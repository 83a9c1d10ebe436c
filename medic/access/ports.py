"""The seams of access: what lets in and counts, what stores keys, what changes them. `medic.app` joins them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from medic.access.caller import Author, Caller, Remembered
from medic.access.entrance import Entrance
from medic.access.gcra import Standing
from medic.access.introduction import Introduction
from medic.access.keys import ApiKey, KeyDraft
from medic.access.limits import Counted
from medic.access.uses import Day, KeyUse, Unwritten
from medic.core.service import Service
from medic.core.units import DurationMs, InstantMs, ServiceId, SightedMs
from medic.errors import MedicError, RateLimitedError, RefusedError, UnauthorizedError


class KeyStore(Protocol):
    """API keys as stored, each change with its audit entry.

    Every method raises `DatabaseUnavailableError` where PostgreSQL does not answer; then nothing was changed.
    """

    async def insert(self, key: ApiKey, *, author: Author) -> None:
        """Raises `InvalidInputError` where another key has its name, or there are as many as there may be."""
        ...

    async def rotate(self, key_id: str, digest: bytes, overlap_ms: DurationMs, *, author: Author) -> ApiKey | None:
        """The key with its new secret; None where there is none of that id that works."""
        ...

    async def revoke(self, key_id: str, *, author: Author) -> ApiKey | None:
        """The key, which works no more; None where there is none of that id that was not revoked."""
        ...

    async def all(self) -> Sequence[ApiKey]:
        """Every key, revoked ones among them."""
        ...

    async def note_told(self, key: ApiKey, days_left: int) -> bool:
        """Remember of how many days left people were told; False where that was known, or the key is another."""
        ...

    async def write_uses(self, unwritten: Unwritten) -> None:
        """Store a batch; what is newer there stays."""
        ...

    async def forget_keyless(self) -> None:
        """Remove the services whose last heartbeat without a key is too long ago to be told of."""
        ...

    async def uses(self) -> Sequence[KeyUse]:
        """The newest use of each key that was used."""
        ...

    def keyless(self) -> AsyncIterator[Mapping[ServiceId, Day]]:
        """The services heard without a key in the last days, in slices."""
        ...


class Keys(Protocol):
    """API keys as operators change them: stored first, then known to whoever checks them, then answered."""

    async def create(self, draft: KeyDraft, *, author: Author) -> tuple[ApiKey, str]:
        """The key, and its text, which is never to be had again."""
        ...

    async def rotate(self, key_id: str, overlap_ms: DurationMs, *, author: Author) -> tuple[ApiKey, str]:
        """The key with its new text; the one before works on for the overlap. Raises `UnknownKeyError`."""
        ...

    async def revoke(self, key_id: str, *, author: Author) -> ApiKey:
        """Raises `UnknownKeyError`."""
        ...

    def require_other_admin(self, key_id: str) -> None:
        """Return unless nobody could make keys any more without this one; else raise `LastAdminKeyError`."""
        ...

    def all(self) -> Sequence[ApiKey]:
        """From memory: PostgreSQL need not be there."""
        ...

    def last_use(self, key_id: str) -> KeyUse | None:
        """The newest use of that key, or None where none is known."""
        ...

    def keyless_on(self, service_id: ServiceId) -> Day | None:
        """The newest day of the last seven on which that service was heard without a key."""
        ...


class HeartbeatLimits(Protocol):
    """How many heartbeats are stored. Asked for nearly every one, so it answers from memory, at once.

    A refusal is returned and not raised, because what it refuses is a sign of life all the same.
    """

    @property
    def counts_callers(self) -> bool:
        """Whether there is a limit a caller: then every heartbeat is asked for, however rare its service's are."""
        ...

    def refuse_heartbeat(
        self, service: Service, at: InstantMs, sighted: SightedMs, caller: Caller
    ) -> RateLimitedError | None:
        """None: one more heartbeat of the service is stored, and counted for it and its caller."""
        ...

    def heartbeat_wait_us(self, service: Service, at: InstantMs, sighted: SightedMs) -> int:
        """0: one more is stored, and is the service's last one then (`last_heartbeat_at`); else how long none is.

        Asked where callers are not counted, and for heartbeats that count for their service whatever was before.
        """
        ...

    def refuse_unknown(self, caller: Caller) -> RateLimitedError | None:
        """None: the caller may be told that the name is not registered, and it was counted."""
        ...


class RequestLimits(Protocol):
    """How many other requests a caller may make."""

    async def count(self, counted: Counted, caller: Caller) -> Standing | None:
        """How the caller stands with this request; None where there is no limit. Waits for Redis, 50 ms at most.

        Raises:
            RateLimitedError: it is one too many.
        """
        ...


class Gatekeeper(Protocol):
    """Decides who may come in, before anything of a request is looked at, and whose heartbeats they may send.

    It answers from memory, at once, and makes nothing lasting where the answer is yes.
    """

    @property
    def version(self) -> int:
        """Grows with every change of what callers may; whoever remembers one asks anew then."""
        ...

    def recognise(self, introduction: Introduction, address: str, entrance: Entrance) -> Caller:
        """Who sends a request, from its headers, their address, and what the route asks for.

        Raises:
            UnauthorizedError, ForbiddenError, RateLimitedError: they may not come in here.
        """
        ...

    @property
    def verifies_signatures(self) -> bool:
        """Whether a heartbeat may be signed instead of carrying a key."""
        ...

    def recognise_signed(self, headers: Mapping[str, str], body: bytes, address: str) -> Caller:
        """Who sends a signed heartbeat. Raises as `recognise` does."""
        ...

    def turn_away(self, error: UnauthorizedError, address: str, *, key_id: str) -> RefusedError:
        """What is answered where a signature of another kind was looked at and not believed; it is counted."""
        ...

    def remember(self, introduction: Introduction, caller: Caller, now: float) -> Remembered:
        """For how long a connection that was just recognised need not be again. `now` is of trio's clock."""
        ...

    def admit_heartbeat(self, caller: Caller, name: str) -> MedicError | None:
        """None where the heartbeat of that name may be taken; else what its caller is told.

        Asked for every heartbeat, those of a bulk one by one. A refusal is returned and not raised: under a flood it is
        the usual answer.
        """
        ...
