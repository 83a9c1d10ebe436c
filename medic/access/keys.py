"""What an API key is."""

from __future__ import annotations

from dataclasses import dataclass

from medic.access.scope import Scope
from medic.core.units import InstantMs


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One API key, without its secret.

    Attributes:
        key_id: The part of `mdk_<id>_<secret>` by which it is found.
        name: What people call it; unique among keys that are not revoked.
        scopes: What it may do.
        names: Heartbeat names it is restricted to, with `*`; empty: every name.
        teams: Teams it is restricted to; empty: every team.
        digest: Hash of the secret.
        former_digest: Hash of the secret before the last rotation, valid until `former_until`; None: none.
        expires_at, revoked_at: When it ends, and ended; None: it does not, did not.
    """

    key_id: str
    name: str
    scopes: frozenset[Scope]
    digest: bytes
    date_added: InstantMs
    added_by: str = ""
    names: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    former_digest: bytes | None = None
    former_until: InstantMs | None = None
    expires_at: InstantMs | None = None
    revoked_at: InstantMs | None = None
