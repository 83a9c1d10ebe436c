"""`/v2/webhooks`: targets of plain JSON webhooks."""

from __future__ import annotations

from urllib.parse import urlsplit

from medic.errors import Fault, InvalidInputError, UnknownWebhookError
from medic.http.answers import Answer, success
from medic.http.bodies import WebhookBody, read_body
from medic.http.call import Call
from medic.http.cursor import ID_MAX
from medic.http.parts import ApiParts
from medic.http.shown import webhook_json


async def create_webhook(parts: ApiParts, call: Call) -> Answer:
    """Create a webhook; it is told what happens from now on."""
    body = read_body(WebhookBody, call.body)
    _require_allowed(body.url, parts.settings.webhook_hosts)
    name = body.heartbeat_name
    if name is not None:
        service = parts.roster.find(name)
        if service is None:
            raise InvalidInputError((Fault("heartbeat_name", f"must be registered: {name} is not"),))
        name = service.row.heartbeat_name
    webhook = await parts.webhooks.create(url=body.url, heartbeat_name=name, headers=body.headers, by=call.author)
    return success(201, "Webhook created.", webhook_json(webhook))


async def list_webhooks(parts: ApiParts, call: Call) -> Answer:  # noqa: ARG001 - one signature for all views
    """All webhooks."""
    webhooks = await parts.webhooks.all()
    return success(200, "", [webhook_json(webhook) for webhook in webhooks], total_count=len(webhooks))


async def delete_webhook(parts: ApiParts, call: Call) -> Answer:
    """Delete a webhook; what waits for it is dropped."""
    webhook_id = call.number("webhook_id")
    if webhook_id > ID_MAX:
        raise UnknownWebhookError(webhook_id)
    await parts.webhooks.delete(webhook_id, by=call.author)
    return success(200, "Webhook deleted.", "")


def _require_allowed(url: str, hosts: tuple[str, ...]) -> None:
    host = (urlsplit(url).hostname or "").lower()
    if hosts and host not in {allowed.lower() for allowed in hosts}:
        raise InvalidInputError((Fault("url", f"must name a host of MEDIC_ALLOWED_WEBHOOK_HOSTS, {host} is none"),))
