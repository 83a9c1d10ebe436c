"""The guarded client: the only way to an address that users configure.

The problem. A webhook's address is chosen by whoever may create one; Medic's machine stands behind the firewall. And
what a name means is decided by its owner, who may answer a public address when it is looked at and loopback when it
is connected to (DNS rebinding).

So for each request the name is resolved once, each address of the answer is judged (`medic.access.allowlist`), and the
request is sent to one of these addresses, written as numbers: nobody asks for the name again. The name goes on in the
Host header, in TLS and in the check of the certificate. A request is judged as the object that is then sent, so no
second parser may read the address otherwise; what is allowed in it is narrower than what parsers disagree about.

Redirects are not followed, answers and time are bounded: that is `medic.alerting.outbound`'s, whose client this is.

Rejected: to judge where httpcore connects (a network backend). There, connections that are kept open would be asked for
nothing, and httpx has no public way to hand one on. Rejected: to race a name's addresses (trio's happy eyeballs), which
resolves by itself. They are tried one after the other, and the one that answered last first, so that an open connection
is used again.

The cost of a send, in CPU time: 10 µs to judge one address, 60 to 100 µs in all with the second request object that
says where to go, and 40 µs for a lookup that the machine answers by itself. A request costs 115 µs without any of this,
connection and TLS not counted (docs/decisions/0021-the-guarded-client.md).
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import islice, zip_longest
from typing import Final

import httpx
import trio

from medic.access.allowlist import Allowlist, Place, judge_all, judge_place
from medic.access.ranges import address_in
from medic.alerting.outbound import CONNECT_SECONDS, PlaceRefusedError, client_over, direct_transport

ADDRESSES_MAX: Final = 16
"""Addresses of one name that are looked at. The largest services answer eight."""

ADDRESSES_TRIED_MAX: Final = 3
"""Addresses tried in one attempt, which share its time to connect: a second each is a few round trips still."""

LOOKUP_SECONDS: Final = CONNECT_SECONDS
"""As long as a connection may take: nobody who asks for a name is served sooner by waiting longer."""

LOOKUPS_MAX: Final = 4
"""Lookups of one client at once. A resolver that hangs holds threads of this client and nobody else's."""

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

Resolve = Callable[[str, int, trio.CapacityLimiter], Awaitable[Sequence[str]]]
"""The addresses of a name, in the order in which to try them. Raises OSError where there is none."""


async def resolve(host: str, port: int, lookups: trio.CapacityLimiter) -> Sequence[str]:
    """As this machine resolves names. Implements `Resolve`."""
    found = await trio.to_thread.run_sync(
        partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM), limiter=lookups, abandon_on_cancel=True
    )
    return tuple(dict.fromkeys(str(where[0]) for *_, where in found))


