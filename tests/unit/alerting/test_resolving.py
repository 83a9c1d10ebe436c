"""Values take the place of references when a request is made, and no answer brings one back."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from zoneinfo import ZoneInfo

import httpx
import orjson
import pytest

from medic.alerting import assembly
from medic.alerting.assembly import NotifierSettings
from medic.alerting.attempt import Delivered, Refused, SecretMissing
from medic.alerting.pagerduty import PagerDuty
from medic.alerting.resolving import MISSING_RETRY_SECONDS, NoSecrets, resolve_from, resolve_nothing
from medic.alerting.slack import Slack
from medic.alerting.slack_api import SlackApi
from medic.alerting.slack_look import Look
from medic.alerting.webhook import WebhookNotifier
from medic.core.webhook import Webhook
from tests.fakes import names
from tests.fakes.alerting import StandingClock, trigger

MARKED = 'mark"ed-value'


class Source:
    """Implements `SecretSource` over a dict."""

    def __init__(self, **known: str) -> None:
        self.known = known
        self.concealed: dict[str, tuple[str, ...]] = {}

    def find(self, name: str) -> str | None:
        return self.known.get(name)

    def conceal(self, owner: str, values: Iterable[str]) -> None:
        self.concealed[owner] = tuple(values)


class Body(httpx.AsyncByteStream):
    """A body that is read as one from a socket."""

    def __init__(self, content: object) -> None:
        self._content = orjson.dumps(content)

    async def __aiter__(self):
        yield self._content


class Vendor:
    """Keeps what it is sent, and answers with all of it, as a careless vendor does."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        said = [f"{name}: {value}" for name, value in request.headers.items()]
        if self.status == 200:
            return httpx.Response(200, stream=Body({"ok": True}))
        echo = {"ok": False, "error": "; ".join(said), "message": "; ".join(said), "errors": [request.content.decode()]}
        return httpx.Response(self.status, stream=Body(echo))


def notifier(kind: str, source: Source, vendor: Vendor):
    clock, resolve = StandingClock(), resolve_from(source)
    client = httpx.AsyncClient(transport=httpx.MockTransport(vendor))
    if kind == "slack":
        api = SlackApi(token="${secrets.it}", api_url="https://slack.com/api", clock=clock, resolve=resolve)
        api._client = client
        return Slack(api, channel="C1", look=Look("", ZoneInfo("UTC")))
    if kind == "pagerduty":
        built = PagerDuty(
            routing_key="${secrets.it}", events_url="https://pd.example", base_url="", clock=clock, resolve=resolve
        )
    else:
        webhook = Webhook(7, "https://hook.example/", headers=(("X-Plain", "yes"), ("X-Token", "Bearer ${secrets.it}")))
        built = WebhookNotifier(webhook, base_url="", clock=clock, guard=names.guard(), resolve=resolve)
    built._client = client
    return built


def sent(vendor: Vendor) -> str:
    request = vendor.asked[-1]
    key = orjson.loads(request.content).get("routing_key", "")
    return f"{request.headers.get('authorization', '')} {request.headers.get('x-token', '')} {key}"


KINDS = ["slack", "pagerduty", "webhook"]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_newest_value_is_in_the_next_attempt(kind):
    source, vendor = Source(it=MARKED), Vendor(200)
    made = notifier(kind, source, vendor)
    assert await made.send(trigger(1)) == Delivered()
    assert MARKED in sent(vendor)
    source.known["it"] = "another-value"
    assert await made.send(trigger(1)) == Delivered()
    assert "another-value" in sent(vendor)
    assert "${" not in sent(vendor)
    assert MARKED not in repr(made) + made.describe()
    await made.aclose()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [400, 200 + 203, 404, 429, 500, 503])
async def test_what_a_vendor_echoes_holds_no_value(kind, status):
    vendor = Vendor(status)
    made = notifier(kind, Source(it=MARKED), vendor)
    attempt = await made.send(trigger(1))
    assert MARKED in sent(vendor)
    assert "mark" not in repr(attempt)
    await made.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_secret_that_is_not_there_sends_nothing_refuses_nothing_for_good_and_is_named(kind):
    vendor = Vendor(200)
    made = notifier(kind, Source(), vendor)
    attempt = await made.send(trigger(1))
    assert isinstance(attempt, SecretMissing)
    assert (attempt.maybe_taken, attempt.retry_after) == (False, MISSING_RETRY_SECONDS)
    assert "the secret it is not there" in attempt.detail
    assert vendor.asked == []
    await made.aclose()


async def test_a_header_that_cannot_be_sent_is_not_quoted():
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.LocalProtocolError(f"Illegal header value {request.headers['x-token'].encode()!r}")

    made = notifier("webhook", Source(it=MARKED), Vendor(200))
    made._client = httpx.AsyncClient(transport=httpx.MockTransport(refuse))
    attempt = await made.send(trigger(1))
    assert isinstance(attempt, Refused)
    assert "mark" not in attempt.detail
    await made.aclose()


def test_without_secrets_no_reference_is_resolved():
    assert resolve_nothing("plain") == "plain"
    assert isinstance(resolve_nothing("${secrets.it}"), SecretMissing)
    NoSecrets().conceal("nobody", ["value"])


async def test_what_webhooks_carry_is_kept_out_of_lines(tmp_path):
    source = Source(it=MARKED)
    hook = Webhook(7, "https://hook.example/", headers=(("X", "literal"), ("Y", "${secrets.it}")), secret="whsec_x")
    with (tmp_path / "terminal").open("w") as terminal:
        alerting = assembly.build_alerting(
            NotifierSettings(base_url="", zone=ZoneInfo("UTC"), slack_token="${secrets.it}", slack_channel="C1"),
            webhooks=[hook],
            clock=StandingClock(),
            rng=Random(1),
            terminal=terminal,
            secrets=source,
        )
        assert "slack" in alerting.describe_targets().lower()
        alerting.add_webhook(Webhook(8, "https://hook.example/", headers=(("X", "later"),)))
    assert source.concealed == {"webhook:7": ("literal", "whsec_x", ""), "webhook:8": ("later", "", "")}
    assert "literal" not in repr(hook)
