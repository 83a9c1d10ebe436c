"""`medic watch`: looks at another Medic from outside, and pages by its own keys when that one is silent or stuck.

It is no second Medic. It has no services, no wheel, no PostgreSQL and no port. `medic.core.outside` decides, and that
is told by the same journal, outbox and notifiers as every alert: durable before it leaves, tried again until it
is taken, in order. So a watcher that is restarted finds in its journal what it has told and what it still has to, and
tells nothing twice.

It needs no folder. Where there is none that can be written, or it was lost, a watcher does not know what the one before
has told. Then the key decides under which PagerDuty knows the alert, the same for all of them: told again it opens
nothing new, and once the watched Medic is seen well, PagerDuty is told that what may be open is over. Slack knows no
keys, and may be told a second time.

The journal is never discarded: an alert and its outcomes take about a kilobyte, and `JOURNAL_BYTES_MAX` is enough for
thousands. Beyond it nothing more is told, and the log says so; then its folder is removed while no alert is open.

How it looks is in `medic.app.looking`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import SystemRandom
from typing import Final
from urllib.parse import quote, urlsplit

import httpx
import structlog
import trio

from medic.actors.clock import SightedClock, wall_now
from medic.actors.outbox import Outbox
from medic.alerting.assembly import build_alerting
from medic.alerting.outbound import outbound_client
from medic.alerting.pipeline import Alerting
from medic.alerting.wording import duration_words
from medic.app import sigterm
from medic.app.build import notifier_settings
from medic.app.logs import CONCEALER, configure_logs
from medic.app.looking import ASK_SECONDS, REFERENCE_SECONDS, reaches_any, references, seen_at
from medic.config.folder import prepare
from medic.config.secret_rules import references_of, values_of
from medic.config.settings import Settings, WatchSettings
from medic.core.ledger import NotificationLedger
from medic.core.notification import PAGERDUTY, Notification
from medic.core.outside import Outside, Reply, Seen, Verdict, complaint
from medic.core.status import NotificationKind
from medic.core.units import DurationMs, EventId, InstantMs, SightedMs, isoformat, seconds_to_ms
from medic.errors import ConfigurationError, Fault, JournalRefusedError
from medic.ports import Clock
from medic.store.directory_lock import DirectoryLock
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.memory_journal import MemoryJournal
from medic.store.recovery import recover

_log = structlog.get_logger(__name__)

SLACK_SECONDS: Final = 2.0
"""How much later than all of that a look may come before the watcher takes itself for having been away."""

PRIORITY: Final = "p1"
"""As urgent as the most urgent service that nobody watches meanwhile."""

JOURNAL_BYTES_MAX: Final = 16 << 20

FOLDER_NAME_MAX: Final = 100
"""Characters of a Medic's name in that of a folder, which may have 255 bytes."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The Medic that is watched.

    Attributes:
        name: For people, and in the key of its alert.
        addresses: Of the active one and those that stand by for it, without a slash at the end.
    """

    name: str
    addresses: tuple[str, ...]

    @property
    def key(self) -> str:
        """The dedup key of its alert: the same whoever watches it, from wherever."""
        return f"medic-watch-{self.name}"

    @property
    def folder(self) -> str:
        """The name of its watcher's folder, for people and unlike that of any other."""
        digest = sha256(self.name.encode()).hexdigest()[:8]
        return f"{quote(self.name, safe='')[:FOLDER_NAME_MAX]}-{digest}"


async def watch(settings: Settings, watched: Watched, announce: Callable[[str], None]) -> None:
    """Watch until SIGTERM or Ctrl-C.

    Raises:
        ConfigurationError: something the operator has to change.
    """
    as_json = settings.logs.as_json(is_terminal=sys.stderr.isatty())
    configure_logs(level=settings.logs.level, as_json=as_json, debug=settings.logs.debug)
    CONCEALER.know("environment", values_of(settings))
    _require_no_references(settings)
    with ExitStack() as stack:
        kept = _kept_journal(settings.storage.folder / "watch" / watched.folder, stack)
        ledger = NotificationLedger()
        if kept is not None:
            ledger = (await recover(None, kept, settings.tuning.defaults)).ledger
        clock = SightedClock(resume_at=SightedMs(wall_now()))
        alerting = build_alerting(
            replace(notifier_settings(settings), base_url=watched.addresses[0], slack_has_buttons=False),
            webhooks=(),
            clock=clock,
            rng=SystemRandom(),
            terminal=sys.stdout,
        )
        outbox = Outbox(MemoryJournal() if kept is None else kept, alerting, clock, ledger)
        alerting.settle_through(outbox)
        if settings.telling.withheld:
            alerting.withhold(ledger)
        has_memory = kept is not None and kept.newest > 0
        watcher = Watcher(
            watched,
            settings.watch,
            outbox=outbox,
            clock=clock,
            references=references(settings),
            close=None if has_memory or settings.telling.pagerduty is None else partial(_close, alerting),
        )
        announce(
            f"Watching {watched.name} at {', '.join(watched.addresses)}, every {settings.watch.seconds:g} s; pages "
            f"after {settings.watch.grace_seconds:g} s without progress. "
            f"Telling {alerting.describe_targets()}. Stop: Ctrl-C"
        )
        await _run(watcher, kept, outbox, alerting)


