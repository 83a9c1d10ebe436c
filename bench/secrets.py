"""What stored secrets cost: a log line that is searched for them, and a value that takes its place when sending.

    python -m bench.secrets [--rounds 9]

CPU time of this process in microseconds, the median of several rounds, all of them in the same run. The rival of the
search is one pattern of all values; what it is measured beside is the line itself, rendered as JSON.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import statistics
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

import structlog

from medic.access.concealment import CONCEALED, Concealer
from medic.access.references import resolved
from medic.access.secrets import Secret
from medic.core.units import InstantMs
from medic.store.sealing import Sealing

VALUE_LENGTH: Final = 40
COUNTS: Final = (10, 100, 1_000)
EVENT: Final = {
    "event": "a notification was refused for good and is told to the others",
    "target": "webhook:17",
    "heartbeat_name": "pay-nightly-settlement",
    "reason": "answered 403: no such token, or it has expired",
    "logger": "medic.alerting.lane",
    "level": "warning",
    "timestamp": "2026-11-25T12:00:00.000000Z",
}


def spent(act: Callable[[], object], times: int) -> float:
    """Microseconds of CPU for one call."""
    begun = time.process_time()
    for _ in range(times):
        act()
    return (time.process_time() - begun) / times * 1e6


def measures() -> dict[str, tuple[Callable[[], object], int]]:
    """What is measured, and how often in a round."""
    random = Random(7)
    render = structlog.processors.JSONRenderer()
    line = str(render(None, "", dict(EVENT)))
    sealing = Sealing(base64.b64encode(random.randbytes(32)).decode())
    value = "x" * VALUE_LENGTH
    secret = Secret("pager", sealing.seal("pager", value), InstantMs(0), InstantMs(0), "")
    found: dict[str, tuple[Callable[[], object], int]] = {
        "a line rendered as JSON": (lambda: render(None, "", dict(EVENT)), 20_000),
        "sealing a value": (partial(sealing.seal, "pager", value), 5_000),
        "opening a value": (partial(sealing.unseal, secret), 5_000),
        "resolving a header": (partial(resolved, "Bearer ${secrets.pager}", {"pager": value}.get), 20_000),
    }
    for count in COUNTS:
        values = ["".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=VALUE_LENGTH)) for _ in range(count)]
        concealer = Concealer()
        concealer.know("bench", values)
        pattern = re.compile("|".join(values))
        found[f"a line searched for {count} values"] = (partial(concealer.conceal, line), 5_000)
        found[f"the same by one pattern of {count}"] = (partial(pattern.sub, CONCEALED, line), 100)
    return found


def main() -> None:
    """Measure and print as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    acts = measures()
    took: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, (act, times) in acts.items():
            took[name].append(spent(act, times))
    print(json.dumps({name: round(statistics.median(times), 2) for name, times in took.items()}, indent=2))


if __name__ == "__main__":
    main()
