"""PagerDuty and Slack: reached, known to them; and, where that is asked for, really sent something."""

from __future__ import annotations

import socket
import ssl
from random import SystemRandom
from urllib.parse import urlsplit

import httpx
import trio

from medic.actors.clock import SightedClock, wall_now
from medic.alerting.assembly import pagerduty
from medic.alerting.attempt import Delivered
from medic.alerting.outbound import safe, trusted_authorities
from medic.alerting.resolving import resolve_from
from medic.app.build import notifier_settings
from medic.cli.checks.asking import ask
from medic.cli.checks.finding import Finding, Verdict, words
from medic.cli.checks.secrets import open_vault, token_of
from medic.config.settings import Settings
from medic.core.notification import Notification
from medic.core.status import NotificationKind
from medic.core.units import SightedMs

WRITE_SCOPE = "chat:write"
"""What a Slack app needs to post. Slack says in a header of each answer what a token may do."""


async def look_at_pagerduty(settings: Settings) -> list[Finding]:
    """Whether its address can be connected to. Its API has nothing that says whether a key is right without a page."""
    configured = settings.telling.pagerduty
    if configured is None:
        return [Finding("PagerDuty", Verdict.NOTE, "not configured", "set PAGERDUTY_ROUTING_KEY to page people")]
    parts = urlsplit(configured.events_url)
    host = parts.hostname or ""
    try:
        await connect(host, parts.port, with_tls=parts.scheme == "https")
    except (OSError, ssl.SSLError, trio.BrokenResourceError) as error:
        found = f"{host} cannot be reached: {words(error)}"
        return [Finding("PagerDuty", Verdict.BAD, found, "see to DNS and the firewall, or to PAGERDUTY_EVENTS_URL")]
    to_do = "medic doctor --send-test shows whether the key is right; so does medic-cli alerts test NAME"
    return [Finding("PagerDuty", Verdict.OK, f"{host} can be reached; no page was sent", to_do)]


async def connect(host: str, port: int | None, *, with_tls: bool, address: str = "") -> None:
    """Connect, with the handshake of TLS, and hang up; nothing is asked. At `address`, if not where `host` leads."""
    if not with_tls:
        await trio.aclose_forcefully(await trio.open_tcp_stream(address or host, port or 80))
        return
    plain = await trio.open_tcp_stream(address or host, port or 443)
    stream = trio.SSLStream(plain, trusted_authorities(), server_hostname=host, https_compatible=True)
    try:
        await stream.do_handshake()
    finally:
        await trio.aclose_forcefully(stream)


async def look_at_slack(settings: Settings) -> list[Finding]:
    """Whose the token is, and whether it may post (`auth.test`)."""
    configured = settings.telling.slack
    if configured is None:
        return [
            Finding("Slack", Verdict.NOTE, "not configured", "set SLACK_API_TOKEN and SLACK_CHANNEL_ID to post there")
        ]
    token = await token_of(settings, configured.token.get_secret_value())
    if token is None:
        return []  # that it is missing is said of the secrets
    try:
        said = await ask("POST", f"{configured.api_url}/auth.test", headers={"Authorization": f"Bearer {token}"})
    except httpx.HTTPError as error:
        found = f"{configured.api_url} cannot be reached: {words(error)}"
        return [Finding("Slack", Verdict.BAD, found, "see to DNS and the firewall, or to SLACK_API_URL")]
    fields = said.fields
    if fields.get("ok") is not True:
        if "error" not in fields:
            return [Finding("Slack", Verdict.BAD, f"{configured.api_url} is not Slack's API", "check SLACK_API_URL")]
        found = f"Slack refuses the token: {safe(str(fields['error']), token)}"
        return [Finding("Slack", Verdict.BAD, found, "check SLACK_API_TOKEN")]
    who = safe(f"{fields.get('user', 'a bot')} of {fields.get('team', 'a workspace')}", token)
    scopes = said.headers.get("x-oauth-scopes")
    if scopes is not None and WRITE_SCOPE not in {scope.strip() for scope in scopes.split(",")}:
        found = f"the token is valid ({who}), and may not post"
        return [Finding("Slack", Verdict.BAD, found, f"give the app the scope {WRITE_SCOPE} and install it again")]
    to_do = f"medic-cli alerts test NAME shows whether it may post to {configured.channel}"
    return [Finding("Slack", Verdict.OK, f"the token is valid: {who}", to_do)]


async def send_test(settings: Settings) -> list[Finding]:
    """Send PagerDuty a marked trigger and its resolve, by the notifier that pages people."""
    clock = SightedClock(resume_at=SightedMs(wall_now()))
    notifier = pagerduty(notifier_settings(settings), clock, resolve_from(await open_vault(settings)))
    if notifier is None:
        return [Finding("test page", Verdict.BAD, "PagerDuty is not configured", "set PAGERDUTY_ROUTING_KEY")]
    number = SystemRandom().getrandbits(32)
    text = f"TEST - medic doctor on {socket.gethostname()}: this is a test, nothing is wrong"
    try:
        for kind in (NotificationKind.TEST, NotificationKind.RESOLVE):
            attempt = await notifier.send(
                Notification(
                    notification_id=f"doctor.{number:08x}.{kind.value}",
                    kind=kind,
                    key=f"medic-doctor-{number:08x}",
                    at=clock.now(),
                    priority="p5",
                    text=text,
                )
            )
            if not isinstance(attempt, Delivered):
                word = "test page" if kind is NotificationKind.TEST else "end of the test page"
                found = f"PagerDuty did not take the {word}: {attempt.detail}"
                return [Finding("test page", Verdict.BAD, found, "check PAGERDUTY_ROUTING_KEY and the integration")]
    finally:
        await notifier.aclose()
    found = f"PagerDuty took a test page and its end, under the key medic-doctor-{number:08x}"
    return [Finding("test page", Verdict.OK, found, "see that it rang: whom it reaches is PagerDuty's to say")]
