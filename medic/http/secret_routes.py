"""The routes of stored secrets."""

from __future__ import annotations

from typing import Final

from medic.access.scope import Scope
from medic.http import secrets, shapes
from medic.http.route import Parameter, Route, Told
from medic.http.secret_bodies import SecretBody
from medic.http.secret_shapes import SecretShape

AWAY: Final = Told(
    "MEDIC_SECRETS_KEY is not set (the message says how one is made), or PostgreSQL does not answer.", shapes.Refusal
)

SECRETS: Final = (
    Route(
        "POST",
        "/v2/secrets",
        secrets.put_secret,
        "Secrets",
        "Store or replace a secret",
        {
            201: Told("Stored.", shapes.Envelope[SecretShape]),
            200: Told("Replaced: the next request is made with it.", shapes.Envelope[SecretShape]),
            503: AWAY,
        },
        "`${secrets.NAME}` stands for it in SLACK_API_TOKEN, in PAGERDUTY_ROUTING_KEY and in headers of webhooks.",
        body=SecretBody,
        actor=True,
        scope=Scope.ADMIN,
    ),
    Route(
        "GET",
        "/v2/secrets",
        secrets.list_secrets,
        "Secrets",
        "List secrets",
        {200: Told("Secrets by name, without their values.", shapes.Counted[SecretShape]), 503: AWAY},
        scope=Scope.ADMIN,
    ),
    Route(
        "DELETE",
        "/v2/secrets/{secret_name}",
        secrets.delete_secret,
        "Secrets",
        "Delete a secret",
        {
            200: Told("Deleted."),
            404: Told("There is no such secret.", shapes.Refusal),
            409: Told("Something refers to it, and `force=1` does not stand there.", shapes.Refusal),
            503: AWAY,
        },
        query=(Parameter("force", "flag", "1: delete it though something refers to it."),),
        actor=True,
        scope=Scope.ADMIN,
    ),
)
