"""`medic-cli service why NAME`: how a service stands, in sentences, from what Medic's API says of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medic.cli import show
from medic.cli.client import Api, Reply, service_path
from medic.core.names import name_key, normal_name
from medic.errors import RefusedError
from medic.http.answers import JsonObject, JsonValue

HEARTBEATS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Explanation:
    """The sentences, and what they were made from."""

    registered: bool
    sentences: tuple[str, ...]
    evidence: JsonObject


def explain(api: Api, name: str) -> Explanation:
    """How the service of this name stands.

    Raises:
        RefusedError: Medic does not say, for another reason than that there is no such service.
    """
    found = api.find(service_path(name))
    if found is None:
        refused = [row for row in api.get("/v2/refused").rows if _is_named(row, name)]
        evidence: JsonObject = {"service": None, "refused": _rows(refused)}
        return Explanation(registered=False, sentences=tuple(_unregistered(name, refused)), evidence=evidence)
    row = found.row
    named = {"heartbeat_name": show.text(row, "heartbeat_name")}
    alerts = api.get("/alerts", {**named, "active": "1"}).rows
    heartbeats = _or_none(api, "/heartbeat", {**named, "maxCount": str(HEARTBEATS_SHOWN)})
    webhooks = _or_none(api, "/v2/webhooks", {})
    health = api.health()
    lines = [
        *_standing(row),
        *_alert(alerts),
        *_mute(row),
        *_heard(heartbeats),
        *_last_refusal(row),
        *_told(row, health, webhooks),
    ]
    evidence = {
        "service": row,
        "alerts": _rows(alerts),
        "heartbeats": None if heartbeats is None else _rows(heartbeats),
        "webhooks": None if webhooks is None else _rows(webhooks),
        "health": health.fields.get("components"),
    }
    return Explanation(registered=True, sentences=tuple(lines), evidence=evidence)


def _unregistered(name: str, refused: Sequence[JsonObject]) -> Iterator[str]:
    yield f"{name} is not registered, so nothing is expected of it and nobody would be told."
    for row in refused:
        count = show.text(row, "count")
        times = "once" if count == "1" else f"{count} times"
        yield (
            f"Heartbeats of that name were refused {times} since Medic started, the last one "
            f"{show.moment_and_distance(row, 'last_at')}, from {show.text(row, 'address')}."
        )
    if refused:
        yield "Register it, or correct the name where it is sent."
    else:
        yield "No heartbeat of that name has come since Medic started. medic-cli heartbeat refused lists what did."


def _standing(row: JsonObject) -> Iterator[str]:
    name, deadline = show.text(row, "heartbeat_name"), show.moment_and_distance(row, "deadline_at")
    match show.text(row, "status"):
        case "new":
            yield f"{name} was registered {show.moment_and_distance(row, 'date_added')}, and has not been heard of yet."
            yield f"If it stays so until {deadline}, an alert opens."
        case "up":
            yield f"{name} is up."
            yield f"{_what_is_due(row)} until {deadline}; else an alert opens."
        case "degraded":
            yield f"{name} is alive and says of itself that it is degraded."
            yield f"{_what_is_due(row)} until {deadline}; else an alert opens."
        case "late":
            yield f"{name} is late."
        case "down":
            yield f"{name} said itself that it is {show.text(row, 'last_status') or 'down'}."
        case "inactive":
            yield f"{name} is not watched: it has no deadline, and its heartbeats are refused."
            yield f"medic-cli service activate '{name}' changes that."
        case other:
            yield f"{name} is {other}."
    yield _promise(row)


def _what_is_due(row: JsonObject) -> str:
    return "The next heartbeat has to come" if show.text(row, "threshold") == "1" else "More heartbeats have to come"


def _promise(row: JsonObject) -> str:
    count, interval = show.text(row, "threshold"), show.minutes(row, "alert_interval")
    words = f"a heartbeat every {interval}" if count == "1" else f"{count} heartbeats in {interval}"
    grace = show.seconds(row, "grace_period_seconds")
    return f"Promised: {words}{f', and {grace} of grace' if grace not in {'', '0 s'} else ''}."


def _alert(alerts: Sequence[JsonObject]) -> Iterator[str]:
    reasons = {
        "late": "no heartbeat came in time",
        "never_heard": "it was never heard of",
        "reported_down": "it reported DOWN",
        "reported_failed": "it reported FAILED",
    }
    for row in alerts:
        reason = show.text(row, "reason")
        sentence = (
            f"Alert {show.text(row, 'alert_id')} is open since {show.moment_and_distance(row, 'created_date')}, "
            f"because {reasons.get(reason, reason)}"
        )
        by = show.text(row, "acknowledged_by")
        if show.text(row, "acknowledged_date"):
            sentence += f"; {by or 'somebody'} acknowledged it {show.moment_and_distance(row, 'acknowledged_date')}"
        yield f"{sentence}."


def _mute(row: JsonObject) -> Iterator[str]:
    if not show.is_set(row, "muted"):
        return
    until = show.moment_and_distance(row, "mute_until")
    by, reason = show.text(row, "muted_by"), show.text(row, "mute_reason")
    sentence = f"It is muted until {until or 'somebody unmutes it'}"
    sentence += f", by {by}" if by else ""
    sentence += f" ({reason})" if reason else ""
    yield f"{sentence}: nobody is told before that."


def _heard(heartbeats: Sequence[JsonObject] | None) -> Iterator[str]:
    if heartbeats is None:
        yield "Its heartbeats cannot be listed: PostgreSQL does not answer."
    elif not heartbeats:
        yield "No heartbeat of it is stored."
    else:
        yield "Last heartbeats:"
        for row in heartbeats:
            run = f"  run {show.text(row, 'run_id')}" if show.text(row, "run_id") else ""
            yield f"  {show.moment_and_distance(row, 'time')}  {show.text(row, 'status')}{run}"


def _last_refusal(row: JsonObject) -> Iterator[str]:
    refusal = row.get("last_refusal")
    if isinstance(refusal, dict):
        yield (
            f"A heartbeat of it was refused {show.moment_and_distance(refusal, 'at')}, from "
            f"{show.text(refusal, 'address')}: {show.text(refusal, 'reason')}."
        )
    else:
        yield "No heartbeat of it was refused since Medic started."


def _told(row: JsonObject, health: Reply, webhooks: Sequence[JsonObject] | None) -> Iterator[str]:
    components = health.fields.get("components")
    names = [
        _notifier(title, component)
        for key, title in (("pagerduty", "PagerDuty"), ("slack", "Slack"))
        if isinstance(components, dict)
        and isinstance(component := components.get(key), dict)
        and component.get("status") != "not_configured"
    ]
    for webhook in webhooks or ():
        only = show.text(webhook, "heartbeat_name")
        if not only or name_key(only) == name_key(show.text(row, "heartbeat_name")):
            names.append(f"webhook {show.text(webhook, 'webhook_id')} ({show.text(webhook, 'url')})")
    whom = ", ".join(names) or "the terminal of Medic, because no notifier is configured"
    alerts = components.get("alerts") if isinstance(components, dict) else None
    if isinstance(alerts, dict) and "withheld" in alerts:
        yield f"An alert now would be told to nobody: MEDIC_NOTIFY is off; with on, to {whom}."
    elif show.is_set(row, "muted"):
        yield f"An alert now would be told to nobody; without the mute, to {whom}."
    else:
        yield f"An alert now would be told to {whom}."
    if webhooks is None:
        yield "Which webhooks there are cannot be said: PostgreSQL does not answer."


def _notifier(title: str, component: JsonObject) -> str:
    status = show.text(component, "status")
    return title if status in {"configured", "healthy"} else f"{title} ({status} at the moment)"


def _or_none(api: Api, path: str, query: dict[str, str]) -> list[JsonObject] | None:
    try:
        return api.get(path, query, patient=False).rows
    except RefusedError:
        return None


def _is_named(row: JsonObject, name: str) -> bool:
    return name_key(show.text(row, "heartbeat_name")) == name_key(normal_name(name))


def _rows(rows: Sequence[JsonObject]) -> list[JsonValue]:
    return list(rows)
