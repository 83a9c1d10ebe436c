"""A load for a Medic of your own: registers services, beats at a rate, says what became of it, removes what it made.

    python -m bench.load --url http://medic-host:8080 --services 1000 --rate 200 --seconds 60
    MEDIC_API_KEY=mdk_… python -m bench.load --url https://medic.example --services 1000 --rate 200

It is a client like any other: no file of Medic's is read, no process of it touched, and limits are not lifted. Where
Medic says 429 to a heartbeat, that is counted; to a registration or a removal, its Retry-After is waited out, so that a
thousand services take two minutes at the usual 600 changes a minute.

Nobody is paged by it. The services promise a heartbeat a year, are muted, and have the priority p5. They are called
`medic-load-…`, with a word that no other run has; Ctrl-C or SIGTERM ends the load early, and they are removed all the
same. A second one leaves them there and says how to remove them.

Every heartbeat is due at an instant, whatever Medic does, and its time is counted from there to the end of its answer,
through any wait for a free connection: a stall is seen by all who would have come meanwhile. What the client itself was
late is shown beside; where that is not small, the machine of the client is the limit. It is Python: some thousand
heartbeats a second.

Exit status: 0 all were answered 201 or 429 and all services removed, 1 something else, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import ssl
import sys
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import urlsplit

import h11
import trio

CONNECTIONS = 64
"""Kept open. At most so many heartbeats are under way; one that finds none free waits, and its time runs."""

CHANGERS = 8
"""Registrations and removals at once: the disk of PostgreSQL is shared with the heartbeats of others."""

ANSWER_SECONDS = 10.0
"""What is not answered by then counts as unanswered: ten times what Medic's own clients should allow."""

RECONNECT_SECONDS = 0.1
RECEIVE_BYTES = 65_536

ATTEMPTS_MAX = 10
"""Times a change is sent that is answered 429 or 503, or not at all, before it is reported instead."""

RETRY_SECONDS_DEFAULT = 1.0
RETRY_SECONDS_MAX = 60.0
"""Waited where an answer does not say how long, and at most: no limit of Medic's is longer."""

YEAR_MINUTES = 366 * 1440
RATE_MAX = 20_000
SERVICES_MAX = 100_000
"""Beyond what one Python client can send, and what anybody would wait for to be removed."""

SECONDS_MAX = 30 * 86_400
"""A month: beyond it a load is a service of its own."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for. `prefix` begins the services' names; `key` is an API key, or empty."""

    url: str
    services: int
    rate: float
    seconds: float
    key: str = ""
    connections: int = CONNECTIONS
    prefix: str = field(default_factory=lambda: f"medic-load-{secrets.token_hex(4)}")

    def names(self) -> Iterator[str]:
        """The services' names."""
        return (f"{self.prefix}-{number}" for number in range(self.services))

    @property
    def due(self) -> int:
        """Heartbeats in all."""
        return int(self.rate * self.seconds)


@dataclass(frozen=True, slots=True)
class Reply:
    """Status and body of an answer; `retry_after` in seconds."""

    status: int
    body: bytes
    retry_after: float


class NoAnswerError(Exception):
    """The connection could not be made, or ended before the answer was whole. What was asked may have been done."""


