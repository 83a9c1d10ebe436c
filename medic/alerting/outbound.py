"""Requests to the world outside: one way to make a client, one way to send, every foreign error translated here.

Vendors' addresses are the operator's environment, and are asked directly. Addresses that users configure are asked
through `medic.alerting.guard`, which makes its client of the same parts.

Each notifier has a client of its own, so that connections, limits and hangs of one vendor are nobody else's. Decisions
that hold for all of them:

* TLS is verified against certifi's list and the system's own, so that a private authority the machine trusts is
  trusted.
* `HTTP_PROXY` and its kin are ignored (`trust_env=False`): a page must not take another way because of a variable in
  the shell that Medic was started from.
* Redirects are not followed and cookies not kept: a page goes where the operator said, and nothing else goes with it.
* Idle connections are kept 20 s, well below the 60 s after which common load balancers drop them silently: a request
  into a connection that is just being closed may or may not have been taken, the costly kind of failure.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from socket import gaierror
from typing import Final
from urllib.parse import urlsplit

import httpx
import trio

from medic.access.concealment import conceal
from medic.alerting.attempt import Attempt, Delivered, Refused, Retry, Throttled
from medic.alerting.backoff import http_date_instant, retry_after_seconds
from medic.alerting.wording import clipped, printable
from medic.core.units import InstantMs
from medic.ports import Clock

CONNECT_SECONDS: Final = 3.0
"""DNS, TCP and TLS together. A vendor that is up answers within a few round trips."""

ATTEMPT_SECONDS: Final = 10.0
"""The whole attempt, answer included. Longer waits belong to the queue, which can order them."""

CONNECTIONS_MAX: Final = 16
"""A target's attempts at once (12) and some that are just being closed: an attempt never waits for a connection."""

KEEP_ALIVE_SECONDS: Final = 20.0

ANSWER_MAX_BYTES: Final = 64 * 1024
"""As much of an answer as is read. Beyond it the connection is closed: nobody fills Medic's memory by answering."""

