"""The guarded client over TLS: the address is connected to, the name is asked for and verified."""

from __future__ import annotations

import contextlib
import ssl
from functools import partial

import pytest
import trio
import trustme

from medic.alerting import outbound
from medic.alerting.attempt import Retry
from medic.alerting.guard import guarded_client
from medic.alerting.outbound import Answer, post
from tests.fakes.alerting import WallClock
from tests.fakes.names import Names, guard

CA = trustme.CA()
BODY = b"{}"


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own authority is one this machine trusts."""
    context = ssl.create_default_context()
    CA.configure_trust(context)
    monkeypatch.setattr(outbound, "trusted_authorities", lambda: context)


class Receiver:
    """Answers 204 to each request over TLS, with a certificate for one name."""

    def __init__(self, name: str) -> None:
        self.asked_for: list[str | None] = []
        self.heads: list[bytes] = []
        self.connections = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        CA.issue_cert(name).configure_cert(self.context)
        self.context.sni_callback = lambda _, asked, __: self.asked_for.append(asked)

    async def serve(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.connections += 1
        arrived = b""
        with contextlib.suppress(trio.BrokenResourceError):
            while piece := await stream.receive_some():
                arrived += piece
                if arrived.endswith(BODY):
                    self.heads.append(arrived)
                    arrived = b""
                    await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")


async def ask(receiver: Receiver, name: str, *, times: int = 1) -> list[object]:
    """What becomes of requests for a name that leads to this machine."""
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            partial(trio.serve_ssl_over_tcp, host="127.0.0.1", https_compatible=True),
            receiver.serve,
            0,
            receiver.context,
        )
        port = listener.transport_listener.socket.getsockname()[1]
        names = Names(**{name: ["127.0.0.1"]})
        async with guarded_client(guard(name, "127.0.0.1", names=names)) as client:
            said = [
                await post(client, f"https://{name}:{port}/x", content=BODY, headers={}, clock=WallClock())
                for _ in range(times)
            ]
        nursery.cancel_scope.cancel()
    return said


async def test_the_certificate_is_that_of_the_name() -> None:
    receiver = Receiver("hooks.example")
    said = await ask(receiver, "hooks.example", times=2)
    assert [answer.status for answer in said if isinstance(answer, Answer)] == [204, 204]
    assert receiver.asked_for == ["hooks.example"]
    assert all(b"Host: hooks.example:" in head for head in receiver.heads)
    # Looked up for each request, and connected once.
    assert receiver.connections == 1


async def test_a_certificate_of_another_name_is_refused() -> None:
    receiver = Receiver("other.example")
    (said,) = await ask(receiver, "hooks.example")
    assert isinstance(said, Retry)
    assert said.detail.startswith("TLS failed: ")
    assert "hooks.example" in said.detail
    assert receiver.heads == []