class Line:
    """One connection to Medic, made when it is needed and made again when it was lost."""

    def __init__(self, plan: Plan) -> None:
        where = urlsplit(plan.url)
        self._host = where.hostname or ""
        self._tls = ssl.create_default_context() if where.scheme == "https" else None
        self._port = where.port or (443 if self._tls else 80)
        self._path = where.path.rstrip("/")
        self._headers = [("Host", where.netloc.rpartition("@")[2]), ("Content-Type", "application/json")]
        if plan.key:
            self._headers.append(("X-API-Key", plan.key))
        self._plain: trio.SocketStream | None = None
        self._stream: trio.abc.Stream | None = None
        self._protocol = h11.Connection(h11.CLIENT)

    async def ask(self, method: str, path: str, body: object = None) -> Reply:
        """The answer to one request.

        Raises:
            NoAnswerError: there is none.
        """
        content = b"" if body is None else json.dumps(body).encode()
        headers = [*self._headers, ("Content-Length", str(len(content)))]
        try:
            with trio.fail_after(ANSWER_SECONDS):
                stream = await self._connected()
                request = h11.Request(method=method, target=self._path + path, headers=headers)
                await stream.send_all(
                    b"".join(self._protocol.send(e) or b"" for e in (request, h11.Data(content), h11.EndOfMessage()))
                )
                return await self._read(stream)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, h11.ProtocolError) as e:
            self.close()
            raise NoAnswerError(str(e) or type(e).__name__) from e

    async def _connected(self) -> trio.abc.Stream:
        """The connection, between two requests."""
        if self._stream is not None and self._protocol.our_state is h11.DONE:
            self._protocol.start_next_cycle()
        elif self._stream is not None and self._protocol.our_state is not h11.IDLE:
            self.close()
        if self._stream is None:
            self._plain = plain = await trio.open_tcp_stream(self._host, self._port)
            self._protocol = h11.Connection(h11.CLIENT)
            if self._tls is None:
                self._stream = plain
            else:
                self._stream = trio.SSLStream(plain, self._tls, server_hostname=self._host, https_compatible=True)
        return self._stream

    async def _read(self, stream: trio.abc.Stream) -> Reply:
        status, retry_after, body = 0, RETRY_SECONDS_DEFAULT, bytearray()
        while True:
            match self._protocol.next_event():
                case h11.NEED_DATA:
                    self._protocol.receive_data(bytes(await stream.receive_some(RECEIVE_BYTES)))
                case h11.Response(status_code=code, headers=headers):
                    status = code
                    said = dict(headers).get(b"retry-after", b"")
                    retry_after = float(said) if said.isdigit() else RETRY_SECONDS_DEFAULT
                case h11.Data(data=piece):
                    body += piece
                case h11.EndOfMessage():
                    return Reply(status, bytes(body), min(retry_after, RETRY_SECONDS_MAX))
                case h11.ConnectionClosed():
                    raise NoAnswerError("the connection was closed before an answer came")
                case _:
                    pass

    def close(self) -> None:
        """Close it, at once."""
        if self._plain is not None:
            self._plain.socket.close()
        self._plain = self._stream = None


@dataclass(slots=True)
class Tally:
    """What became of the load. Seconds are of heartbeats answered 201, from the instant at which each was due.

    Attributes:
        answered: By status.
        unanswered: Sent, and no answer came.
        took: Seconds to the answer.
        own: Seconds by which the client itself was late.
        elapsed: Seconds from the first heartbeat to the last answer.
        left: Services that could not be removed, with why.
    """

    answered: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    took: array[float] = field(default_factory=lambda: array("d"))
    own: array[float] = field(default_factory=lambda: array("d"))
    elapsed: float = 0.0
    left: dict[str, str] = field(default_factory=dict)

    def between(self, least: int, most: int) -> int:
        """Answers with such a status."""
        return sum(number for status, number in self.answered.items() if least <= status <= most)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share lies; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


# ------------------------------------------------------------------------------------------------------------- phases


async def register(plan: Plan, made: list[str]) -> None:
    """Register the services. In `made` stands at every moment what may have to be removed.

    Raises:
        NoAnswerError: Medic cannot be reached, or refuses; with its words.
    """

    async def register_one(line: Line, name: str) -> None:
        body = {
            "heartbeat_name": name,
            "service_name": "bench.load",
            "alert_interval": YEAR_MINUTES,
            "team": "load",
            "priority": "p5",
            "muted": 1,
            "mute_reason": "a load of bench.load",
        }
        made.append(name)
        reply = await insist(line, "POST", "/service", body)
        # 200 is registered already: by an attempt before this one, whose answer was lost. Nobody else has such a name.
        if reply.status not in {200, 201}:
            raise NoAnswerError(f"{name} was not registered: {reply.status} {_message(reply)}")

    await _share(plan, list(plan.names()), register_one)


