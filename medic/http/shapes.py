"""Shapes of answers, for the API's description. `medic.http.shown` makes them; a test holds the two together."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from medic.core.draft import PRIORITIES
from medic.core.status import ClosedReason, OpenedReason, Outcome, Status

Results = TypeVar("Results")
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="ISO 8601, UTC, ends in Z.")]
Flag = Literal[0, 1]
Priority = Annotated[str, Field(json_schema_extra={"enum": list(PRIORITIES)})]


class Shape(BaseModel):
    """Base: an answer has these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class Envelope(Shape, Generic[Results]):
    """Every answer of `/heartbeat`, `/service`, `/alerts` and `/v2`."""

    success: Literal[True]
    message: str
    results: Results


class Listing(Shape, Generic[Results]):
    """A listing, or a page of one."""

    success: Literal[True]
    message: str
    results: list[Results]
    next_cursor: str | None = Field(description="`cursor` of the next page; null where there is none.")
    total_count: int = Field(description="How many match, on all pages.")


class Counted(Shape, Generic[Results]):
    """A listing without pages."""

    success: Literal[True]
    message: str
    results: list[Results]
    total_count: int


class RegisteredAlready(Shape, Generic[Results]):
    """The service was registered before."""

    success: Literal[True]
    message: str
    results: Results
    differs: dict[str, list[str | int | float | None]] = Field(
        description="Fields of the body that were different: `[stored, asked for]`. Changed only with `update=1`."
    )


class FieldFault(Shape):
    """One thing wrong with a request."""

    field: str
    message: str = Field(description="The end of a sentence that begins with the field; names its bounds.")


class Refusal(Shape):
    """Every refusal."""

    success: Literal[False]
    message: str
    results: Literal[""]
    errors: list[FieldFault] | None = Field(default=None, description="Only where fields are faulty.")


class LastRefusal(Shape):
    """Why the newest refused heartbeat of a service was refused."""

    at: Time
    reason: str
    address: str


class ServiceShape(Shape):
    """A service as it is now."""

    service_id: int
    heartbeat_name: str
    service_name: str
    active: Flag
    alert_interval: int | float = Field(description="Minutes.")
    threshold: int
    team: str
    priority: Priority
    muted: Flag
    down: Flag = Field(description="1 while an alert is open.")
    runbook: str
    grace_period_seconds: int | float
    recovery_seconds: int | float
    renotify_minutes: int | float = Field(description="As in force, the default included; 0 for none.")
    require_key: Flag = Field(description="1: its heartbeats need an API key, whatever MEDIC_AUTH asks of others.")
    date_added: Time
    date_modified: Time
    date_muted: Time | None
    mute_until: Time | None = Field(description="Null while not muted, or muted until unmuted by hand.")
    mute_reason: str | None
    muted_by: str | None
    status: Status
    last_heartbeat_at: Time | None
    last_status: str | None = Field(description="As sent.")
    deadline_at: Time | None = Field(description="When silence will mean late; null while inactive or down.")
    last_refusal: LastRefusal | None = Field(description="Since Medic's start.")


class HeartbeatShape(Shape):
    """A stored heartbeat."""

    heartbeat_id: int
    heartbeat_name: str
    service_name: str
    time: Time = Field(description="When it arrived.")
    status: str = Field(description="As sent.")
    team: str
    priority: Priority
    run_id: str | None
    said_at: Time | None = Field(description="Its sender's own time.")


class RefusedItem(Shape):
    """A heartbeat of a bulk that was not taken."""

    index: int = Field(description="Its place in the body, from 0; blank lines are not counted.")
    heartbeat_name: str | None = Field(description="Null where that could not be read.")
    status: int = Field(description="What POST /heartbeat would have answered.")
    message: str


class BulkTaken(Shape):
    """What became of the heartbeats of a bulk."""

    accepted: int = Field(description="How many were taken.")
    refused: list[RefusedItem]


class BulkShape(Shape):
    """The answer to a bulk that was read. `success`: all of them were taken."""

    success: bool
    message: str
    results: BulkTaken


class AlertShape(Shape):
    """An alert."""

    alert_id: int
    alert_name: str
    service_id: int
    heartbeat_name: str
    service_name: str
    team: str = Field(description="As when it opened, like priority and runbook.")
    priority: Priority
    runbook: str
    active: Flag = Field(description="1 while it is open.")
    external_reference_id: str = Field(description="PagerDuty's dedup key.")
    alert_cycle: int = Field(description="Intervals missed.")
    reason: OpenedReason
    created_date: Time
    closed_date: Time | None
    closed_reason: ClosedReason | None
    duration: float | None = Field(description="Seconds; null while open.")
    acknowledged_date: Time | None
    acknowledged_by: str | None
    muted: Flag
    flapping: Flag = Field(description="1: it opened too often, and stays open until the service was well for a while.")


class AlertMomentShape(Shape):
    """One line of an alert's history."""

    at: Time
    change: str
    by: str | None
    note: str | None


