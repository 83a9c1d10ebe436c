"""Who is let in without a key: `MEDIC_AUTH`."""

from __future__ import annotations

from enum import Enum


class AuthMode(Enum):
    """What a request has to show.

    `OPEN`: nothing, if it comes from a program and as directly as operators said. `HEARTBEATS_OPEN`: heartbeats need
    no key, everything else does. `KEYS`: everything needs one.
    """

    OPEN = "open"
    HEARTBEATS_OPEN = "heartbeats-open"
    KEYS = "keys"
