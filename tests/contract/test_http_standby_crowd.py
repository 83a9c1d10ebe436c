"""A Medic that stands by among clients that hold connections: it needs its descriptors for the takeover."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from medic.core.units import InstantMs
from medic.http import standby
from medic.http.listening import bind_sockets
from medic.http.standby import ActiveMedic, create_standby_app, serve_standby
from tests.contract.served import get, read_all, status_of
from tests.patience import PATIENCE_SECONDS


async def test_connections_that_wait_give_way_to_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standby, "connections_allowed", lambda: 2)
    app = create_standby_app(active=lambda: ActiveMedic("", "", None), now=lambda: InstantMs(0), version="9.9.9")
    [bound] = bind_sockets([("127.0.0.1", 0)])
    port, over = bound.getsockname()[1], trio.Event()
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve_standby(app, [bound], tls=None, over=over))
            await trio.testing.wait_all_tasks_blocked()
            held = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(4)]
            for stream in held:
                await stream.send_all(b"GET /health/li")
            async with await trio.open_tcp_stream("127.0.0.1", port) as probe:
                await probe.send_all(get("/health/live", "Connection: close"))
                assert status_of(await read_all(probe)) == 200
            for stream in held:
                await trio.aclose_forcefully(stream)
            over.set()
