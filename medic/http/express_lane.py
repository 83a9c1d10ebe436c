"""The express lane: heartbeats answered before Hypercorn, in front of it on the same port.

The problem. Hypercorn with Quart answers some 1 100 heartbeats a second, a bare trio server on httptools tens of
thousands; Medic's own part of one, from the parsed body to the record in the journal, is a few microseconds. What is
left to save is the way in and the way out.

The workload. Thousands of keep-alive connections that each send a heartbeat now and then, or hundreds that send as
fast as they are answered; cron jobs and shells that open a connection for one heartbeat; and everything else the API
has, rarely, on the same port.

The way in. A task for each connection costs a pass through trio's loop a request, which is most of what a bare server
spends, and 25 µs to start. Here connections are objects, not tasks. One selector of our own watches all of them and
the listeners; trio waits for that selector (an epoll is itself a file descriptor that becomes readable), and one turn
of one task reads whatever arrived on any of them. So the pass through trio's loop is shared by all who are ready, and
nothing is registered anew for each request, as trio's own wait does. A connection is accepted, read, answered and
closed without any task. After `LANE_SLICE_REQUESTS` every other task has its turn.

The way out. A heartbeat is taken in the turn in which it is read: journaled, its deadline moved. It is answered from
the commit: a slice hands the journal one call for all its heartbeats, and when their records are durable that call
writes the answers, each with a `send` that does not wait. What the kernel does not take at once is written when the
selector says so, within `WRITE_SECONDS_MAX`.

The order. A connection's answers leave in the order of its requests. A run of heartbeats waits for the journal
together, and the journal calls in order; a refusal that is known at once, behind such a run, waits with it. Everything
else (a request that takes a task of its own, a hand-over, the end) waits until the run before it is answered. A
connection with `LANE_UNANSWERED_MAX` unanswered heartbeats is read no further.

The hand-over. What framing does not take goes to Hypercorn, with the bytes that were read of it, and stays there. The
lane refuses nothing itself but what has begun and does not go on: a body that is late is a 408, a head a 400.

A client may leave at any moment. A half that was closed is an end of requests: what was asked is answered. A reset is
the end; what was taken stays taken. A connection over which code of ours raises is closed and counted, and no other
notices: for connections this file is a supervisor.

The drain. `drain` reads once more what has arrived, closes what is idle, has every further answer say that the
connection ends, and returns when the last one has. Clients that ask again at once get that answer, and no reset: what
was idle for a moment only is closed a moment later. `serving.py` says what comes before and after.

Numbers and what was rejected (a task a connection; answers sent by the connections' tasks; a thread for accepting) are
in docs/decisions/0011-express-lane.md.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from medic.access.caller import Caller
from medic.errors import ActorBusyError, JournalRefusedError, MedicError
from medic.http.answers import Answer
from medic.http.caller import caller_address
from medic.http.crowd import Waiting
from medic.http.door import Door
from medic.http.framing import Framing, HotHead, HotRoute, Verdict
from medic.http.framing_refusals import refuse_unfinished
from medic.http.heartbeats import accepted, note_refused, read_heartbeat
from medic.http.hot_routes import HEARTBEAT, HOT_ROUTES, Take, refuse_late
from medic.http.lane_connection import READ, WRITE, LaneConnection, LaneConnections
from medic.http.limits import (
    KEEP_ALIVE_REQUESTS_MAX,
    KEEP_ALIVE_SECONDS,
    LANE_LOOK_SECONDS,
    LANE_RECEIVE_BYTES,
    LANE_SLICE_REQUESTS,
    LANE_UNANSWERED_MAX,
    PARTING_SECONDS,
    REQUEST_SECONDS_MAX,
    WRITE_SECONDS_MAX,
)
from medic.http.parts import ApiParts
from medic.http.recognition import address_of, recognise_again
from medic.http.refusals import refuse
from medic.http.wire import ACCEPTED, Wire
from medic.ports import Position, WhenDurable

_log = structlog.get_logger(__name__)

PassOn = Callable[[socket.socket, str, bytes], None]
"""Takes a connection that is not the lane's, with its peer's address and the bytes that were read of it."""

Admit = Callable[[socket.socket, str], bool]
"""Asked for each new connection, with its peer's address; where it says False it has taken care of it itself."""

Entry = tuple[LaneConnection, Answer, str | None, Caller]
"""A connection, what is to be answered, the name whose heartbeat that waits for (None: it stands), and whose it is."""


@dataclass(frozen=True, slots=True)
class LaneStatistics:
    """Connections of the lane: open now, accepted, passed on to Hypercorn, ended by a fault of ours; requests taken."""

    open: int
    accepted: int
    passed_on: int
    crashed: int
    requests: int


