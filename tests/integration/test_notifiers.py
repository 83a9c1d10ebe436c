"""The notifiers over real sockets, against vendors that hold each request to their documentation."""

from __future__ import annotations

import datetime as dt
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Self

import pytest

from medic.access.signed import write_secret
from medic.alerting import outbound
from medic.alerting.attempt import Delivered, Refused, Retry, Throttled
from medic.alerting.guard import Guard
from medic.alerting.notifier import Notifier
from medic.alerting.pagerduty import NOTIFICATION_HEADER, PagerDuty
from medic.alerting.slack import Slack
from medic.alerting.webhook import WebhookNotifier
from medic.core.names import NAME_MAX
from medic.core.notification import Notification
from medic.core.status import NotificationKind
from medic.core.units import InstantMs
from medic.core.webhook import Webhook
from tests.fakes.alerting import WallClock, follow, slack_over, trigger
from tests.fakes.names import loopback_guard
from tests.patience import PATIENCE_SECONDS
from tests.vendors import Hang, PagerDutyServer, Refuse, Reset, SlackServer, Slow, WebhookReceiver
from tests.vendors.pagerduty import ROUTING_KEY
from tests.vendors.slack import CHANNEL, TOKEN
from tests.vendors.webhook import signature_of

K = NotificationKind
NAMES = [
    "x" * NAME_MAX,
    "監" * NAME_MAX,
    "🚀" * NAME_MAX,
    '<!channel> & *bold* `code` "quoted" \\ it\'s',
    "naïve/ß/%2F",
]
BASE_URL = "http://medic.example:8080"


@pytest.fixture
def pagerduty() -> Iterator[PagerDutyServer]:
    with PagerDutyServer() as server:
        yield server


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as server:
        yield server


@asynccontextmanager
async def open_notifier(notifier: Notifier) -> AsyncIterator[Notifier]:
    try:
        yield notifier
    finally:
        await notifier.aclose()


def to_pagerduty(server: PagerDutyServer, *, key: str = ROUTING_KEY, url: str = "") -> PagerDuty:
    return PagerDuty(routing_key=key, events_url=url or server.url, base_url=BASE_URL, clock=WallClock())


def to_slack(server: SlackServer, *, token: str = TOKEN, channel: str = CHANNEL) -> Slack:
    return slack_over(server.url, token=token, channel=channel, base_url=BASE_URL)


def to_webhook(url: str, **fields) -> WebhookNotifier:
    return WebhookNotifier(
        Webhook(webhook_id=1, url=url, **fields), base_url=BASE_URL, clock=WallClock(), guard=loopback_guard()
    )


def every_kind(notifier: Notifier, name: str) -> list[Notification]:
    said = []
    for number, kind in enumerate(K):
        one = follow(trigger(number, name=name), kind) if kind is K.RESOLVE else trigger(number, name=name, kind=kind)
        one = replace(
            one, runbook="https://wiki.example/run?a=1&b=<2>", service_name=name, by=name, note=f"note of {name}"
        )
        if kind in {K.BLIND, K.UNTOLD, K.TEST}:
            one = replace(one, text=f"a sentence about {name}")
        if notifier.takes(one):
            said.append(one)
    return said


# ---------------------------------------------------------------------------------------------------------- the schemas


@pytest.mark.parametrize("name", NAMES)
async def test_pagerduty_takes_every_kind_with_any_name(pagerduty, name):
    async with open_notifier(to_pagerduty(pagerduty)) as notifier:
        said = every_kind(notifier, name)
        assert [await notifier.send(one) for one in said] == [Delivered()] * len(said)
    assert pagerduty.faults() == []
    assert {arrival.headers[NOTIFICATION_HEADER.lower()] for arrival in pagerduty.taken} == {
        one.notification_id for one in said
    }


@pytest.mark.parametrize("name", NAMES)
async def test_slack_takes_every_kind_with_any_name(slack, name):
    async with open_notifier(to_slack(slack)) as notifier:
        said = every_kind(notifier, name)
        assert [await notifier.send(one) for one in said] == [Delivered()] * len(said)
    assert slack.faults() == []
    assert len(slack.messages) == len(said)


@pytest.mark.parametrize("name", NAMES)
async def test_a_webhook_takes_every_kind_with_any_name(receiver, name):
    async with open_notifier(to_webhook(receiver.url)) as notifier:
        said = every_kind(notifier, name)
        assert [await notifier.send(one) for one in said] == [Delivered()] * len(said)
    assert receiver.faults() == []
    assert {arrival.document["heartbeat_name"] for arrival in receiver.taken} == {name}