def _kept_journal(folder: Path, stack: ExitStack) -> FileJournal | None:
    """The journal in a folder of the watcher's own, locked until the stack ends; None where it cannot be written."""
    try:
        prepare(folder)
    except ConfigurationError as error:
        reason = error.faults[0].message
        _log.warning("nothing is kept: a watcher after this one will not know what it told", reason=reason)
        return None
    stack.enter_context(DirectoryLock(folder))
    return FileJournal(folder / "journal", bytes_max=JOURNAL_BYTES_MAX)


def _close(alerting: Alerting, notification: Notification) -> None:
    """Tell PagerDuty, and it alone, the end of what may be open there."""
    alerting.resume_nowait(notification, (PAGERDUTY,))


async def _run(watcher: Watcher, kept: FileJournal | None, outbox: Outbox, alerting: Alerting) -> None:
    """All parts, until a signal; then what was decided is told as far as a few seconds reach."""
    async with trio.open_nursery() as outer:
        if kept is not None:
            await outer.start(kept.run)
        async with trio.open_nursery() as telling:
            await telling.start(alerting.run)
            for notification in outbox.ledger.pending():
                alerting.resume_nowait(notification, notification.targets)
            await telling.start(outbox.run)
            async with trio.open_nursery() as watching:
                watching.start_soon(watcher.run)
                with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    if not sigterm.has_come():
                        await anext(aiter(signals))
                watching.cancel_scope.cancel()
            await outbox.wait_idle()
            await alerting.drain()
            telling.cancel_scope.cancel()
        outer.cancel_scope.cancel()


