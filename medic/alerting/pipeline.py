"""From a journaled notification to somebody who knows, and back to the journal: `Alerting`.

The problem. A page must reach people whatever one vendor does, must not reach them twice without need, and must be
noticed when it reaches nobody. Vendors are slow, throttle, hang, refuse for good, and answer after they were given
up on.

The stages, one file each:

    routing    whom a notification goes to          `Alerting.targets_for`, asked when it is journaled; `Notifier.takes`
    lane       in order for one alert, never many   `medic.alerting.lane`: what closes before it was told is not told
    queue      most urgent first, then oldest       `medic.alerting.queue`
    pace       gently: pauses, outages, backoff     `medic.alerting.pace`, `backoff`
    attempt    one request in the vendor's format   a notifier: `pagerduty`, `slack`, `webhook`, `console`
    withheld   to nobody, where that is wanted      `medic.alerting.withheld`
    settle     the outcome into the journal         `ports.Settlements`
    untold     told to nobody is noticed            `medic.alerting.untold`

The invariants. Nothing is attempted before it is journaled (the outbox offers only what is durable). For one alert and
target, attempts are strictly in order and one at a time. Targets share no queue, no connection and no task: a vendor
that hangs delays nobody else. Whatever is pending is bounded by services times targets times a few.

Numbers. An idle target sends within a millisecond of the offer. At most 8 attempts at once a target, 4 more for p1. An
attempt takes at most 10 s; retries come after 1 s to 60 s with full jitter, for as long as the alert is open, a resolve
for 24 h.

Rejected: one queue for all targets (a hanging one would fill it); a task for each notification (a million tasks in the
worst hour, and order between them would need locks); to journal every attempt (H30: only outcomes, and a kill in
between may repeat a message, which receivers can recognise by its id).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Final

import structlog
import trio

from medic.alerting.concerned import named
from medic.alerting.errand import Ending, Errand
from medic.alerting.notifier import CLAIMS, Notifier
from medic.alerting.statistics import AlertingStatistics
from medic.alerting.target import Target
from medic.alerting.untold import UNTOLD_SECONDS, UntoldWatch
from medic.alerting.withheld import WHY, Withholding
from medic.core.effects import SettleNotification
from medic.core.ledger import NotificationLedger
from medic.core.notification import PAGERDUTY, Notification
from medic.core.status import NotificationKind, Outcome
from medic.core.webhook import Webhook
from medic.errors import InvariantError, JournalRefusedError
from medic.ports import Clock, Settlements

_log = structlog.get_logger(__name__)

DRAIN_SECONDS: Final = 6.0
"""At a stop: half for what may still go out, half for what is under way. What remains is told after the next start."""

UNTOLD_GATHERED_SECONDS: Final = 1.0
"""A vendor that is down leaves many alerts untold in the same minute: they make one error line a second at most."""

UNTOLD_SLICE: Final = 1_000
"""Alerts looked at between two turns of the loop: under a millisecond."""

UNTOLD_NAMED_MAX: Final = 100
"""Names in one line. In an outage there may be a hundred thousand; nobody reads further."""

DESCRIBED_MAX: Final = 8
"""Targets that the start line names: it has to stay a line."""

REFUSAL_SAID_AGAIN_SECONDS: Final = 60.0

_REFUSED: Final = "an alert was refused for good"
_LACKED: Final = "an alert waits for a secret that is not there"

_SAID_TO_SOMEBODY: Final = CLAIMS | {NotificationKind.RESOLVE, NotificationKind.TEST}
"""Kinds that go to the console where every other notifier passes them over."""


class Alerting:
    """Implements `ports.Teller`.

    Args:
        notifiers: Those configured: PagerDuty, Slack, each stored webhook.
        fallback: Told what would otherwise be told to nobody: the console.
        make_webhook: Makes the notifier of a webhook that is added at run time.
        clock: Wall and sighted time for what is journaled.
        rng: Jitter.
    """

    def __init__(
        self,
        notifiers: Iterable[Notifier],
        *,
        fallback: Notifier,
        make_webhook: Callable[[Webhook], Notifier],
        clock: Clock,
        rng: Random,
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._make_webhook = make_webhook
        self._settlements: Settlements | None = None
        self._nursery: trio.Nursery | None = None
        self._fallback = self._make_target(fallback)
        self._targets = {notifier.target: self._make_target(notifier) for notifier in notifiers}
        self._watch = UntoldWatch()
        self._watched = trio.Event()
        self._unsettled = 0
        self._refusals: dict[str, tuple[str, float]] = {}
        self._withholding: Withholding | None = None

    def settle_through(self, settlements: Settlements) -> None:
        """Name the outbox, which needs this object to exist first. Once, before anything is offered."""
        self._settlements = settlements

    def withhold(self, ledger: NotificationLedger) -> None:
        """Tell nobody: `MEDIC_NOTIFY` is off. Once, before anything is offered; `ledger` is the outbox's."""
        self._withholding = Withholding(ledger)

    # ---------------------------------------------------------------------------------------------------------- routing

    def targets_for(self, notification: Notification) -> tuple[str, ...]:
        """Names of the targets that take this notification now; the console where nobody does and somebody should."""
        if notification.kind is NotificationKind.UNTOLD:
            # It names those whom it is for: everybody who works but the one it complains about.
            return tuple(name for name in notification.targets if self._find(name) is not None)
        names = tuple([name for name, target in self._targets.items() if target.notifier.takes(notification)])
        if names or (self._targets and notification.kind not in _SAID_TO_SOMEBODY):
            return names
        return (self._fallback.name,)

    def who_hears(self, notification: Notification) -> tuple[str, ...]:
        """Those of them that would really be told now: nobody while notifications are withheld."""
        return self.targets_for(notification) if self._withholding is None else ()

    def describe_targets(self) -> str:
        """Who would be told, for the start line: no secret in it."""
        told = [target.notifier.describe() for target in self._targets.values() or (self._fallback,)]
        more = len(told) - DESCRIBED_MAX
        described = ", ".join(told[:DESCRIBED_MAX]) + (f" and {more} more" if more > 0 else "")
        return described if self._withholding is None else f"nobody: MEDIC_NOTIFY is off. With on: {described}"

    # ----------------------------------------------------------------------------------------------------------- taking

    def offer_nowait(self, notification: Notification) -> None:
        """Take a journaled notification for delivery to its `targets`. Never waits, never refuses."""
        if self._withholding is not None:
            self._withhold(self._withholding.take(notification), notification)
            return
        if notification.kind is NotificationKind.UNTOLD and not self._watch.knows(notification.alert_id):
            # The alert closed in the meantime; PagerDuty would open an incident that nobody closes.
            for name in notification.targets:
                self._journal(notification, name, Outcome.DROPPED, 0, "the alert is over")
            return
        self._watch_alert(notification)
        for name in notification.targets:
            target = self._find(name)
            if target is None:
                self._journal(notification, name, Outcome.DROPPED, 0, "no longer configured")
            else:
                target.offer_nowait(notification)

    def resume_nowait(self, notification: Notification, targets: Sequence[str]) -> None:
        """Take what recovery found pending at these targets. It may have been attempted before the restart."""
        resumed = replace(notification, targets=tuple(targets))
        if self._withholding is not None:
            self._withhold(self._withholding.take_resumed(resumed), resumed)
            return
        self._watch_alert(resumed)
        for name in targets:
            target = self._find(name)
            if target is None:
                self._journal(resumed, name, Outcome.GIVEN_UP, 0, "no longer configured")
            elif not _outlives_a_restart(resumed, name):
                self._journal(resumed, name, Outcome.GIVEN_UP, 0, "Medic was restarted meanwhile")
            else:
                target.resume_nowait(resumed)

    # --------------------------------------------------------------------------------------------------------- webhooks

    def add_webhook(self, webhook: Webhook) -> None:
        """Tell this webhook from now on. One that is there is told as it is now, what waits for it included."""
        notifier = self._make_webhook(webhook)
        known = self._targets.get(notifier.target)
        if known is not None:
            known.renew(notifier)
            return
        target = self._make_target(notifier)
        self._targets[target.name] = target
        if self._nursery is not None:
            self._nursery.start_soon(target.run)

    def remove_webhook(self, webhook: Webhook) -> None:
        """Tell this webhook no more; what waits for it is given up."""
        target = self._targets.pop(webhook.target, None)
        if target is not None:
            target.withdraw()

    # ---------------------------------------------------------------------------------------------------------- secrets

    def try_lacking_again(self) -> None:
        """Secrets were changed: what failed for want of one is tried at once."""
        for target in self._targets.values():
            target.try_lacking_again()

    # ------------------------------------------------------------------------------------------------------------- life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell everybody, each target in a task of its own, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for target in (self._fallback, *self._targets.values()):
                    nursery.start_soon(target.run)
                nursery.start_soon(self._watch_untold)
                task_status.started()
        finally:
            self._nursery = None

    async def drain(self, *, seconds: float = DRAIN_SECONDS) -> None:
        """Let what may go out now go out, then begin no more; returns once no attempt is under way or time is up.

        What is still pending stays in the journal and is told after the next start. Call it before `run` is cancelled:
        an attempt that is cut off has an unknown fate, and may be repeated.
        """
        targets = (self._fallback, *self._targets.values())
        with trio.move_on_after(seconds / 2):
            async with trio.open_nursery() as nursery:
                for target in targets:
                    nursery.start_soon(target.wait_quiet)
        with trio.move_on_after(seconds / 2):
            async with trio.open_nursery() as nursery:
                for target in targets:
                    nursery.start_soon(target.hold)

    async def prove(self) -> None:
        """Return once every target was seen to be at work, or to have nothing that might be tried now."""
        await trio.lowlevel.checkpoint()
        for target in (self._fallback, *self._targets.values()):
            await target.prove()

    def statistics(self) -> AlertingStatistics:
        """How every target stands, and which alerts are untold."""
        targets = [target.statistics() for target in self._targets.values()]
        console = self._fallback.statistics()
        if not targets or console.attempts or console.pending:
            targets.append(console)
        withholds = self._withholding is not None
        return AlertingStatistics(tuple(targets), self._watch.untold(), self._unsettled, withholds)

    # ---------------------------------------------------------------------------------------------------------- private

    def _make_target(self, notifier: Notifier) -> Target:
        return Target(notifier, settle=self._settled, lack=self._lacked, clock=self._clock, rng=self._rng)

    def _find(self, name: str) -> Target | None:
        return self._fallback if name == self._fallback.name else self._targets.get(name)

    def _withhold(self, names: Sequence[str], notification: Notification) -> None:
        for name in names:
            target = self._find(name)
            if target is not None:
                target.withhold()
            self._journal(notification, name, Outcome.WITHHELD, 0, WHY)

    def _watch_alert(self, notification: Notification) -> None:
        kind = notification.kind
        if kind is NotificationKind.RESOLVE:
            self._watch.closed(notification.alert_id)
        elif kind in CLAIMS and not any(map(self._find, notification.targets)):
            if self._watch.nobody(notification):
                _log.error("an alert is told to nobody: no target is configured for it", **named(notification))
        elif kind is NotificationKind.TRIGGER:
            self._watch.offered(notification, trio.current_time())
            self._watched.set()

    def _settled(self, name: str, ending: Ending) -> None:
        errand = ending.errand
        notification = errand.notification
        self._journal(notification, name, ending.outcome, errand.attempts, ending.detail)
        if notification.kind in CLAIMS:
            if ending.outcome is Outcome.DELIVERED:
                self._watch.took(notification, name)
            elif ending.outcome is Outcome.REFUSED and not errand.over:
                self._claim_refused(notification, name, ending.detail)
        elif ending.outcome is Outcome.REFUSED:
            _log.error("a notification was refused for good", target=name, reason=ending.detail, **named(notification))
        elif ending.outcome is Outcome.GIVEN_UP and notification.kind is NotificationKind.RESOLVE:
            _log.error(
                "a recovery could not be told; close the alert there by hand",
                target=name,
                reason=ending.detail,
                **named(notification),
            )

    def _lacked(self, name: str, errand: Errand) -> None:
        """It is tried again once the secret is there; until then the alert is untold there, as if it were refused."""
        notification = errand.notification
        if notification.kind in CLAIMS and self._watch.refused(notification, name):
            self._say(_LACKED, notification, name, errand.detail)
            self._complain(notification, name, f"waits for a secret ({errand.detail})")

    def _claim_refused(self, notification: Notification, name: str, detail: str) -> None:
        if self._watch.refused(notification, name):
            self._say(_REFUSED, notification, name, detail)
            self._complain(notification, name, f"refused this alert for good ({detail})")

    def _complain(self, notification: Notification, name: str, why: str) -> None:
        """Tell the others that one target was not told."""
        others = tuple(other for other in self._working_but(name, notification))
        if not others:
            return
        text = f"{notification.heartbeat_name}: {name} {why}"
        complaint = replace(
            notification,
            notification_id=f"{notification.notification_id}.untold.{name}",
            kind=NotificationKind.UNTOLD,
            at=self._clock.now(),
            text=text,
            targets=others,
        )
        try:
            self._outbox().tell_nowait(complaint)
        except JournalRefusedError as error:
            _log.warning("could not tell others of a refused alert", reason=error.message, **named(notification))

    def _say(self, event: str, notification: Notification, name: str, detail: str) -> None:
        """A wrong key is one thing to act on, however many alerts it refuses: one error line a minute."""
        now = trio.current_time()
        said_detail, said_at = self._refusals.get(name, ("", -math.inf))
        is_news = detail != said_detail or now - said_at >= REFUSAL_SAID_AGAIN_SECONDS
        if is_news:
            self._refusals[name] = (detail, now)
        say = _log.error if is_news else _log.info
        say(event, target=name, reason=detail, **named(notification))

    def _working_but(self, refuser: str, notification: Notification) -> Iterable[str]:
        refused_by = frozenset() if notification.alert_id is None else self._watch.refused_by(notification.alert_id)
        complaint = replace(notification, kind=NotificationKind.UNTOLD)
        for name, target in self._targets.items():
            if name != refuser and name not in refused_by and not target.failing and target.notifier.takes(complaint):
                yield name

    def _journal(self, notification: Notification, name: str, outcome: Outcome, attempts: int, detail: str) -> None:
        settlement = SettleNotification(
            at=self._clock.now(),
            sighted=self._clock.sighted(),
            notification_id=notification.notification_id,
            service_id=notification.service_id,
            target=name,
            outcome=outcome,
            attempts=attempts,
            detail=detail,
        )
        try:
            self._outbox().settle_nowait(settlement)
        except JournalRefusedError as error:
            # Told is told: it may be told again after a restart, which "at least once" allows.
            self._unsettled += 1
            _log.warning("an outcome could not be journaled", target=name, reason=error.message, **named(notification))

    def _outbox(self) -> Settlements:
        if self._settlements is None:
            msg = "alerting was given no outbox"
            raise InvariantError(msg)
        return self._settlements

    async def _watch_untold(self) -> None:
        while True:
            self._watched = trio.Event()
            with trio.move_on_at(self._watch.next_due()):
                await self._watched.wait()
            overdue = await self._overdue()
            if overdue:
                names = [notification.heartbeat_name for notification in overdue[:UNTOLD_NAMED_MAX]]
                _log.error(
                    f"{len(overdue)} alerts were told to nobody within {UNTOLD_SECONDS:.0f} s",
                    heartbeat_names=names,
                    reasons={name: self._reason(name) for name in overdue[0].targets},
                )
            # Alerts that open together are reported together.
            await trio.sleep(UNTOLD_GATHERED_SECONDS)

    async def _overdue(self) -> list[Notification]:
        gathered: list[Notification] = []
        while found := self._watch.overdue(trio.current_time(), most=UNTOLD_SLICE):
            gathered += found
            await trio.lowlevel.checkpoint()
        return gathered

    def _reason(self, name: str) -> str:
        target = self._find(name)
        return "no longer configured" if target is None else target.reason or "not answered yet"


def _outlives_a_restart(notification: Notification, target: str) -> bool:
    """Whether a pending notification is still worth telling by another process than the one that decided it.

    A test is not: nobody waits for it any more. Nor is a complaint to PagerDuty, since nothing here knows whether its
    alert is open: it could open an incident that nobody closes.
    """
    if notification.kind is NotificationKind.TEST:
        return False
    return notification.kind is not NotificationKind.UNTOLD or target != PAGERDUTY
