"""Bodies that are not whole, on real sockets: all together keep no more than their budget, whichever way they came."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from medic.http import requests
from medic.http.body_budget import BodyBudget
from medic.http.limits import BODY_SMALL_BYTES
from tests.actors.world import until
from tests.contract.served import HEARTBEAT, Served, post, read_answer, serve, status_of

BULK = b"[" + b",".join([HEARTBEAT] * 2_000) + b"]" + b" " * (3 * BODY_SMALL_BYTES)
"""Larger than a small body; two of them are more than `ROOM`."""

ROOM = 3 * len(BULK) // 2
RESERVE = BODY_SMALL_BYTES


async def hold(served: Served, bodies: BodyBudget, *headers: str) -> trio.SocketStream:
    """A connection whose bulk lacks its last byte, once all the rest is kept."""
    stream = await served.connect()
    before = bodies.held
    await stream.send_all(post("/v2/heartbeats", BULK, *headers)[:-1])
    await until(lambda: bodies.held == before + len(BULK) - 1)
    return stream


@pytest.fixture
def bodies() -> BodyBudget:
    return BodyBudget(ROOM + RESERVE, reserve=RESERVE)


@pytest.fixture(params=[False, True], ids=["lane", "quart"])
async def served(bodies: BodyBudget, request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    async with serve(bodies=bodies, by_quart=request.param) as opened:
        yield opened


async def test_a_body_for_which_there_is_no_room_is_a_503_and_not_kept(served: Served, bodies: BodyBudget) -> None:
    async with await hold(served, bodies) as first, await served.connect() as second:
        await second.send_all(post("/v2/heartbeats", BULK))
        answer = await read_answer(second)
        assert status_of(answer) == 503
        assert b"retry-after: 5" in answer.lower()
        assert bodies.held == len(BULK) - 1
        assert served.world.meter.statistics().heartbeats_refused == {"unavailable": 1}

        await second.send_all(post("/heartbeat", HEARTBEAT))
        assert status_of(await read_answer(second)) == 201

        await first.send_all(BULK[-1:])
        assert status_of(await read_answer(first)) == 201
        await second.send_all(post("/v2/heartbeats", BULK))
        assert status_of(await read_answer(second)) == 201
    await until(lambda: bodies.held == 0)


async def test_a_client_that_leaves_gives_back_what_it_held(served: Served, bodies: BodyBudget) -> None:
    for _ in range(3):
        stream = await hold(served, bodies)
        await stream.aclose()
        await until(lambda: bodies.held == 0)


async def test_a_body_is_not_kept_of_whom_shows_no_key(
    served: Served, bodies: BodyBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "LINGER_SECONDS", 0.05)
    served.world.ask_for_keys()
    async with await served.connect() as stream:
        await stream.send_all(post("/v2/heartbeats", BULK)[:-1])
        assert status_of(await read_answer(stream)) == 401
        assert bodies.held == 0
