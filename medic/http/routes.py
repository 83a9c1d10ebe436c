"""Every route, once: what serves it, and what the API's description says of it."""

from __future__ import annotations

from typing import Final, Literal

from medic.access.scope import Scope
from medic.http import (
    alerts,
    bulk,
    documentation,
    heartbeats,
    named,
    services,
    shapes,
    webhooks,
)
from medic.http.audit_routes import AUDIT
from medic.http.availability_routes import AVAILABILITY
from medic.http.bodies import (
    BulkBody,
    HeartbeatBody,
    NamedHeartbeatBody,
    NoteBody,
    Registration,
    RotateWebhookBody,
    ServiceUpdate,
    WebhookBody,
)
from medic.http.key_routes import KEYS
from medic.http.limits import BULK_BYTES_MAX, BULK_HEARTBEATS_MAX, HEARTBEAT_BYTES_MAX, HEARTBEATS_MAX
from medic.http.operations_routes import OPERATIONS
from medic.http.route import Parameter, Route, Told
from medic.http.secret_routes import SECRETS
from medic.http.shared_answers import AWAY, CURSOR, LIMIT
from medic.http.slack_routes import SLACK

HEARTBEAT_PATH: Final = "/heartbeat"
NAMED_PATH: Final = "/heartbeat/{heartbeat_name}"
BULK_PATH: Final = "/v2/heartbeats"
METRICS_PATHS: Final = frozenset({"/metrics", "/metrics/services"})

NO_SERVICE: Final = Told("No service of that name is registered.", shapes.Refusal)
NO_ALERT: Final = Told("There is no such alert.", shapes.Refusal)
CLOSED: Final = Told("The alert is closed already.", shapes.Refusal)
TOO_MANY: Final = Told(
    "Too many in a minute; `X-RateLimit-*` say of how many, Retry-After when the next one is taken.", shapes.Refusal
)
LIMITED: Final = Told(
    "Too many in a minute. It counts as a sign of life of a registered service, and is not stored.", shapes.Refusal
)
NOT_DURABLE: Final = Told("It cannot be made durable now. Retry-After says when to try again.", shapes.Refusal)


TAKEN: Final = Told("Taken, and as durable as MEDIC_JOURNAL_SYNC says.", shapes.Envelope[Literal[""]])
INACTIVE: Final = Told("A bad request, or the service is inactive (since when, by whom).", shapes.Refusal)
BESIDE_THE_NAME: Final = (
    Parameter("status", "string", "UP where it is left out."),
    Parameter("run_id", "string", "Which run of a job this belongs to."),
    Parameter("time", "string", "The sender's own time, ISO 8601 or seconds since 1970; a `+` in it as `%2B`."),
    Parameter("service_name", "string", "A label, not checked."),
    Parameter("idempotency_key", "string", "As the header Idempotency-Key."),
)

HEARTBEATS: Final = (
    Route(
        "POST",
        HEARTBEAT_PATH,
        heartbeats.post_heartbeat,
        "Heartbeats",
        "Send a heartbeat",
        {
            201: TAKEN,
            400: INACTIVE,
            404: NO_SERVICE,
            413: Told(f"More than {HEARTBEAT_BYTES_MAX} bytes.", shapes.Refusal),
            429: LIMITED,
            503: NOT_DURABLE,
        },
        "Further fields are ignored and named in `message`. With MEDIC_STRICT_STATUS=1 a status without a meaning is "
        "refused. Sent again with the same header Idempotency-Key, it is answered 201 again, and counts once toward a "
        "threshold above 1.",
        body=HeartbeatBody,
        query=None,
        keyed=True,
        scope=Scope.HEARTBEAT,
        narrows=True,
    ),
    Route(
        "POST",
        BULK_PATH,
        bulk.post_heartbeats,
        "Heartbeats",
        "Send many heartbeats",
        {
            201: Told("All were taken, and are as durable as MEDIC_JOURNAL_SYNC says.", shapes.BulkShape),
            200: Told(
                "Not all were taken; what was, is as durable. `results.refused` names the others.", shapes.BulkShape
            ),
            400: Told("No array and no NDJSON, none in it, or too many; nothing was taken.", shapes.Refusal),
            413: Told(f"More than {BULK_BYTES_MAX} bytes.", shapes.Refusal),
            503: Told(
                "The journal refused. What `results.refused` does not name is safe. Retry-After says when to send the "
                "others again.",
                shapes.BulkShape,
            ),
        },
        f"An array of up to {BULK_HEARTBEATS_MAX} heartbeats as POST /heartbeat takes them, or NDJSON: one a line, "
        "blank lines left out. Each is taken or refused by itself. The header Idempotency-Key gives the n-th heartbeat "
        "a key of its own, so that the same request sent again counts once.",
        body=BulkBody,
        query=None,
        keyed=True,
        scope=Scope.HEARTBEAT,
        narrows=True,
    ),
    Route(
        "GET",
        NAMED_PATH,
        named.send_heartbeat,
        "Heartbeats",
        "Send a heartbeat in one line",
        {201: TAKEN, 400: INACTIVE, 404: NO_SERVICE, 429: LIMITED, 503: NOT_DURABLE},
        "For `curl -fsS URL` and cron. HEAD does the same and answers without a body.",
        query=BESIDE_THE_NAME,
        keyed=True,
        scope=Scope.HEARTBEAT,
        basic=True,
        narrows=True,
    ),
    Route(
        "POST",
        NAMED_PATH,
        named.post_named_heartbeat,
        "Heartbeats",
        "Send a heartbeat in one line, by POST",
        {
            201: TAKEN,
            400: INACTIVE,
            404: NO_SERVICE,
            413: Told(f"More than {HEARTBEAT_BYTES_MAX} bytes.", shapes.Refusal),
            429: LIMITED,
            503: NOT_DURABLE,
        },
        "A body that is a JSON object or a form of the same fields is read, and the query stands before it. Any other "
        "body, such as the output of a job, is passed over. A signature (MEDIC_WEBHOOK_SECRET) is refused here: "
        "it does not cover the path.",
        body=NamedHeartbeatBody,
        body_optional=True,
        query=BESIDE_THE_NAME,
        keyed=True,
        scope=Scope.HEARTBEAT,
        basic=True,
        narrows=True,
    ),
    Route(
        "GET",
        HEARTBEAT_PATH,
        heartbeats.list_heartbeats,
        "Heartbeats",
        "List heartbeats, newest first",
        {200: Told("Heartbeats.", shapes.Envelope[list[shapes.HeartbeatShape]]), 503: AWAY},
        "What was answered 201 before the question is in the answer. A name that is not registered has none.",
        query=(
            Parameter("heartbeat_name", "string", "Only this service's."),
            Parameter("service_name", "string", "Only those of services with this label."),
            Parameter(
                "maxCount",
                "string",
                f"At most so many; {HEARTBEATS_MAX} where it is left out, more than that, or no number.",
            ),
        ),
        narrows=True,
    ),
)