async def beat(plan: Plan, names: Sequence[str], tally: Tally) -> None:
    """Send the heartbeats, each at its instant, through all connections."""
    numbers = count()
    began = trio.current_time()

    async def send_those_due() -> None:
        with closing(Line(plan)) as line:
            while (number := next(numbers)) < plan.due:
                due = began + number / plan.rate
                free = trio.current_time()
                await trio.sleep_until(due)
                tally.own.append(trio.current_time() - max(due, free))
                await _beat_once(line, names[number % len(names)], due, tally)

    try:
        # What is due is asked for, then as long again as an answer may take; what had no turn by then was not sent.
        with trio.move_on_at(began + plan.seconds + ANSWER_SECONDS):
            async with trio.open_nursery() as nursery:
                for _ in range(plan.connections):
                    nursery.start_soon(send_those_due)
    finally:
        tally.elapsed = trio.current_time() - began


async def _beat_once(line: Line, name: str, due: float, tally: Tally) -> None:
    try:
        reply = await line.ask("POST", "/heartbeat", {"heartbeat_name": name, "service_name": "", "status": "UP"})
    except NoAnswerError:
        tally.unanswered += 1
        await trio.sleep(RECONNECT_SECONDS)
        return
    tally.answered[reply.status] += 1
    if reply.status == 201:
        tally.took.append(trio.current_time() - due)


async def remove(plan: Plan, made: list[str], tally: Tally) -> None:
    """Remove the services; what cannot be removed stays in `made`, and why in the tally."""

    async def remove_one(line: Line, name: str) -> None:
        try:
            reply = await insist(line, "DELETE", f"/service/{name}")
        except NoAnswerError as error:
            tally.left[name] = str(error)
            return
        if reply.status in {200, 404}:
            made.remove(name)
        else:
            tally.left[name] = f"{reply.status} {_message(reply)}"

    await _share(plan, list(made), remove_one)


async def insist(line: Line, method: str, path: str, body: object = None) -> Reply:
    """The answer to a change, sent again while Medic asks for patience.

    Raises:
        NoAnswerError: none came, however often it was sent.
    """
    attempts = 0
    while True:
        attempts += 1
        try:
            reply = await line.ask(method, path, body)
        except NoAnswerError:
            if attempts >= ATTEMPTS_MAX:
                raise
            await trio.sleep(RETRY_SECONDS_DEFAULT)
            continue
        if reply.status not in {429, 503} or attempts >= ATTEMPTS_MAX:
            return reply
        await trio.sleep(reply.retry_after)


async def _share(plan: Plan, names: list[str], change: Callable[[Line, str], Awaitable[None]]) -> None:
    """Do that for each name, a few at once, until one cannot be done."""
    waiting, faults = iter(names), list[NoAnswerError]()

    async def change_some() -> None:
        with closing(Line(plan)) as line:
            try:
                for name in waiting:
                    await change(line, name)
            except NoAnswerError as error:
                faults.append(error)
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for _ in range(min(CHANGERS, len(names))):
            nursery.start_soon(change_some)
    if faults:
        raise faults[0]


# ---------------------------------------------------------------------------------------------------------------- run


async def run(plan: Plan) -> tuple[Tally, list[str]]:
    """All of it; the services that are still there, by name.

    Raises:
        NoAnswerError: the services could not be registered. What was made of them is removed.
    """
    tally, made, fault = Tally(), list[str](), None
    working, removing = trio.CancelScope(), trio.CancelScope()

    async def watch_signals() -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                if working.cancel_called:
                    removing.cancel()
                _say("Removing the services; once more, and they are left.")
                working.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_signals)
        try:
            with working:
                _say(f"Registering {plan.services} services called {plan.prefix}-…")
                await register(plan, made)
                _say(f"Beating {plan.rate:g} times a second for {plan.seconds:g} s.")
                await beat(plan, made, tally)
        except NoAnswerError as error:
            fault = error
        working.cancel()
        with removing:
            _say(f"Removing {len(made)} services.")
            await remove(plan, made, tally)
        nursery.cancel_scope.cancel()
    if fault is not None:
        raise fault
    return tally, made


