"""Who may send heartbeats: everybody, in the open mode, which is the only one of this release.

The question stands in the way of every heartbeat all the same (`medic.ports.Gatekeeper`), on both ways into Medic and
for each heartbeat of a bulk, so that keys and limits change what is answered here and nothing of who asks. A limit
refuses with an error of its own; that what it refuses is a sign of life all the same is for intake to know.
"""

from __future__ import annotations

from medic.access.caller import Caller
from medic.errors import MedicError


class OpenGate:
    """Implements `ports.Gatekeeper` for a Medic without keys: whoever reaches it may send."""

    def admit_heartbeat(self, caller: Caller, name: str) -> MedicError | None:  # noqa: ARG002 - the port's signature
        """None: it may be taken."""
        return None
