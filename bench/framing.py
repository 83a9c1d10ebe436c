"""What it costs to read one heartbeat's request: the lane's framing, beside the readers it could have been left to.

    python -m bench.framing [--rounds 7]

CPU time of this process in microseconds a request, the median of several rounds, all of them in the same run. h11 and
httptools are rivals that read the whole request; neither alone is right here (docs/decisions/0011-express-lane.md).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Final

import h11
import httptools

from medic.http.framing import Framing, HotHead
from medic.http.heartbeats import read_heartbeat
from medic.http.hot_routes import HOT_ROUTES

REQUESTS: Final = 5_000
BODY: Final = b'{"heartbeat_name":"service-000001","status":"UP"}'
LINES: Final = (
    b"POST /heartbeat HTTP/1.1",
    b"Host: medic.example:8080",
    b"User-Agent: curl/8.5.0",
    b"Accept: */*",
    b"Content-Type: application/json",
    b"Content-Length: %d" % len(BODY),
    b"",
    b"",
)
MESSAGE: Final = b"\r\n".join(LINES) + BODY


class _Reader:
    """What httptools reports to."""

    def __init__(self) -> None:
        self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, part: bytes) -> None:
        self.body += part


def by_httptools() -> None:
    httptools.HttpRequestParser(_Reader()).feed_data(MESSAGE)


def by_h11() -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(MESSAGE)
    while connection.next_event() is not h11.PAUSED and connection.their_state is not h11.DONE:
        pass


def cases() -> dict[str, Callable[[], object]]:
    """The functions to measure, by what they are."""
    known = Framing(tuple(HOT_ROUTES))
    if not isinstance(known.head(MESSAGE), HotHead):
        raise SystemExit("the message is not hot")
    return {
        "framing, head known": lambda: known.head(MESSAGE),
        "framing, head unknown": lambda: Framing(tuple(HOT_ROUTES)).head(MESSAGE),
        "httptools, whole": by_httptools,
        "h11, whole": by_h11,
        "body to Beat": lambda: read_heartbeat(BODY, strict_status=False),
    }


def cpu_us(run: Callable[[], object]) -> float:
    """CPU time of one call."""
    began = time.process_time()
    for _ in range(REQUESTS):
        run()
    return (time.process_time() - began) / REQUESTS * 1e6


def main() -> None:
    """Measure in turn, round by round, and print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    measured: dict[str, list[float]] = {name: [] for name in cases()}
    for _ in range(rounds):
        for name, run in cases().items():
            measured[name].append(cpu_us(run))
    medians = {name: round(statistics.median(figures), 2) for name, figures in measured.items()}
    for name, figure in medians.items():
        print(f"{name:24} {figure:7.2f} µs")
    print(json.dumps({"bench": "framing", "rounds": rounds, "cpu_us": medians}))


if __name__ == "__main__":
    main()