def report(plan: Plan, tally: Tally, left: Sequence[str]) -> dict[str, object]:
    """The figures, as they are printed for programs."""
    answered = tally.between(100, 599)
    return {
        "url": plan.url,
        "services": plan.services,
        "rate": plan.rate,
        "seconds": round(tally.elapsed, 2),
        "due": plan.due,
        "answered_201": tally.answered[201],
        "answered_429": tally.answered[429],
        "answered_5xx": tally.between(500, 599),
        "answered_other": answered - tally.answered[201] - tally.answered[429] - tally.between(500, 599),
        "unanswered": tally.unanswered,
        "unsent": plan.due - answered - tally.unanswered,
        "p50_ms": round(quantile(tally.took, 0.5) * 1e3, 2),
        "p99_ms": round(quantile(tally.took, 0.99) * 1e3, 2),
        "max_ms": round(max(tally.took, default=0.0) * 1e3, 2),
        "client_late_p99_ms": round(quantile(tally.own, 0.99) * 1e3, 2),
        "left": list(left),
    }


def is_well(figures: dict[str, object]) -> bool:
    """Whether nothing happened that anybody has to look at: refusals by a limit are what the limit is for."""
    return not any(figures[name] for name in ("answered_5xx", "answered_other", "unanswered", "left"))


def _message(reply: Reply) -> str:
    """What Medic says, or the beginning of what somebody else does."""
    try:
        return str(json.loads(reply.body)["message"])
    except (ValueError, KeyError, TypeError):
        return reply.body[:200].decode("utf-8", "replace")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _show(figures: dict[str, object], tally: Tally) -> None:
    for name, value in figures.items():
        if name != "left":
            print(f"{name.replace('_', ' '):>20}  {value}")
    for name, why in list(tally.left.items())[:5]:
        _say(f"{name} could not be removed: {why}")


def _plan(parser: argparse.ArgumentParser) -> tuple[Plan, bool]:
    parser.add_argument("--url", required=True, help="Medic's address, as in http://medic-host:8080")
    parser.add_argument("--services", type=int, required=True, help="how many services to register")
    parser.add_argument("--rate", type=float, required=True, help="heartbeats a second, over all services")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to beat (30)")
    parser.add_argument(
        "--key", default="", help="API key that may write; better in MEDIC_API_KEY, which ps does not show"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    where = urlsplit(given.url)
    if where.scheme not in {"http", "https"} or not where.hostname:
        parser.error("--url must be a http or https address")
    if not 1 <= given.services <= SERVICES_MAX:
        parser.error(f"--services must be from 1 to {SERVICES_MAX}")
    if not 0 < given.rate <= RATE_MAX or not 0 < given.seconds <= SECONDS_MAX:
        parser.error(f"--rate must be over 0 and at most {RATE_MAX}, --seconds over 0 and at most {SECONDS_MAX}")
    key = given.key or os.environ.get("MEDIC_API_KEY", "")
    return Plan(given.url, given.services, given.rate, given.seconds, key), given.json


def main() -> None:
    """Run it, print the figures, and end with a status."""
    formatter = argparse.RawDescriptionHelpFormatter
    plan, as_json = _plan(argparse.ArgumentParser("bench.load", description=__doc__, formatter_class=formatter))
    try:
        tally, left = trio.run(run, plan)
    except NoAnswerError as error:
        _say(f"No load was made: {error}")
        sys.exit(1)
    figures = report(plan, tally, left)
    if as_json:
        print(json.dumps(figures))
    else:
        _show(figures, tally)
    if left:
        _say(f"{len(left)} services are still there: medic-cli service delete {plan.prefix}-NUMBER --yes")
    sys.exit(0 if is_well(figures) else 1)


if __name__ == "__main__":
    main()
