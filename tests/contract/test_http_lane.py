"""The express lane on loopback: order, hand-over, clients that are slow, leave or send nonsense, and its drain."""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import ExitStack
from ipaddress import ip_network

import pytest
import trio
import trio.testing

from medic.access.caller import Caller
from medic.errors import ActorBusyError
from medic.http import door, express_lane
from medic.http.lane_connection import LaneConnection
from medic.http.parts import ApiSettings
from tests.actors.world import until
from tests.contract.served import HEARTBEAT, Served, get, post, read_all, read_answer, receive, serve, status_of
from tests.patience import PATIENCE_SECONDS

CHUNKED = b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"


def beats(served: Served) -> int:
    return served.world.directory.find("job").heartbeats_total


def hot_requests(served: Served) -> int:
    return served.server.statistics().hot_requests


async def read_statuses(stream: trio.SocketStream, count: int) -> list[int]:
    """The statuses of the next answers. Only refusals and 201 are read so: their bodies hold no status line."""
    received = b""
    while received.count(b'"results":""') < count:
        received += await receive(stream)
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


# ------------------------------------------------------------------------------------------------------ plain requests


async def test_a_heartbeat_is_taken_by_the_lane_and_looks_as_through_quart() -> None:
    async with serve() as served, serve(by_quart=True) as slow:
        answers = []
        for way in (served, slow):
            async with await way.connect() as stream:
                for body in (HEARTBEAT, b"{", b'{"heartbeat_name":"typo","status":"UP"}'):
                    await stream.send_all(post("/heartbeat", body))
                    head, _, text = (await read_answer(stream)).partition(b"\r\n\r\n")
                    lines = {line.split(b":")[0] for line in head.split(b"\r\n")[1:]} - {b"x-request-id"}
                    answers.append((status_of(head), lines, text))
        assert answers[:3] == answers[3:]
        assert (hot_requests(served), hot_requests(slow)) == (3, 0)


async def test_a_date_is_told_and_is_the_clocks() -> None:
    async with serve() as served:
        answer = await served.exchange(post("/heartbeat", HEARTBEAT, "Connection: close"))
        assert b"date: Thu, 01 Jan 2026 " in answer or b"date: " in answer
        assert b"connection: close" in answer


async def test_a_request_that_comes_byte_by_byte_is_taken_once() -> None:
    async with serve() as served, await served.connect() as stream:
        for byte in post("/heartbeat", HEARTBEAT):
            await stream.send_all(bytes([byte]))
            await trio.lowlevel.checkpoint()
        assert status_of(await read_answer(stream)) == 201
        assert beats(served) == hot_requests(served) == 1


@pytest.mark.parametrize("request_bytes", [
    post("/heartbeat", HEARTBEAT, version="1.0"),
    post("/heartbeat", HEARTBEAT, "Connection: close"),
    post("/heartbeat", HEARTBEAT, "Connection: close") + post("/heartbeat", HEARTBEAT),
    post("/heartbeat", b"{", "Connection: close"),
])  # fmt: skip
async def test_a_connection_ends_behind_the_answer_that_was_to_be_its_last(request_bytes: bytes) -> None:
    async with serve() as served:
        answer = await served.exchange(request_bytes)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"connection: close" in answer
        assert served.server.statistics().open == 0


async def test_a_client_that_has_sent_enough_is_asked_to_come_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(express_lane, "KEEP_ALIVE_REQUESTS_MAX", 2)
    async with serve() as served:
        answer = await served.exchange(post("/heartbeat", HEARTBEAT) * 5)
        assert answer.count(b"HTTP/1.1 201") == 2
        assert answer.count(b"connection: close") == 1


async def test_requests_and_refusals_are_counted_as_quart_counts_them() -> None:
    async with serve() as served, await served.connect() as stream:
        await stream.send_all(post("/heartbeat", HEARTBEAT) * 3 + post("/heartbeat", b"{"))
        assert await read_statuses(stream, 4) == [201, 201, 201, 400]
        counted = served.world.meter.statistics()
        assert counted.requests == {("POST", "/heartbeat", 201): 3, ("POST", "/heartbeat", 400): 1}
        assert counted.durations["POST", "/heartbeat"].count == 4
        assert counted.heartbeats_refused == {"invalid": 1}


