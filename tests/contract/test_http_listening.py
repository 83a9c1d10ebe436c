"""Sockets: bound before anything is started, and each fault one sentence that says what to do."""

from __future__ import annotations

import errno
import os
import resource
import socket

import httpx
import pytest
import trio

from medic.errors import ConfigurationError, PassingError
from medic.http import limits
from medic.http.application import create_app
from medic.http.listening import bind_sockets, connections_allowed, listen
from medic.http.serving import HttpServer
from tests.fakes.http_parts import ApiWorld
from tests.patience import PATIENCE_SECONDS


def test_a_taken_port_is_one_sentence_that_says_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PassingError) as refused:
            bind_sockets([("127.0.0.1", 0), ("127.0.0.1", port)])
    [fault] = refused.value.faults
    assert fault.field == f"127.0.0.1:{port}"
    assert fault.message == "another program listens there. Stop it, or set PORT to a free port."


@pytest.mark.parametrize(("host", "part"), [("192.0.2.1", "MEDIC_HOST"), ("no-such-host.invalid", "MEDIC_HOST")])
def test_an_address_that_is_not_ours_is_named(host: str, part: str) -> None:
    # A network that comes up later than Medic has it then.
    with pytest.raises(PassingError, match=part):
        bind_sockets([(host, 0)])


@pytest.mark.parametrize(
    ("number", "part"), [(errno.EACCES, "1024 or more"), (errno.ENOBUFS, "cannot be listened on: No buffer space")]
)
def test_whatever_else_the_system_refuses_is_named(monkeypatch: pytest.MonkeyPatch, number: int, part: str) -> None:
    def refuse(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("medic.http.listening.socket.socket.bind", refuse, raising=False)
    with pytest.raises(ConfigurationError, match=part) as refused:
        bind_sockets([("127.0.0.1", 80)])
    assert isinstance(refused.value, PassingError) is (number != errno.EACCES)


def test_two_colons_take_ipv4_as_well() -> None:
    [bound] = bind_sockets([("::", 0)])
    with bound:
        listen([bound])
        socket.create_connection(("127.0.0.1", bound.getsockname()[1])).close()


def test_a_port_that_was_taken_between_binding_and_listening_is_named() -> None:
    [ours] = bind_sockets([("127.0.0.1", 0)])
    with ours, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(ours.getsockname())
        other.listen()
        with pytest.raises(ConfigurationError, match="another program"):
            listen([ours])


async def test_ipv6_is_served_as_well() -> None:
    world = ApiWorld()
    bound = bind_sockets([("::1", 0)])
    drain = trio.Event()
    async with trio.open_nursery() as nursery:
        server = HttpServer(world.parts, create_app(world.parts), when_durable=world.journal.call_when_durable)
        await nursery.start(_serve, server, bound, drain)
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
            answer = await http.get(f"http://[::1]:{bound[0].getsockname()[1]}/health/live")
        assert answer.status_code == 200
        drain.set()


async def _serve(
    server: HttpServer, bound: list[socket.socket], drain: trio.Event, *, task_status: trio.TaskStatus[None]
) -> None:
    await server.serve(bound, drain=drain, drain_seconds=5, task_status=task_status)


def test_limits_leave_room_for_the_load_balancers_time() -> None:
    assert limits.KEEP_ALIVE_SECONDS > 60


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "allowed"),
    [
        (1_024, 524_288, 10_256, 10_000),
        (1_024, 4_096, 4_096, 3_840),
        (1_024, resource.RLIM_INFINITY, 10_256, 10_000),
        (100, 100, 100, 1),
        (65_536, 65_536, None, 10_000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, 10_000),
    ],
)
def test_the_systems_limit_on_files_is_raised_and_kept(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int | None, allowed: int
) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits))
    assert connections_allowed() == allowed
    assert set_to == ([] if raised is None else [(raised, hard)])