class ExpressLane:
    """Reads, takes and answers hot requests of plain connections.

    Args:
        parts: What the API is built from.
        when_durable: `Journal.call_when_durable`.
        admit: Says whether a new connection is the lane's.
        pass_on: Takes over what is Hypercorn's.
        routes: The table; an empty one passes everything on.
    """

    def __init__(
        self,
        parts: ApiParts,
        *,
        when_durable: Callable[[Position, WhenDurable], None],
        admit: Admit,
        pass_on: PassOn,
        routes: Mapping[HotRoute, Take] = HOT_ROUTES,
    ) -> None:
        self._parts = parts
        self._when_durable = when_durable
        self._admit = admit
        self._pass_on = pass_on
        self._routes = routes
        self._framing = Framing(tuple(routes))
        self._wire = Wire(parts.clock)
        self._strict_status = parts.settings.strict_status
        self._connections = LaneConnections()
        self._door = Door(self._connections.selector, self._come_in)
        self._draining = False
        self._entries: list[Entry] = []
        self._newest = Position(0)
        self._now = 0.0
        self._accepted = self._passed_on = self._crashed = self._requests = 0
        self._nursery: trio.Nursery

    # ---------------------------------------------------------------------------------------------------------- running

    async def run(
        self, listeners: Sequence[socket.socket], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept and serve until cancelled; then cut what is open. Closes the listeners."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._door.open(listeners, self._nursery)
                self._nursery.start_soon(self._look)
                task_status.started()
                while True:
                    await trio.lowlevel.wait_readable(self._connections.selector.fileno())
                    await self._turn()
        finally:
            self._door.close()
            self._connections.close()

    def stop_accepting(self) -> None:
        """Close the listeners."""
        self._door.close()

    def _come_in(self, opened: socket.socket, peer: str) -> None:
        """A connection was accepted. What its client sends with it is mostly there already."""
        self._accepted += 1
        if self._admit(opened, peer):
            caller = Caller(caller_address(peer, forwarded_for=(), forwarded=(), trusted=()))
            connection = LaneConnection(opened, caller)
            connection.deadline = self._now + KEEP_ALIVE_SECONDS
            self._connections.add(connection)
            self._supervise(connection, self._read)

    async def _turn(self) -> None:
        """Read everything that is there, in slices."""
        self._now = trio.current_time()
        for count, (key, mask) in enumerate(self._connections.selector.select(0), start=1):
            connection = key.data
            if connection is None:
                self._door.accept(key.fd)
            elif not connection.ended:
                self._supervise(connection, self._flush if mask & WRITE else self._read)
            if len(self._entries) >= LANE_SLICE_REQUESTS or count % LANE_SLICE_REQUESTS == 0:
                self._end_slice()
                await trio.lowlevel.checkpoint()
                self._now = trio.current_time()
        self._end_slice()

    def _supervise(self, connection: LaneConnection, step: Callable[[LaneConnection], None]) -> None:
        """Do that with the connection. Whatever is raised within ends it, and it alone."""
        try:
            step(connection)
        except Exception as error:  # noqa: BLE001 - for connections this is the supervisor
            self._crash(connection, error)

    def _crash(self, connection: LaneConnection, error: Exception) -> None:
        self._crashed += 1
        _log.error("a connection of the express lane ended by a fault of ours", exc_info=error)
        self._connections.end(connection)

    def _end_slice(self) -> None:
        """Have the journal answer what was taken."""
        if self._entries:
            entries, self._entries = self._entries, []
            self._when_durable(self._newest, partial(self._settle, entries, self._now))

    async def _look(self) -> None:
        """End the connections whose time is up."""
        while True:
            await trio.sleep(LANE_LOOK_SECONDS)
            self._now = trio.current_time()
            for connection in self._connections:
                if connection.deadline <= self._now:
                    self._run_out(connection)

    def _run_out(self, connection: LaneConnection) -> None:
        if connection.outgoing or not (connection.unanswered or connection.kept):
            self._connections.end(connection)
        elif not connection.unanswered:
            head, connection.head, connection.closing = connection.head, None, True
            self._answer(connection, refuse_unfinished() if head is None else refuse_late(self._parts, head))

    # ---------------------------------------------------------------------------------------------------------- reading

    def _read(self, connection: LaneConnection) -> None:
        try:
            piece = connection.socket.recv(LANE_RECEIVE_BYTES)
        except BlockingIOError:
            self._connections.watch(connection, READ)
            return
        except OSError:
            self._connections.end(connection)
            return
        if not piece:
            self._end_of_requests(connection)
            return
        if connection.kept:
            connection.kept += piece
            if len(connection.kept) < connection.needs:
                return
            piece = connection.take_kept()
        else:
            connection.deadline = self._now + REQUEST_SECONDS_MAX
        self._take(connection, piece)

    def _end_of_requests(self, connection: LaneConnection) -> None:
        """The client sends no more. What it has asked is answered; what it has begun to ask is Hypercorn's to judge."""
        if connection.unanswered:
            connection.at_end = True
            self._connections.watch(connection, 0)
        elif connection.kept:
            self._hand_over(connection, connection.take_kept())
        else:
            self._connections.end(connection)

    def _take(self, connection: LaneConnection, received: bytes) -> None:
        """Take the requests that are whole, as far as order and bounds allow, and keep the rest."""
        begin, end = 0, len(received)
        while begin < end and not connection.closing:
            head = self._framing.head(received, begin)
            if isinstance(head, Verdict):
                self._take_none(connection, received[begin:], head)
                return
            behind = begin + head.whole
            if behind > end:
                connection.keep(received[begin:], needs=head.whole, head=head)
                break
            if not self._take_one(connection, head, received[begin + head.length : behind]):
                self._pause(connection, received[begin:])
                return
            begin = behind
            if connection.apart:
                self._pause(connection, received[begin:])
                return
        interest = 0 if connection.closing else READ
        if connection.interest != interest and not connection.ended and not connection.outgoing:
            self._connections.watch(connection, interest)

    def _take_none(self, connection: LaneConnection, rest: bytes, verdict: Verdict) -> None:
        """What follows is no hot request, or none yet."""
        if verdict is Verdict.NEED_MORE:
            connection.keep(rest, needs=len(rest) + 1)
            if not connection.outgoing:
                self._connections.watch(connection, READ)
        elif connection.unanswered or connection.outgoing:
            self._pause(connection, rest)
        else:
            self._hand_over(connection, rest)

    def _take_one(self, connection: LaneConnection, head: HotHead, body: bytes) -> bool:
        """Take one request. False: not before those in front of it are answered."""
        in_turn = head.route is HEARTBEAT
        if connection.unanswered >= (LANE_UNANSWERED_MAX if in_turn else 1) or connection.outgoing:
            return False
        if not (in_turn and self._take_heartbeat(connection, head, body)):
            if connection.unanswered:
                return False
            self._take_apart(connection, head, body)
        return True

    def _note_taken(self, connection: LaneConnection, head: HotHead) -> None:
        """Count a request that was taken; see whether it is the connection's last. What follows has time of its own."""
        self._requests += 1
        connection.requests += 1
        connection.deadline = self._now + REQUEST_SECONDS_MAX
        if head.closes or self._draining or connection.requests >= KEEP_ALIVE_REQUESTS_MAX:
            connection.closing = True

    def _take_heartbeat(self, connection: LaneConnection, head: HotHead, body: bytes) -> bool:
        """Take a heartbeat in this turn. False: its actor is being rebuilt, and it has to be waited for."""
        parts = self._parts
        caller, name, answer = connection.caller, None, ACCEPTED
        try:
            caller = recognise_again(parts, connection, head, self._now)
            beat, ignored = read_heartbeat(
                body, strict_status=self._strict_status, idempotency_key=head.idempotency_key
            )
            name, beat.caller = beat.name, caller
            refusal = parts.gatekeeper.admit_heartbeat(caller, name)
            if refusal is not None:
                raise refusal
            self._newest = parts.intake.take_nowait(beat)
            if ignored:
                answer = accepted(ignored)
        except ActorBusyError:
            return False
        except MedicError as error:
            answer, name = self._refuse(error, name, caller), None
        self._note_taken(connection, head)
        if name is None and not connection.unanswered:
            parts.meter.observe(head.method, head.route.path, answer.status, trio.current_time() - self._now)
            self._answer(connection, answer)
        else:
            connection.unanswered += 1
            self._entries.append((connection, answer, name, caller))
        return True

    def _take_apart(self, connection: LaneConnection, head: HotHead, body: bytes) -> None:
        """Let a task answer; what follows waits for it."""
        self._note_taken(connection, head)
        connection.apart = True
        connection.unanswered += 1
        self._nursery.start_soon(self._answer_apart, connection, head, body)

    async def _answer_apart(self, connection: LaneConnection, head: HotHead, body: bytes) -> None:
        began = trio.current_time()
        try:
            address = address_of(self._parts, head, connection.caller.address)
            answer = await self._routes[head.route](self._parts, head, body, address)
        except Exception as error:  # noqa: BLE001 - for connections this is the supervisor
            self._crash(connection, error)
            return
        self._now = trio.current_time()
        self._parts.meter.observe(head.method, head.route.path, answer.status, self._now - began)
        connection.unanswered -= 1
        connection.apart = False
        self._answer(connection, answer, bodiless=head.method == "HEAD")

    def _pause(self, connection: LaneConnection, rest: bytes) -> None:
        """Read no further until what was taken is answered."""
        connection.keep(rest, needs=0)
        if not connection.outgoing:
            self._connections.watch(connection, 0)

    async def _go_on(self, connection: LaneConnection) -> None:
        """Take what waited, in a turn of its own."""
        await trio.lowlevel.checkpoint()
        connection.resuming = False
        if not connection.ended:
            self._now = trio.current_time()
            self._supervise(connection, self._take_again)
            self._end_slice()

    def _take_again(self, connection: LaneConnection) -> None:
        self._take(connection, connection.take_kept())

    # -------------------------------------------------------------------------------------------------------- answering

    def _settle(self, entries: list[Entry], began: float, refused: JournalRefusedError | None) -> None:
        """Answer the heartbeats of one slice: their records are durable, or will not be."""
        self._now = trio.current_time()
        idle_until = self._now + KEEP_ALIVE_SECONDS
        plain = self._wire.accepted()
        counts: dict[int, int] = {}
        later: list[LaneConnection] = []
        for connection, given, name, caller in entries:
            answer = given if refused is None or name is None else self._refuse(refused, name, caller)
            counts[answer.status] = counts.get(answer.status, 0) + 1
            connection.unanswered -= 1
            if connection.ended:
                continue
            if (
                connection.unanswered
                or connection.outgoing
                or connection.closing
                or connection.kept
                or connection.at_end
            ):
                closes = connection.closing and not connection.unanswered
                connection.outgoing += (
                    plain if answer is ACCEPTED and not closes else self._wire.write(answer, closes=closes)
                )
                later.append(connection)
                continue
            connection.deadline = idle_until
            self._send(connection, plain if answer is ACCEPTED else self._wire.write(answer))
        for connection in later:
            if not connection.ended:
                self._flush(connection)
        for status, count in counts.items():
            self._parts.meter.observe("POST", HEARTBEAT.path, status, self._now - began, count)

    def _refuse(self, error: MedicError, name: str | None, caller: Caller) -> Answer:
        note_refused(self._parts, error, name=name, address=caller.address)
        return refuse(error, name=name)

    def _answer(self, connection: LaneConnection, answer: Answer, *, bodiless: bool = False) -> None:
        if not connection.ended:
            connection.outgoing += self._wire.write(answer, closes=connection.closing, bodiless=bodiless)
            self._flush(connection)

    def _send(self, connection: LaneConnection, piece: bytes) -> None:
        """Write an answer to a connection that has nothing else to write and goes on."""
        try:
            sent = connection.socket.send(piece)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._connections.end(connection)
            return
        if sent < len(piece):
            connection.outgoing += piece[sent:]
            self._flush(connection)

    def _flush(self, connection: LaneConnection) -> None:
        """Write what is to be written, and go on with the connection once it is."""
        outgoing = connection.outgoing
        try:
            while outgoing:
                del outgoing[: connection.socket.send(outgoing)]
        except BlockingIOError:
            if connection.interest != WRITE:
                connection.deadline = self._now + WRITE_SECONDS_MAX
                self._connections.watch(connection, WRITE)
            return
        except OSError:
            self._connections.end(connection)
            return
        self._rest(connection)

    def _rest(self, connection: LaneConnection) -> None:
        """All that could be written is: the end, the next request, or patience."""
        if connection.unanswered:
            return
        if connection.closing:
            self._connections.end(connection)
        elif connection.at_end:
            self._end_of_requests(connection)
        elif connection.kept and not connection.needs:
            if not connection.resuming:
                connection.resuming = True
                self._nursery.start_soon(self._go_on, connection)
        else:
            if not connection.kept:
                connection.deadline = self._now + KEEP_ALIVE_SECONDS
            self._connections.watch(connection, READ)

    # ------------------------------------------------------------------------------------------------------------- ends

    def _hand_over(self, connection: LaneConnection, rest: bytes) -> None:
        """Let Hypercorn have it, from the first byte of this message on."""
        self._connections.forget(connection)
        self._passed_on += 1
        self._pass_on(connection.socket, connection.caller.address, rest)

    async def drain(self) -> None:
        """Let connections end: idle ones now or in a moment, others once they are answered; return when all have."""
        await self._turn()
        self._draining = True
        self._connections.let_go(idle_since=self._now - PARTING_SECONDS)
        with trio.move_on_after(PARTING_SECONDS):
            await self._connections.wait_none()
        await self._turn()
        self._connections.let_go(idle_since=self._now)
        await self._connections.wait_none()

    def waiting(self) -> Iterator[Waiting]:
        """Connections at which nothing is done but waiting for their clients."""
        for connection in self._connections:
            if connection.waits_for_client:
                end = partial(self._connections.end, connection)
                yield Waiting(connection.caller.address, connection.deadline, end)

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def statistics(self) -> LaneStatistics:
        """Counters for metrics."""
        return LaneStatistics(len(self._connections), self._accepted, self._passed_on, self._crashed, self._requests)
