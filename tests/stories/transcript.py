"""Stories: what somebody on call would see, written as text and held to the machine.

A story is lines of what happens, each with its time, and below each what Medic makes of it until the next one:

    00:00 register web every 5m grace 1m
    00:01 web UP
      => 00:01:00 web: new to up
    00:10 until 00:10
      => 00:07:00 web: up to late, alert opens (late), tell trigger p3

`python -m tests.stories.transcript` writes what comes out today into all stories; read the difference before it is
committed. What can happen:

    settings first-heartbeat 15m flapping 3          the environment; else no patience, 3 openings
    register NAME every 5m [grace 1m] [threshold 3] [recovery 2m] [remind 1h] [priority p1]
    NAME STATUS [every 30s until TIME]               heartbeats; those sent while Medic is blind are lost
    mute NAME [for 8h], unmute NAME, ack NAME, resolve NAME, delete NAME, activate NAME, deactivate NAME, test NAME
    edit NAME every 10m | grace … | priority p1 …    as in register
    blind for 20m [every 1h until TIME]              Medic is down
    until TIME                                       time passes

Times are `HH:MM`, `HH:MM:SS`, or `2d HH:MM` for the second day.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from medic.core.effects import (
    AmendAlert,
    ChangeStatus,
    CloseAlert,
    CreditSigns,
    EndMute,
    Notify,
    OpenAlert,
    RemoveService,
    ServiceEffect,
    SetMute,
)
from medic.core.events import Event
from medic.core.policy import Defaults
from medic.core.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, DurationMs
from tests.stories.simulation import BEGINNING, SimulatedMedic, SimulatedService

FOLDER = Path(__file__).parent

UNITS = {"s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}
COLUMNS = {
    "every": "interval_ms",
    "grace": "grace_ms",
    "threshold": "threshold",
    "recovery": "recovery_ms",
    "remind": "renotify_ms",
    "priority": "priority",
}
SETTINGS = {"first-heartbeat": "first_heartbeat_ms", "flapping": "flap_openings", "remind": "renotify_ms"}

_LINE = re.compile(r"^((?:\d+d )?\d\d:\d\d(?::\d\d)?) (.+)$")


def duration(text: str) -> DurationMs:
    """`90s`, `5m`, `8h`, `2d`, `0`."""
    return DurationMs(0 if text == "0" else int(text[:-1]) * UNITS[text[-1]])


def instant(text: str) -> int:
    """Milliseconds since the first midnight."""
    day, _, clock = text.rpartition(" ")
    hours, minutes, seconds = (*clock.split(":"), "0")[:3]
    days = int(day[:-1]) - 1 if day else 0
    return days * DAY_MS + int(hours) * HOUR_MS + int(minutes) * MINUTE_MS + int(seconds) * SECOND_MS


def clock(ms: int) -> str:
    days, rest = divmod(ms, DAY_MS)
    seconds, fraction = divmod(rest, SECOND_MS)
    shown = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return (f"{days + 1}d " if days else "") + shown + (f".{fraction:03}" if fraction else "")


def length(ms: int) -> str:
    parts = [(ms // HOUR_MS, "h"), (ms % HOUR_MS // MINUTE_MS, "min"), (ms % MINUTE_MS // SECOND_MS, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


@dataclass
class Happening:
    """One thing at one time, and which line of the story it belongs to."""

    at: int
    line: int
    words: list[str]


@dataclass
class Story:
    """A story's lines; `run` gives them with what comes out today."""

    lines: list[str]
    outcomes: dict[int, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Story:
        return cls([line for line in text.splitlines() if not line.startswith("  =>")])

    def run(self) -> str:
        self.outcomes.clear()
        happenings, commands = self._happenings()
        stage = _Stage(self._settings())
        for happening in happenings:
            stage.advance_to(happening.at)
            stage.do(happening)
        last = max(commands.values())
        stage.advance_to(last)
        stage.settle()
        for at, said in stage.said:
            line = max(line for line, begins in commands.items() if begins <= at)
            self.outcomes.setdefault(line, []).append(f"  => {clock(at)} {said}")
        shown = []
        for number, line in enumerate(self.lines):
            shown += [line, *self.outcomes.get(number, [])]
        return "\n".join(shown) + "\n"

    def _settings(self) -> Defaults:
        words = next((line.split()[1:] for line in self.lines if line.startswith("settings ")), [])
        values: dict[str, int] = {"first_heartbeat_ms": 0}
        for name, value in zip(words[::2], words[1::2], strict=True):
            values[SETTINGS[name]] = int(value) if name == "flapping" else duration(value)
        return Defaults(**values)

    def _happenings(self) -> tuple[list[Happening], dict[int, int]]:
        """Everything in order of time, and from when on each line is the newest."""
        happenings: list[Happening] = []
        commands: dict[int, int] = {}
        for number, line in enumerate(self.lines):
            match = _LINE.match(line)
            if match is None:
                assert not line or line.startswith(("#", "settings ")), line
                continue
            at, words = instant(match[1]), match[2].split()
            assert at >= max(commands.values(), default=0), f"{line}: earlier than the line before"
            commands[number] = at
            if words[0] == "until":
                end = instant(" ".join(words[1:]))
                happenings.append(Happening(end, number, ["until"]))
            elif "until" in words:
                place = words.index("until")
                end, step = instant(" ".join(words[place + 1 :])), duration(words[place - 1])
                happenings += [Happening(time, number, words[: place - 2]) for time in range(at, end, step)]
                happenings.append(Happening(end, number, ["until"]))
            else:
                happenings.append(Happening(at, number, words))
        ordered = sorted(happenings, key=lambda happening: (happening.at, happening.line))
        return ordered, commands


class _Stage:
    """A simulated Medic that writes down what it does."""

    def __init__(self, defaults: Defaults) -> None:
        self.medic = SimulatedMedic(defaults)
        self.medic.watch = self.watch
        self.said: list[tuple[int, str]] = []
        self.lost: list[str] = []
        self.blind_until = 0
        self.blind_for = 0

    @property
    def now(self) -> int:
        return self.medic.at - BEGINNING

    def watch(self, simulated: SimulatedService, event: Event, effects: tuple[ServiceEffect, ...]) -> None:
        words = [word for effect in effects if (word := word_of(effect))]
        if words:
            self.said.append((self.now, f"{simulated.service.row.heartbeat_name}: {', '.join(words)}"))

    def advance_to(self, at: int) -> None:
        """Let time pass up to `at`; what comes due in that very instant comes after what happens in it."""
        if self.blind_for and at >= self.blind_until:
            self._see_again()
        if not self.blind_for and at > self.now:
            self.medic.advance(at - self.now - 1)
            self.medic.jump(1)

    def settle(self) -> None:
        """Let what is due in this instant come."""
        self.medic.advance(0)

    def _see_again(self) -> None:
        blind_for, self.blind_for = self.blind_for, 0
        self.medic.go_blind(blind_for)
        lost = f", lost: {', '.join(self.lost)}" if self.lost else ""
        self.said.append((self.now, f"Medic is back after {length(blind_for)}{lost}"))
        self.lost.clear()

    def do(self, happening: Happening) -> None:
        verb, *rest = happening.words
        if self.blind_for:
            self.lost += [" ".join(happening.words)] if verb != "until" else []
            return
        if verb == "until":
            self.settle()
        elif verb == "blind":
            self.settle()
            self.blind_for = duration(rest[1])
            self.blind_until = self.now + self.blind_for
        elif verb == "register":
            columns = columns_of(rest[1:])
            self.medic.register(rest[0], interval_ms=columns.pop("interval_ms"), **columns)
        elif verb in self.medic.services:
            self.medic.services[verb].beat(" ".join(rest))
        else:
            command(self.medic.services[rest[0]], verb, rest[1:])


def command(simulated: SimulatedService, verb: str, rest: list[str]) -> None:
    if verb == "mute":
        simulated.mute(duration(rest[1]) if rest else None)
    elif verb == "edit":
        simulated.edit(**columns_of(rest))
    elif verb in {"activate", "deactivate"}:
        simulated.edit(active=verb == "activate")
    else:
        verbs = {
            "unmute": simulated.unmute,
            "ack": simulated.acknowledge,
            "resolve": simulated.resolve,
            "delete": simulated.delete,
            "test": simulated.send_test,
        }
        verbs[verb]()


def columns_of(words: list[str]) -> dict[str, object]:
    columns: dict[str, object] = {}
    for name, value in zip(words[::2], words[1::2], strict=True):
        plain = int(value) if name == "threshold" else value
        columns[COLUMNS[name]] = plain if name in {"threshold", "priority"} else duration(value)
    return columns


def word_of(effect: ServiceEffect) -> str:
    """What a person is shown of an effect; nothing of plain heartbeats and stored rows."""
    if isinstance(effect, ChangeStatus):
        return f"{effect.previous} to {effect.status}"
    if isinstance(effect, OpenAlert):
        return f"alert opens ({effect.alert.reason}{', flapping' if effect.alert.flapping else ''})"
    if isinstance(effect, AmendAlert):
        return f"alert {effect.change}"
    if isinstance(effect, CloseAlert):
        lasted = length(effect.at - effect.alert.opened_at)
        return f"alert closes ({effect.reason}) after {lasted}"
    if isinstance(effect, CreditSigns):
        return "a fresh interval" if effect.fresh_interval else "deadline begins anew"
    if isinstance(effect, SetMute):
        return "muted"
    if isinstance(effect, EndMute):
        return "unmuted"
    if isinstance(effect, RemoveService):
        return "forgotten"
    if isinstance(effect, Notify):
        told = effect.notification
        return f"tell {told.kind}" + (f" {told.priority}" if told.alert_id is not None else "")
    return ""


def stories() -> list[Path]:
    return sorted(FOLDER.glob("*.txt"))


if __name__ == "__main__":
    for path in stories():
        path.write_text(Story.read(path.read_text(encoding="utf-8")).run(), encoding="utf-8")