DETAIL_MAX: Final = 200
"""Characters of a vendor's reason that are kept: it goes into the journal, `/health` and other people's messages."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the first `ANSWER_MAX_BYTES` of the body, and the wait it asked for."""

    status: int
    body: bytes
    retry_after: float | None

    @property
    def succeeded(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300


@lru_cache(maxsize=1)
def trusted_authorities() -> ssl.SSLContext:
    """Whom Medic believes: certifi's list and the system's own."""
    # Reading the list takes 20 ms, so it is read once for all clients.
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


class PlaceRefusedError(httpx.TransportError):
    """The request must not be sent there. `reason` is the end of a sentence that begins with the address."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def outbound_client() -> httpx.AsyncClient:
    """A client for one vendor, whose address the operator set."""
    return client_over(direct_transport())


def client_over(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    """A client for one target: the only place where Medic makes one."""
    return httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        timeout=httpx.Timeout(ATTEMPT_SECONDS, connect=CONNECT_SECONDS),
        headers={"User-Agent": "Medic", "Accept-Encoding": "identity"},
    )


def direct_transport() -> httpx.AsyncBaseTransport:
    """Connections of one client."""
    return httpx.AsyncHTTPTransport(
        verify=trusted_authorities(),
        trust_env=False,
        limits=httpx.Limits(
            max_connections=CONNECTIONS_MAX,
            max_keepalive_connections=CONNECTIONS_MAX,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
        ),
    )


async def post(
    client: httpx.AsyncClient, url: str, *, content: bytes, headers: Mapping[str, str], clock: Clock
) -> Answer | Refused | Retry:
    """Send one POST and give its answer, or the attempt's end where there is none. Raises nothing of httpx's."""
    answer: Answer | None = None
    with trio.move_on_after(ATTEMPT_SECONDS):
        try:
            async with client.stream("POST", url, content=content, headers=headers) as response:
                answer = Answer(response.status_code, b"", _wait_asked_for(response, clock))
                answer = Answer(answer.status, await _beginning(response), answer.retry_after)
        except PlaceRefusedError as refused:
            return Refused(f"nothing is sent there: the address {refused.reason}")
        except httpx.ConnectTimeout:
            return Retry(f"no connection within {CONNECT_SECONDS:.0f} s", maybe_taken=False)
        except httpx.PoolTimeout:
            return Retry("all connections are busy", maybe_taken=False)
        except httpx.ConnectError as error:
            return Retry(_connect_words(error), maybe_taken=False)
        except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL, UnicodeError) as error:
            return Refused(f"the request cannot be sent: {safe(str(error), *headers.values())}")
        except httpx.TimeoutException:
            if answer is None:
                return Retry(f"no answer within {ATTEMPT_SECONDS:.0f} s", maybe_taken=True)
        except httpx.HTTPError:
            if answer is None:
                return Retry("the connection was lost before an answer came", maybe_taken=True)
    # An answer whose status came is an answer, though its body was cut off.
    return answer or Retry(f"no answer within {ATTEMPT_SECONDS:.0f} s", maybe_taken=True)


async def ask(client: httpx.AsyncClient, url: str) -> Answer:
    """The answer to one GET, as much of it as is read of any. Raises what httpx does; takes as long as that does."""
    async with client.stream("GET", url) as response:
        return Answer(response.status_code, await _beginning(response), None)


async def is_there(host: str, port: int) -> bool:
    """Whether somebody takes a connection there, or is there to refuse it. Says nothing to him; has no time limit."""
    try:
        await trio.aclose_forcefully(await trio.open_tcp_stream(host, port))
    except OSError as error:
        return any(isinstance(cause, ConnectionRefusedError) for cause in causes(error))
    return True


def judge(answer: Answer, detail: str) -> Attempt:
    """What the status means, for vendors that speak plain HTTP: PagerDuty and webhooks."""
    words = f"answered {answer.status}: {detail}" if detail else f"answered {answer.status}"
    status = answer.status
    if answer.succeeded:
        return Delivered(status)
    if status == 429:
        return Throttled(words, answer.retry_after, status)
    if status == 408 or status >= 500:
        return Retry(words, maybe_taken=status >= 500, retry_after=answer.retry_after, status=status)
    if 300 <= status < 400:
        return Refused(f"answered {status}: redirects are not followed", status)
    return Refused(words, status)


def safe(text: str, *secrets: str) -> str:
    """`text` fit for people: one line, `DETAIL_MAX` characters at most, none of the secrets."""
    return clipped(printable(" ".join(conceal(text, secrets).split())), DETAIL_MAX)


def host_of(url: str) -> str:
    """The host in an address, for people; the rest of it may hold a secret."""
    try:
        return urlsplit(url).hostname or "nowhere"
    except ValueError:
        return "nowhere"


async def _beginning(response: httpx.Response) -> bytes:
    beginning = bytearray()
    # Enough is said by cancelling, not by breaking off: that unwinds the client's chain of generators from within,
    # which otherwise would lie about unfinished until they are collected.
    with trio.CancelScope() as reading:
        async for piece in response.aiter_raw():
            beginning += piece
            if len(beginning) >= ANSWER_MAX_BYTES:
                reading.cancel()
    return bytes(beginning[:ANSWER_MAX_BYTES])


def _wait_asked_for(response: httpx.Response, clock: Clock) -> float | None:
    # A date is measured against the vendor's own clock where it says what that shows.
    said: InstantMs | None = http_date_instant(response.headers.get("Date"))
    return retry_after_seconds(response.headers.get("Retry-After"), now=clock.now() if said is None else said)


def _connect_words(error: BaseException) -> str:
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"TLS failed: {safe(cause.verify_message)}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {safe(cause.reason or 'no agreement')}"
        if isinstance(cause, ConnectionRefusedError):
            return "the connection was refused"
        if isinstance(cause, gaierror):
            return "its host name could not be resolved"
    return "no connection"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what is in it where it is a group, and what it was caused by, from the outside in."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from causes(inner)
        error = error.__cause__ or error.__context__
