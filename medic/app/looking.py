"""How the outside watcher looks: what one address answers, and whether anything else can be reached.

A look asks for `/health/live`, which needs no key. Where nothing answers, the watcher looks whether it reaches anything
else: the vendors it would tell, or `MEDIC_WATCH_REFERENCES`. Nobody has to say anything for that: a connection, or the
refusal of one, will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import httpx
import orjson
import trio

from medic.alerting.outbound import ask, is_there, safe
from medic.config.settings import Settings
from medic.core.outside import Reply, Seen

ASK_SECONDS: Final = 5.0
"""How long one address may take to answer a question that costs it a millisecond."""

REFERENCE_SECONDS: Final = 3.0
"""How long the look for anything else that can be reached may take: a few round trips around the world."""

Reference = tuple[str, int]
"""Host and port of something that is nearly always there."""


async def seen_at(client: httpx.AsyncClient, address: str) -> Seen:
    """What one address answers when it is asked whether it lives."""
    with trio.move_on_after(ASK_SECONDS):
        try:
            answer = await ask(client, f"{address}/health/live")
        except httpx.HTTPError as error:
            return Seen(address, Reply.NONE, detail=_why(error))
        return judged(address, answer.status, answer.body)
    return Seen(address, Reply.NONE, detail=f"does not answer within {ASK_SECONDS:g} s")


def judged(address: str, status: int, body: bytes) -> Seen:
    """What an answer to `GET /health/live` says."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict) or "status" not in said:
        message = said.get("message") if isinstance(said, dict) else None
        detail = f"answers {status}" + (f": {safe(message)}" if isinstance(message, str) else ", and not as Medic does")
        return Seen(address, Reply.OTHER, detail=detail)
    if said["status"] == "alive" and status == 200:
        if said.get("role") == "standby":
            return Seen(address, Reply.STANDS_BY)
        # An earlier release says nothing of it; null is a progress that begins.
        progress = str(said["progress_at"]) if "progress_at" in said else ""
        return Seen(address, Reply.ACTIVE, progress=progress)
    if said["status"] == "stalled":
        return Seen(address, Reply.STALLED, detail=f"says that it has stalled: {safe(str(said.get('reason', '')))}")
    return Seen(address, Reply.OTHER, detail=f"answers {status}, and not as Medic does")


async def reaches_any(references: Sequence[Reference]) -> bool:
    """Whether one of them can be connected to, or refuses the connection. Without any it cannot be known: True."""
    if not references:
        return True
    reached = False

    async def reach(host: str, port: int) -> None:
        nonlocal reached
        if await is_there(host, port):
            reached = True
            nursery.cancel_scope.cancel()

    with trio.move_on_after(REFERENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            for host, port in references:
                nursery.start_soon(reach, host, port)
    return reached


def references(settings: Settings) -> tuple[Reference, ...]:
    """What is nearly always there: as the operator says, else the vendors that would be told."""
    if settings.watch.references:
        return settings.watch.references
    pagerduty, slack = settings.telling.pagerduty, settings.telling.slack
    urls = (pagerduty.events_url if pagerduty else "", slack.api_url if slack else "")
    return tuple(_place(url) for url in urls if url)


def _place(url: str) -> Reference:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _why(error: httpx.HTTPError) -> str:
    match error:
        case httpx.ConnectTimeout():
            return "does not take a connection in time"
        case httpx.TimeoutException():
            return f"does not answer within {ASK_SECONDS:g} s"
        case httpx.ConnectError():
            return "cannot be connected to"
        case _:
            return "ends the connection without an answer"
