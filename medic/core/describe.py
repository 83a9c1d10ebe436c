"""The service machine described by running it: `python -m medic.core.describe` prints docs/reference/service-states.md.

Every status is brought about by events, every kind of heartbeat and every command is then stepped on it, and what came
of it is written down. Nothing in the tables or in the diagram is typed in by hand; a test compares the file with this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Final, assert_never

from medic.core.author import Author
from medic.core.deadline import next_deadline
from medic.core.draft import ServiceDraft, ServiceEdit
from medic.core.effects import (
    AmendAlert,
    ChangeStatus,
    CloseAlert,
    CreditSigns,
    EndMute,
    NoteHeartbeat,
    Notify,
    OpenAlert,
    RecordHeartbeat,
    RemoveService,
    ServiceEffect,
    SetMute,
    StoreService,
)
from medic.core.events import (
    AcknowledgeRequested,
    DeadlineExpired,
    Event,
    HeartbeatReceived,
    MuteRequested,
    ResolveRequested,
    ServiceChanged,
    ServiceDeleted,
    TestRequested,
    UnmuteRequested,
)
from medic.core.heartbeat_words import kind_of
from medic.core.policy import Defaults
from medic.core.status import Status
from medic.core.step import register, step
from medic.core.units import HOUR_MS, MINUTE_MS, DurationMs, EventId, InstantMs, ServiceId, SightedMs, SkewMs

_RECOVERY_MS: Final = DurationMs(MINUTE_MS // 2)
_ADA: Final = Author("ada")
_BEGINNING: Final = InstantMs(1_767_225_600_000)

_HEAD: Final = """\
# Statuses, and what becomes of them

Made by `python -m medic.core.describe`, which runs the service machine; do not edit.

A service is in one of six statuses. The tables say what each heartbeat and each command does in each of them: the new
status in bold, then what is recorded about the alert, then *who is told what* (a kind of notification, see
`medic/core/status.py`). Every heartbeat is stored, except where a dash says that nothing happens at all. The service of
the tables has an interval of a minute, a threshold of 1 and an hour between reminders.
"""
_MUTED: Final = """
## The same while muted

Alerts open and close as ever; nobody is told. Only what had been told before the mute is told to be over.
The services of this table had an alert that was told, where they have one.
"""
_ALERTED: Final = """
## While an alert is open

What its status does not say: somebody may have acknowledged the alert, it may wait until the service was well for
`recovery_seconds`, and it may flap.
"""
_DIAGRAM: Final = """
## The statuses as a diagram