def but_its_date(answer: bytes) -> list[bytes]:
    return [line for line in answer.split(b"\r\n") if not line.lower().startswith(b"date:")]


async def test_a_heartbeat_in_one_line_is_answered_to_head_without_a_body() -> None:
    async with serve() as served:
        request = get("/heartbeat/job?status=COMPLETED", "Connection: close")
        whole, bare = await served.exchange(request), await served.exchange(request.replace(b"GET", b"HEAD"))
        assert but_its_date(bare) == but_its_date(whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        assert (beats(served), hot_requests(served)) == (2, 2)
        assert served.world.meter.statistics().requests == {
            ("GET", "/heartbeat/{heartbeat_name}", 201): 1,
            ("HEAD", "/heartbeat/{heartbeat_name}", 201): 1,
        }


async def test_whom_a_trusted_proxy_names_is_the_caller() -> None:
    trusting = ApiSettings(trusted_proxies=(ip_network("127.0.0.0/8"),))
    others = ApiSettings(trusted_proxies=(ip_network("203.0.113.0/24"),))
    for settings, caller in ((trusting, "192.0.2.9"), (others, "127.0.0.1")):
        async with serve(settings=settings) as served:
            unknown = post("/heartbeat", b'{"heartbeat_name":"typo","status":"UP"}', "X-Forwarded-For: 192.0.2.9")
            async with await served.connect() as stream:
                await stream.send_all(unknown)
                assert status_of(await read_answer(stream)) == 404
            [refused] = served.world.parts.refused.names()
            assert refused.address == caller


# ---------------------------------------------------------------------------------------------------------- pipelining


async def test_what_takes_a_task_of_its_own_keeps_its_place() -> None:
    async with serve() as served, await served.connect() as stream:
        bulk = post("/v2/heartbeats", b"[" + HEARTBEAT + b"]")
        await stream.send_all(post("/heartbeat", HEARTBEAT) + bulk + post("/heartbeat", b"{") + bulk + get("/nowhere"))
        received = b""
        while received.count(b'"success"') < 5:
            received += await receive(stream)
        assert [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]] == [201, 201, 400, 201, 404]


async def test_a_client_may_leave_while_a_task_answers_it() -> None:
    async with serve() as served:
        served.world.journal.hold()
        async with await served.connect() as stream:
            await stream.send_all(post("/v2/heartbeats", b"[" + HEARTBEAT + b"]"))
            await until(lambda: beats(served) == 1)
        served.world.journal.release()
        await until(lambda: served.server.statistics().open == 0)
        assert served.world.meter.statistics().requests == {("POST", "/v2/heartbeats", 201): 1}


async def test_pipelined_requests_are_answered_in_order_whoever_answers_them() -> None:
    async with serve() as served, await served.connect() as stream:
        chunked = CHUNKED % (len(HEARTBEAT), HEARTBEAT)
        await stream.send_all(
            post("/heartbeat", HEARTBEAT)
            + post("/heartbeat", b"{")
            + get("/nowhere")
            + chunked
            + post("/heartbeat", b"[")
        )
        assert await read_statuses(stream, 5) == [201, 400, 404, 201, 400]
        assert (hot_requests(served), served.server.statistics().passed_on) == (2, 1)


async def test_a_refusal_behind_a_heartbeat_waits_for_its_commit() -> None:
    async with serve() as served, await served.connect() as stream:
        served.world.journal.hold()
        await stream.send_all(post("/heartbeat", HEARTBEAT) + post("/heartbeat", b"{") + get("/nowhere"))
        await until(lambda: served.world.meter.statistics().heartbeats_refused == {"invalid": 1})
        with trio.move_on_after(0.05) as waited:
            await stream.receive_some()
        assert waited.cancelled_caught, "nothing is answered before the first"
        served.world.journal.release()
        assert await read_statuses(stream, 3) == [201, 400, 404]