class DeliveryShape(Shape):
    """How one notification went to one notifier."""

    notifier: str
    action: str
    at: Time = Field(description="When it was decided.")
    settled_at: Time | None
    attempts: int
    result: Outcome | Literal["pending"]
    detail: str | None
    notification_id: str


class AlertHistoryShape(AlertShape):
    """An alert with what happened to it and whom it was told."""

    history: list[AlertMomentShape]
    deliveries: list[DeliveryShape]


class AcknowledgedShape(Shape):
    """An alert that closed while it was being acknowledged."""

    alert_id: int


class WebhookShape(Shape):
    """A webhook."""

    webhook_id: int
    url: str
    heartbeat_name: str | None = Field(description="Null: alerts of every service.")
    headers: dict[str, Literal["***"]] = Field(description="Values are not shown.")
    date_added: Time
    added_by: str | None
    former_secret_until: Time | None = Field(
        description="Until when the secret before the last rotation signs as well."
    )


class NewWebhookShape(WebhookShape):
    """A webhook and the secret that was just made for it, which is never shown again."""

    secret: str = Field(description="Verifies `webhook-signature` (Standard Webhooks): `whsec_` and base64.")


class KeyShape(Shape):
    """An API key, without its secret."""

    key_id: str
    name: str
    scopes: list[Literal["heartbeat", "read", "write", "admin"]]
    names: list[str] = Field(description="Heartbeat names it is restricted to, with `*`; empty: every name.")
    teams: list[str] = Field(description="Teams it is restricted to; empty: every team.")
    state: Literal["working", "expired", "revoked"]
    date_added: Time
    added_by: str | None
    expires_at: Time | None
    rotated_at: Time | None = Field(description="When it got its present secret; null: it still has the first.")
    former_until: Time | None = Field(description="Until when the secret before works.")
    revoked_at: Time | None
    last_used_at: Time | None = Field(description="After a restart up to a minute late.")
    last_used_from: str | None = Field(description="The address it was last used from.")


class NewKeyShape(KeyShape):
    """An API key that was just made, or has just got its next secret."""

    key: str = Field(description="The key itself: `mdk_<id>_<secret>`. No other answer ever shows it.")


class KeylessShape(Shape):
    """A service that was heard without a key."""

    service_id: int
    heartbeat_name: str
    service_name: str
    team: str
    last_day_without_key: str = Field(description="The newest such day, in UTC.", json_schema_extra={"format": "date"})
    require_key: Flag


class TestShape(Shape):
    """Whom a test page goes to."""

    __test__ = False

    targets: list[str]


class RefusedNameShape(Shape):
    """A name heard of that is not registered."""

    heartbeat_name: str = Field(description="As last sent.")
    count: int
    address: str = Field(description="Where the last one came from.")
    first_at: Time
    last_at: Time


class ComponentShape(BaseModel):
    """One component's health; facts stand beside it."""

    status: Literal["healthy", "degraded", "unhealthy", "configured", "not_configured"]
    since: Time


class HealthShape(Shape):
    """What Medic knows of itself."""

    status: Literal["healthy", "degraded", "unhealthy"]
    timestamp: Time
    version: str
    components: dict[str, ComponentShape]


class ProbeShape(Shape):
    """The answer to a probe."""

    status: Literal["ready", "not_ready"]
    timestamp: Time
    version: str
    reason: str | None = Field(default=None, description="Only with 503.")


class LifeShape(Shape):
    """The answer to the probe that says whether Medic has to be restarted."""

    status: Literal["alive", "stalled"]
    timestamp: Time
    version: str
    progress_at: Time | None = Field(
        description="When work was last seen to go through journal, wheel and outbox. Each question has it looked at "
        "anew, at most once a second, so whoever asks again sees another instant. `null`: not yet."
    )
    reason: str | None = Field(default=None, description="Only with 503.")


class Entries(Shape, Generic[Results]):
    """A page as the earlier system had it."""

    entries: list[Results]
    total_count: int = Field(description="How many match, on all pages; 100 000 for more than that.")
    limit: int
    offset: int
    has_more: bool


class AuditEntryShape(Shape):
    """One thing that somebody did."""

    audit_id: int
    timestamp: Time
    actor: str = Field(description="The key's name, else what X-Actor said, else the address; SQL or Medic.")
    key_id: str | None = Field(description="Of the key that was shown.")
    address: str | None
    request_id: str | None = Field(description="X-Request-Id of the answer.")
    label: str | None = Field(description="What X-Actor said; of a change by SQL, the role.")
    action: str
    service_id: int | None
    subject: str = Field(description="To what it was done, by its name.")
    before: dict[str, object] | None
    after: dict[str, object] | None
    place: int | None = Field(description="In the chain; null until it is sealed, a second later.")
    hash: str | None = Field(description="Of its seal.")


class SnapshotShape(Shape):
    """A service as it was before a change."""

    snapshot_id: int
    service_id: int
    heartbeat_name: str
    snapshot_data: dict[str, object] = Field(description="The service's row.")
    action_type: str
    actor: str
    created_at: Time
    restored_at: Time | None
    restored_by: str | None


class RestoredShape(SnapshotShape):
    """A snapshot that was just restored."""

    service: ServiceShape
