"""One target at work: a task that takes what its queue gives, as fast as its pace allows, and settles what ends.

There is no polling: the task sleeps until something is offered, an attempt ends, or an instant that it knows is due.
From an offer to the first byte of the request is one turn of the loop and what the HTTP client needs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final

import structlog
import trio

from medic.alerting.attempt import SECRET_MISSING, Attempt, Delivered, Refused, Retry, SecretMissing, Throttled
from medic.alerting.concerned import named
from medic.alerting.errand import UNTIL_THE_ALERT_CLOSES, Ending, Errand, lifetime_seconds
from medic.alerting.notifier import Notifier
from medic.alerting.pace import Pace
from medic.alerting.pagerduty import event_action
from medic.alerting.queue import Queue
from medic.alerting.statistics import FAILURE, SUCCESS, RequestCount, TargetStatistics
from medic.alerting.supervision import run_guarded, send_guarded
from medic.core.notification import Notification
from medic.core.status import Outcome
from medic.core.units import InstantMs
from medic.ports import Clock

_log = structlog.get_logger(__name__)

PROVE_EVERY_SECONDS: Final = 0.05
"""Between two looks whether a target has begun what it may begin; it does so in its task's next turn."""

CLOSE_SECONDS: Final = 1.0
"""A vendor that does not say goodbye is left without it."""

Settle = Callable[[str, Ending], None]
"""Called with the target's name for each errand that ended, in the order in which they ended."""

Lack = Callable[[str, Errand], None]
"""Called with the target's name for each attempt that sent nothing for want of a secret, and is made again."""


