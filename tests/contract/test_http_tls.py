"""TLS: HTTP/1.1 through the lane, HTTP/2 by Hypercorn, and certificates that are not what they should be."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trio.testing
import trustme

from medic.errors import ConfigurationError
from medic.http import stream_lane
from medic.http.tls import server_context
from tests.actors.world import until
from tests.contract.served import HEARTBEAT, Served, get, post, serve, status_of
from tests.patience import NEVER_SECONDS

Stream = trio.SSLStream[trio.SocketStream]


class Files:
    """A certificate for this machine in two files, and whoever trusts it."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        self.chain, self.key, self.other_key = folder / "chain.pem", folder / "key.pem", folder / "other.pem"
        self.chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.other_key.write_bytes(authority.issue_cert("localhost").private_key_pem.bytes())
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def served(files: Files) -> AsyncIterator[Served]:
    async with serve(tls=server_context(files.chain, files.key)) as opened:
        yield opened


async def connect(served: Served, files: Files, *protocols: str) -> Stream:
    files.client.set_alpn_protocols(list(protocols or ("http/1.1",)))
    stream = trio.SSLStream(await served.connect(), files.client, server_hostname="localhost", https_compatible=True)
    await stream.do_handshake()
    return stream


async def read_all(stream: Stream) -> bytes:
    answer = b""
    while piece := await stream.receive_some():
        answer += piece
    return answer


async def test_http_1_1_goes_through_the_lane(served: Served, files: Files) -> None:
    async with await connect(served, files) as stream:
        await stream.send_all(post("/heartbeat", HEARTBEAT) + post("/heartbeat", b"{", "Connection: close"))
        answer = await read_all(stream)
    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [201, 400]
    assert served.world.meter.statistics().requests == {("POST", "/heartbeat", 201): 1, ("POST", "/heartbeat", 400): 1}


async def test_what_is_not_hot_is_passed_on_behind_the_answers_before_it(served: Served, files: Files) -> None:
    async with await connect(served, files) as stream:
        await stream.send_all(post("/heartbeat", HEARTBEAT) + get("/health/live", "Connection: close"))
        answer = await read_all(stream)
    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [201, 200]


async def test_http_2_is_agreed_on_and_served(served: Served, files: Files) -> None:
    async with await connect(served, files, "h2", "http/1.1") as stream:
        assert stream.selected_alpn_protocol() == "h2"
        client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        client.initiate_connection()
        client.send_headers(
            1, [(":method", "POST"), (":path", "/heartbeat"), (":scheme", "https"), (":authority", "localhost")]
        )
        client.send_data(1, HEARTBEAT, end_stream=True)
        await stream.send_all(client.data_to_send())
        status = None
        while status is None:
            for event in client.receive_data(bytes(await stream.receive_some())):
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers)[":status"]
        assert status == "201"


