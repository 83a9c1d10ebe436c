"""The guarded client: where it sends, and that nobody asks for a name a second time."""

from __future__ import annotations

import httpx
import pytest
import trio

from medic.alerting import outbound
from medic.alerting.attempt import Refused, Retry
from medic.alerting.guard import ADDRESSES_TRIED_MAX, Guard, GuardedTransport, guarded_client, resolve
from medic.alerting.outbound import Answer, client_over, post
from tests.fakes.alerting import StandingClock
from tests.fakes.names import PUBLIC, Names, guard

HOSTILE = [
    # this machine, in every spelling
    "http://127.0.0.1/",
    "http://127.0.0.1:8080/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.255.255.254/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0x7f000001/",
    "http://0x7f.0x0.0x0.0x1/",
    "http://0X7F.1/",
    "http://127.0.0.1./",
    "http://127.000.000.001/",
    "http://127.0.0.1.:80/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::1%25lo]/",
    "http://[::]/",
    "http://0/",
    "http://0.0.0.0/",
    "http://0.0.0.1/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://localhost.localdomain/",
    "http://127.0.0.1.nip.example/",
    "http://１２７.0.0.1/",
    "http://127。0。0。1/",
    "http://①②⑦.0.0.1/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://127%2e0.0.1/",
    "http://%6c%6f%63%61%6c%68%6f%73%74/",
    # its neighbours
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://169.254.1.1/",
    "http://198.18.0.1/",
    "http://192.0.0.8/",
    "http://192.0.2.1/",
    "http://198.51.100.1/",
    "http://203.0.113.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fc00::1]/",
    "http://[fd00::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[100::1]/",
    "http://[5f00::1]/",
    "http://intranet/",
    # what hands out credentials
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://metadata.google.internal./",
    "http://METADATA.google.internal/",
    "http://metadata/",
    "http://instance-data/",
    "http://meta.example/",
    # what parsers disagree about
    "http://example.com@127.0.0.1/",
    "http://example.com:80@127.0.0.1/",
    "http://user:pass@example.com/",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com\\.evil.example/",
    "http:\\\\127.0.0.1/",
    "http:///127.0.0.1/",
    "http:127.0.0.1/",
    "http:/127.0.0.1/",
    "//127.0.0.1/",
    "http://example.com /",
    "http://exa mple.com/",
    "http://example.com\r\nHost: evil/",
    "http://example.com\t/",
    "http://example.com\x00.evil.example/",
    "http://\u0000127.0.0.1/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:-80/",
    "http://example.com:80:90/",
    "http://[::1]evil/",
    "http://[::1/",
    "http://[127.0.0.1]/",
    "http://[]/",
    "http://.example.com/",
    "http://example..com/",
    "http://-example.com/",
    # other protocols
    "http://example.com:22/",
    "http://example.com:25/",
    "http://example.com:6379/",
    "https://example.com:11211@127.0.0.1:6379/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "dict://127.0.0.1:11211/stats",
    "unix:///var/run/docker.sock",
    "javascript:alert(1)",
    "data:text/plain,x",
    "",
]

INSIDE = {
    "localhost": ["127.0.0.1 ::1"],
    "localhost.localdomain": ["127.0.0.1"],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "intranet": ["10.20.30.40"],
    "meta.example": ["169.254.169.254"],
}


class Wire(httpx.AsyncBaseTransport):
    """Connects to nobody: keeps what was to be sent where, and says what each address answers."""

    def __init__(self, **refusing: type[httpx.TransportError]) -> None:
        self.sent: list[httpx.Request] = []
        self.refusing: dict[str, type[httpx.TransportError]] = refusing
        self.closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        self.sent.append(request)
        error = self.refusing.get(request.url.host)
        if error is not None:
            raise error("no")
        return httpx.Response(302, headers={"Location": "http://127.0.0.1/"}, stream=httpx.ByteStream(b"elsewhere"))

    async def aclose(self) -> None:
        self.closed = True

    @property
    def hosts(self) -> list[str]:
        return [request.url.host for request in self.sent]