SERVICES: Final = (
    Route(
        "POST",
        "/service",
        services.register_service,
        "Services",
        "Register a service",
        {
            201: Told("Registered.", shapes.Envelope[shapes.ServiceShape]),
            200: Told(
                "Registered before; `differs` says how it is not what was asked for.",
                shapes.RegisteredAlready[shapes.ServiceShape],
            ),
            429: TOO_MANY,
            503: AWAY,
        },
        "Sending the same registration again changes nothing. A registration counts as `threshold` signs of life.",
        body=Registration,
        query=(Parameter("update", "flag", "1: change what is registered to what was asked for."),),
        actor=True,
        scope=Scope.WRITE,
        limited=False,
        narrows=True,
    ),
    Route(
        "GET",
        "/service",
        services.list_services,
        "Services",
        "List services, by name",
        {200: Told("Services.", shapes.Listing[shapes.ServiceShape])},
        "Without `limit` and `cursor` all of them, streamed. Answered from memory, whether PostgreSQL is there or not.",
        query=(
            Parameter("service_name", "string", "Only those with this label."),
            Parameter("active", "flag", "Only active ones, or only inactive ones."),
            Parameter("team", "string", "Only this team's."),
            Parameter("muted", "flag", "Only muted ones, or only others."),
            Parameter("down", "flag", "Only those with an open alert, or only others."),
            Parameter("q", "string", "Only those with this text in name or label; case of A-Z is ignored."),
            LIMIT,
            CURSOR,
        ),
        narrows=True,
    ),
    Route(
        "GET",
        "/service/{heartbeat_name}",
        services.show_service,
        "Services",
        "Show a service",
        {200: Told("A list of one.", shapes.Envelope[list[shapes.ServiceShape]]), 404: NO_SERVICE},
        narrows=True,
    ),
    Route(
        "POST",
        "/service/{heartbeat_name}",
        services.update_service,
        "Services",
        "Change, mute or unmute a service",
        {
            200: Told("Changed; the service as it is now.", shapes.Envelope[shapes.ServiceShape]),
            404: NO_SERVICE,
            503: AWAY,
        },
        "Any of the fields of a registration but the name. `muted` and `down` work while PostgreSQL is away.",
        body=ServiceUpdate,
        actor=True,
        scope=Scope.WRITE,
        narrows=True,
    ),
    Route(
        "DELETE",
        "/service/{heartbeat_name}",
        services.delete_service,
        "Services",
        "Delete a service",
        {200: Told("Deleted.", shapes.Envelope[Literal[""]]), 404: NO_SERVICE, 503: AWAY},
        "An open alert closes and is resolved where it was told. History keeps name and id; the name is free at once.",
        actor=True,
        scope=Scope.WRITE,
        narrows=True,
    ),
    Route(
        "POST",
        "/v2/services/{heartbeat_name}/test",
        services.send_test,
        "Services",
        "Send a test page",
        {200: Told("Sent, and resolved after.", shapes.Envelope[shapes.TestShape]), 404: NO_SERVICE, 503: NOT_DURABLE},
        "A marked page about this service goes through the real notifiers.",
        actor=True,
        scope=Scope.WRITE,
        narrows=True,
    ),
    Route(
        "GET",
        "/v2/refused",
        services.list_refused,
        "Heartbeats",
        "List names heard of that are not registered",
        {200: Told("Names, last heard of first.", shapes.Counted[shapes.RefusedNameShape])},
        "Since Medic's start; a bounded number, the newest.",
        query=(LIMIT,),
        narrows=True,
    ),
)

