"""One step in the making: collects effects in their order, and folds each as it is decided."""

from __future__ import annotations

from collections.abc import Sequence

from medic.core.author import Author
from medic.core.deadline import missed_intervals
from medic.core.effects import AmendAlert, ChangeStatus, CloseAlert, CreditSigns, Notify, OpenAlert, ServiceEffect
from medic.core.fold import fold
from medic.core.notification import Notification, alert_key
from medic.core.policy import FLAP_WINDOW_MS
from medic.core.service import NEVER, Alert, Service
from medic.core.status import ClosedReason, NotificationKind, OpenedReason, Status
from medic.core.units import DurationMs, EventId, InstantMs, SightedMs


class Turn:
    """The effects decided so far for one event, already folded into `service`.

    Within what belongs together the order is: the transition, the alert, and what is told about it last.
    """

    __slots__ = ("_effects", "at", "service", "service_id", "sighted")

    def __init__(self, service: Service, at: InstantMs, sighted: SightedMs) -> None:
        self.service = service
        self.service_id = service.row.service_id
        self.at = at
        self.sighted = sighted
        self._effects: list[ServiceEffect] = []

    @property
    def alert(self) -> Alert:
        """The open alert, where the caller knows that there is one.

        Raises:
            LookupError: there is none, so the caller is wrong.
        """
        alert = self.service.alert
        if alert is None:
            raise LookupError(f"service {self.service_id} has no open alert")
        return alert

    def emit(self, effect: ServiceEffect) -> None:
        """Decide an effect."""
        fold(self.service, effect)
        self._effects.append(effect)

    def effects(self) -> tuple[ServiceEffect, ...]:
        """All that was decided, in order."""
        return tuple(self._effects)

    def credit_signs(self) -> None:
        """Decide that this instant counts as `threshold` signs of life."""
        self.emit(CreditSigns(self.service_id, self.at, self.sighted, since=self.sighted))

    def change_status(self, status: Status, reason: str) -> None:
        """Decide a transition, unless that is the status already."""
        previous = self.service.status
        if status is not previous:
            self.emit(ChangeStatus(self.service_id, self.at, self.sighted, previous, status, reason))

    # -------------------------------------------------------------------------------------------------------- alerts

    def open_alert(self, alert_id: EventId, reason: OpenedReason, late_since: InstantMs, *, reported: bool) -> None:
        """Decide that the service is late or down, and tell it unless it is muted."""
        service = self.service
        row = service.row
        rare = service.rare
        told = rare.mute is None
        alert = Alert(
            alert_id=alert_id,
            reason=reason,
            opened_at=self.at,
            opened_sighted=self.sighted,
            late_since=late_since,
            priority=row.priority,
            team=row.team,
            runbook=row.runbook,
            reported=reported,
            told=told,
            told_priority=row.priority if told else "",
            flapping=bool(rare.openings) and self._opens_too_often(rare.openings),
        )
        self.change_status(Status.DOWN if reported else Status.LATE, reason)
        self.emit(OpenAlert(self.service_id, self.at, self.sighted, alert))
        if told:
            self.tell(NotificationKind.TRIGGER, alert)

    def _opens_too_often(self, openings: Sequence[SightedMs]) -> bool:
        since = self.sighted - FLAP_WINDOW_MS
        recent = len([opened for opened in openings if opened > since])
        return 0 < self.service.policy.defaults.flap_openings <= recent

    def amend_alert(self, alert: Alert, change: str, author: Author | None = None, note: str = "") -> None:
        """Decide that the open alert is now `alert`."""
        by = "" if author is None else author.name
        self.emit(AmendAlert(self.service_id, self.at, self.sighted, alert, change, by, note, author))

    def close_alert(self, alert: Alert, reason: ClosedReason, author: Author | None = None, note: str = "") -> None:
        """Decide that the open alert is over, and tell it wherever its beginning was told, muted or not."""
        cycle = missed_intervals(self.service, self.sighted)
        by = "" if author is None else author.name
        self.emit(CloseAlert(self.service_id, self.at, self.sighted, alert, reason, cycle, by, note, author))
        if alert.told:
            self._notify(
                NotificationKind.RESOLVE,
                f"{alert.alert_id}.{alert.notifications}",
                alert,
                by=by,
                note=note,
                lasted_ms=DurationMs(max(0, self.at - alert.opened_at)),
                closed_reason=reason,
            )

    # ------------------------------------------------------------------------------------------------------- telling

    def tell(self, kind: NotificationKind, alert: Alert, by: str = "", note: str = "") -> None:
        """Decide a notification of the open alert."""
        self._notify(kind, f"{alert.alert_id}.{alert.notifications}", alert, by=by, note=note)

    def tell_apart(self, kind: NotificationKind, notification_id: str, *, by: str = "") -> None:
        """Decide a notification about the service that belongs to no alert."""
        self._notify(kind, notification_id, by=by)

    def tell_test(self, event_id: EventId, by: str) -> None:
        """Decide a page that is marked as a test, and its end."""
        key = f"medic-test-{event_id}"
        asked = f", asked for by {by}" if by else ""
        said = f"TEST of the alerts of {self.service.row.heartbeat_name}{asked}"
        self._notify(
            NotificationKind.TEST,
            f"{event_id}.t",
            key=key,
            by=by,
            text=f"{said}: nothing is wrong.",
            late_since=self.at,
        )
        self._notify(
            NotificationKind.RESOLVE,
            f"{event_id}.r",
            key=key,
            by=by,
            text=f"{said}: over.",
            lasted_ms=DurationMs(0),
            closed_reason="test",
        )

    def _notify(
        self,
        kind: NotificationKind,
        notification_id: str,
        alert: Alert | None = None,
        *,
        key: str | None = None,
        by: str = "",
        note: str = "",
        text: str = "",
        late_since: InstantMs | None = None,
        lasted_ms: DurationMs | None = None,
        closed_reason: str = "",
    ) -> None:
        """Decide a notification, with the alert's own team, priority and runbook where it is about one."""
        service = self.service
        row = service.row
        heard_at = service.last_heartbeat_at
        notification = Notification(
            notification_id=notification_id,
            kind=kind,
            key=(alert and alert.key) or alert_key(row.heartbeat_name) if key is None else key,
            at=self.at,
            service_id=self.service_id,
            alert_id=None if alert is None else alert.alert_id,
            heartbeat_name=row.heartbeat_name,
            service_name=row.service_name,
            team=row.team if alert is None else alert.team,
            priority=row.priority if alert is None else alert.told_priority,
            runbook=row.runbook if alert is None else alert.runbook,
            reason=None if alert is None else alert.reason,
            late_since=late_since if alert is None else alert.late_since,
            last_seen=None if heard_at == NEVER else heard_at,
            interval_ms=service.policy.interval_ms,
            threshold=service.policy.threshold,
            flapping=alert is not None and alert.flapping,
            muted=service.rare.mute is not None,
            lasted_ms=lasted_ms,
            closed_reason=closed_reason,
            by=by,
            note=note,
            text=text,
        )
        self.emit(Notify(self.at, self.sighted, notification))
