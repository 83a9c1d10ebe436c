"""Cursors: opaque to clients, checked by Medic. One says behind what the next page begins, and in which listing."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from medic.core.names import NAME_MAX
from medic.core.units import INSTANT_MAX, EventId, InstantMs
from medic.errors import Fault, InvalidInputError

ID_MAX: Final = (1 << 53) - 1


def after_service(key: str) -> str:
    """The cursor behind the service with this name key."""
    return _encode("s", key)


def read_service_cursor(cursor: str) -> str:
    """The name key behind which the page begins.

    Raises:
        InvalidInputError: it is no cursor of a listing of services.
    """
    key = _decode("s", cursor)
    if not 1 <= len(key) <= NAME_MAX:
        raise _refused()
    return key


def after_alert(created: InstantMs, alert_id: EventId) -> str:
    """The cursor behind this alert."""
    return _encode("a", f"{created}.{alert_id}")


def read_alert_cursor(cursor: str) -> tuple[InstantMs, EventId]:
    """The alert behind which the page begins.

    Raises:
        InvalidInputError: it is no cursor of a listing of alerts.
    """
    created, _, alert_id = _decode("a", cursor).partition(".")
    if not (created.isascii() and created.isdigit() and alert_id.isascii() and alert_id.isdigit()):
        raise _refused()
    if len(created) > 15 or len(alert_id) > 16 or int(created) > INSTANT_MAX or int(alert_id) > ID_MAX:
        raise _refused()
    return InstantMs(int(created)), EventId(int(alert_id))


def _encode(kind: str, place: str) -> str:
    return base64.urlsafe_b64encode(f"{kind}{place}".encode()).decode().rstrip("=")


def _decode(kind: str, cursor: str) -> str:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise _refused() from None
    if not text.startswith(kind):
        raise _refused()
    return text[1:]


def _refused() -> InvalidInputError:
    return InvalidInputError((Fault("cursor", "must be the next_cursor of an answer of this route"),))