async def test_an_incident_opens_once_and_closes(pagerduty):
    async with open_notifier(to_pagerduty(pagerduty)) as notifier:
        claim = trigger(name="nightly")
        for kind in (K.TRIGGER, K.REMINDER, K.ESCALATION, K.ACKNOWLEDGE):
            await notifier.send(follow(claim, kind))
        assert pagerduty.open == {"medic-nightly": "acknowledge"}
        await notifier.send(follow(claim, K.RESOLVE))
    assert pagerduty.open == {}
    assert pagerduty.opened == ["medic-nightly"]


# ---------------------------------------------------------------------------------------------------------- the answers


@pytest.mark.parametrize(
    ("behaviour", "attempt"),
    [
        (Refuse(400), Refused("answered 400: told to refuse; told to refuse")),
        (Refuse(403, error=f"the key {ROUTING_KEY} is unknown"), None),
        (Refuse(408), Retry("answered 408: told to refuse; told to refuse", maybe_taken=False)),
        (Refuse(429), Throttled("answered 429: told to refuse; told to refuse")),
        (Refuse(429, retry_after="7"), Throttled("answered 429: told to refuse; told to refuse", 7.0)),
        (Refuse(500), Retry("answered 500: told to refuse; told to refuse", maybe_taken=True)),
        (
            Refuse(503, retry_after="100000"),
            Retry("answered 503: told to refuse; told to refuse", maybe_taken=True, retry_after=300.0),
        ),
        (Refuse(302), Refused("answered 302: redirects are not followed")),
        (Reset(), Retry("the connection was lost before an answer came", maybe_taken=True)),
    ],
)
async def test_what_pagerduty_says_decides_what_happens_next(pagerduty, behaviour, attempt):
    pagerduty.behave(behaviour)
    async with open_notifier(to_pagerduty(pagerduty)) as notifier:
        got = await notifier.send(trigger())
    if attempt is None:
        attempt = Refused("answered 403: the key *** is unknown; told to refuse")
    assert got == attempt


async def test_a_retry_after_may_be_a_date(pagerduty):
    at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=250)
    pagerduty.behave(Refuse(429, retry_after=format_datetime(at, usegmt=True)))
    async with open_notifier(to_pagerduty(pagerduty)) as notifier:
        got = await notifier.send(trigger())
    assert isinstance(got, Throttled)
    assert 250 - PATIENCE_SECONDS < got.retry_after <= 250


async def test_pagerduty_refuses_a_wrong_key(pagerduty):
    async with open_notifier(to_pagerduty(pagerduty, key="f" * 32)) as notifier:
        assert await notifier.send(trigger()) == Refused("answered 400: Event object is invalid; Invalid routing key")


async def test_slack_refuses_a_wrong_token_and_a_wrong_channel(slack):
    async with open_notifier(to_slack(slack, token="xoxb-wrong")) as notifier:
        assert await notifier.send(trigger()) == Refused("answered invalid_auth: SLACK_API_TOKEN is not valid")
    async with open_notifier(to_slack(slack, channel="C1")) as notifier:
        got = await notifier.send(trigger())
    assert got == Refused("answered channel_not_found: SLACK_CHANNEL_ID names no channel the app can see")


@pytest.mark.parametrize(
    ("behaviour", "attempt"),
    [
        (Refuse(429, retry_after="30"), Throttled("answered ratelimited", 30.0)),
        (Refuse(200, error="ratelimited"), Throttled("answered ratelimited")),
        (Refuse(200, error="fatal_error"), Retry("answered fatal_error", maybe_taken=True)),
        (Refuse(200, error="is_archived"), Refused("answered is_archived: the channel is archived")),
        (Refuse(503), Retry("answered 503", maybe_taken=True)),
    ],
)
async def test_what_slack_says_decides_what_happens_next(slack, behaviour, attempt):
    slack.behave(behaviour)
    async with open_notifier(to_slack(slack)) as notifier:
        assert await notifier.send(trigger()) == attempt


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (Refuse(410), Refused),
        (Refuse(404), Refused),
        (Refuse(408), Retry),
        (Refuse(429), Throttled),
        (Refuse(502), Retry),
    ],
)
async def test_what_a_webhook_says_decides_what_happens_next(receiver, behaviour, kind):
    receiver.behave(behaviour)
    async with open_notifier(to_webhook(receiver.url)) as notifier:
        assert isinstance(await notifier.send(trigger()), kind)


