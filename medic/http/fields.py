"""Single fields of requests as annotated types: the check of each, and how the API's description shows it."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema

from medic.core.draft import PRIORITIES, TEAM_MAX
from medic.core.names import NAME_MAX
from medic.core.policy import GRACE_MAX_MS, INTERVAL_MAX_MS, INTERVAL_MIN_MS, RECOVERY_MAX_MS, THRESHOLD_MAX
from medic.core.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, DurationMs, InstantMs
from medic.http.checks import (
    check_address,
    check_down,
    check_environment,
    check_flag,
    check_idempotency_key,
    check_name,
    check_priority,
    check_run_id,
    check_runbook,
    check_said_at,
    check_status,
    check_team,
    check_text,
    check_threshold,
    check_webhook_headers,
    hours_up_to,
    minutes_between,
    seconds_up_to,
)
from medic.http.limits import (
    IDEMPOTENCY_KEY_MAX,
    MUTE_REASON_MAX,
    NOTE_MAX,
    OVERLAP_MAX_MS,
    RUN_ID_MAX,
    RUNBOOK_MAX,
    STATUS_MAX,
    WEBHOOK_HEADER_VALUE_MAX,
    WEBHOOK_HEADERS_MAX,
)

YEAR_MS: Final = DurationMs(366 * DAY_MS)
"""The longest time anything here may last."""


def _text_schema(longest: int, description: str, shortest: int = 1, *, example: str = "text") -> WithJsonSchema:
    return WithJsonSchema(
        {
            "type": "string",
            "minLength": shortest,
            "maxLength": longest,
            "description": description,
            "examples": [example],
        },
        mode="validation",
    )


def _optional_text_schema(longest: int, description: str) -> WithJsonSchema:
    """Text that may be left out by saying null or nothing, too."""
    return WithJsonSchema(
        {
            "anyOf": [{"type": "string", "minLength": 0, "maxLength": longest}, {"type": "null"}],
            "description": description,
            "examples": ["text"],
        },
        mode="validation",
    )


def _number_schema(kind: str, least: float, most: float, description: str) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": kind, "minimum": least, "maximum": most, "description": description}, mode="validation"
    )


def _flag_schema(description: str) -> WithJsonSchema:
    return WithJsonSchema(
        {"anyOf": [{"type": "integer", "enum": [0, 1]}, {"type": "boolean"}], "description": description},
        mode="validation",
    )


def _address_schema(description: str, shortest: int = 0) -> WithJsonSchema:
    return _text_schema(RUNBOOK_MAX, description, shortest, example="http://localhost:9000/medic")


HeartbeatName = Annotated[
    str,
    BeforeValidator(check_name),
    _text_schema(NAME_MAX, "Name of the service; case of A-Z is ignored.", example="nightly-backup"),
]
ServiceName = Annotated[
    str,
    BeforeValidator(check_name),
    _text_schema(NAME_MAX, "Label of the service that owns the heartbeat.", example="backup"),
]
Environment = Annotated[
    str,
    BeforeValidator(check_environment),
    _text_schema(NAME_MAX, "Becomes the prefix of the name: `environment-heartbeat_name`.", 0),
]
Team = Annotated[str, BeforeValidator(check_team), _text_schema(TEAM_MAX, "Whom it concerns.")]
Priority = Annotated[
    str,
    BeforeValidator(check_priority),
    WithJsonSchema({"type": "string", "enum": list(PRIORITIES), "description": "Most urgent: p1."}),
]
Runbook = Annotated[str, BeforeValidator(check_runbook), _address_schema("A http or https address; empty for none.")]
WebhookUrl = Annotated[str, BeforeValidator(check_address), _address_schema("Where to POST; http or https.", 1)]
AlertInterval = Annotated[
    DurationMs,
    BeforeValidator(minutes_between(INTERVAL_MIN_MS, INTERVAL_MAX_MS)),
    _number_schema(
        "number",
        INTERVAL_MIN_MS / MINUTE_MS,
        INTERVAL_MAX_MS // MINUTE_MS,
        "Minutes within which `threshold` signs of life are promised; fractions allowed; 1 s to 366 days.",
    ),
]
Threshold = Annotated[
    int,
    BeforeValidator(check_threshold),
    _number_schema("integer", 1, THRESHOLD_MAX, "Signs of life promised within one interval."),
]
Grace = Annotated[
    DurationMs,
    BeforeValidator(seconds_up_to(GRACE_MAX_MS)),
    _number_schema("number", 0, GRACE_MAX_MS // SECOND_MS, "Patience after the interval."),
]
Recovery = Annotated[
    DurationMs,
    BeforeValidator(seconds_up_to(RECOVERY_MAX_MS)),
    _number_schema(
        "number", 0, RECOVERY_MAX_MS // SECOND_MS, "How long the service must be well before its alert closes."
    ),
]
Renotify = Annotated[
    DurationMs,
    BeforeValidator(minutes_between(SECOND_MS, YEAR_MS, zero=True)),
    _number_schema(
        "number", 0, YEAR_MS // MINUTE_MS, "Minutes between reminders; 0 for none; null for MEDIC_RENOTIFY_MINUTES."
    ),
]
MuteMinutes = Annotated[
    DurationMs,
    BeforeValidator(minutes_between(SECOND_MS, YEAR_MS)),
    _number_schema("number", SECOND_MS / MINUTE_MS, YEAR_MS // MINUTE_MS, "How long; else ALERT_AUTO_UNMUTE_HOURS."),
]
MuteReason = Annotated[
    str,
    BeforeValidator(lambda value: check_text(value, shortest=0, longest=MUTE_REASON_MAX)),
    _text_schema(MUTE_REASON_MAX, "Why it is muted.", 0),
]
Active = Annotated[
    bool, BeforeValidator(check_flag), _flag_schema("0: not watched, heartbeats are refused, an open alert closes.")
]
RequireKey = Annotated[
    bool,
    BeforeValidator(check_flag),
    _flag_schema("1: heartbeats of this service need an API key, whatever MEDIC_AUTH asks of others."),
]
Muted = Annotated[bool, BeforeValidator(check_flag), _flag_schema("1: tell nobody, from now on; 0: tell again.")]
Down = Annotated[
    bool,
    BeforeValidator(check_down),
    WithJsonSchema({"anyOf": [{"enum": [0]}, {"const": False}], "description": "0: resolve an open alert by hand."}),
]
Note = Annotated[
    str,
    BeforeValidator(lambda value: check_text(value, shortest=0, longest=NOTE_MAX)),
    _text_schema(NOTE_MAX, "What there is to say about it.", 0),
]
Status = Annotated[
    str,
    BeforeValidator(check_status),
    _text_schema(
        STATUS_MAX,
        "UP, DOWN, DEGRADED, STARTED, COMPLETED and FAILED have a meaning, in any case; any other word counts as UP.",
        example="UP",
    ),
]
Label = Annotated[object, WithJsonSchema({"description": "A label, not checked.", "type": ["string", "null"]})]
RunId = Annotated[
    str | None, BeforeValidator(check_run_id), _optional_text_schema(RUN_ID_MAX, "Which run of a job this belongs to.")
]
IdempotencyKey = Annotated[
    str | None,
    BeforeValidator(check_idempotency_key),
    _optional_text_schema(
        IDEMPOTENCY_KEY_MAX,
        "As the header Idempotency-Key, and before it: of two heartbeats with the same one only the first counts "
        "toward the threshold. With a run_id that and the status decide.",
    ),
]
SaidAt = Annotated[
    InstantMs | None,
    BeforeValidator(check_said_at),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}],
            "description": "The sender's own time, ISO 8601 or seconds since 1970. Kept. Older than interval and "
            "grace, the heartbeat is history and no sign of life; over 5 minutes ahead, it is kept as 5 minutes ahead.",
        }
    ),
]
OverlapHours = Annotated[
    DurationMs,
    BeforeValidator(hours_up_to(OVERLAP_MAX_MS)),
    _number_schema(
        "number", 0, OVERLAP_MAX_MS // HOUR_MS, "Hours for which the secret before is good as well; 0: it ends at once."
    ),
]
WebhookHeaders = Annotated[
    tuple[tuple[str, str], ...],
    BeforeValidator(check_webhook_headers),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": WEBHOOK_HEADERS_MAX,
            "additionalProperties": {"type": "string", "maxLength": WEBHOOK_HEADER_VALUE_MAX},
        }
    ),
]