async def test_a_body_in_two_pieces_is_waited_for_and_one_that_stops_is_a_408(
    served: Served, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = post("/heartbeat", HEARTBEAT)
    async with await connect(served, files) as stream:
        await stream.send_all(whole[:-3])
        await trio.testing.wait_all_tasks_blocked(0.01)
        await stream.send_all(whole[-3:])
        assert status_of(bytes(await stream.receive_some())) == 201
        monkeypatch.setattr(stream_lane, "REQUEST_SECONDS_MAX", 0.05)
        await stream.send_all(whole[:-3])
        assert status_of(await read_all(stream)) == 408


@pytest.mark.parametrize("begun", [b"", post("/heartbeat", HEARTBEAT), post("/heartbeat", HEARTBEAT) + b"POST /hea"])
async def test_a_silent_connection_is_closed(files: Files, mock_clock: trio.testing.MockClock, begun: bytes) -> None:
    async with serve(tls=server_context(files.chain, files.key), patience=NEVER_SECONDS) as served:
        async with await connect(served, files) as stream:
            if begun:
                await stream.send_all(begun)
            await trio.testing.wait_all_tasks_blocked(0.01)
            mock_clock.jump(stream_lane.KEEP_ALIVE_SECONDS + stream_lane.REQUEST_SECONDS_MAX)
            assert (await read_all(stream)).count(b"HTTP/1.1 201") == begun.count(HEARTBEAT)
        mock_clock.rate = 1.0
        await until(lambda: served.server.statistics().open == 0)


async def test_a_client_that_speaks_no_tls_and_one_that_leaves_upset_nobody(served: Served, files: Files) -> None:
    assert b"HTTP" not in await served.exchange(get("/health/live"))
    stream = await connect(served, files)
    await stream.send_all(post("/heartbeat", HEARTBEAT)[:-1])
    await stream.transport_stream.aclose()
    await until(lambda: served.server.statistics().open == 0)
    assert served.server.statistics().crashed == 0


async def test_a_fault_of_ours_ends_one_connection(
    served: Served, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(stream_lane, "address_of", crash)
    async with await connect(served, files) as stream:
        await stream.send_all(post("/heartbeat", HEARTBEAT))
        assert await read_all(stream) == b""
    assert served.server.statistics().crashed == 1


async def test_a_drain_answers_what_was_begun_and_closes_what_is_idle(served: Served, files: Files) -> None:
    served.world.journal.hold()
    idle, begun = await connect(served, files), await connect(served, files)
    await begun.send_all(post("/heartbeat", HEARTBEAT))
    await until(lambda: served.world.directory.find("job").heartbeats_total == 1)
    served.drain.set()
    assert await read_all(idle) == b""
    served.world.journal.release()
    answer = await read_all(begun)
    assert status_of(answer) == 201
    assert b"connection: close" in answer
    await served.ended.wait()
    for stream in (idle, begun):
        await trio.aclose_forcefully(stream)


async def test_a_connection_too_many_is_closed_where_all_others_are_being_worked_on(files: Files) -> None:
    async with serve(tls=server_context(files.chain, files.key), connections_max=1) as served:
        async with await connect(served, files) as busy:
            served.world.journal.hold()
            await busy.send_all(post("/heartbeat", HEARTBEAT))
            await until(lambda: served.world.directory.find("job").heartbeats_total == 1)
            assert await served.exchange(b"") == b""
            served.world.journal.release()
            assert status_of(bytes(await busy.receive_some())) == 201
        assert served.server.statistics().refused == 1


@pytest.mark.parametrize("begun", [b"", b"POST /hea", post("/heartbeat", HEARTBEAT)[:-1], None])
async def test_connections_that_wait_for_their_clients_give_way(files: Files, begun: bytes | None) -> None:
    async with serve(tls=server_context(files.chain, files.key), connections_max=3) as served:
        crowd = [await served.connect() if begun is None else await connect(served, files) for _ in range(3)]
        for stream in crowd:
            await stream.send_all(begun or b"")
        await until(lambda: served.server.statistics().open == 3)
        for _ in range(3):
            async with await connect(served, files) as stream:
                await stream.send_all(post("/heartbeat", HEARTBEAT))
                assert status_of(bytes(await stream.receive_some())) == 201
        found = served.server.statistics()
        assert found.gave_way > 0
        assert (found.refused, found.crashed) == (0, 0)
        for stream in crowd:
            await trio.aclose_forcefully(stream)


async def test_a_head_that_trickles_in_for_ever_ends_with_the_patience_for_it(
    files: Files, mock_clock: trio.testing.MockClock
) -> None:
    async with serve(tls=server_context(files.chain, files.key), patience=NEVER_SECONDS * 10) as served:
        stream, steps = await connect(served, files), 0
        await stream.send_all(b"POST /heartbeat HTTP/1.1\r\n")
        while served.server.statistics().open:
            await trio.testing.wait_all_tasks_blocked(0.01)
            mock_clock.jump(stream_lane.REQUEST_SECONDS_MAX * 0.7)
            steps += 1
            assert steps < 50, "each piece gave it new patience"
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(b"X: y\r\n")
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize(
    ("chain", "key", "field", "part"),
    [
        ("chain", "other_key", "MEDIC_TLS_KEY", "is not the key of the certificate in MEDIC_TLS_CERT"),
        ("key", "key", "MEDIC_TLS_CERT", "PEM files"),
        ("chain", "chain", "MEDIC_TLS_CERT", "PEM files"),
    ],
)
def test_files_that_do_not_belong_together_are_faults(
    files: Files, chain: str, key: str, field: str, part: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        server_context(getattr(files, chain), getattr(files, key))
    [fault] = refused.value.faults
    assert fault.field == field
    assert part in fault.message


def test_files_that_cannot_be_read_are_both_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        server_context(tmp_path / "none.pem", tmp_path)
    assert [fault.field for fault in refused.value.faults] == ["MEDIC_TLS_CERT", "MEDIC_TLS_KEY"]
