"""The load's own client against a Medic whose answers get lost."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from bench import load

ANSWERS = (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
"""The first registration is done and its answer lost; the second finds it done."""


async def test_a_registration_whose_answer_was_lost_is_still_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "RETRY_SECONDS_DEFAULT", 0.0)
    left = list(ANSWERS)

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(left.pop(0))

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        plan = load.Plan(f"http://127.0.0.1:{port}", services=1, rate=1, seconds=1)
        made: list[str] = []
        await load.register(plan, made)
        nursery.cancel_scope.cancel()
    assert left == []
    assert made == list(plan.names())
