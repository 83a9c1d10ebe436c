"""An actor: one service with an identity, one timer on the wheel and a mailbox for the time it cannot take events.

It is an object, not a task: a parked trio task costs 1.7 kB before it does anything, and a million of them take 40 s to
cancel. Its turn is `step`, run by the host in the very turn of the loop that brings the event, so an actor in order has
no queue at all. Only while it is being rebuilt after a crash do events wait, in a mailbox that is bounded and gone
again afterwards.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

from medic.core.events import Event
from medic.core.service import Service
from medic.errors import MailboxFullError
from medic.ports import Position

MAILBOX_EVENTS_MAX: Final = 4_096
"""Events one actor may be behind: over a minute of a service that beats sixty times a second, while it is rebuilt."""


class Letter:
    """An event that waits in a mailbox, and its sender's wait for the turn that takes it."""

    __slots__ = ("_failure", "_position", "_taken", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._taken = trio.Event()
        self._position = Position(0)
        self._failure: Exception | None = None

    def take(self, position: Position) -> None:
        """Say that a turn took the event, and where its newest record stands."""
        self._position = position
        self._taken.set()

    def fail(self, failure: Exception) -> None:
        """Say that no turn will take the event."""
        self._failure = failure
        self._taken.set()

    async def wait_taken(self) -> Position:
        """The position of the newest record of the turn that took it.

        Raises:
            MedicError: what `fail` was told.
        """
        await self._taken.wait()
        if self._failure is not None:
            raise self._failure
        return self._position


class Mailbox:
    """Letters in the order they came, at most `MAILBOX_EVENTS_MAX`."""

    __slots__ = ("_letters",)

    def __init__(self) -> None:
        self._letters: deque[Letter] = deque()

    def __len__(self) -> int:
        return len(self._letters)

    def put_nowait(self, event: Event) -> Letter:
        """Keep the event until the actor can take it.

        Raises:
            MailboxFullError: it holds `MAILBOX_EVENTS_MAX` letters.
        """
        if len(self._letters) >= MAILBOX_EVENTS_MAX:
            raise MailboxFullError("The service is being restored; its mailbox is full.", retry_after_seconds=1)
        letter = Letter(event)
        self._letters.append(letter)
        return letter

    def next_nowait(self) -> Letter | None:
        """The oldest letter, or None."""
        return self._letters.popleft() if self._letters else None


class Actor(Service):
    """One service and where it stands in the machine: the service itself, once there is a host that runs it."""

    __slots__ = ()

    @classmethod
    def of(cls, service: Service) -> Actor:
        """The service as an actor. It is the same object: a copy of a million of them would leave a hole as large."""
        service.__class__ = cls
        assert isinstance(service, cls)  # noqa: S101 - for the type checker
        return service

    @property
    def service(self) -> Service:
        """The state, as the service machine sees it."""
        return self

    @property
    def mailbox(self) -> Mailbox | None:
        """None while the actor takes events in the turn that brings them.

        Where a heartbeat asks only whether there is one, it looks at `rare.mailbox`, which costs no call.
        """
        mailbox = self.rare.mailbox
        return mailbox if isinstance(mailbox, Mailbox) else None

    @mailbox.setter
    def mailbox(self, mailbox: Mailbox | None) -> None:
        self.hold(mailbox)

    def become(self, rebuilt: Service) -> None:
        """Take the state that was rebuilt; the place on the wheel and the mailbox stay."""
        mailbox = self.mailbox
        for slot in Service.__slots__:
            setattr(self, slot, getattr(rebuilt, slot))
        self.mailbox = mailbox