async def send(url: str, wire: Wire, names: Names | None = None, *entries: str, times: int = 1) -> list[object]:
    """What becomes of requests of one client."""
    async with client_over(GuardedTransport(guard(*entries, names=names), wire)) as client:
        return [await post(client, url, content=b"{}", headers={"x": "y"}, clock=StandingClock()) for _ in range(times)]


@pytest.mark.parametrize("url", HOSTILE)
async def test_nothing_is_sent_to_a_hostile_address(url):
    names = Names(**INSIDE)
    assert await guard(names=names).objection(url) is not None
    wire = Wire()
    (said,) = await send(url, wire, names)
    assert isinstance(said, Refused)
    assert wire.sent == []


def test_there_are_at_least_sixty_hostile_addresses():
    assert len(set(HOSTILE)) == len(HOSTILE) >= 60


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://example.com/a?b=c", "example.com", None),
        ("http://example.com:8080/", "example.com", 8080),
        ("HTTPS://EXAMPLE.com./", "example.com", None),
        ("https://bücher.example/", "xn--bcher-kva.example", None),
        ("https://93.184.215.14/", "93.184.215.14", None),
        ("https://[2606:4700::1111]:8443/", "2606:4700::1111", 8443),
        ("https://a_b.example.com/", "a_b.example.com", None),
    ],
)
async def test_a_request_goes_to_the_address_the_name_had(url, host, port):
    wire = Wire()
    names = Names()
    assert await guard().objection(url) is None
    (said,) = await send(url, wire, names)
    assert isinstance(said, Answer)
    (sent,) = wire.sent
    is_literal = host[0].isdigit()
    assert sent.url.host == (host if is_literal else PUBLIC)
    assert sent.url.port == port
    assert names.asked == ([] if is_literal else [host])
    # The name goes on in the Host header and in TLS.
    assert sent.headers["host"].rstrip(".").startswith("[" if ":" in host else host)
    assert sent.extensions.get("sni_hostname") == (None if is_literal else host)
    assert (sent.method, await sent.aread()) == ("POST", b"{}")


async def test_a_name_that_is_public_first_and_loopback_second_gets_nothing_there():
    names = Names(rebinding_example=[PUBLIC, "127.0.0.1"])
    wire = Wire()
    first, second = await send("http://rebinding.example/", wire, names, times=2)
    # One lookup a request, and the request goes to what that lookup said.
    assert isinstance(first, Answer)
    assert isinstance(second, Refused)
    assert "loopback" in second.detail
    assert (wire.hosts, names.asked) == ([PUBLIC], ["rebinding.example", "rebinding.example"])


async def test_a_name_that_turned_inside_after_its_creation_is_refused_at_sending():
    names = Names(turning_example=[PUBLIC, "10.0.0.1"])
    assert await guard(names=names).objection("http://turning.example/") is None
    wire = Wire()
    (said,) = await send("http://turning.example/", wire, names)
    assert said == Refused(
        "nothing is sent there: the address must not lead to an address that is private, unless "
        "MEDIC_ALLOWED_WEBHOOK_HOSTS has it or its network"
    )
    assert wire.sent == []


async def test_a_name_that_is_public_and_loopback_at_once_is_refused():
    wire = Wire()
    (said,) = await send("http://both.example/", wire, Names(both_example=[f"{PUBLIC} 127.0.0.1"]))
    assert isinstance(said, Refused)
    assert wire.sent == []


async def test_an_entry_opens_what_it_names():
    wire = Wire()
    names = Names(ci_corp=["10.0.0.7"])
    (said,) = await send("http://ci.corp:8080/x", wire, names, "ci.corp:8080", "10.0.0.7")
    assert isinstance(said, Answer)
    assert wire.hosts == ["10.0.0.7"]


