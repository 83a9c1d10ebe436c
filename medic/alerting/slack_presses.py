"""What people press in Slack: done, and then said where they pressed it.

Slack wants its answer within three seconds and shows the person a warning otherwise; what the answer says nobody sees.
So each press has a task of its own. It does what the button says, which takes as long as the journal takes, and then
tells Slack, which takes as long as Slack takes. Whoever brought the press waits for the first, and for no longer than
`ANSWER_SECONDS`: then Slack is answered, and the task goes on. A press that is cut off by the end of Medic was not said
to be done, and its buttons are still there.

What is done goes through `Changes` as an operator's request does, mute and acknowledgement into the journal first: it
works while PostgreSQL is away. Whether the alert is open is asked of the actors, for the same reason.

`chat.update` replaces the message and needs only what the press brought, so Medic keeps no list of its messages. The
`response_url` that comes with a press would do the same without a token; it is an address from outside, and not used.
"""

from __future__ import annotations

from random import Random
from typing import Final

import structlog
import trio

from medic.alerting.attempt import Delivered, Refused, SecretMissing
from medic.alerting.backoff import backoff_seconds
from medic.alerting.slack_api import SlackApi
from medic.alerting.slack_buttons import MUTES, OVER, Button, Press, acknowledged_words, muted_words, updated, whispered
from medic.alerting.slack_look import Look
from medic.alerting.supervision import once_guarded
from medic.core.author import Author
from medic.core.service import Alert, Service
from medic.core.units import DurationMs, InstantMs
from medic.errors import (
    AlertClosedError,
    OverloadedError,
    RefusedError,
    UnavailableError,
    UnknownAlertError,
    UnknownServiceError,
)
from medic.ports import Changes, Clock, Roster

_log = structlog.get_logger(__name__)

ANSWER_SECONDS: Final = 2.0
"""Slack waits three; a second is for the way there and back."""

PRESSES_MAX: Final = 64
"""Presses under way at once. Slack takes about one update a second for a channel: beyond this somebody plays."""

REPLY_ATTEMPTS_MAX: Final = 3
"""A reply that Slack did not take thrice is given up: what was pressed is done, and `GET /alerts` shows it."""

MUTE_REASON: Final = "muted in Slack"

NOT_DONE: Final = "Medic could not do that now: nothing was changed. Press again in a moment."

Reply = tuple[str, dict[str, object]]
"""A method of Slack's and its arguments."""


class SlackPresses:
    """Takes presses while `run` runs.

    Args:
        changes: Does what the buttons say.
        roster: Knows whose alert it is.
        clock: Wall time.
        look: How messages look.
        api: Where replies go; None: Slack has no token here, and nobody is told.
        rng: For the time between attempts.
    """

    def __init__(
        self, *, changes: Changes, roster: Roster, clock: Clock, look: Look, api: SlackApi | None, rng: Random
    ) -> None:
        self._changes = changes
        self._roster = roster
        self._clock = clock
        self._look = look
        self._api = api
        self._rng = rng
        self._nursery: trio.Nursery | None = None
        self._under_way = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take presses until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            if self._api is not None:
                with trio.CancelScope(shield=True):
                    await self._api.aclose()

    async def take(self, press: Press) -> None:
        """Return once the press is done or refused, or after `ANSWER_SECONDS`; then it is under way.

        Raises:
            OverloadedError: too many are, or Medic is stopping.
        """
        if self._nursery is None or self._under_way >= PRESSES_MAX:
            raise OverloadedError("Medic takes no presses now. Press again in a moment.")
        done = trio.Event()
        self._nursery.start_soon(self._carry_out, press, done)
        with trio.move_on_after(ANSWER_SECONDS):
            await done.wait()

    # ---------------------------------------------------------------------------------------------------------- private

    async def _carry_out(self, press: Press, done: trio.Event) -> None:
        structlog.contextvars.bind_contextvars(alert_id=press.alert_id)

        async def act_and_say() -> None:
            reply = await self._do(press)
            done.set()
            await self._say(reply)

        self._under_way += 1
        try:
            await once_guarded("a press in Slack", act_and_say)
        finally:
            self._under_way -= 1
            done.set()

    async def _do(self, press: Press) -> Reply:
        """Do it; what to say to whom."""
        try:
            return await self._done(press)
        except (AlertClosedError, UnknownAlertError, UnknownServiceError):
            return "chat.postEphemeral", whispered(press, OVER)
        except RefusedError as error:
            return "chat.postEphemeral", whispered(press, error.message)
        except (OverloadedError, UnavailableError) as error:
            _log.warning(
                "what was pressed in Slack could not be done",
                by=press.person.actor,
                reason=error.message,
            )
            return "chat.postEphemeral", whispered(press, NOT_DONE)

    async def _done(self, press: Press) -> Reply:
        service, alert = self._alerting(press)
        if press.button is Button.ACKNOWLEDGE:
            service = await self._changes.acknowledge(alert.alert_id, by=_author(press), note="")
            if service.alert is None or service.alert.alert_id != alert.alert_id:
                raise AlertClosedError(press.alert_id)
            alert = service.alert
            said = acknowledged_words(press, alert, self._look)
        else:
            service, said = await self._mute(press, service, MUTES[press.button])
        _log.info("pressed in Slack", button=press.button.value, by=press.person.actor)
        return "chat.update", updated(press, service, alert, said, at=self._clock.now(), look=self._look)

    async def _mute(self, press: Press, service: Service, duration: DurationMs) -> tuple[Service, str]:
        until = InstantMs(self._clock.now() + duration)
        service = await self._changes.mute(
            service.row.heartbeat_name, until=until, reason=MUTE_REASON, by=_author(press)
        )
        return service, muted_words(press, duration, service.mute, self._look)

    def _alerting(self, press: Press) -> tuple[Service, Alert]:
        service = self._roster.by_alert(press.alert_id)
        if service is None or service.alert is None:
            raise AlertClosedError(press.alert_id)
        return service, service.alert

    async def _say(self, reply: Reply) -> None:
        if self._api is None:
            _log.warning("nobody is told in Slack what was pressed there: SLACK_API_TOKEN is not set")
            return
        method, arguments = reply
        for attempts in range(1, REPLY_ATTEMPTS_MAX + 1):
            attempt = await self._api.call(method, arguments)
            if isinstance(attempt, Delivered):
                return
            if isinstance(attempt, Refused | SecretMissing) or attempts == REPLY_ATTEMPTS_MAX:
                _log.warning("Slack did not take what was said of a press", method=method, reason=attempt.detail)
                return
            asked = attempt.retry_after
            await trio.sleep(backoff_seconds(attempts, self._rng) if asked is None else asked)


def _author(press: Press) -> Author:
    return Author(press.person.actor, address=press.address, request_id=press.request_id)