async def test_a_webhook_carries_its_headers_and_not_those_that_are_medics(receiver):
    headers = (("X-Token", "s3cret"), ("Webhook-Id", "forged"), ("Content-Length", "3"), ("HOST", "evil"))
    async with open_notifier(to_webhook(receiver.url, headers=headers)) as notifier:
        assert await notifier.send(trigger()) == Delivered()
        receiver.behave(Refuse(400, error="s3cret"))
        refused = await notifier.send(trigger())
    assert receiver.faults() == []
    arrival = receiver.arrivals[0]
    assert arrival.headers["x-token"] == "s3cret"
    assert arrival.headers["webhook-id"] == "1.0"
    assert arrival.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert "s3cret" not in str(refused)


async def test_a_webhook_is_signed_with_its_secret_and_with_the_one_before_for_a_while(receiver):
    new, old = (write_secret(bytes([number] * 32)) for number in (1, 2))
    receiver.secret = new
    now = WallClock().now()
    for until in (None, InstantMs(now - 1), InstantMs(now + 3_600_000)):
        hook = to_webhook(receiver.url, secret=new, former_secret="" if until is None else old, former_until=until)
        async with open_notifier(hook) as notifier:
            assert await notifier.send(trigger()) == Delivered()
    assert receiver.faults() == []
    never, over, both = receiver.arrivals
    assert [len(receiver.signatures(arrival)) for arrival in (never, over, both)] == [1, 1, 2]
    assert signature_of(old, both.headers, both.text) == receiver.signatures(both)[1]


async def test_a_webhook_whose_secret_is_not_known_is_told_unsigned(receiver):
    headers = (("Webhook-Signature", "v1,forged"), ("webhook-timestamp", "1"))
    async with open_notifier(to_webhook(receiver.url, headers=headers)) as notifier:
        assert await notifier.send(trigger()) == Delivered()
    assert "webhook-signature" not in receiver.arrivals[0].headers


async def test_nothing_is_sent_to_this_machine_unless_an_entry_names_it(receiver):
    hook = WebhookNotifier(Webhook(1, receiver.url), base_url=BASE_URL, clock=WallClock(), guard=Guard())
    async with open_notifier(hook) as notifier:
        refused = await notifier.send(trigger())
    assert isinstance(refused, Refused)
    assert "loopback" in refused.detail
    assert receiver.arrivals == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http://", "http://[bad", "http://127.0.0.1:99999/", "nonsense"])
async def test_an_address_that_is_none_is_refused_not_raised(url):
    async with open_notifier(to_webhook(url)) as notifier:
        assert isinstance(await notifier.send(trigger()), Refused | Retry)
        assert notifier.describe().startswith("webhook 1 at ")


@pytest.mark.parametrize("headers", [(("X-Bad", "line\r\nbreak"),), (("X-Bad", "naïve-監"),), (("spaced name", "x"),)])
async def test_headers_that_cannot_be_sent_are_refused(receiver, headers):
    async with open_notifier(to_webhook(receiver.url, headers=headers)) as notifier:
        got = await notifier.send(trigger())
    assert isinstance(got, Refused)
    assert receiver.arrivals == []


# --------------------------------------------------------------------------------------------------------- the failures


async def test_a_refused_connection_certainly_took_nothing(pagerduty):
    async with open_notifier(to_pagerduty(pagerduty)) as notifier:
        pagerduty.refuse_connections()
        got = await notifier.send(trigger())
    assert got == Retry("the connection was refused", maybe_taken=False)


async def test_a_host_that_does_not_exist_certainly_took_nothing(pagerduty):
    async with open_notifier(to_pagerduty(pagerduty, url="http://nowhere.invalid/v2/enqueue")) as notifier:
        got = await notifier.send(trigger())
    assert isinstance(got, Retry)
    assert not got.maybe_taken


async def test_no_answer_in_time_may_have_been_taken(pagerduty, monkeypatch):
    monkeypatch.setattr(outbound, "ATTEMPT_SECONDS", 0.2)
    pagerduty.behave(Hang())
    async with open_notifier(to_pagerduty(pagerduty)) as notifier:
        assert await notifier.send(trigger()) == Retry("no answer within 0 s", maybe_taken=True)
        monkeypatch.setattr(outbound, "ATTEMPT_SECONDS", PATIENCE_SECONDS)
        pagerduty.behave(Slow(0.05))
        assert await notifier.send(trigger()) == Delivered()