async def test_an_entry_that_is_a_name_does_not_follow_it_inside():
    wire = Wire()
    names = Names(hooks_partner=[PUBLIC, "127.0.0.1"])
    taken, refused = await send("http://hooks.partner:8080/x", wire, names, "hooks.partner", times=2)
    assert isinstance(taken, Answer)
    assert isinstance(refused, Refused)
    assert wire.hosts == [PUBLIC]


async def test_a_redirect_is_not_followed():
    wire = Wire()
    (said,) = await send("https://example.com/", wire)
    assert said.status == 302
    assert wire.hosts == [PUBLIC]


async def test_the_next_address_is_tried_where_one_cannot_be_connected_to():
    wire = Wire(**{"2606:4700::1": httpx.ConnectTimeout, "1.1.1.1": httpx.ConnectError})
    names = Names(many_example=["2606:4700::1 2606:4700::2 1.1.1.1 1.1.1.2"])
    first, second = await send("http://many.example/", wire, names, times=2)
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    # Both families by turns; then the one that answered first.
    assert wire.hosts == ["2606:4700::1", "1.1.1.1", "2606:4700::2", "2606:4700::2"]
    shares = {request.extensions["timeout"]["connect"] for request in wire.sent}
    assert shares == {outbound.CONNECT_SECONDS / ADDRESSES_TRIED_MAX}


async def test_an_attempt_ends_where_no_address_can_be_connected_to():
    wire = Wire(**{f"1.1.1.{number}": httpx.ConnectError for number in range(9)})
    addresses = " ".join(f"1.1.1.{number}" for number in range(9))
    (said,) = await send("http://many.example/", wire, Names(many_example=[addresses]))
    assert said == Retry("no connection", maybe_taken=False)
    assert len(wire.sent) == ADDRESSES_TRIED_MAX


async def test_an_attempt_is_not_repeated_elsewhere_once_something_may_have_been_taken():
    wire = Wire(**{"1.1.1.1": httpx.ReadTimeout})
    (said,) = await send("http://two.example/", wire, Names(two_example=["1.1.1.1 1.1.1.2"]))
    assert said.maybe_taken
    assert wire.hosts == ["1.1.1.1"]


async def test_a_name_that_cannot_be_looked_up_is_tried_again_later():
    names = Names(gone_example=[""])
    assert await guard(names=names).objection("https://gone.example/") is None
    (said,) = await send("https://gone.example/", Wire(), names)
    assert said == Retry("its host name could not be resolved", maybe_taken=False)


async def test_a_name_without_an_address_is_tried_again_later():
    async def nothing(host: str, port: int, lookups: trio.CapacityLimiter) -> tuple[str, ...]:
        await trio.lowlevel.checkpoint()
        return ()

    async with client_over(GuardedTransport(Guard(resolve=nothing), Wire())) as client:
        said = await post(client, "https://example.com/", content=b"", headers={}, clock=StandingClock())
    assert said == Retry("no connection", maybe_taken=False)


async def test_a_lookup_that_hangs_is_given_up(autojump_clock, monkeypatch):
    monkeypatch.setattr("medic.alerting.guard.LOOKUP_SECONDS", 3.0)

    async def hang(host: str, port: int, lookups: trio.CapacityLimiter) -> tuple[str, ...]:
        await trio.sleep_forever()
        raise AssertionError

    silent = Guard(resolve=hang)
    assert await silent.objection("https://example.com/") is None
    async with client_over(GuardedTransport(silent, Wire())) as client:
        began = trio.current_time()
        said = await post(client, "https://example.com/", content=b"", headers={}, clock=StandingClock())
    assert trio.current_time() - began == pytest.approx(3.0)
    assert isinstance(said, Retry)
    assert not said.maybe_taken


async def test_this_machine_resolves_names_to_addresses_each_once():
    lookups = trio.CapacityLimiter(1)
    assert await resolve("127.0.0.1", 80, lookups) == ("127.0.0.1",)


async def test_the_connections_are_closed_with_the_client():
    wire = Wire()
    await send("https://example.com/", wire)
    assert wire.closed
    await guarded_client(guard()).aclose()