class Guard:
    """Says where requests to addresses that users configure may go.

    Args:
        allowlist: `MEDIC_ALLOWED_WEBHOOK_HOSTS`.
        resolve: Looks up names.
    """

    def __init__(self, allowlist: Allowlist = (), *, resolve: Resolve = resolve) -> None:
        self._allowlist = allowlist
        self._resolve = resolve
        self._lookups = trio.CapacityLimiter(LOOKUPS_MAX)

    async def objection(self, url: str) -> str | None:
        """Why nothing would be sent there, as the end of a sentence; None where it would, or cannot be known now.

        A name that cannot be looked up at this moment passes: it is judged again at each sending.
        """
        try:
            await self.addresses_of(place_of(httpx.URL(url)), self._lookups)
        except PlaceRefusedError as refused:
            return refused.reason
        except httpx.InvalidURL:
            return "must be an address that can be read in one way only"
        except httpx.TransportError:
            return None
        return None

    async def addresses_of(self, place: Place, lookups: trio.CapacityLimiter) -> tuple[str, ...]:
        """The addresses of a place, all of them allowed.

        Raises:
            PlaceRefusedError: the place, or one of its addresses, is not allowed.
            httpx.ConnectError, httpx.ConnectTimeout: its name cannot be looked up.
        """
        reason = judge_place(place, self._allowlist)
        if reason is not None:
            raise PlaceRefusedError(reason)
        if address_in(place.host) is not None:
            return (place.host,)
        addresses = await self._look_up(place, lookups)
        found = [address for text in addresses if (address := address_in(text)) is not None]
        reason = judge_all(place, found, self._allowlist)
        if reason is not None:
            raise PlaceRefusedError(reason)
        return tuple(str(address) for address in found)

    async def _look_up(self, place: Place, lookups: trio.CapacityLimiter) -> Sequence[str]:
        with trio.move_on_after(LOOKUP_SECONDS):
            try:
                addresses = await self._resolve(place.host, place.port, lookups)
            except OSError as error:
                raise httpx.ConnectError("the name was not resolved") from error
            if not addresses:
                raise httpx.ConnectError("the name has no address")
            return addresses[:ADDRESSES_MAX]
        raise httpx.ConnectTimeout("the name was not resolved in time")


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends each request to an address that the guard allows, and never asks for the name twice.

    Args:
        guard: Allows.
        inner: Connects to addresses.
    """

    def __init__(self, guard: Guard, inner: httpx.AsyncBaseTransport) -> None:
        self._guard = guard
        self._inner = inner
        self._lookups = trio.CapacityLimiter(LOOKUPS_MAX)
        self._answered_last = ""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer of the first address that can be connected to.

        Raises:
            PlaceRefusedError: the request must not be sent there.
            httpx.TransportError: it could not be sent, or was not answered.
        """
        place = place_of(request.url)
        addresses = tuple(self._in_turn(await self._guard.addresses_of(place, self._lookups)))
        failure: httpx.TransportError = httpx.ConnectError("there is no address to connect to")
        for address in addresses:
            try:
                response = await self._inner.handle_async_request(_sent_to(address, request, place, len(addresses)))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                # Nothing was sent yet, so another address may be tried.
                failure = error
            else:
                self._answered_last = address
                return response
        raise failure

    async def aclose(self) -> None:
        """Close its connections."""
        await self._inner.aclose()

    def _in_turn(self, addresses: tuple[str, ...]) -> Iterator[str]:
        """Those to try: the one that answered last, then both families by turns (RFC 8305)."""
        first = [address for address in addresses if address == self._answered_last]
        families = (
            [a for a in addresses if (":" in a) is is_six] for is_six in (":" in addresses[0], ":" not in addresses[0])
        )
        mixed = (address for pair in zip_longest(*families) for address in pair if address is not None)
        return islice(dict.fromkeys([*first, *mixed]), ADDRESSES_TRIED_MAX)


def guarded_client(guard: Guard) -> httpx.AsyncClient:
    """A client for one address that a user configured."""
    return client_over(GuardedTransport(guard, direct_transport()))


def place_of(url: httpx.URL) -> Place:
    """Where the request of this address goes.

    Raises:
        PlaceRefusedError: nowhere that Medic would send anything.
    """
    if url.scheme not in DEFAULT_PORTS or not url.raw_host:
        raise PlaceRefusedError("must be a http or https address")
    if url.userinfo:
        raise PlaceRefusedError("must not have a user name or password in it; a header carries these")
    host = url.raw_host.decode("ascii").lower()
    return Place(host.removesuffix("."), DEFAULT_PORTS[url.scheme] if url.port is None else url.port)


def _sent_to(address: str, request: httpx.Request, place: Place, tried: int) -> httpx.Request:
    """The same request for an address written as numbers; its Host header is the name's already."""
    timeout = request.extensions["timeout"]
    extensions = {**request.extensions, "timeout": {**timeout, "connect": timeout["connect"] / tried}}
    if address != place.host:
        extensions["sni_hostname"] = place.host
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions=extensions,
    )