class Watcher:
    """Looks, and has told what follows.

    Args:
        watched: Whom.
        settings: How often, and how patiently.
        outbox: Tells. Its ledger knows what an earlier run has told.
        clock: For instants.
        references: Hosts and ports of what is nearly always there; none: the watcher never takes itself for cut off.
        close: Given where nobody knows what was told before this run: takes the end of what may be open, once the
            watched Medic is seen well.
    """

    def __init__(
        self,
        watched: Watched,
        settings: WatchSettings,
        *,
        outbox: Outbox,
        clock: Clock,
        references: Sequence[tuple[str, int]] = (),
        close: Callable[[Notification], None] | None = None,
    ) -> None:
        self._watched = watched
        self._seconds = settings.seconds
        self._grace = settings.grace_seconds
        self._outbox = outbox
        self._clock = clock
        self._references = tuple(references)
        self._close = close
        self._alert_id = outbox.ledger.open_under(watched.key)
        self._cut_off_at: InstantMs | None = None

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        if self._alert_id is not None:
            _log.warning("an alert is open from before", key=self._watched.key, since=isoformat(self._opened_at()))
        outside = Outside(
            at=trio.current_time(),
            grace=self._grace,
            gap=self._seconds + ASK_SECONDS + REFERENCE_SECONDS + SLACK_SECONDS,
            is_raised=self._alert_id is not None,
        )
        async with outbound_client() as client:
            while True:
                seen = await self._look(client)
                is_reached = any(one.reply is not Reply.NONE for one in seen) or await reaches_any(self._references)
                self._follow(outside.look(seen, reaches_others=is_reached, at=trio.current_time()), seen, outside)
                await trio.sleep(self._seconds)

    # ---------------------------------------------------------------------------------------------------------- looking

    async def _look(self, client: httpx.AsyncClient) -> list[Seen]:
        found: dict[str, Seen] = {}

        async def look_at(address: str) -> None:
            found[address] = await seen_at(client, address)

        async with trio.open_nursery() as nursery:
            for address in self._watched.addresses:
                nursery.start_soon(look_at, address)
        return [found[address] for address in self._watched.addresses]

    # --------------------------------------------------------------------------------------------------------- telling

    def _follow(self, verdict: Verdict, seen: Sequence[Seen], outside: Outside) -> None:
        """Do what follows from a look."""
        if outside.is_well and self._close is not None and self._alert_id is None:
            close, self._close = self._close, None
            now = self._clock.now()
            close(self._end(EventId(now), now))
        match verdict:
            case Verdict.NOTHING:
                return
            case Verdict.RAISE:
                self._close = None  # from here on it is known what was told
                outside.is_raised = self._raise(seconds_to_ms(outside.silent), complaint(seen))
            case Verdict.RESOLVE:
                outside.is_raised = not self._resolve()
            case Verdict.CUT_OFF:
                self._cut_off_at = self._clock.now()
                _log.error("this watcher reaches nothing at all, and does not know how Medic is", seen=complaint(seen))
            case Verdict.REJOINED:
                self._rejoin()

    def _raise(self, silent: DurationMs, why: str) -> bool:
        """Tell that it is not well; False where that cannot be journaled, and the next look tries again."""
        now = self._clock.now()
        text = f"Medic {self._watched.name} watches nobody, as seen from outside: {why}, for {duration_words(silent)}."
        _log.error("the watched Medic is not well", reason=why)
        told = self._tell(
            Notification(
                notification_id=f"{now}.0",
                kind=NotificationKind.TRIGGER,
                key=self._watched.key,
                at=now,
                alert_id=EventId(now),
                priority=PRIORITY,
                late_since=InstantMs(now - silent),
                text=text,
            )
        )
        self._alert_id = EventId(now) if told else None
        return told

    def _resolve(self) -> bool:
        """Tell that it is well again."""
        now, alert_id = self._clock.now(), self._alert_id
        _log.warning("the watched Medic is well again")
        if alert_id is None:
            return True
        told = self._tell(replace(self._end(alert_id, now), lasted_ms=DurationMs(max(0, now - self._opened_at()))))
        self._alert_id = None if told else alert_id
        return told

    def _end(self, alert_id: EventId, now: InstantMs) -> Notification:
        return Notification(
            notification_id=f"{alert_id}.1",
            kind=NotificationKind.RESOLVE,
            key=self._watched.key,
            at=now,
            alert_id=alert_id,
            priority=PRIORITY,
            text=f"Medic {self._watched.name} makes progress again.",
        )

    def _rejoin(self) -> None:
        """Say that nobody watched that Medic meanwhile: to whoever is told news; it is no alert."""
        begun, now = self._cut_off_at or self._clock.now(), self._clock.now()
        text = (
            f"The watcher of Medic {self._watched.name} reached nothing at all from {isoformat(begun)} to "
            f"{isoformat(now)}: nobody knows how Medic was meanwhile."
        )
        _log.warning("this watcher reaches something again", text=text)
        self._cut_off_at = None
        self._tell(
            Notification(
                notification_id=f"watch.{begun}",
                kind=NotificationKind.BLIND,
                key=self._watched.key,
                at=now,
                text=text,
            )
        )

    def _tell(self, notification: Notification) -> bool:
        try:
            self._outbox.require_intake()
        except JournalRefusedError as refused:
            _log.error("this watcher's journal takes nothing; nobody is told", reason=refused.message)
            return False
        self._outbox.tell_nowait(notification)
        return True

    def _opened_at(self) -> InstantMs:
        """When the open alert was raised: its id is that instant, for here nobody gives out ids."""
        return InstantMs(self._alert_id or self._clock.now())


def default_name(address: str) -> str:
    """What a Medic is called that nobody gave a name: host, and port where it is said."""
    return urlsplit(address).netloc.lower()


def _require_no_references(settings: Settings) -> None:
    """Stored secrets are in the watched Medic's database; a watcher that needs them could not say that it is away."""
    faults = tuple(
        Fault(name, "refers to a stored secret, and a watcher has none: give it the value, or a file by NAME_FILE")
        for name in references_of(settings)
        if name in {"SLACK_API_TOKEN", "PAGERDUTY_ROUTING_KEY"}
    )
    if faults:
        raise ConfigurationError(faults)
