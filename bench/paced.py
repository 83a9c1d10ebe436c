"""Heartbeats at a fixed rate, on time whatever the server does: an open loop on core 1.

    python -m bench.paced '{"port": 8080, "services": 100000, "segments": [[10, 5000]]}'

A closed loop asks more slowly when the server stalls, and so never sees the stall. Here every request has an instant at
which it is due; its time is counted from there, through any wait for a free connection, to the end of its answer. The
client is Python and late itself: how late it sends what it could have sent is measured for each request, reported, and
subtracted from that request's time. What it reads late cannot be told apart from what was answered late, and stays in.

h2load keeps a rate as well (`--rps`), but sends one body for ever; the actors and the wheel are to see all services.

SIGTERM ends it early. It prints one JSON line: a `Pace`. With `record`, every heartbeat has a run_id of its own, which
ends in the service's number; those answered 201 are appended to that file, with the instant, so that others can look.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, sleep
from time import time as wall

from bench.served import LOAD_CORE, ROOT

WAITING_MAX = 50_000
"""Requests that are due and have no connection: some seconds of any load here. What is beyond is given up, counted."""

RETRY_SECONDS = 0.05
ANSWER_SECONDS = 10.0
"""Longest wait, at the end, for what is not answered yet."""

EPOLL_SECONDS = 0.02
READ_BYTES = 65_536
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(slots=True)
class Plan:
    """A load. `segments` are seconds and requests a second, one after the other; `record`: where answers are noted."""

    port: int
    segments: Sequence[tuple[float, float]]
    services: int
    first: int = 0
    connections: int = 128
    record: str = ""
    seed: int = 1
    waiting_max: int = WAITING_MAX


@dataclass(slots=True)
class Pace:
    """What became of it. Milliseconds are of requests answered 201, from the instant each was due.

    Attributes:
        due: Requests the plan asked for.
        answered: By status.
        unanswered: Sent, and the connection ended first: whether they were taken is not known.
        unsent: No connection took them: the server was not there, or hopelessly behind.
        own_p99_ms, own_max_ms: The client's own lateness, already subtracted.
        seconds: By second: number answered 201, their p99 and their maximum in milliseconds.
    """

    due: int = 0
    answered: dict[str, int] = field(default_factory=dict)
    unanswered: int = 0
    unsent: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    own_p99_ms: float = 0.0
    own_max_ms: float = 0.0
    elapsed: float = 0.0
    seconds: list[tuple[int, float, float]] = field(default_factory=list)

    @property
    def taken(self) -> int:
        """Requests answered 201."""
        return self.answered.get("201", 0)

    @property
    def tail_ms(self) -> float:
        """The p99 of all requests; those never answered 201 count as `ANSWER_SECONDS`."""
        return self.p99_ms if self.due - self.taken <= self.due // 100 else ANSWER_SECONDS * 1e3

    @property
    def failed(self) -> int:
        """Requests answered 5xx."""
        return sum(count for status, count in self.answered.items() if status.startswith("5"))


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share lies; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Connection:
    """One socket and the request it carries, if any."""

    __slots__ = ("due", "free_at", "own", "received", "run_id", "socket", "waiting")

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.received = b""
        self.waiting = False
        self.due = self.own = self.free_at = 0.0
        self.run_id = ""


class Client:
    """The loop."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._epoll = select.epoll()
        self._open: dict[int, Connection] = {}
        self._free: list[Connection] = []
        self._closed: deque[tuple[float, Connection]] = deque((0.0, Connection()) for _ in range(plan.connections))
        self._due: deque[float] = deque()
        self._record = Path(plan.record).open("a", buffering=1, encoding="ascii") if plan.record else None  # noqa: SIM115 - run closes it
        self._sent = 0
        self._answered: Counter[str] = Counter()
        self._unanswered = self._unsent = 0
        self._due_at, self._took, self._own = array("d"), array("d"), array("d")
        self._ending = False
        self._parent = os.getppid()

    def end(self) -> None:
        """Send nothing more, and wait for the answers."""
        self._ending = True

    def run(self) -> Pace:
        """Keep the plan's pace to its end."""
        begun = perf_counter()
        total = 0
        for seconds, rate in self._plan.segments:
            segment = perf_counter()
            planned = int(seconds * rate)
            number = 0
            while number < planned and not self._ending:
                now = perf_counter()
                while number < planned and segment + number / rate <= now:
                    self._due.append(segment + number / rate)
                    number += 1
                self._work(now, segment + number / rate)
            total += number
        patience = perf_counter() + ANSWER_SECONDS
        while (self._due or any(one.waiting for one in self._open.values())) and perf_counter() < patience:
            if self._ending:
                self._unsent += len(self._due)
                self._due.clear()
            self._work(perf_counter(), patience)
        self._unanswered += sum(one.waiting for one in self._open.values())
        self._unsent += len(self._due)
        if self._record is not None:
            self._record.close()
        return self._pace(total, begun)

    def _work(self, now: float, until: float) -> None:
        """Send what is due, and take answers until the next is. Whoever began this has not ended meanwhile."""
        if os.getppid() != self._parent:
            self.end()
        while self._closed and self._closed[0][0] <= now:
            self._connect(self._closed.popleft()[1])
        while self._due and self._free:
            self._send(self._free.pop(), self._due.popleft())
        while len(self._due) > self._plan.waiting_max or (self._due and not self._open):
            self._due.popleft()
            self._unsent += 1
        pause = max(0.0, min(until - perf_counter(), EPOLL_SECONDS))
        if not self._open:
            sleep(min(pause, RETRY_SECONDS))
            return
        for number, _ in self._epoll.poll(pause if pause > 0.001 or not pause else 0.001):
            self._receive(self._open[number])

    def _connect(self, connection: Connection) -> None:
        channel = socket.socket()
        try:
            channel.connect(("127.0.0.1", self._plan.port))
        except OSError:
            channel.close()
            self._closed.append((perf_counter() + RETRY_SECONDS, connection))
            return
        channel.setblocking(False)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.socket, connection.waiting, connection.received = channel, False, b""
        connection.free_at = perf_counter()
        self._epoll.register(channel, select.EPOLLIN)
        self._open[channel.fileno()] = connection
        self._free.append(connection)

    def _send(self, connection: Connection, due: float) -> None:
        number = self._plan.first + self._random.randrange(self._plan.services)
        said = ""
        if self._record is not None:
            connection.run_id = f"{self._plan.seed}-{self._sent}-{number}"
            said = f',"run_id":"{connection.run_id}"'
        self._sent += 1
        body = f'{{"heartbeat_name":"service-{number:07d}","service_name":"bench","status":"UP"{said}}}'
        request = (
            f"POST /heartbeat HTTP/1.1\r\nHost: 127.0.0.1:{self._plan.port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        connection.due = due
        connection.own = perf_counter() - max(due, connection.free_at)
        connection.waiting = True
        channel = connection.socket
        try:
            if channel is not None:
                channel.send(request.encode())
        except OSError:
            self._close(connection)

    def _receive(self, connection: Connection) -> None:
        channel = connection.socket
        if channel is None:
            return
        try:
            received = channel.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._close(connection)
            return
        answer = connection.received = connection.received + received
        end_of_head = answer.find(b"\r\n\r\n")
        if end_of_head < 0:
            return
        length = _LENGTH.search(answer, 0, end_of_head)
        if length is None or len(answer) < end_of_head + 4 + int(length[1]):
            return
        self._take(connection, answer[9:12].decode("ascii"))

    def _take(self, connection: Connection, status: str) -> None:
        """One answer, whole."""
        now = perf_counter()
        self._answered[status] += 1
        if status == "201":
            self._due_at.append(connection.due)
            self._took.append(now - connection.due - connection.own)
            self._own.append(connection.own)
            if self._record is not None:
                self._record.write(f"{connection.run_id} {wall():.3f}\n")
        connection.waiting, connection.received, connection.free_at = False, b"", now
        self._free.append(connection)

    def _close(self, connection: Connection) -> None:
        """The other side ended it: open it anew a moment later."""
        channel = connection.socket
        if channel is None:
            return
        self._unanswered += connection.waiting
        self._open.pop(channel.fileno(), None)
        with contextlib.suppress(OSError):
            self._epoll.unregister(channel)
        channel.close()
        if not connection.waiting and connection in self._free:
            self._free.remove(connection)
        connection.socket, connection.waiting = None, False
        self._closed.append((perf_counter() + (0.0 if self._answered else RETRY_SECONDS), connection))

    def _pace(self, due: int, begun: float) -> Pace:
        by_second: dict[int, list[float]] = {}
        for at, took in zip(self._due_at, self._took, strict=True):
            by_second.setdefault(int(at - begun), []).append(took * 1e3)
        took_ms = [took * 1e3 for took in self._took]
        return Pace(
            due=due,
            answered=dict(self._answered),
            unanswered=self._unanswered,
            unsent=self._unsent,
            p50_ms=quantile(took_ms, 0.5),
            p99_ms=quantile(took_ms, 0.99),
            max_ms=max(took_ms, default=0.0),
            own_p99_ms=quantile(self._own, 0.99) * 1e3,
            own_max_ms=max(self._own, default=0.0) * 1e3,
            elapsed=perf_counter() - begun,
            seconds=[
                (len(found), round(quantile(found, 0.99), 2), round(max(found), 2))
                for found in (by_second.get(second, [0.0]) for second in range(max(by_second, default=-1) + 1))
            ],
        )


class PacedLoad:
    """The client in a process of its own, begun now."""

    def __init__(self, plan: Plan) -> None:
        command = [
            "taskset",
            "-c",
            str(LOAD_CORE),
            sys.executable,
            "-m",
            "bench.paced",
            json.dumps(dataclasses.asdict(plan)),
        ]
        self._child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def running(self) -> bool:
        """Whether the plan goes on."""
        return self._child.poll() is None

    def end(self) -> Pace:
        """Stop early, and say what became of it so far."""
        self._child.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> Pace:
        """What became of it, at its end."""
        said, _ = self._child.communicate()
        return Pace(**json.loads(said))


def recorded(record: Path) -> list[tuple[str, float]]:
    """The run_ids answered 201 and when, in that order. A last line that is not whole yet is left out."""
    lines = record.read_text(encoding="ascii").split("\n")[:-1]
    return [(run_id, float(at)) for run_id, at in (line.split() for line in lines)]


def main() -> None:
    """Run the plan in the argument."""
    plan = Plan(**json.loads(sys.argv[1]))
    client = Client(plan)
    signal.signal(signal.SIGTERM, lambda *_: client.end())
    gc.disable()
    print(json.dumps(dataclasses.asdict(client.run())))


if __name__ == "__main__":
    main()
