"""Names that tests look up without asking anybody."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import trio

from medic.access.allowlist import read_entry
from medic.alerting.guard import Guard

PUBLIC = "93.184.215.14"


class Names:
    """Implements `medic.alerting.guard.Resolve`: each lookup of a name gets its next answer, and the last one again."""

    def __init__(self, **answers: Sequence[str]) -> None:
        self.asked: list[str] = []
        self._answers = {name.replace("_", "."): list(given) for name, given in answers.items()}

    async def __call__(self, host: str, port: int, lookups: trio.CapacityLimiter) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        self.asked.append(host)
        answers = self._answers.get(host, [PUBLIC])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if not answer:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answer.split()


def guard(*entries: str, names: Names | None = None) -> Guard:
    """A guard with these entries of the allowlist, that asks no resolver."""
    return Guard(tuple(read_entry(entry) for entry in entries), resolve=names or Names())


def loopback_guard() -> Guard:
    """For vendors that a test runs on this machine; `localhost` and kin are really looked up."""
    return Guard((read_entry("127.0.0.0/8"),))
