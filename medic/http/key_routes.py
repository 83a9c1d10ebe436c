"""The routes of API keys."""

from __future__ import annotations

from typing import Final

from medic.access.scope import Scope
from medic.http import keys, shapes
from medic.http.key_bodies import KeyBody, RotationBody
from medic.http.route import Parameter, Route, Told
from medic.http.shared_answers import AWAY, CURSOR, LIMIT

NO_KEY: Final = Told("There is no such key that works.", shapes.Refusal)

KEYS: Final = (
    Route(
        "POST",
        "/v2/keys",
        keys.create_key,
        "API keys",
        "Make a key",
        {201: Told("Made; `key` is shown this once.", shapes.Envelope[shapes.NewKeyShape]), 503: AWAY},
        body=KeyBody,
        actor=True,
        scope=Scope.ADMIN,
    ),
    Route(
        "GET",
        "/v2/keys",
        keys.list_keys,
        "API keys",
        "List keys",
        {200: Told("Keys by name, without their secrets.", shapes.Counted[shapes.KeyShape])},
        scope=Scope.ADMIN,
    ),
    Route(
        "GET",
        "/v2/keys/coverage",
        keys.show_coverage,
        "API keys",
        "Which services are heard without a key",
        {200: Told("Services by name, heard without a key in the last 7 days.", shapes.Listing[shapes.KeylessShape])},
        query=(LIMIT, CURSOR),
        scope=Scope.ADMIN,
    ),
    Route(
        "POST",
        "/v2/keys/{key_id}/rotate",
        keys.rotate_key,
        "API keys",
        "Give a key its next secret",
        {
            200: Told("Rotated; `key` is shown this once.", shapes.Envelope[shapes.NewKeyShape]),
            404: NO_KEY,
            503: AWAY,
        },
        "The secret before works on for the overlap. A key that expires has its whole lifetime again.",
        body=RotationBody,
        body_optional=True,
        actor=True,
        scope=Scope.ADMIN,
    ),
    Route(
        "DELETE",
        "/v2/keys/{key_id}",
        keys.revoke_key,
        "API keys",
        "Revoke a key",
        {
            200: Told("Revoked: it works no more.", shapes.Envelope[shapes.KeyShape]),
            404: NO_KEY,
            409: Told("Nobody could make keys any more, and `force=1` does not stand there.", shapes.Refusal),
            503: AWAY,
        },
        query=(Parameter("force", "flag", "1: revoke it though it is the last one that can make others."),),
        actor=True,
        scope=Scope.ADMIN,
    ),
)
