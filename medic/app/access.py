"""The gate as the settings want it, and what is said of it at a start."""

from __future__ import annotations

from medic.access.keyless import KeylessRules
from medic.access.keys import KeyRing
from medic.access.mode import AuthMode
from medic.access.signed import SignedRequests, read_secret
from medic.access.uses import KeyUses
from medic.config.rules import CHOICE
from medic.config.settings import Settings
from medic.core.units import InstantMs
from medic.errors import ConfigurationError, Fault
from medic.http.gate import FailureMeter, Gate, NoteFailure, note_nothing
from medic.ports import Clock, Roster


def build_gate(
    settings: Settings,
    ring: KeyRing,
    uses: KeyUses,
    *,
    roster: Roster,
    clock: Clock,
    meter: FailureMeter,
    awake_until: InstantMs,
    note_failure: NoteFailure = note_nothing,
) -> Gate:
    """The gatekeeper of this Medic.

    Args:
        settings: From `medic.config`.
        ring: The API keys.
        uses: Counts them.
        roster: The services, some of which ask for a key.
        clock: Where instants come from.
        meter: Counts who is turned away.
        awake_until: The last instant at which a run before this one may have taken requests.
        note_failure: Told of who is turned away.
    """
    access = settings.access
    keyless = KeylessRules(
        hosts=access.hosts, origins=access.cors_origins, trusts_proxies=bool(settings.listen.trusted_proxies)
    )
    signed = _signed_requests(settings, clock.now(), awake_until)
    return Gate(
        access.mode,
        ring,
        uses,
        keyless=keyless,
        roster=roster,
        clock=clock,
        meter=meter,
        note_failure=note_failure,
        signed=signed,
    )


def describe_signatures(settings: Settings) -> str:
    """Whether signed heartbeats are verified, for the first screen."""
    if settings.webhook_secret is None:
        return "signatures of heartbeats are not looked at: MEDIC_WEBHOOK_SECRET is not set"
    return "a signed heartbeat (Standard Webhooks) needs no key"


def _signed_requests(settings: Settings, now: InstantMs, awake_until: InstantMs) -> SignedRequests | None:
    if settings.webhook_secret is None:
        return None
    secret = read_secret(settings.webhook_secret.get_secret_value())
    return SignedRequests(secret, added_at=now, awake_until=awake_until)


def require_keys(settings: Settings, ring: KeyRing, now: InstantMs) -> None:
    """Return if somebody can get in.

    Raises:
        ConfigurationError: nobody can: the mode needs a key, and there is none that works.
    """
    mode = settings.access.mode
    if mode is AuthMode.OPEN or ring.usable(now):
        return
    sentence = f"is {mode.value}, and there is no key: none is stored that works, and MEDIC_ADMIN_API_KEY is not set."
    raise ConfigurationError((Fault("MEDIC_AUTH", f"{sentence} {CHOICE}"),))


def describe_access(settings: Settings) -> str:
    """Who may do what, for the first screen."""
    access, where = settings.access, settings.listen
    if access.mode is AuthMode.KEYS:
        return "everything but health needs an API key (MEDIC_AUTH=keys)"
    if access.mode is AuthMode.HEARTBEATS_OPEN:
        return "heartbeats need no API key, everything else does (MEDIC_AUTH=heartbeats-open)"
    if where.loopback_only:
        return "open to every program on this machine, no API key needed; MEDIC_AUTH=keys asks for keys"
    return "open to whoever reaches the port (MEDIC_AUTH=open): they may register, mute and delete services"