Every change of status that happens in the tables.
"""


class _Stage:
    """A service with a clock of its own."""

    def __init__(self, *, active: bool = True, recovery_ms: DurationMs = DurationMs(0)) -> None:
        self._at = _BEGINNING
        self._drawn = 0
        draft = ServiceDraft("web", "shop", MINUTE_MS, active=active, recovery_ms=recovery_ms, renotify_ms=HOUR_MS)
        row = draft.row(ServiceId(1), self._at, _ADA.name)
        defaults = Defaults(first_heartbeat_ms=DurationMs(0))
        self.service, _ = register(row, defaults, at=self._at, sighted=self._sighted)

    @property
    def _sighted(self) -> SightedMs:
        return SightedMs(self._at)

    def _draw_id(self) -> EventId:
        self._drawn += 1
        return EventId(self._drawn)

    def _take(self, event: Event) -> tuple[ServiceEffect, ...]:
        return step(self.service, event)

    def beat(self, word: str) -> tuple[ServiceEffect, ...]:
        return self._take(HeartbeatReceived(self._at, self._sighted, self._draw_id(), kind_of(word), word))

    def expire(self) -> tuple[ServiceEffect, ...]:
        """Let the next deadline come, whatever it is for."""
        deadline = next_deadline(self.service, SkewMs(0))
        if deadline is None:
            return ()
        self._at = InstantMs(max(self._at, deadline))
        return self._take(DeadlineExpired(self._at, self._sighted, self._draw_id(), deadline))

    def edit(self, edit: ServiceEdit) -> tuple[ServiceEffect, ...]:
        row = edit.apply(self.service.row, self._at, _ADA.name)
        return self._take(ServiceChanged(self._at, self._sighted, self._draw_id(), row))

    def mute(self) -> tuple[ServiceEffect, ...]:
        return self._take(MuteRequested(self._at, self._sighted, None, "", _ADA))

    def expire_mute(self) -> tuple[ServiceEffect, ...]:
        """Let the mute come to its end in this instant."""
        if self.service.mute is not None:
            self._take(MuteRequested(self._at, self._sighted, self._at, "", _ADA))
        return self._take(DeadlineExpired(self._at, self._sighted, self._draw_id(), self._sighted))

    def unmute(self) -> tuple[ServiceEffect, ...]:
        return self._take(UnmuteRequested(self._at, self._sighted, self._draw_id(), _ADA))

    def acknowledge(self) -> tuple[ServiceEffect, ...]:
        return self._take(AcknowledgeRequested(self._at, self._sighted, _ADA))

    def resolve(self) -> tuple[ServiceEffect, ...]:
        return self._take(ResolveRequested(self._at, self._sighted, _ADA))

    def delete(self) -> tuple[ServiceEffect, ...]:
        return self._take(ServiceDeleted(self._at, self._sighted, _ADA))

    def send_test(self) -> tuple[ServiceEffect, ...]:
        return self._take(TestRequested(self._at, self._sighted, self._draw_id(), _ADA))


_Input = Callable[[_Stage], tuple[ServiceEffect, ...]]


def _beat(word: str) -> _Input:
    return lambda stage: stage.beat(word)


def _inactive() -> _Stage:
    stage = _beaten("UP")
    stage.edit(ServiceEdit(active=False))
    return stage


def _beaten(*words: str, recovery_ms: DurationMs = DurationMs(0)) -> _Stage:
    stage = _Stage(recovery_ms=recovery_ms)
    for word in words:
        stage.beat(word)
    return stage


def _late(*, recovery_ms: DurationMs = DurationMs(0)) -> _Stage:
    stage = _beaten("UP", recovery_ms=recovery_ms)
    stage.expire()
    return stage


def _acknowledged() -> _Stage:
    stage = _late()
    stage.acknowledge()
    return stage


def _late_and_well() -> _Stage:
    stage = _late(recovery_ms=_RECOVERY_MS)
    stage.beat("UP")
    return stage


def _down_and_well() -> _Stage:
    return _beaten("UP", "DOWN", "UP", recovery_ms=_RECOVERY_MS)


def _flapping() -> _Stage:
    return _beaten("UP", *("DOWN", "UP") * 3, "DOWN")


def _muted(situation: Callable[[], _Stage]) -> Callable[[], _Stage]:
    def build() -> _Stage:
        stage = situation()
        stage.mute()
        return stage

    return build


_Situations = Sequence[tuple[str, Callable[[], _Stage]]]

_STATUSES: Final[_Situations] = (
    (Status.NEW, _Stage),
    (Status.UP, lambda: _beaten("UP")),
    (Status.DEGRADED, lambda: _beaten("DEGRADED")),
    (Status.LATE, _late),
    (Status.DOWN, lambda: _beaten("UP", "DOWN")),
    (Status.INACTIVE, _inactive),
    ("inactive, never heard of", lambda: _Stage(active=False)),
)
_ALERT_FORMS: Final[_Situations] = (
    ("late, acknowledged", _acknowledged),
    ("late, well and waiting", _late_and_well),
    ("down, well and waiting", _down_and_well),
    ("down, flapping", _flapping),
)

_HEARTBEATS: Final[Sequence[tuple[str, _Input]]] = (
    ("`UP`", _beat("UP")),
    ("`COMPLETED`", _beat("COMPLETED")),
    ("`STARTED`", _beat("STARTED")),
    ("`DEGRADED`", _beat("DEGRADED")),
    ("`DOWN`", _beat("DOWN")),
    ("`FAILED`", _beat("FAILED")),
    ("any other word", _beat("step 2")),
)
_COMMANDS: Final[Sequence[tuple[str, _Input]]] = (
    ("the next deadline comes", _Stage.expire),
    ("mute", _Stage.mute),
    ("the mute's end comes", _Stage.expire_mute),
    ("unmute", _Stage.unmute),
    ("acknowledge", _Stage.acknowledge),
    ("resolve by hand", _Stage.resolve),
    ("another interval", lambda stage: stage.edit(ServiceEdit(interval_ms=HOUR_MS))),
    ("a more urgent priority", lambda stage: stage.edit(ServiceEdit(priority="p1"))),
    ("deactivate", lambda stage: stage.edit(ServiceEdit(active=False))),
    ("activate", lambda stage: stage.edit(ServiceEdit(active=True))),
    ("delete", _Stage.delete),
    ("test", _Stage.send_test),
)
_INPUTS: Final = (*_HEARTBEATS, *_COMMANDS)

_Edges = dict[tuple[str, str], list[str]]


def service_states() -> str:
    """The whole page, in Markdown."""
    edges: _Edges = {("[*]", "new"): ["registered"], ("[*]", "inactive"): ["registered inactive"]}
    muted = tuple((f"{label}, muted", _muted(situation)) for label, situation in _STATUSES)
    tables = (
        _table(_STATUSES, edges),
        _MUTED,
        _table(muted, edges),
        _ALERTED,
        _table(_ALERT_FORMS, edges),
    )
    return "\n".join((_HEAD, *tables, _DIAGRAM, _diagram(edges)))


def _table(situations: _Situations, edges: _Edges) -> str:
    lines = [
        "| | " + " | ".join(label for label, _ in situations) + " |",
        "|---|" + "---|" * len(situations),
    ]
    for label, happen in _INPUTS:
        cells = [_cell(label, situation(), happen, edges) for _, situation in situations]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(label: str, stage: _Stage, happen: _Input, edges: _Edges) -> str:
    before = stage.service.status
    effects = happen(stage)
    after = "[*]" if any(isinstance(effect, RemoveService) for effect in effects) else stage.service.status.value
    causes = edges.setdefault((before.value, after), []) if after != before else []
    if label not in causes:
        causes.append(label)
    if not effects:
        return "–"
    words = [word for effect in effects if (word := _word(effect))]
    return ", ".join(words) or "stored"


def _word(effect: ServiceEffect) -> str:
    match effect:
        case RecordHeartbeat() | NoteHeartbeat() | StoreService():
            return ""
        case CreditSigns():
            return "fresh deadline"
        case ChangeStatus():
            return f"**{effect.status}**"
        case OpenAlert():
            return f"alert opens ({effect.alert.reason})"
        case AmendAlert():
            return f"alert: {effect.change}"
        case CloseAlert():
            return f"alert closes ({effect.reason})"
        case SetMute():
            return "muted"
        case EndMute():
            return "unmuted"
        case RemoveService():
            return "forgotten"
        case Notify():
            return f"*{effect.notification.kind}*"
        case _:
            assert_never(effect)


def _diagram(edges: _Edges) -> str:
    order = ["[*]", *(status.value for status in Status)]
    lines = ["```mermaid", "stateDiagram-v2"]
    for before, after in sorted(edges, key=lambda edge: (order.index(edge[0]), order.index(edge[1]))):
        causes = ", ".join(cause.replace("`", "") for cause in edges[before, after])
        lines.append(f"    {before} --> {after}: {causes}")
    return "\n".join((*lines, "```", ""))


if __name__ == "__main__":
    sys.stdout.write(service_states())
