"""The journal as those see it who are traced: how long it took until what they wrote was durable.

It is worn by the actors' side alone (outbox, intake, changes). A heartbeat's record is appended by the journal's own
method, bound here under its name: wearing this costs it nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from opentelemetry.sdk.trace import Tracer
from opentelemetry.trace import Span, Status, StatusCode, get_current_span

from medic.core.effects import Effect
from medic.errors import JournalRefusedError
from medic.ports import Entry, Journal, Position, Records, WhenDurable
from medic.tracing.alerts import AlertTraces


class TracedJournal:
    """Implements `ports.Journal` over another.

    Args:
        journal: Does the work.
        tracer: For the spans of those who wait.
        alerts: Told of each turn that decided something.
    """

    def __init__(self, journal: Journal, tracer: Tracer, alerts: AlertTraces) -> None:
        self._journal = journal
        self._tracer = tracer
        self._alerts = alerts
        self.append_nowait = journal.append_nowait
        self.append_heartbeat_nowait = journal.append_heartbeat_nowait
        self.append_heartbeats_nowait = journal.append_heartbeats_nowait
        self.require_room = journal.require_room
        self.require_intake = journal.require_intake

    @property
    def shard(self) -> int:
        """The journal's."""
        return self._journal.shard

    @property
    def journal_id(self) -> str:
        """The journal's."""
        return self._journal.journal_id

    @property
    def oldest(self) -> Position:
        """The journal's."""
        return self._journal.oldest

    @property
    def unreadable(self) -> Sequence[tuple[Position, Position]]:
        """The journal's."""
        return self._journal.unreadable

    @property
    def newest(self) -> Position:
        """The journal's."""
        return self._journal.newest

    @property
    def durable(self) -> Position:
        """The journal's."""
        return self._journal.durable

    def append_turn_nowait(self, effects: Sequence[Effect]) -> Position:
        """As the journal does; spans of what was decided end when it is durable."""
        position = self._journal.append_turn_nowait(effects)
        spans = self._alerts.note(effects)
        if spans:
            self._journal.call_when_durable(position, partial(end_spans, spans))
        return position

    async def wait_durable(self, position: Position) -> None:
        """As the journal does; a span of who is traced."""
        if not get_current_span().is_recording():
            await self._journal.wait_durable(position)
            return
        with self._tracer.start_as_current_span("journal"):
            await self._journal.wait_durable(position)

    def call_when_durable(self, position: Position, call: WhenDurable) -> None:
        """As the journal does."""
        self._journal.call_when_durable(position, call)

    async def wait_newer(self, position: Position) -> None:
        """As the journal does."""
        await self._journal.wait_newer(position)

    async def read_after(self, position: Position, *, most: int) -> Sequence[Entry]:
        """As the journal does."""
        return await self._journal.read_after(position, most=most)

    async def read_records_after(self, position: Position, *, most: int) -> Records:
        """As the journal does."""
        return await self._journal.read_records_after(position, most=most)


def end_spans(spans: Sequence[Span], refused: JournalRefusedError | None) -> None:
    """End spans that waited for the journal: durable, or known never to be."""
    for span in spans:
        if refused is not None:
            span.set_status(Status(StatusCode.ERROR, refused.message))
        span.end()