async def test_a_long_pipeline_is_read_no_further_than_its_bound() -> None:
    async with serve() as served, await served.connect() as stream:
        served.world.journal.hold()
        await stream.send_all(post("/heartbeat", HEARTBEAT) * 200)
        await until(lambda: beats(served) == express_lane.LANE_UNANSWERED_MAX)
        served.world.journal.release()
        assert await read_statuses(stream, 200) == [201] * 200
        assert beats(served) == 200


async def test_answers_leave_while_the_client_goes_on_sending() -> None:
    async with serve() as served, await served.connect() as stream:
        served.world.journal.hold()
        await stream.send_all(post("/heartbeat", HEARTBEAT))
        await until(lambda: beats(served) == 1)
        first = served.world.journal.newest
        await stream.send_all(post("/heartbeat", HEARTBEAT))
        await until(lambda: beats(served) == 2)
        served.world.journal.release_to(first)
        assert status_of(await read_answer(stream)) == 201
        served.world.journal.release()
        assert status_of(await read_answer(stream)) == 201


async def test_a_journal_that_refuses_meanwhile_makes_503_of_what_waits() -> None:
    async with serve() as served, await served.connect() as stream:
        served.world.journal.hold()
        await stream.send_all(post("/heartbeat", HEARTBEAT) * 2)
        await until(lambda: beats(served) == 2)
        served.world.journal.refuse("The disk is gone.")
        assert await read_statuses(stream, 2) == [503, 503]
        assert served.world.meter.statistics().heartbeats_refused == {"unavailable": 2}
        served.world.journal.take_again()


async def test_a_heartbeat_of_a_service_that_is_being_rebuilt_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as served, await served.connect() as stream:
        take_nowait, asked = served.world.intake.take_nowait, 0

        def busy_at_second(beat: object) -> object:
            nonlocal asked
            asked += 1
            if asked in {2, 3}:
                raise ActorBusyError("The service is being restored.")
            return take_nowait(beat)

        monkeypatch.setattr(served.world.intake, "take_nowait", busy_at_second)
        await stream.send_all(post("/heartbeat", HEARTBEAT) * 3)
        assert await read_statuses(stream, 3) == [201, 201, 201]
        assert beats(served) == 3


async def test_between_two_slices_every_other_task_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(express_lane, "LANE_SLICE_REQUESTS", 2)
    async with serve() as served:
        with ExitStack() as closing:
            clients = [closing.enter_context(socket.create_connection(("127.0.0.1", served.port))) for _ in range(7)]
            await until(lambda: served.server.statistics().open == 7)
            for client in clients:  # without letting the loop turn
                client.sendall(post("/heartbeat", HEARTBEAT))
            ran = 0
            while beats(served) < 7:
                await trio.lowlevel.checkpoint()
                ran += 1
        assert ran >= 3, "seven requests are four slices"


# ----------------------------------------------------------------------------------------------- clients of every kind


async def test_a_client_that_shut_its_side_down_is_answered() -> None:
    async with serve() as served:
        served.world.journal.hold()
        async with await served.connect() as stream:
            await stream.send_all(post("/heartbeat", HEARTBEAT))
            await stream.send_eof()
            await until(lambda: beats(served) == 1)
            await trio.testing.wait_all_tasks_blocked(0.01)
            served.world.journal.release()
            assert status_of(await read_all(stream)) == 201
        assert served.server.statistics().open == 0


async def test_what_was_only_begun_when_a_client_shuts_down_is_hypercorns_to_judge() -> None:
    async with serve() as served, serve(by_quart=True) as slow:
        for begun in (
            b"POST /heartb",
            post("/heartbeat", HEARTBEAT)[:-3],
            post("/heartbeat", HEARTBEAT) + b"POST /hea",
        ):
            answers = []
            for way in (served, slow):
                async with await way.connect() as stream:
                    await stream.send_all(begun)
                    await stream.send_eof()
                    answers.append([part[:3] for part in (await read_all(stream)).split(b"HTTP/1.1 ")[1:]])
            assert answers[0][-1:] == answers[1][-1:], begun


