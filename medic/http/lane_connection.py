"""The express lane's connections: what is remembered of each between two turns, and the selector that watches them."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator
from math import inf
from typing import Final

import trio

from medic.access.caller import Caller, Remembered
from medic.http.framing import HotHead
from medic.http.limits import KEEP_ALIVE_SECONDS

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE


class LaneConnection:
    """A client's connection.

    Attributes:
        socket: Not blocking.
        caller: Its other end.
        known: Whom it was recognised as, and by what; None: as nobody yet.
        interest: What the selector watches it for now; 0 while it is not there.
        kept: Bytes received and not taken yet.
        needs: With fewer bytes than this in `kept`, looking at them again says nothing new; 0: they wait their turn.
        head: The head of the message in `kept`, once it is whole.
        unanswered: Requests that were taken and whose answers are not written.
        apart: Whether one of them is answered by a task of its own; nothing more is taken until it is.
        at_end: The client sends no more.
        outgoing: Bytes of answers that the kernel did not take yet.
        closing: No further request is taken, and the connection ends behind the last answer.
        resuming: A task will go on with `kept`.
        requests: Taken so far.
        deadline: Instant of trio's clock at which patience ends, with whatever the connection is at.
        ended: It is closed, or somebody else's.
    """

    __slots__ = (
        "apart", "at_end", "caller", "closing", "deadline", "ended", "head", "interest", "kept", "known", "needs",
        "outgoing", "requests", "resuming", "socket", "unanswered",
    )  # fmt: skip

    def __init__(self, opened: socket.socket, caller: Caller) -> None:
        self.socket = opened
        self.caller = caller
        self.known: Remembered | None = None
        self.interest = 0
        self.kept = bytearray()
        self.needs = 0
        self.head: HotHead | None = None
        self.unanswered = 0
        self.apart = False
        self.at_end = False
        self.outgoing = bytearray()
        self.closing = False
        self.resuming = False
        self.requests = 0
        self.deadline = inf
        self.ended = False

    @property
    def is_idle(self) -> bool:
        """Whether it stands between two requests, or within a head that nobody can answer yet."""
        return not (self.unanswered or self.outgoing or self.resuming or self.head is not None)

    @property
    def waits_for_client(self) -> bool:
        """Whether nothing is done here but waiting: for a request, for the rest of one, for answers to be read."""
        return not (self.unanswered or self.resuming)

    def keep(self, rest: bytes, *, needs: int, head: HotHead | None = None) -> None:
        """Keep what cannot be taken yet."""
        self.kept[:] = rest
        self.needs = needs
        self.head = head

    def take_kept(self) -> bytes:
        """What was kept; it is kept no more."""
        rest = bytes(self.kept)
        self.kept.clear()
        self.head = None
        return rest


class LaneConnections:
    """Those that are open, and the selector they stand in.

    Attributes:
        selector: Readable itself while any of them is ready: that is what the lane waits for.
    """

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self._open: set[LaneConnection] = set()
        self._changed = trio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[LaneConnection]:
        """Those open now, whatever happens to them meanwhile."""
        return iter(tuple(self._open))

    def add(self, connection: LaneConnection) -> None:
        """Count it as open. It is not watched yet."""
        self._open.add(connection)

    def watch(self, connection: LaneConnection, interest: int) -> None:
        """Watch it for `READ` or `WRITE` and nothing else; 0: not at all."""
        if connection.interest == interest:
            return
        if not connection.interest:
            self.selector.register(connection.socket, interest, connection)
        elif not interest:
            self.selector.unregister(connection.socket)
        else:
            self.selector.modify(connection.socket, interest, connection)
        connection.interest = interest

    def forget(self, connection: LaneConnection) -> None:
        """Let go of it; whoever calls closes its socket, or has a use for it."""
        self.watch(connection, 0)
        connection.ended = True
        self._open.discard(connection)
        if not self._open:
            self._changed.set()

    def end(self, connection: LaneConnection) -> None:
        """Close it at once. What was taken of it stays taken."""
        if not connection.ended:
            self.forget(connection)
            connection.socket.close()

    def let_go(self, *, idle_since: float) -> None:
        """End those that are idle since that instant of the clock, or longer; those at work end with their answer."""
        for connection in self:
            if connection.is_idle and connection.deadline - KEEP_ALIVE_SECONDS <= idle_since:
                self.end(connection)
            elif connection.unanswered or connection.outgoing:
                connection.closing = True

    async def wait_none(self) -> None:
        """Return once none is open."""
        while self._open:
            self._changed = trio.Event()
            await self._changed.wait()

    def close(self) -> None:
        """End all, and close the selector."""
        for connection in self:
            self.end(connection)
        self.selector.close()
