"""Who may do what: asked once for each request, before its body is read, and for the name of each heartbeat.

Three modes (`medic.access.mode`), two questions:

    recognise         who is it, and may they come in at this route?  The key, its scope; without one, the rules of
                      `medic.access.keyless`. Answers a `Caller`, or raises what the request is refused with.
    admit_heartbeat   may they send heartbeats of this name?  Restrictions of the key; services that need one.

The hot path. A connection of the express lane remembers its caller (`Remembered`) for as long as the request introduces
itself in the same way, no key was changed, and a second has not passed, nor the end of the key: then the first question
costs two comparisons. So a revocation is seen by the next heartbeat of a kept-alive connection, an end that comes with
time to the millisecond, and a step of the wall clock within a second. The second question is two looks at the key where
it is not restricted; only a key that is needs the service. Without a key the service is looked at once a day: then its
name is remembered, until some service goes or needs a key now, or the day is over. Among 100 000 services that look is
1.6 µs, most of it memory that nobody has touched for a while.

In the open mode nobody is asked, so a key that is shown there is a name to write down and nothing else: it restricts
nothing, and one that is not valid is as good as none, for what makes no difference must not make a well service late.
It is counted, so that operators see it before they choose another mode. Two things go by the key all the same: a
service with `require_key`, and a request that would not be let in without one.

A heartbeat may be signed instead (`medic.access.signed`): then it is the body that says who sent it, and the question
is asked once that is there (`recognise_signed`). The express lane leaves such requests to the other way.

Failures are counted by reason, handed to the audit, and by address: `medic.access.failures`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from medic.access.caller import Caller, Remembered
from medic.access.entrance import Entrance
from medic.access.failures import FailedSignIns
from medic.access.introduction import Introduction, shown_key
from medic.access.keyless import KeylessRules
from medic.access.keys import ID_LENGTH, KEY_PREFIX, ApiKey, KeyRing
from medic.access.mode import AuthMode
from medic.access.restriction import may_beat, reaches
from medic.access.scope import Scope
from medic.access.signed import WEBHOOK_KEY_ID, SignedRequests
from medic.access.uses import KeyUses, day_of
from medic.core.units import DAY_MS, InstantMs
from medic.errors import ForbiddenError, MedicError, RateLimitedError, RefusedError, UnauthorizedError
from medic.ports import Clock, Roster

REMEMBERED_SECONDS: Final = 1.0
"""How long a connection goes on with the caller it was recognised as: the use of a key is then noted again."""

LET_IN_MAX: Final = 200_000
"""Names that are remembered as let in without a key today: 8 MB of table, and their text where nobody else has it."""

KEY_NEEDED: Final = "This needs an API key. Send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`."
KEY_NEEDED_IN_ONE_LINE: Final = f"{KEY_NEEDED} In one line: `curl -u KEY: URL`."

ANY_SCOPE: Final = frozenset({Scope.ADMIN})


class FailureMeter(Protocol):
    """Counts failures."""

    def fail_authentication(self, reason: str) -> None:
        """Count a caller that was turned away; `reason` is one word."""
        ...


Failure = UnauthorizedError | ForbiddenError

NoteFailure = Callable[[str, str, str], None]
"""Takes reason, address and key id (empty where none is known) of a request that was turned away."""


def note_nothing(reason: str, address: str, key_id: str) -> None:
    """For who writes no failures down."""


class Gate:
    """Implements `medic.access.ports.Gatekeeper`.

    Args:
        mode: `MEDIC_AUTH`.
        ring: The keys there are.
        uses: Told whenever a key is shown, or a heartbeat comes without one.
        keyless: What may come without a key, where anything may.
        roster: For the teams of services, and whether they need a key.
        clock: Wall time.
        meter: Told of each failure.
        note_failure: The same, for the audit.
        signed: Verifies requests that are signed instead; None: they are requests like any other.
    """

    def __init__(
        self,
        mode: AuthMode,
        ring: KeyRing,
        uses: KeyUses,
        *,
        keyless: KeylessRules,
        roster: Roster,
        clock: Clock,
        meter: FailureMeter,
        note_failure: NoteFailure = note_nothing,
        signed: SignedRequests | None = None,
    ) -> None:
        self._mode = mode
        self._ring = ring
        self._uses = uses
        self._keyless = keyless
        self._roster = roster
        self._clock = clock
        self._meter = meter
        self._note_failure = note_failure
        self._signed = signed
        self._failures = FailedSignIns()
        self._now = clock.now()
        self._let_in: set[str] = set()
        self._key_rules = roster.key_rules
        self._day_ends = InstantMs(0)

    @property
    def version(self) -> int:
        """Grows with every change of the keys."""
        return self._ring.version

    # ------------------------------------------------------------------------------------------------- who, and where

    def recognise(self, introduction: Introduction, address: str, entrance: Entrance) -> Caller:
        """Who sends this request.

        Args:
            introduction: Its headers.
            address: The caller's.
            entrance: What the route asks for.

        Raises:
            UnauthorizedError: a key is needed and none is shown, or none that is valid.
            ForbiddenError: the key does not do for this route; or none is shown, and the request is none that may come
                without.
            RateLimitedError: as the first, for the so-and-so-manieth time this minute.
        """
        if entrance.scope is None:
            return Caller(address)
        self._now = self._clock.now()
        if self._mode is AuthMode.OPEN:
            return self._recognise_open(introduction, address, entrance)
        return Caller(address, self._recognise_key(introduction, address, entrance, entrance.scope))

    @property
    def verifies_signatures(self) -> bool:
        """Whether a request may be signed instead of carrying a key."""
        return self._signed is not None

    def recognise_signed(self, headers: Mapping[str, str], body: bytes, address: str) -> Caller:
        """Who sends this heartbeat, by its signature: in every mode, for it proves who sent it.

        Args:
            headers: Of the request, those of the scheme at least.
            body: As it came.
            address: The caller's.

        Raises:
            UnauthorizedError: the signature is wrong, stale, or was shown before.
            RateLimitedError: as the first, for the so-and-so-manieth time this minute.
        """
        self._now = self._clock.now()
        try:
            return Caller(address, None if self._signed is None else self._signed.verify(headers, body, self._now))
        except UnauthorizedError as error:
            raise self._failed(error, address, key_id=WEBHOOK_KEY_ID) from None

    def turn_away(self, error: UnauthorizedError, address: str, *, key_id: str) -> RefusedError:
        """What is answered to a request whose signature somebody else looked at and did not believe; it is counted.

        Args:
            error: Why.
            address: The caller's.
            key_id: What stands in place of a key's, for the audit.
        """
        self._now = self._clock.now()
        return self._failed(error, address, key_id=key_id)

    def remember(self, introduction: Introduction, caller: Caller, now: float) -> Remembered:
        """What a connection may go on with.

        Args:
            introduction: What it was recognised by in this turn.
            caller: As whom.
            now: Instant of trio's clock.
        """
        seconds, key = REMEMBERED_SECONDS, caller.key
        if key is not None and key.expires_at is not None:
            seconds = min(seconds, (key.expires_at - self._now) / 1000)
        return Remembered(introduction, self._ring.version, now + seconds, caller)

    def _recognise_open(self, introduction: Introduction, address: str, entrance: Entrance) -> Caller:
        key = self._known_key(introduction, address, entrance)
        refusal = self._keyless.refusal(introduction)
        if refusal is None:
            return Caller(address, None if key is None else replace(key, scopes=ANY_SCOPE, names=(), teams=()))
        if key is None or entrance.scope is None:
            raise self._failed(refusal, address)
        self._require(key, address, entrance, entrance.scope)
        return Caller(address, key)

    def _known_key(self, introduction: Introduction, address: str, entrance: Entrance) -> ApiKey | None:
        """The key that is shown, if it is one; what is meant for others in front of Medic is passed over."""
        if not introduction.authorization and not introduction.api_key:
            return None
        try:
            key = self._ring.find(shown_key(introduction, takes_basic=entrance.takes_basic), self._now)
        except UnauthorizedError as error:
            if any(KEY_PREFIX in text for text in (*introduction.authorization, *introduction.api_key)):
                self._failed(error, address)
            return None
        self._uses.note(key, self._now, address)
        return key

    def _recognise_key(
        self, introduction: Introduction, address: str, entrance: Entrance, scope: Scope
    ) -> ApiKey | None:
        text = ""
        try:
            text = shown_key(introduction, takes_basic=entrance.takes_basic)
            key = self._ring.find(text, self._now) if text else None
        except UnauthorizedError as error:
            raise self._failed(error, address, key_id=self._known_id(text)) from None
        if key is not None:
            self._require(key, address, entrance, scope)
            self._uses.note(key, self._now, address)
            return key
        if self._mode is AuthMode.KEYS or scope is not Scope.HEARTBEAT:
            sentence = KEY_NEEDED_IN_ONE_LINE if entrance.takes_basic else KEY_NEEDED
            raise self._failed(UnauthorizedError(sentence, reason="missing"), address)
        refusal = self._keyless.page_refusal(introduction)
        if refusal is not None:
            raise self._failed(refusal, address)
        return None

    def _require(self, key: ApiKey, address: str, entrance: Entrance, scope: Scope) -> None:
        if not scope.is_granted_by(key.scopes):
            refusal = ForbiddenError(
                f"This needs the scope {scope.value}, which the key {key.name} does not have.", reason="scope"
            )
            raise self._failed(refusal, address, key_id=key.key_id)
        if (key.names or key.teams) and not entrance.narrows:
            refusal = ForbiddenError(
                f"The key {key.name} is restricted to certain names or teams, and this is not.", reason="restricted"
            )
            raise self._failed(refusal, address, key_id=key.key_id)

    # -------------------------------------------------------------------------------------------------- whose heartbeat

    def admit_heartbeat(self, caller: Caller, name: str) -> MedicError | None:
        """None where the caller may send heartbeats of that name; else what they are told."""
        key = caller.key
        if key is None:
            if name in self._let_in and self._roster.key_rules == self._key_rules and self._now < self._day_ends:
                return None
            return self._admit_keyless(caller, name)
        if self._mode is not AuthMode.OPEN:
            return self._admit_restricted(caller, key, name) if key.names or key.teams else None
        return self._admit_labelled(caller, key, name)

    def _admit_keyless(self, caller: Caller, name: str) -> MedicError | None:
        service = self._roster.find(name)
        if service is None:
            return None  # intake says so
        row = service.row
        if row.require_key:
            refusal = UnauthorizedError(f"{row.heartbeat_name} takes heartbeats with a key only.", reason="missing")
            return self._failed(refusal, caller.address)
        self._uses.note_keyless(row.service_id, self._now)
        self._let_in_again(name)
        return None

    def _let_in_again(self, name: str) -> None:
        """Today's next heartbeats of this name need no look at its service, as long as the rules are the same."""
        if self._roster.key_rules != self._key_rules or self._now >= self._day_ends:
            self._let_in.clear()
            self._key_rules = self._roster.key_rules
            self._day_ends = InstantMs((day_of(self._now) + 1) * DAY_MS)
        if len(self._let_in) < LET_IN_MAX:
            self._let_in.add(name)

    def _admit_restricted(self, caller: Caller, key: ApiKey, name: str) -> MedicError | None:
        service = self._roster.find(name)
        if reaches(key, name, None if service is None else service.row.team):
            return None
        return self._failed(_not_this_name(key, name), caller.address, key_id=key.key_id)

    def _admit_labelled(self, caller: Caller, label: ApiKey, name: str) -> MedicError | None:
        """In the open mode: only a service that needs a key asks what the key may."""
        service = self._roster.find(name)
        if service is None or not service.row.require_key:
            return None
        key = label if label.key_id == WEBHOOK_KEY_ID else self._ring.by_id(label.key_id)
        if key is not None and may_beat(key, name, service.row.team):
            return None
        return self._failed(_not_this_name(label, name), caller.address, key_id=label.key_id)

    # -------------------------------------------------------------------------------------------------------- failures

    def _known_id(self, text: str) -> str:
        """The id in what was shown, where there is such a key: for people who look for the client that shows it.

        Any other was invented by whoever asks. Written down, it would make each request a source of its own in the
        audit: one address could fill that, and crowd out the refusals of all others.
        """
        begin, end = len(KEY_PREFIX), len(KEY_PREFIX) + ID_LENGTH
        shown = text[begin:end] if text.startswith(KEY_PREFIX) and text[end : end + 1] == "_" else ""
        return shown if shown and self._ring.by_id(shown) is not None else ""

    def _failed(self, error: Failure, address: str, *, key_id: str = "") -> RefusedError:
        """Count the failure; what its caller is told."""
        reason = error.reason
        self._meter.fail_authentication(reason)
        self._note_failure(reason, address, key_id)
        if not isinstance(error, UnauthorizedError):
            return error
        wait = self._failures.note(address, self._now)
        if wait is None:
            return error
        return RateLimitedError(
            "Too many requests without a valid key came from this address. One with a valid key is answered.",
            limit=self._failures.most,
            reset_seconds=wait,
            retry_after_seconds=wait,
        )


def _not_this_name(key: ApiKey, name: str) -> ForbiddenError:
    # Said of names that are not registered as well: a key of one team does not learn what the others have.
    return ForbiddenError(f"The key {key.name} may not send heartbeats of {name}.", reason="name")