async def test_a_client_that_resets_its_connection_costs_nothing_and_what_was_taken_stays_taken() -> None:
    async with serve() as served:
        served.world.journal.hold()
        for request in (post("/heartbeat", HEARTBEAT), b"POST /hea", b""):
            stream = await served.connect()
            await stream.send_all(request) if request else None
            if request.endswith(HEARTBEAT):
                await until(lambda: beats(served) == 1)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await stream.aclose()
        await until(lambda: served.server.statistics().open == 0)
        served.world.journal.release()
        assert beats(served) == 1
        assert served.server.statistics().crashed == 0
        assert status_of(await served.exchange(post("/heartbeat", HEARTBEAT, "Connection: close"))) == 201


async def test_a_head_that_does_not_come_in_time_is_a_400_and_a_body_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(express_lane, "REQUEST_SECONDS_MAX", 0.1)
    monkeypatch.setattr(express_lane, "LANE_LOOK_SECONDS", 0.05)
    async with serve() as served:
        answer = await served.exchange(b"POST /heartbeat HT")
        assert status_of(answer) == 400
        assert b"connection: close" in answer
        answer = await served.exchange(post("/heartbeat", HEARTBEAT)[:-1])
        assert status_of(answer) == 408
        assert b"connection: close" in answer
        assert served.world.meter.statistics().requests == {("POST", "/heartbeat", 408): 1}


async def test_a_pipeline_that_arrives_in_odd_pieces_has_time_for_each_request(
    mock_clock: trio.testing.MockClock,
) -> None:
    request = post("/heartbeat", HEARTBEAT)
    begun, rest = request[:-5], request[-5:]
    async with serve(patience=1_000.0) as served, await served.connect() as stream:
        await stream.send_all(begun)
        for _ in range(3):
            mock_clock.jump(express_lane.REQUEST_SECONDS_MAX * 0.7)
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(rest + begun)
            assert status_of(await read_answer(stream)) == 201


async def test_a_heartbeat_that_waits_for_its_commit_outlives_every_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(express_lane, "REQUEST_SECONDS_MAX", 0.01)
    monkeypatch.setattr(express_lane, "LANE_LOOK_SECONDS", 0.01)
    async with serve() as served, await served.connect() as stream:
        served.world.journal.hold()
        await stream.send_all(post("/heartbeat", HEARTBEAT))
        with trio.move_on_after(0.1) as waited:
            await stream.receive_some()
        assert waited.cancelled_caught
        served.world.journal.release()
        assert status_of(await read_answer(stream)) == 201


async def test_a_client_that_does_not_read_its_answers_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(express_lane, "WRITE_SECONDS_MAX", 0.2)
    monkeypatch.setattr(express_lane, "LANE_LOOK_SECONDS", 0.05)
    async with serve(send_buffer=4_096) as served, await served.connect() as stream:
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(post("/heartbeat", b"{") * 100_000)
        await until(lambda: served.server.statistics().open == 0)
        assert served.server.statistics().crashed == 0


async def test_a_client_that_reads_late_gets_all_its_answers() -> None:
    count = 5_000
    async with serve(send_buffer=4_096) as served, await served.connect() as stream:
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await stream.send_all(post("/heartbeat", b"{") * count)
                await stream.send_eof()

            nursery.start_soon(send)
            await until(lambda: hot_requests(served) > 0)
            answers = await read_all(stream)
        assert answers.count(b"HTTP/1.1 400") == count
        assert served.world.meter.statistics().requests == {("POST", "/heartbeat", 400): count}


