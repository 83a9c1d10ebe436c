"""Requests that Slack sends: signed with the app's signing secret, scheme `v0`.

`X-Slack-Signature` is `v0=` and the hexadecimal HMAC-SHA256 over `v0:timestamp:body`; `X-Slack-Request-Timestamp` is
seconds since 1970. A signature is good for five minutes before and after its timestamp, and once: a press that somebody
recorded on the way must not mute a service again after it was unmuted.

Source: https://docs.slack.dev/authentication/verifying-requests-from-slack
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final

from medic.access.shown_once import ShownOnce
from medic.core.units import MINUTE_MS, SECOND_MS, DurationMs, InstantMs
from medic.errors import UnauthorizedError

SIGNATURE: Final = "X-Slack-Signature"
TIMESTAMP: Final = "X-Slack-Request-Timestamp"

TOLERANCE_MS: Final = 5 * MINUTE_MS
"""How far a timestamp may be from Medic's clock, before or behind."""

TIMESTAMP_DIGITS_MAX: Final = 12

REASON: Final = "slack_signature"
"""Of every refusal here, in `medic_auth_failures_total`."""

UNSET: Final = "Medic does not take what is pressed in Slack: SLACK_SIGNING_SECRET is not set."


def slack_signature(secret: bytes, seconds: int | str, body: bytes) -> str:
    """The signature of one request, as Slack sends it."""
    return "v0=" + hmac.new(secret, b"v0:%b:%b" % (str(seconds).encode(), body), sha256).hexdigest()


class SlackSignatures:
    """What `SLACK_SIGNING_SECRET` verifies, and which signatures were shown already.

    Args:
        secret: The signing secret, as Slack shows it.
        since: When Medic started.
    """

    def __init__(self, secret: str, *, since: InstantMs) -> None:
        self._secret = secret.encode()
        self._shown = ShownOnce(DurationMs(2 * TOLERANCE_MS), since)

    def verify(self, seconds: str, signature: str, body: bytes, now: InstantMs) -> None:
        """Return if Slack sent this, now, and for the first time.

        Args:
            seconds: `X-Slack-Request-Timestamp`, empty where there is none.
            signature: `X-Slack-Signature`, likewise.
            body: As it came, to the byte.
            now: Wall time.

        Raises:
            UnauthorizedError: it did not, as far as can be told.
        """
        if not signature or not (seconds.isascii() and seconds.isdigit()) or len(seconds) > TIMESTAMP_DIGITS_MAX:
            raise UnauthorizedError(f"Slack sends {TIMESTAMP} and {SIGNATURE}.", reason=REASON)
        if abs(int(seconds) * SECOND_MS - now) > TOLERANCE_MS:
            sentence = f"{TIMESTAMP} is more than {TOLERANCE_MS // MINUTE_MS} minutes from Medic's clock."
            raise UnauthorizedError(sentence, reason=REASON)
        expected = slack_signature(self._secret, seconds, body).encode()
        if not hmac.compare_digest(expected, signature.encode()):
            sentence = f"{SIGNATURE} is not that of this request with SLACK_SIGNING_SECRET."
            raise UnauthorizedError(sentence, reason=REASON)
        if not self._shown.is_new(expected, now):
            raise UnauthorizedError("This request was taken before.", reason=REASON)
