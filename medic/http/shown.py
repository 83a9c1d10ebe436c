"""How services, heartbeats, alerts and webhooks are shown: one function a thing, fields as CONTRACT 1 lists them.

Times are ISO 8601 in UTC. Durations are in the unit of their name, without a fraction where they are whole. Flags are 0
and 1, as the earlier system had them.
"""

from __future__ import annotations

from medic.core.deadline import late_deadline
from medic.core.notification import alert_key, alert_name
from medic.core.service import Service
from medic.core.units import InstantMs, SkewMs, isoformat, ms_to_minutes, ms_to_seconds
from medic.core.webhook import Webhook
from medic.history import AlertHistory, AlertRow, HeartbeatRow
from medic.http.answers import JsonObject, JsonValue
from medic.http.refused import RefusedName, ServiceRefusal
from medic.ports import HealthReport

SECRET_SHOWN = "***"  # noqa: S105 - what stands in a secret's place
"""Shown for the values of a webhook's headers: tokens stand there."""


def service_json(service: Service, skew: SkewMs, refusal: ServiceRefusal | None = None) -> JsonObject:
    """One service as it is now.

    Args:
        service: The service.
        skew: Wall time minus sighted time, as one reading of the clock gave it.
        refusal: Why its newest refused heartbeat was refused.
    """
    row, mute = service.row, service.mute
    deadline = late_deadline(service)
    return {
        "service_id": row.service_id,
        "heartbeat_name": row.heartbeat_name,
        "service_name": row.service_name,
        "active": int(row.active),
        "alert_interval": ms_to_minutes(row.interval_ms),
        "threshold": row.threshold,
        "team": row.team,
        "priority": row.priority,
        "muted": int(mute is not None),
        "down": int(service.alert is not None),
        "runbook": row.runbook,
        "grace_period_seconds": ms_to_seconds(row.grace_ms),
        "recovery_seconds": ms_to_seconds(row.recovery_ms),
        "renotify_minutes": ms_to_minutes(service.policy.renotify_ms),
        "require_key": int(row.require_key),
        "date_added": isoformat(row.date_added),
        "date_modified": isoformat(row.date_modified),
        "date_muted": None if mute is None else isoformat(mute.muted_at),
        "mute_until": _shown(None if mute is None else mute.until),
        "mute_reason": None if mute is None else mute.reason,
        "muted_by": None if mute is None else mute.muted_by,
        "status": service.status.value,
        "last_heartbeat_at": isoformat(service.last_heartbeat_at) if service.heard else None,
        "last_status": service.last_status if service.heard else None,
        "deadline_at": None if deadline is None else isoformat(InstantMs(deadline + skew)),
        "last_refusal": None
        if refusal is None
        else {"at": isoformat(refusal.at), "reason": refusal.reason, "address": refusal.address},
    }


def heartbeat_json(row: HeartbeatRow) -> JsonObject:
    """One stored heartbeat."""
    return {
        "heartbeat_id": row.heartbeat_id,
        "heartbeat_name": row.heartbeat_name,
        "service_name": row.service_name,
        "time": isoformat(row.time),
        "status": row.status,
        "team": row.team,
        "priority": row.priority,
        "run_id": row.run_id,
        "said_at": _shown(row.said_at),
    }


def alert_json(row: AlertRow) -> JsonObject:
    """One alert, open or closed."""
    closed = row.closed_date
    return {
        "alert_id": row.alert_id,
        "alert_name": alert_name(row.heartbeat_name),
        "service_id": row.service_id,
        "heartbeat_name": row.heartbeat_name,
        "service_name": row.service_name,
        "team": row.team,
        "priority": row.priority,
        "runbook": row.runbook,
        "active": int(closed is None),
        "external_reference_id": row.key or alert_key(row.heartbeat_name),
        "alert_cycle": row.alert_cycle,
        "reason": row.reason,
        "created_date": isoformat(row.created_date),
        "closed_date": _shown(closed),
        "closed_reason": row.closed_reason or None,
        "duration": None if closed is None else max(0, closed - row.created_date) / 1000,
        "acknowledged_date": _shown(row.acknowledged_date),
        "acknowledged_by": row.acknowledged_by or None,
        "muted": int(row.muted),
        "flapping": int(row.flapping),
    }


def alert_history_json(history: AlertHistory) -> JsonObject:
    """One alert, what happened to it, and whom it was told."""
    moments: list[JsonValue] = [
        {"at": isoformat(moment.at), "change": moment.change, "by": moment.by or None, "note": moment.note or None}
        for moment in history.moments
    ]
    deliveries: list[JsonValue] = [
        {
            "notifier": delivery.target,
            "action": delivery.action,
            "at": isoformat(delivery.decided_at),
            "settled_at": _shown(delivery.settled_at),
            "attempts": delivery.attempts,
            "result": delivery.outcome or "pending",
            "detail": delivery.detail or None,
            "notification_id": delivery.notification_id,
        }
        for delivery in history.deliveries
    ]
    return {**alert_json(history.alert), "history": moments, "deliveries": deliveries}


def webhook_json(webhook: Webhook) -> JsonObject:
    """One webhook. The values of its headers are not shown."""
    headers: dict[str, JsonValue] = {name: SECRET_SHOWN for name, _ in webhook.headers}
    return {
        "webhook_id": webhook.webhook_id,
        "url": webhook.url,
        "heartbeat_name": webhook.heartbeat_name,
        "headers": headers,
        "date_added": isoformat(webhook.date_added),
        "added_by": webhook.added_by or None,
        "former_secret_until": None if webhook.former_until is None else isoformat(webhook.former_until),
    }


def new_webhook_json(webhook: Webhook) -> JsonObject:
    """One webhook with the secret that was just made for it: the only answers that show one."""
    return {**webhook_json(webhook), "secret": webhook.secret}


def refused_json(refused: RefusedName) -> JsonObject:
    """One name heard of that is not registered."""
    return {
        "heartbeat_name": refused.heartbeat_name,
        "count": refused.count,
        "address": refused.address,
        "first_at": isoformat(refused.first_at),
        "last_at": isoformat(refused.last_at),
    }


def health_json(report: HealthReport) -> JsonObject:
    """What Medic knows of itself."""
    components: dict[str, JsonValue] = {
        name: {"status": component.status, "since": isoformat(component.since), **dict(component.facts)}
        for name, component in report.components.items()
    }
    return {
        "status": report.status,
        "timestamp": isoformat(report.at),
        "version": report.version,
        "components": components,
    }


def _shown(instant: InstantMs | None) -> str | None:
    return None if instant is None else isoformat(instant)