async def test_a_fault_of_ours_ends_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as served, await served.connect() as other:
        await other.send_all(post("/heartbeat", HEARTBEAT))
        await read_answer(other)
        monkeypatch.setattr(express_lane, "read_heartbeat", lambda *_, **__: 1 // 0)
        assert await served.exchange(post("/heartbeat", HEARTBEAT)) == b""
        assert served.server.statistics().crashed == 1
        monkeypatch.undo()
        await other.send_all(post("/heartbeat", HEARTBEAT))
        assert status_of(await read_answer(other)) == 201


async def test_a_fault_of_a_task_of_ours_ends_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as served:
        # Lets the answer's task fail, and nothing before it.
        monkeypatch.setattr("medic.http.named.answer_one", lambda *_: 1 // 0)
        assert await served.exchange(get("/heartbeat/job")) == b""
        assert (served.server.statistics().crashed, served.server.statistics().open) == (1, 0)


async def test_out_of_descriptors_it_waits_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "ACCEPT_PAUSE_SECONDS", 0.01)
    accept, failures = socket.socket.accept, [errno.EMFILE, errno.ECONNABORTED]

    def fail(listener: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            number = failures.pop(0)
            raise OSError(number, os.strerror(number))
        return accept(listener)

    async with serve() as served:
        monkeypatch.setattr(socket.socket, "accept", fail)
        assert status_of(await served.exchange(post("/heartbeat", HEARTBEAT, "Connection: close"))) == 201
        assert not failures


# --------------------------------------------------------------------------------------------------------------- drain


async def test_a_drain_answers_what_was_begun_and_closes_what_is_idle() -> None:
    async with serve() as served:
        served.world.journal.hold()
        async with await served.connect() as begun, await served.connect() as idle, await served.connect() as half:
            await begun.send_all(post("/heartbeat", HEARTBEAT))
            await half.send_all(post("/heartbeat", HEARTBEAT)[:-1])
            await until(lambda: beats(served) == 1)
            served.drain.set()
            assert await read_all(idle) == b""
            await half.send_all(HEARTBEAT[-1:])
            await until(lambda: beats(served) == 2)
            served.world.journal.release()
            for stream in (begun, half):
                answer = await read_all(stream)
                assert status_of(answer) == 201
                assert b"connection: close" in answer
            await served.ended.wait()


async def test_a_heartbeat_that_has_arrived_is_answered_although_the_drain_begins_with_it() -> None:
    async with serve() as served, await served.connect() as stream:
        await stream.send_all(post("/heartbeat", HEARTBEAT))
        served.drain.set()
        assert status_of(await read_all(stream)) == 201
        await served.ended.wait()


async def test_a_client_that_asks_again_at_once_is_told_that_the_connection_ends_and_meets_no_reset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(express_lane, "PARTING_SECONDS", PATIENCE_SECONDS)
    async with serve() as served, await served.connect() as stream:
        answers = 0
        while True:
            await stream.send_all(post("/heartbeat", HEARTBEAT))
            answer = await read_answer(stream)
            assert status_of(answer) == 201
            answers += 1
            if b"connection: close" in answer:
                break
            served.drain.set()
        assert answers >= 2
        assert await read_all(stream) == b""
        await served.ended.wait()


async def test_after_the_deadline_the_lane_cuts_what_is_left() -> None:
    async with serve(drain_seconds=0.1) as served, await served.connect() as stream:
        served.world.journal.hold()
        await stream.send_all(post("/heartbeat", HEARTBEAT))
        await until(lambda: beats(served) == 1)
        served.drain.set()
        assert await read_all(stream) == b""
        await served.ended.wait()
        served.world.journal.release()


async def test_a_send_that_the_kernel_takes_half_of_goes_on_when_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    send, short = socket.socket.send, 3

    def send_little(opened: socket.socket, piece: bytes) -> int:
        nonlocal short
        short -= 1
        if short == 1:
            raise BlockingIOError
        return send(opened, piece[:10] if short == 2 else piece)

    async with serve() as served, await served.connect() as stream:
        await stream.send_all(post("/heartbeat", HEARTBEAT))
        await read_answer(stream)
        await stream.send_all(post("/heartbeat", HEARTBEAT)[:-1])
        served.world.journal.hold()
        await stream.send_all(HEARTBEAT[-1:])
        await until(lambda: beats(served) == 2)
        monkeypatch.setattr(socket.socket, "send", send_little)
        served.world.journal.release()
        assert status_of(await read_answer(stream)) == 201
        assert short < 1


def test_a_connection_knows_when_it_is_idle() -> None:
    connection = LaneConnection(socket.socket(), Caller("192.0.2.1"))
    assert connection.is_idle
    connection.keep(b"POST", needs=5)
    assert connection.is_idle, "a head that is not whole is nobody's request yet"
    connection.outgoing += b"x"
    assert not connection.is_idle
    connection.socket.close()