async def test_a_connection_that_was_closed_while_idle_is_not_used_again(pagerduty):
    async with open_notifier(to_pagerduty(pagerduty)) as notifier:
        assert await notifier.send(trigger()) == Delivered()
        pagerduty.refuse_connections()
        pagerduty.accept_connections()
        assert await notifier.send(trigger()) == Delivered()


class _Odd(BaseHTTPRequestHandler):
    """Answers that no well-behaved vendor sends, by path."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.cookies.append(self.headers.get("Cookie"))
        if self.path == "/endless":
            self._head(400, {"Content-Length": str(10**9)})
            self._pour(b"x" * 65_536)
        elif self.path == "/endless-ok":
            self._head(200, {"Content-Length": str(10**9)})
            self._pour(b"x" * 65_536)
        elif self.path == "/stops":
            self._head(202, {"Content-Length": "100"})
            self.wfile.write(b"half")
            self.close_connection = True
        elif self.path == "/nonsense":
            self.wfile.write(b"this is not HTTP\r\n\r\n")
            self.close_connection = True
        elif self.path == "/api/chat.postMessage":
            self._head(200, {"Content-Length": "5"})
            self.wfile.write(b"<html")
        else:
            self._head(302, {"Location": "/nonsense", "Set-Cookie": "a=b", "Content-Length": "0"})

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _pour(self, block: bytes) -> None:
        self.close_connection = True
        try:
            for _ in range(10_000):
                self.wfile.write(block)
                self.server.poured += len(block)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        """Quiet."""


class OddServer:
    """A server of odd answers; a context manager."""

    def __init__(self) -> None:
        self.server = HTTPServer(("127.0.0.1", 0), _Odd)
        self.server.poured = 0
        self.server.cookies = []
        self.server.handle_error = lambda *_: None
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


async def test_an_answer_is_read_so_far_and_no_further():
    with OddServer() as odd:
        async with open_notifier(to_webhook(odd.url("/endless"))) as notifier:
            got = await notifier.send(trigger())
        assert isinstance(got, Refused)
        assert len(got.detail) < outbound.DETAIL_MAX + 20
        async with open_notifier(to_webhook(odd.url("/endless-ok"))) as notifier:
            assert await notifier.send(trigger()) == Delivered()
        # What the kernel's buffers took beyond what was read.
        assert odd.server.poured < 64 * 2**20


async def test_a_status_that_came_is_an_answer_though_the_rest_did_not():
    with OddServer() as odd:
        async with open_notifier(to_webhook(odd.url("/stops"))) as notifier:
            assert await notifier.send(trigger()) == Delivered()


async def test_an_answer_that_is_none_may_have_been_taken():
    with OddServer() as odd:
        async with open_notifier(to_webhook(odd.url("/nonsense"))) as notifier:
            got = await notifier.send(trigger())
        assert got == Retry("the connection was lost before an answer came", maybe_taken=True)
        slack = slack_over(odd.url("/api"))
        async with open_notifier(slack) as notifier:
            got = await notifier.send(trigger())
        assert got == Retry("answered something that is not Slack's", maybe_taken=True)


async def test_redirects_are_not_followed_and_cookies_not_kept():
    with OddServer() as odd:
        async with open_notifier(to_webhook(odd.url("/elsewhere"))) as notifier:
            for _ in range(2):
                assert await notifier.send(trigger()) == Refused("answered 302: redirects are not followed")
        assert odd.server.cookies == [None, None]


async def test_tls_that_does_not_come_about_certainly_took_nothing():
    with OddServer() as odd:
        async with open_notifier(to_webhook(odd.url("/").replace("http:", "https:"))) as notifier:
            got = await notifier.send(trigger())
    assert isinstance(got, Retry)
    assert not got.maybe_taken
    assert got.detail.startswith("TLS failed: ")


async def test_certificates_and_host_names_are_verified():
    trusted = outbound.trusted_authorities()
    assert trusted.verify_mode is ssl.CERT_REQUIRED
    assert trusted.check_hostname
    failed = ssl.SSLCertVerificationError()
    failed.verify_message = "self-signed certificate"
    assert outbound._connect_words(failed) == "TLS failed: self-signed certificate"


async def test_a_proxy_in_the_environment_is_ignored(pagerduty, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with open_notifier(to_pagerduty(pagerduty)) as notifier:
        assert await notifier.send(trigger()) == Delivered()
