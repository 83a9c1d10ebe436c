"""What a log line says of a notification: which it is, of which alert, of which service."""

from __future__ import annotations

from medic.core.notification import Notification


def named(notification: Notification) -> dict[str, object]:
    """The fields. What belongs to no service or no alert has none that says so."""
    fields: dict[str, object] = {"notification": notification.notification_id, "kind": notification.kind.value}
    if notification.heartbeat_name:
        fields["heartbeat_name"] = notification.heartbeat_name
    if notification.service_id is not None:
        fields["service_id"] = notification.service_id
    if notification.alert_id is not None:
        fields["alert_id"] = notification.alert_id
    return fields