ALERTS: Final = (
    Route(
        "GET",
        "/alerts",
        alerts.list_alerts,
        "Alerts",
        "List alerts, newest first",
        {200: Told("Alerts.", shapes.Listing[shapes.AlertShape]), 503: AWAY},
        "With `active` all of them, without the newest 100. `active=1` is answered while PostgreSQL is away.",
        query=(
            Parameter("active", "flag", "Only open ones, or only closed ones."),
            Parameter("heartbeat_name", "string", "Only this service's."),
            Parameter("team", "string", "Only this team's."),
            LIMIT,
            CURSOR,
        ),
        narrows=True,
    ),
    Route(
        "GET",
        "/alerts/{alert_id}",
        alerts.show_alert,
        "Alerts",
        "Show an alert, its history and whom it was told",
        {200: Told("The alert.", shapes.Envelope[shapes.AlertHistoryShape]), 404: NO_ALERT, 503: AWAY},
        narrows=True,
    ),
    Route(
        "POST",
        "/alerts/{alert_id}/acknowledge",
        alerts.acknowledge_alert,
        "Alerts",
        "Acknowledge an alert",
        {
            200: Told("Acknowledged.", shapes.Envelope[shapes.AlertShape | shapes.AcknowledgedShape]),
            404: NO_ALERT,
            409: CLOSED,
            503: NOT_DURABLE,
        },
        "Reminders stop, PagerDuty is acknowledged.",
        body=NoteBody,
        body_optional=True,
        actor=True,
        scope=Scope.WRITE,
        narrows=True,
    ),
    Route(
        "POST",
        "/alerts/{alert_id}/resolve",
        alerts.resolve_alert,
        "Alerts",
        "Resolve an alert by hand",
        {
            200: Told("Resolved.", shapes.Envelope[shapes.AlertShape]),
            404: NO_ALERT,
            409: CLOSED,
            503: NOT_DURABLE,
        },
        "It closes with reason `by_hand`, PagerDuty is resolved, the service has a fresh deadline.",
        body=NoteBody,
        body_optional=True,
        actor=True,
        scope=Scope.WRITE,
        narrows=True,
    ),
)

WEBHOOKS: Final = (
    Route(
        "POST",
        "/v2/webhooks",
        webhooks.create_webhook,
        "Webhooks",
        "Create a webhook",
        {201: Told("Created; the only answer with its secret.", shapes.Envelope[shapes.NewWebhookShape]), 503: AWAY},
        body=WebhookBody,
        actor=True,
        scope=Scope.ADMIN,
    ),
    Route(
        "GET",
        "/v2/webhooks",
        webhooks.list_webhooks,
        "Webhooks",
        "List webhooks",
        {200: Told("Webhooks.", shapes.Counted[shapes.WebhookShape]), 503: AWAY},
    ),
    Route(
        "POST",
        "/v2/webhooks/{webhook_id}/rotate",
        webhooks.rotate_webhook,
        "Webhooks",
        "Give a webhook a new secret",
        {
            200: Told("Rotated; the only answer with the new secret.", shapes.Envelope[shapes.NewWebhookShape]),
            404: Told("There is no such webhook.", shapes.Refusal),
            503: AWAY,
        },
        about="Requests carry a signature with the new secret and, for `overlap_hours`, one with the secret before.",
        body=RotateWebhookBody,
        body_optional=True,
        actor=True,
        scope=Scope.ADMIN,
    ),
    Route(
        "DELETE",
        "/v2/webhooks/{webhook_id}",
        webhooks.delete_webhook,
        "Webhooks",
        "Delete a webhook",
        {
            200: Told("Deleted.", shapes.Envelope[Literal[""]]),
            404: Told("There is no such webhook.", shapes.Refusal),
            503: AWAY,
        },
        actor=True,
        scope=Scope.ADMIN,
    ),
)

_DESCRIBED: Final = (
    *HEARTBEATS,
    *SERVICES,
    *AVAILABILITY,
    *ALERTS,
    *WEBHOOKS,
    *KEYS,
    *SECRETS,
    *SLACK,
    *AUDIT,
    *OPERATIONS,
)

ROUTES: Final = (*_DESCRIBED, *documentation.routes(_DESCRIBED))
"""All routes."""


def is_heartbeat_path(path: str) -> bool:
    """Whether heartbeats are sent to this path, one or many."""
    return path in {HEARTBEAT_PATH, BULK_PATH} or path.startswith(f"{HEARTBEAT_PATH}/")
