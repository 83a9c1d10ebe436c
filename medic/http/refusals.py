"""Every refusal, from one table: which error is which status. Whatever raises, the caller gets the same JSON.

The tree of errors says who must act; the status says the same to the caller: 4xx to change something, 503 to wait
(with Retry-After), 500 that Medic is at fault. A message says what to do and never what is inside: an error of Medic's
own is described in its log, not to the caller.
"""

from __future__ import annotations

from typing import Final

import structlog

from medic.access.gcra import Standing
from medic.errors import (
    AlertClosedError,
    ForbiddenError,
    InvariantError,
    LastAdminKeyError,
    MedicError,
    NameTakenError,
    OverloadedError,
    OvertakenError,
    RateLimitedError,
    RefusedError,
    SecretInUseError,
    SecretsKeyMissingError,
    UnauthorizedError,
    UnavailableError,
    UnknownAlertError,
    UnknownKeyError,
    UnknownSecretError,
    UnknownServiceError,
    UnknownSnapshotError,
    UnknownWebhookError,
)
from medic.http.answers import Answer, Headers, refusal
from medic.http.headers import REQUEST_ID, new_request_id
from medic.http.limits import QUOTED_MAX

_log = structlog.get_logger(__name__)

STATUSES: Final[tuple[tuple[type[MedicError], int], ...]] = (
    (UnknownServiceError, 404),
    (UnknownAlertError, 404),
    (UnknownWebhookError, 404),
    (UnknownSnapshotError, 404),
    (UnknownKeyError, 404),
    (UnknownSecretError, 404),
    (AlertClosedError, 409),
    (NameTakenError, 409),
    (LastAdminKeyError, 409),
    (SecretInUseError, 409),
    (SecretsKeyMissingError, 503),
    (UnauthorizedError, 401),
    (ForbiddenError, 403),
    (RateLimitedError, 429),
    (RefusedError, 400),
    (OverloadedError, 503),
    (UnavailableError, 503),
    (OvertakenError, 503),
    (InvariantError, 500),
    (MedicError, 500),
)
"""The first row whose class fits decides."""

DATABASE_AWAY: Final = "PostgreSQL does not answer. Nothing was changed; try again."
OVERTAKEN: Final = "Another Medic is the active one now. Nothing was changed; try again."
OWN_FAULT: Final = "Medic met a fault of its own. Its log says more."

OVERTAKEN_RETRY_SECONDS: Final = 1
"""This process ends within a second; whoever routes requests finds the other one."""

CHALLENGE: Final = (("WWW-Authenticate", 'Bearer realm="medic"'),)
"""How to sign in, for programs that ask."""

FRAMEWORK_MESSAGES: Final = {
    400: "The request could not be read.",
    404: "There is nothing at this path. GET /docs lists what there is.",
    405: "This path does not take this method; the header Allow names those it takes.",
    408: "The body did not arrive in time.",
    413: "The body is too large: {limit} bytes at most.",
}
"""What Quart itself refuses, in Medic's words."""

LATER: Final = "This release of Medic has nothing at {path}: not built yet. GET /docs lists what there is."


def status_of(error: MedicError) -> int:
    """The status of the table."""
    return next(status for kind, status in STATUSES if isinstance(error, kind))


def message_of(error: MedicError) -> str:
    """What the caller is told of it."""
    if isinstance(error, RefusedError | OverloadedError):
        return error.message
    if isinstance(error, OvertakenError):
        return OVERTAKEN
    return DATABASE_AWAY if isinstance(error, UnavailableError) else OWN_FAULT


def refuse(error: MedicError, *, name: str | None = None) -> Answer:
    """The answer to a request over which this was raised; `name`: of the service that it concerns, for the log."""
    status, message = status_of(error), message_of(error)
    if isinstance(error, UnauthorizedError):
        return refusal(status, message, headers=CHALLENGE)
    if isinstance(error, RateLimitedError):
        return refusal(status, message, headers=(*_retry_after(error.retry_after_seconds), *rate_headers(error)))
    if isinstance(error, RefusedError):
        return refusal(status, message, error.faults)
    if isinstance(error, OverloadedError | UnavailableError):
        return refusal(status, message, headers=_retry_after(error.retry_after_seconds))
    if isinstance(error, OvertakenError):
        return refusal(status, message, headers=_retry_after(OVERTAKEN_RETRY_SECONDS))
    return _own_fault(error, status, message, name)


def refuse_framework(status: int, *, path: str, limit: int, allow: str = "") -> Answer:
    """The answer where Quart refuses: an unknown path, a wrong method, a body too large or too slow.

    Args:
        status: Quart's.
        path: The path asked for; `/v2/` belongs to later releases.
        limit: Bytes a body may have there.
        allow: The methods the path takes, for 405.
    """
    headers = (("Allow", allow),) if allow else ()
    if status == 404 and path.startswith("/v2/"):
        return refusal(status, LATER.format(path=path[:QUOTED_MAX]))
    message = FRAMEWORK_MESSAGES.get(status, OWN_FAULT if status >= 500 else FRAMEWORK_MESSAGES[400])
    return refusal(status, message.format(limit=limit), headers=headers)


def _own_fault(error: MedicError, status: int, message: str, name: str | None) -> Answer:
    """The one refusal that has a line in the log. By its id whoever was refused and whoever reads that line meet.

    Requests of the express lane have no id before.
    """
    request_id = structlog.contextvars.get_contextvars().get("request_id") or new_request_id()
    concerned = {} if name is None else {"heartbeat_name": name}
    _log.error("a request met a fault of Medic's own", exc_info=error, request_id=request_id, **concerned)
    return refusal(status, message, headers=((REQUEST_ID, request_id),))


def rate_headers(stands: Standing | RateLimitedError) -> Headers:
    """What is left of a limit."""
    return (
        ("X-RateLimit-Limit", str(stands.limit)),
        ("X-RateLimit-Remaining", str(stands.remaining)),
        ("X-RateLimit-Reset", str(stands.reset_seconds)),
    )


def _retry_after(seconds: int) -> tuple[tuple[str, str], ...]:
    return (("Retry-After", str(seconds)),)