class Target:
    """One notifier with its queue.

    Args:
        notifier: Makes the attempts.
        settle: Told of every ending.
        lack: Told of every attempt that found a secret missing.
        clock: Wall time, for lifetimes and "failing since".
        rng: Jitter.
    """

    def __init__(self, notifier: Notifier, *, settle: Settle, lack: Lack, clock: Clock, rng: Random) -> None:
        self.notifier = notifier
        self._former: list[Notifier] = []
        self._settle = settle
        self._lack = lack
        self._clock = clock
        self._queue = Queue()
        self._pace = Pace(rng)
        self._sequence = 0
        self._holding = False
        self._changed = trio.Event()
        self._scope = trio.CancelScope()
        self._outcomes: Counter[Outcome] = Counter()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._attempts = 0
        self._retries = 0
        self._throttled = 0
        self._crashes = 0
        self._failing_since: InstantMs | None = None
        self._last_error = ""
        self._lacking = ""

    @property
    def name(self) -> str:
        """The target's name."""
        return self.notifier.target

    @property
    def failing(self) -> bool:
        """No attempt has succeeded since one failed."""
        return self._failing_since is not None

    @property
    def reason(self) -> str:
        """The newest failure, for the log: it may name a secret. Empty when the newest attempt succeeded."""
        return self._lacking if self._last_error == SECRET_MISSING else self._last_error

    def offer_nowait(self, notification: Notification) -> None:
        """Take a notification that was never attempted."""
        self._offer(notification, attempted=False)

    def resume_nowait(self, notification: Notification) -> None:
        """Take a notification that may have been attempted before a restart."""
        self._offer(notification, attempted=True)

    async def run(self) -> None:
        """Tell, until cancelled or withdrawn; crashes are survived. Closes the notifier's connections at the end."""
        # That of a webhook is started within the request that added it, whose id must not be in its lines for ever.
        structlog.contextvars.clear_contextvars()
        try:
            with self._scope:
                await run_guarded(f"target {self.name}", self._work, self._revive)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
                for notifier in (*self._former, self.notifier):
                    await notifier.aclose()

    def renew(self, notifier: Notifier) -> None:
        """Make the next attempts through another notifier of the same target; what waits stays."""
        self._former.append(self.notifier)
        self.notifier = notifier
        self._changed.set()

    def try_lacking_again(self) -> None:
        """Secrets were changed: what failed for want of one is tried at once, and is no reason any more."""
        if not self._lacking:
            return
        self._lacking = ""
        if self._last_error == SECRET_MISSING:
            self._failing_since, self._last_error = None, ""
        self._pace.mended()
        self._queue.release_all(trio.current_time())
        self._changed.set()

    async def prove(self) -> None:
        """Return once nothing waits here that might be tried now, or an attempt was begun since.

        A vendor that refuses, hangs or asks for a pause is not the target's fault; a task that does nothing is.
        """
        begun = self._attempts + self._pace.in_flight
        # A look, not an event: a task that does nothing tells nobody.
        while self._may_begin(trio.current_time()) and self._attempts + self._pace.in_flight == begun:  # noqa: ASYNC110
            await trio.sleep(PROVE_EVERY_SECONDS)

    async def wait_quiet(self) -> None:
        """Return once nothing is under way and nothing may be tried at this moment."""
        while self._pace.in_flight or self._may_begin(trio.current_time()):
            await self._wait_change()

    async def hold(self) -> None:
        """Begin no more attempts, and return once none is under way. There is no way back: Medic is ending."""
        self._holding = True
        while self._pace.in_flight:
            await self._wait_change()

    def withdraw(self) -> None:
        """End everything that waits, and the task: the target is no more."""
        for ending in self._queue.withdraw():
            self._ended(ending)
        self._scope.cancel()

    def withhold(self) -> None:
        """Count a notification that is for this target and goes to nobody."""
        self._outcomes[Outcome.WITHHELD] += 1

    def statistics(self) -> TargetStatistics:
        """How it stands."""
        return TargetStatistics(
            target=self.name,
            description=self.notifier.describe(),
            pending=len(self._queue),
            in_flight=self._pace.in_flight,
            attempts=self._attempts,
            retries=self._retries,
            delivered=self._outcomes[Outcome.DELIVERED],
            refused=self._outcomes[Outcome.REFUSED],
            given_up=self._outcomes[Outcome.GIVEN_UP],
            dropped=self._outcomes[Outcome.DROPPED],
            throttled=self._throttled,
            crashes=self._crashes,
            paused=self._pace.paused(trio.current_time()),
            out=self._pace.out,
            failing_since=self._failing_since,
            last_error=self._last_error,
            requests=tuple(
                RequestCount(action, status, count) for (action, status), count in sorted(self._requests.items())
            ),
            withheld=self._outcomes[Outcome.WITHHELD],
        )

    def _offer(self, notification: Notification, *, attempted: bool) -> None:
        now = trio.current_time()
        self._sequence += 1
        expires_at = math.inf  # what nearly all of them have, without asking the clock
        if notification.kind not in UNTIL_THE_ALERT_CLOSES:
            expires_at = now + lifetime_seconds(notification, now=self._clock.now())
        errand = Errand(notification, self._sequence, now=now, expires_at=expires_at)
        errand.maybe_taken = attempted
        self._pace.hurry()
        for ending in self._queue.offer(errand, now):
            self._ended(ending)
        self._changed.set()

    async def _work(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                await self._close_former()
                now = trio.current_time()
                for ending in self._queue.expire(now):
                    self._ended(ending)
                errand = self._queue.take(now) if self._may_begin(now) else None
                if errand is None:
                    with trio.move_on_at(self._next_instant(now)):
                        await self._wait_change()
                    continue
                self._pace.begun(now)
                nursery.start_soon(self._attempt, errand)
                # Tasks started in one turn of the loop begin in any order; the most urgent has to leave first.
                await trio.lowlevel.checkpoint()

    async def _close_former(self) -> None:
        while self._former and not self._pace.in_flight:
            with trio.move_on_after(CLOSE_SECONDS):
                await self._former.pop().aclose()

    def _may_begin(self, now: float) -> bool:
        if self._holding:
            return False
        priority = self._queue.next_priority(now)
        return priority is not None and self._pace.may_begin(priority, now)

    def _next_instant(self, now: float) -> float:
        """When the task has to look again though nothing was said to it."""
        return math.inf if self._holding else min(self._queue.next_due(), self._pace.next_change(now))

    async def _attempt(self, errand: Errand) -> None:
        structlog.contextvars.bind_contextvars(**named(errand.notification))
        attempt, crashed = await send_guarded(self.notifier, errand.notification)
        if errand.ended:
            # The target was withdrawn while the answer was on its way.
            return
        self._crashes += crashed
        self._count(errand.notification, attempt)
        now = trio.current_time()
        answers_again = self._pace.ended(errand.notification.key, attempt, now)
        retry_at = self._pace.retry_at(errand.attempts + 1, attempt, now)
        outage = self._pace.outages
        for ending in self._queue.settle(errand, attempt, now=now, retry_at=retry_at, outage=outage):
            self._ended(ending)
        if isinstance(attempt, SecretMissing) and not errand.ended:
            self._lack(self.name, errand)
        if answers_again:
            self._queue.release(now, outage)
        self._changed.set()

    def _count(self, notification: Notification, attempt: Attempt) -> None:
        self._attempts += 1
        succeeded = isinstance(attempt, Delivered)
        self._requests[event_action(notification.kind), SUCCESS if succeeded else FAILURE] += 1
        match attempt:
            case Delivered():
                if self._failing_since is not None:
                    _log.info("a target answers again", target=self.name)
                self._failing_since = None
                self._last_error = ""
            case Throttled(detail=detail):
                # Being asked for patience is not failing; it shows as `paused`.
                self._throttled += 1
                self._retries += 1
                self._last_error = detail
            case Refused(detail=detail) | Retry(detail=detail):
                self._retries += isinstance(attempt, Retry)
                is_lacking = isinstance(attempt, SecretMissing)
                self._last_error = SECRET_MISSING if is_lacking else detail
                self._lacking = detail if is_lacking else self._lacking
                if self._failing_since is None:
                    self._failing_since = self._clock.now()
                    _log.warning("a target does not take notifications", target=self.name, reason=detail)

    def _ended(self, ending: Ending) -> None:
        self._outcomes[ending.outcome] += 1
        self._settle(self.name, ending)

    def _revive(self) -> None:
        self._crashes += 1
        self._pace.crashed()
        self._queue.revive(trio.current_time())

    async def _wait_change(self) -> None:
        """Return once something was offered or ended since this was called. Whoever waits looks again for himself."""
        if self._changed.is_set():
            self._changed = trio.Event()
        await self._changed.wait()
