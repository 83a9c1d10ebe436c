"""Who asks for something, and who a change is written down under."""

from __future__ import annotations

from dataclasses import dataclass

from medic.access.introduction import Introduction
from medic.access.keys import ApiKey


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request.

    Attributes:
        address: As CONTRACT 3 finds it: the connection's other end, or what a trusted proxy says.
        key: The key that was shown and is valid; None where none was, which the mode allows.
    """

    address: str
    key: ApiKey | None = None


NOBODY = Caller("")
"""Where it does not matter, or nobody asks."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a connection was recognised by, and as whom.

    Attributes:
        introduction: What it showed.
        version: The gatekeeper's, of that moment.
        until: Instant of trio's clock from which it has to be recognised anew.
        caller: Who it is.
    """

    introduction: Introduction
    version: int
    until: float
    caller: Caller


@dataclass(frozen=True, slots=True)
class Author:
    """Under whom a change is written down, in the audit above all.

    Attributes:
        name: Whom people read: the key's name, else what `X-Actor` says, else the address. `SQL` and `Medic` are the
            two that send no request.
        key_id: Of the key that was shown; empty where none was.
        address: The caller's; empty where there is none.
        request_id: Of the request, as the answer's `X-Request-Id` says; empty where there is none.
        label: What `X-Actor` said, beside the authenticated name.
    """

    name: str
    key_id: str = ""
    address: str = ""
    request_id: str = ""
    label: str = ""


MEDIC = Author("Medic")
"""What Medic does by itself."""
