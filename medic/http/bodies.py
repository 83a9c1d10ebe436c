"""Bodies of requests, and how one is read: from bytes to a checked model, or to faults by field.

JSON is read by orjson whatever the Content-Type, and strictly: NaN, Infinity, numbers beyond a double, lone surrogates,
broken UTF-8 and nesting beyond 1 024 are broken JSON. Of a field given twice the last one counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from medic.core.draft import DEFAULT_PRIORITY, DEFAULT_TEAM, ServiceDraft, ServiceEdit
from medic.core.names import NAME_MAX
from medic.core.units import DurationMs, ms_to_minutes, ms_to_seconds
from medic.errors import Fault, InvalidInputError
from medic.http import fields
from medic.http.answers import JsonObject, JsonValue
from medic.http.limits import BULK_HEARTBEATS_MAX, FAULTS_MAX, OVERLAP_DEFAULT_MS, QUOTED_MAX, WEBHOOK_HEADERS_MAX

Body = TypeVar("Body", bound=BaseModel)

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class ServiceFields(BaseModel):
    """The fields of a service that operators own. Null leaves a field open, as leaving it out does."""

    model_config = ConfigDict(extra="forbid")

    service_name: fields.ServiceName | None = None
    alert_interval: fields.AlertInterval | None = None
    threshold: fields.Threshold | None = None
    team: fields.Team | None = None
    priority: fields.Priority | None = None
    runbook: fields.Runbook | None = None
    grace_period_seconds: fields.Grace | None = None
    recovery_seconds: fields.Recovery | None = None
    renotify_minutes: fields.Renotify | None = None
    active: fields.Active | None = None
    muted: fields.Muted | None = None
    mute_minutes: fields.MuteMinutes | None = None
    mute_reason: fields.MuteReason | None = None
    require_key: fields.RequireKey | None = None

    def edit(self) -> ServiceEdit:
        """The operators' columns that were given, as an edit."""
        return ServiceEdit(
            service_name=self.service_name,
            active=self.active,
            interval_ms=self.alert_interval,
            grace_ms=self.grace_period_seconds,
            threshold=self.threshold,
            recovery_ms=self.recovery_seconds,
            renotify_ms=self.renotify_minutes,
            renotify_default="renotify_minutes" in self.model_fields_set and self.renotify_minutes is None,
            team=self.team,
            priority=self.priority,
            runbook=self.runbook,
            require_key=self.require_key,
        )

    def wanted(self) -> JsonObject:
        """The fields that were given, in the form in which a service answers them."""
        shown: dict[str, JsonValue] = {
            "service_name": self.service_name,
            "alert_interval": _shown(self.alert_interval, ms_to_minutes),
            "threshold": self.threshold,
            "team": self.team,
            "priority": self.priority,
            "runbook": self.runbook,
            "grace_period_seconds": _shown(self.grace_period_seconds, ms_to_seconds),
            "recovery_seconds": _shown(self.recovery_seconds, ms_to_seconds),
            "renotify_minutes": _shown(self.renotify_minutes, ms_to_minutes),
            "active": None if self.active is None else int(self.active),
            "muted": None if self.muted is None else int(self.muted),
            "require_key": None if self.require_key is None else int(self.require_key),
        }
        return {name: value for name, value in shown.items() if value is not None}

    def require_mute(self) -> None:
        """Return unless a mute is described that is not ordered.

        Raises:
            InvalidInputError: `mute_minutes` or `mute_reason` stands without `muted: 1`.
        """
        if not self.muted:
            given = {"mute_minutes": self.mute_minutes, "mute_reason": self.mute_reason}
            faults = tuple(
                Fault(name, "means something only beside muted: 1")
                for name, value in given.items()
                if value is not None
            )
            if faults:
                raise InvalidInputError(faults)


class Registration(ServiceFields):
    """A service to register.

    Left out: threshold 1, team site-reliability, priority p3, grace and recovery 0, active, not muted.
    """

    heartbeat_name: fields.HeartbeatName
    service_name: fields.ServiceName
    alert_interval: fields.AlertInterval
    environment: fields.Environment | None = None

    @property
    def name(self) -> str:
        """The name with its prefix."""
        return f"{self.environment}-{self.heartbeat_name}" if self.environment else self.heartbeat_name

    def draft(self) -> ServiceDraft:
        """The service as it would be registered.

        Raises:
            InvalidInputError: the name is too long with its prefix.
        """
        if len(self.name) > NAME_MAX:
            sentence = f"must have at most {NAME_MAX} characters with its prefix, this one has {len(self.name)}"
            raise InvalidInputError((Fault("heartbeat_name", sentence),))
        return ServiceDraft(
            heartbeat_name=self.name,
            service_name=self.service_name,
            interval_ms=self.alert_interval,
            grace_ms=self.grace_period_seconds or DurationMs(0),
            threshold=self.threshold or 1,
            recovery_ms=self.recovery_seconds or DurationMs(0),
            renotify_ms=self.renotify_minutes,
            team=self.team or DEFAULT_TEAM,
            priority=self.priority or DEFAULT_PRIORITY,
            runbook=self.runbook or "",
            active=self.active is not False,
            require_key=self.require_key is True,
        )


