"""`/v2/webhooks`: targets of plain JSON webhooks."""

from __future__ import annotations

from medic.access.references import names_in
from medic.errors import Fault, InvalidInputError, UnknownWebhookError
from medic.http.answers import Answer, success
from medic.http.bodies import RotateWebhookBody, WebhookBody, read_body
from medic.http.call import Call
from medic.http.cursor import ID_MAX
from medic.http.parts import ApiParts
from medic.http.shown import new_webhook_json, webhook_json


async def create_webhook(parts: ApiParts, call: Call) -> Answer:
    """Create a webhook; it is told what happens from now on."""
    body = read_body(WebhookBody, call.body)
    if names_in(body.url):
        raise InvalidInputError((Fault("url", "must not refer to secrets: addresses are shown. Put it into a header"),))
    objection = await parts.guard.objection(body.url)
    if objection is not None:
        raise InvalidInputError((Fault("url", objection),))
    parts.secrets.require_known("headers", [text for _, text in body.headers])
    name = body.heartbeat_name
    if name is not None:
        service = parts.roster.find(name)
        if service is None:
            raise InvalidInputError((Fault("heartbeat_name", f"must be registered: {name} is not"),))
        name = service.row.heartbeat_name
    webhook = await parts.webhooks.create(url=body.url, heartbeat_name=name, headers=body.headers, by=call.author)
    return success(201, "Webhook created.", new_webhook_json(webhook))


async def list_webhooks(parts: ApiParts, call: Call) -> Answer:  # noqa: ARG001 - one signature for all views
    """All webhooks."""
    webhooks = await parts.webhooks.all()
    return success(200, "", [webhook_json(webhook) for webhook in webhooks], total_count=len(webhooks))


async def rotate_webhook(parts: ApiParts, call: Call) -> Answer:
    """Give a webhook a new secret; the one before signs as well for a while."""
    body = read_body(RotateWebhookBody, call.body) if call.body.strip() else RotateWebhookBody()
    webhook = await parts.webhooks.rotate(_webhook_id(call), overlap=body.overlap_hours, by=call.author)
    return success(200, "Webhook secret rotated.", new_webhook_json(webhook))


async def delete_webhook(parts: ApiParts, call: Call) -> Answer:
    """Delete a webhook; what waits for it is dropped."""
    await parts.webhooks.delete(_webhook_id(call), by=call.author)
    return success(200, "Webhook deleted.", "")


def _webhook_id(call: Call) -> int:
    webhook_id = call.number("webhook_id")
    if webhook_id > ID_MAX:
        raise UnknownWebhookError(webhook_id)
    return webhook_id
