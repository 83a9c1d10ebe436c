"""Makes the notifiers that are configured. A new notifier is one file beside this one, and one line in `BUILDERS`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Final, TextIO
from zoneinfo import ZoneInfo

from medic.access.allowlist import Allowlist
from medic.alerting.console import Console
from medic.alerting.guard import Guard
from medic.alerting.notifier import Notifier
from medic.alerting.pagerduty import EVENTS_URL, PagerDuty
from medic.alerting.pipeline import Alerting
from medic.alerting.resolving import NoSecrets, Resolve, SecretSource, resolve_from
from medic.alerting.slack import Slack
from medic.alerting.slack_api import API_URL, SlackApi
from medic.alerting.slack_look import Look
from medic.alerting.webhook import Carry, WebhookNotifier, carry_nothing
from medic.core.webhook import Webhook
from medic.ports import Clock


@dataclass(frozen=True, slots=True)
class NotifierSettings:
    """What the environment says of vendors. An empty secret: not configured.

    Attributes:
        base_url: `MEDIC_BASE_URL`, for links back to Medic.
        zone: `MEDIC_TIMEZONE`, in which times are shown to people.
        pagerduty_routing_key: `PAGERDUTY_ROUTING_KEY`.
        pagerduty_events_url: `PAGERDUTY_EVENTS_URL`.
        slack_token: `SLACK_API_TOKEN`.
        slack_channel: `SLACK_CHANNEL_ID`.
        slack_api_url: `SLACK_API_URL`.
        slack_has_buttons: Whether `SLACK_SIGNING_SECRET` is set, so that what is pressed there can be believed.
        allowlist: `MEDIC_ALLOWED_WEBHOOK_HOSTS`.
    """

    base_url: str
    zone: ZoneInfo
    pagerduty_routing_key: str = ""
    pagerduty_events_url: str = EVENTS_URL
    slack_token: str = ""
    slack_channel: str = ""
    slack_api_url: str = API_URL
    slack_has_buttons: bool = False
    allowlist: Allowlist = ()

    def __repr__(self) -> str:
        """No secret in it."""
        return f"NotifierSettings(base_url={self.base_url!r}, zone={self.zone!r})"


def pagerduty(settings: NotifierSettings, clock: Clock, resolve: Resolve) -> Notifier | None:
    """PagerDuty, if it has a routing key."""
    if not settings.pagerduty_routing_key:
        return None
    return PagerDuty(
        routing_key=settings.pagerduty_routing_key,
        events_url=settings.pagerduty_events_url,
        base_url=settings.base_url,
        clock=clock,
        resolve=resolve,
    )


def slack(settings: NotifierSettings, clock: Clock, resolve: Resolve) -> Notifier | None:
    """Slack, if it has a token and a channel."""
    if not (settings.slack_token and settings.slack_channel):
        return None
    return Slack(
        slack_api(settings, clock, resolve),
        channel=settings.slack_channel,
        look=slack_look(settings),
        has_buttons=settings.slack_has_buttons,
    )


def slack_api(settings: NotifierSettings, clock: Clock, resolve: Resolve) -> SlackApi:
    """Slack's Web API with connections of its own."""
    return SlackApi(token=settings.slack_token, api_url=settings.slack_api_url, clock=clock, resolve=resolve)


def slack_look(settings: NotifierSettings) -> Look:
    """How messages to Slack look."""
    return Look(settings.base_url.rstrip("/"), settings.zone)


BUILDERS: Final[tuple[Callable[[NotifierSettings, Clock, Resolve], Notifier | None], ...]] = (pagerduty, slack)
"""Every notifier that is configured by the environment."""


def as_it_is(notifier: Notifier) -> Notifier:
    """The notifier itself: nobody traces."""
    return notifier


def build_alerting(
    settings: NotifierSettings,
    *,
    webhooks: Iterable[Webhook],
    clock: Clock,
    rng: Random,
    terminal: TextIO,
    secrets: SecretSource | None = None,
    wear: Callable[[Notifier], Notifier] = as_it_is,
    carry: Carry = carry_nothing,
) -> Alerting:
    """Alerting with every configured notifier and the stored webhooks; `terminal` is told where nobody else is.

    `wear` and `carry` are for traces: what every notifier is given to wear, and the headers that webhooks carry.
    """
    guard, source = Guard(settings.allowlist), secrets or NoSecrets()
    resolve = resolve_from(source)

    def make_webhook(webhook: Webhook) -> Notifier:
        source.conceal(webhook.target, webhook.hidden)
        base_url = settings.base_url
        made = WebhookNotifier(webhook, base_url=base_url, clock=clock, guard=guard, resolve=resolve, carry=carry)
        return wear(made)

    built = (builder(settings, clock, resolve) for builder in BUILDERS)
    return Alerting(
        [*(wear(notifier) for notifier in built if notifier is not None), *map(make_webhook, webhooks)],
        fallback=wear(Console(terminal, settings.zone)),
        make_webhook=make_webhook,
        clock=clock,
        rng=rng,
    )