class ServiceUpdate(ServiceFields):
    """Any of the fields of a registration but the name; `down: 0` resolves an open alert by hand."""

    down: fields.Down | None = None


class HeartbeatBody(BaseModel):
    """A heartbeat. Further fields are ignored and named in the answer's message."""

    model_config = ConfigDict(extra="ignore")

    heartbeat_name: fields.HeartbeatName
    status: fields.Status
    service_name: fields.Label = None
    run_id: fields.RunId = None
    time: fields.SaidAt = None
    idempotency_key: fields.IdempotencyKey = None


class NamedHeartbeatBody(BaseModel):
    """What may be said beside a heartbeat's name. Further fields are ignored and named in the answer's message."""

    model_config = ConfigDict(extra="ignore")

    status: fields.Status = "UP"
    service_name: fields.Label = None
    run_id: fields.RunId = None
    time: fields.SaidAt = None
    idempotency_key: fields.IdempotencyKey = None


class BulkBody(RootModel[list[HeartbeatBody]]):
    """Many heartbeats; each is checked by itself."""

    root: list[HeartbeatBody] = Field(min_length=1, max_length=BULK_HEARTBEATS_MAX)


class NoteBody(BaseModel):
    """What an operator says beside acknowledging or resolving. The whole body may be left out."""

    model_config = ConfigDict(extra="forbid")

    note: fields.Note | None = None


class WebhookBody(BaseModel):
    """A webhook to create. Without `heartbeat_name` it is told the alerts of every service."""

    model_config = ConfigDict(extra="forbid")

    url: fields.WebhookUrl
    heartbeat_name: fields.HeartbeatName | None = None
    headers: fields.WebhookHeaders = Field(
        default=(), description=f"Headers sent with each request, at most {WEBHOOK_HEADERS_MAX}."
    )


class RotateWebhookBody(BaseModel):
    """How a webhook's secret is replaced. The whole body may be left out."""

    model_config = ConfigDict(extra="forbid")

    overlap_hours: fields.OverlapHours = OVERLAP_DEFAULT_MS


def read_json(body: bytes) -> JsonObject:
    """The object a body holds.

    Raises:
        InvalidInputError: it is no JSON, or no object.
    """
    try:
        value = orjson.loads(body.removeprefix(BYTE_ORDER_MARK))
    except orjson.JSONDecodeError as error:
        sentence = "must be a JSON object: it is empty" if not body.strip() else f"is no JSON: {error}"
        raise InvalidInputError((Fault("body", sentence),)) from None
    return require_object(value)


def require_object(value: JsonValue) -> JsonObject:
    """What JSON held, if it is an object.

    Raises:
        InvalidInputError: it is something else.
    """
    if not isinstance(value, dict):
        raise InvalidInputError((Fault("body", f"must be a JSON object, not {_KINDS[type(value)]}"),))
    return value


def read_body(model: type[Body], body: bytes) -> Body:
    """The checked body.

    Raises:
        InvalidInputError: names each faulty field and its bounds.
    """
    return check_fields(model, read_json(body))


def check_fields(model: type[Body], given: JsonObject) -> Body:
    """The checked model of an object that was read already.

    Raises:
        InvalidInputError: names each faulty field and its bounds.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise InvalidInputError(faults_of(model, error)) from None


def faults_of(model: type[BaseModel], error: ValidationError) -> tuple[Fault, ...]:
    """A fault for each field pydantic refused, the first `FAULTS_MAX` of them."""
    lines = error.errors(include_url=False, include_input=False)
    bounds = _bounds_of(model, [str(line["loc"][0]) for line in lines if line["type"] == "missing"])
    found: dict[str, Fault] = {}
    for line in lines:
        name = str(line["loc"][0]) if line["loc"] else "body"
        if line["type"] == "missing":
            sentence = f"is required: it {bounds[name]}"
        elif line["type"] == "extra_forbidden":
            sentence = f"is no field here; these are: {', '.join(sorted(model.model_fields))}"
        else:
            sentence = line["msg"]
        found.setdefault(name, Fault(name[:QUOTED_MAX], sentence))
    return tuple(found.values())[:FAULTS_MAX]


def _bounds_of(model: type[BaseModel], names: list[str]) -> dict[str, str]:
    """What required fields must be, in the words of their own checks, which are asked about null."""
    try:
        model.model_validate(dict.fromkeys(names))
    except ValidationError as error:
        return {str(line["loc"][0]): line["msg"] for line in error.errors(include_url=False, include_input=False)}
    return {}


def _shown(duration: DurationMs | None, to_unit: Callable[[DurationMs], int | float]) -> int | float | None:
    return None if duration is None else to_unit(duration)


_KINDS: Final = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
