"""Requests that are signed instead of carrying a key: the Standard Webhooks scheme, as Medic sends and takes it.

Who signs sends three headers: `webhook-id`, `webhook-timestamp` (seconds), and `webhook-signature`, which is `v1,` and
the base64 of HMAC-SHA256 over `id.timestamp.body`, or several of them with spaces between, for a secret that is being
rotated. The secret is 24 to 64 bytes, written `whsec_` and their base64.

Medic signs with each webhook's own secret (`sign`), and takes heartbeats that somebody signed with
`MEDIC_WEBHOOK_SECRET` (`SignedRequests.verify`) as if they carried a key named `webhook`, of scope heartbeat.

Replay. A signature is good for five minutes before and after its timestamp, and once: it is remembered for as long as
it is good (`medic.access.shown_once`). A sender that tries again signs again, with the time of that attempt, as the
scheme says.

Source: https://www.standardwebhooks.com, version 1.0.0.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from binascii import Error as NotBase64Error
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from medic.access.keys import ApiKey
from medic.access.scope import Scope
from medic.access.shown_once import ShownOnce
from medic.core.units import MINUTE_MS, SECOND_MS, DurationMs, InstantMs
from medic.errors import UnauthorizedError

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what every secret begins with

SECRET_BYTES: Final = 32
"""As long as the digest: more adds nothing. The scheme allows 24 to 64."""

SECRET_LEAST_BYTES: Final = 24

TEXT_LEAST: Final = 16
"""Characters of a secret without `whsec_`, as somebody may have chosen it for the earlier system: guessing goes on
elsewhere and unseen, from one signed request that was overheard."""

SECRET_FORMS: Final = (
    f"must be {SECRET_PREFIX} and at least {SECRET_LEAST_BYTES} bytes in base64, "
    f"or a text of at least {TEXT_LEAST} characters"
)

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
HEADERS: Final = (ID, TIMESTAMP, SIGNATURE)

TOLERANCE_MS: Final = 5 * MINUTE_MS
"""How far a timestamp may be from Medic's clock, before or behind."""

SIGNATURES_MAX: Final = 8
"""Signatures looked at of one request. A rotation needs two."""

ID_MAX: Final = 256
"""Characters of an id."""

TIMESTAMP_DIGITS_MAX: Final = 12

WEBHOOK_KEY_ID: Final = "webhook"
"""The name of whoever signs, in place of a key's."""

_VERSION: Final = "v1,"


def write_secret(secret: bytes) -> str:
    """A secret as people copy it."""
    return SECRET_PREFIX + b64encode(secret).decode()


def read_secret(text: str) -> bytes:
    """The bytes of a secret. One without `whsec_` is taken letter by letter.

    Raises:
        ValueError: it is no base64 behind `whsec_`, or too short.
    """
    if text.startswith(SECRET_PREFIX):
        try:
            secret, least = b64decode(text.removeprefix(SECRET_PREFIX), validate=True), SECRET_LEAST_BYTES
        except NotBase64Error:
            raise ValueError(SECRET_FORMS) from None
    else:
        secret, least = text.encode(), TEXT_LEAST
    if len(secret) < least:
        raise ValueError(SECRET_FORMS)
    return secret


def sign(secret: bytes, message_id: str, seconds: int, body: bytes) -> str:
    """The signature of one message, as `webhook-signature` carries it. Costs 3 µs and what the body's length adds."""
    return _VERSION + b64encode(_digest(secret, message_id, str(seconds), body)).decode()


class SignedRequests:
    """What `MEDIC_WEBHOOK_SECRET` verifies, and which signatures were shown already.

    Args:
        secret: As `read_secret` gives it.
        added_at: When Medic started, for the key.
    """

    def __init__(self, secret: bytes, *, added_at: InstantMs) -> None:
        self._secret = secret
        self._key = ApiKey(
            key_id=WEBHOOK_KEY_ID,
            name=WEBHOOK_KEY_ID,
            scopes=frozenset({Scope.HEARTBEAT}),
            digest=b"",
            date_added=added_at,
        )
        self._shown = ShownOnce(DurationMs(2 * TOLERANCE_MS), added_at)

    @property
    def remembered(self) -> int:
        """Signatures that would be known again."""
        return len(self._shown)

    def verify(self, headers: Mapping[str, str], body: bytes, now: InstantMs) -> ApiKey | None:
        """The key that a signed request counts as; None where a request is not signed at all.

        Args:
            headers: Of the request, names in lower case.
            body: As it came, to the byte.
            now: Wall time.

        Raises:
            UnauthorizedError: it is signed, and wrong: `signature_malformed`, `signature_stale`, `signature_wrong`,
                `signature_replayed`.
        """
        message_id, seconds, signatures = (headers.get(name) for name in HEADERS)
        if message_id is None and seconds is None and signatures is None:
            return None
        if not message_id or not seconds or not signatures or not _is_well_formed(message_id, seconds):
            raise UnauthorizedError(
                f"A signed request carries {', '.join(HEADERS)}: an id, seconds since 1970, and v1, signatures.",
                reason="signature_malformed",
            )
        if abs(int(seconds) * SECOND_MS - now) > TOLERANCE_MS:
            raise UnauthorizedError(
                f"{TIMESTAMP} is more than {TOLERANCE_MS // MINUTE_MS} minutes from Medic's clock.",
                reason="signature_stale",
            )
        digest = _digest(self._secret, message_id, seconds, body)
        if not _is_among(digest, signatures):
            raise UnauthorizedError(
                f"{SIGNATURE} is not that of this request with MEDIC_WEBHOOK_SECRET.", reason="signature_wrong"
            )
        if not self._shown.is_new(digest, now):
            raise UnauthorizedError(
                "This signed request was taken before. Sign each attempt anew, with its own time.",
                reason="signature_replayed",
            )
        return self._key


def _is_well_formed(message_id: str, seconds: str) -> bool:
    return (
        len(message_id) <= ID_MAX
        and message_id.isascii()
        and len(seconds) <= TIMESTAMP_DIGITS_MAX
        and seconds.isascii()
        and seconds.isdigit()
    )


def _digest(secret: bytes, message_id: str, seconds: str, body: bytes) -> bytes:
    return hmac.digest(secret, b"%b.%b.%b" % (message_id.encode(), seconds.encode(), body), sha256)


def _is_among(digest: bytes, signatures: str) -> bool:
    expected = _VERSION + b64encode(digest).decode()
    found = False
    for signature in signatures.split(" ")[:SIGNATURES_MAX]:
        found |= hmac.compare_digest(signature.encode(), expected.encode())
    return found
