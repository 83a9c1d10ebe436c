"""How the doctor asks over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import orjson

from medic.alerting.outbound import outbound_client
from medic.http.answers import JsonObject, JsonValue

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Said:
    """The JSON object that was answered, without fields where it was something else, and the headers beside it."""

    fields: JsonObject = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


async def ask(method: str, url: str, headers: Mapping[str, str] = NO_HEADERS) -> Said:
    """What is answered there. Raises what httpx does."""
    async with outbound_client() as client:
        answer = await client.request(method, url, headers=dict(headers))
    try:
        said: JsonValue = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        said = None
    return Said(said if isinstance(said, dict) else {}, dict(answer.headers))
