"""`/v2/secrets`: secrets that vendor tokens and webhook headers refer to. Written, listed by name, never read back."""

from __future__ import annotations

from typing import Final

from medic.access.references import FORM
from medic.access.secrets import ShownSecret
from medic.core.units import isoformat
from medic.http.answers import Answer, JsonObject, JsonValue, success
from medic.http.bodies import read_body
from medic.http.call import Call
from medic.http.parts import ApiParts
from medic.http.secret_bodies import SecretBody

STORED: Final = f"Secret stored. {FORM} stands for it in tokens and in headers of webhooks."
REPLACED: Final = "Secret replaced: the next request is made with it."
DELETED: Final = "Secret deleted."

READABLE: Final = "readable"
UNKNOWN_KEY: Final = "unknown_key"


async def put_secret(parts: ApiParts, call: Call) -> Answer:
    """Store a secret, or replace it."""
    body = read_body(SecretBody, call.body)
    secret, is_new = await parts.secrets.put(body.name, body.value, author=call.author)
    return success(201 if is_new else 200, STORED if is_new else REPLACED, _shown(secret))


async def list_secrets(parts: ApiParts, call: Call) -> Answer:  # noqa: ARG001 - one signature for all views
    """All secrets, without their values."""
    secrets = await parts.secrets.all()
    shown: list[JsonValue] = [_shown(secret) for secret in secrets]
    return success(200, "", shown, total_count=len(shown))


async def delete_secret(parts: ApiParts, call: Call) -> Answer:
    """Delete a secret that nothing refers to, or any by force."""
    name = call.text("secret_name")
    if not call.flag("force"):
        await parts.secrets.require_unused(name)
    await parts.secrets.delete(name, author=call.author)
    return success(200, DELETED, "")


def _shown(shown: ShownSecret) -> JsonObject:
    secret = shown.secret
    return {
        "name": secret.name,
        "key_id": secret.sealed.key_id,
        "state": READABLE if shown.is_readable else UNKNOWN_KEY,
        "used_by": list(shown.used_by),
        "date_added": isoformat(secret.date_added),
        "date_modified": isoformat(secret.date_modified),
        "modified_by": secret.modified_by or None,
    }
