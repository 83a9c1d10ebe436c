"""Slack, by `chat.postMessage`.

Names come from anybody who may register a service, and Slack's markup can page a whole channel (`<!channel>`), forge
links and hide text. So whatever Medic did not write itself stands in `plain_text` objects, where nothing is
interpreted, with `&`, `<` and `>` escaped as Slack asks for in every text; the only `mrkdwn` is the line of links that
Medic builds. The `text` beside the blocks, which phones and screen readers show, is sent with `mrkdwn: false`.

Source: https://docs.slack.dev/reference/methods/chat.postMessage and /messaging/formatting-message-text
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import orjson

from medic.alerting.attempt import Attempt, Delivered, Refused, Retry, Throttled
from medic.alerting.outbound import Answer, host_of, judge, outbound_client, post, safe
from medic.alerting.resolving import Resolve, resolve_nothing
from medic.alerting.wording import clipped, duration_words, headline, reason_words, shown_at, summary
from medic.core.notification import SLACK, Notification
from medic.core.status import NotificationKind
from medic.ports import Clock

API_URL: Final = "https://slack.com/api"

SECTION_MAX: Final = 3_000
FIELD_MAX: Final = 2_000
FIELDS_MAX: Final = 10
LINK_MAX: Final = 1_500
"""Characters of a runbook's address that still fit with the alert's into one context element of 2 000."""

_SYMBOLS: Final = {
    NotificationKind.TRIGGER: "🔴",
    NotificationKind.REMINDER: "🔴",
    NotificationKind.ESCALATION: "🔴",
    NotificationKind.RESOLVE: "🟢",
    NotificationKind.DEGRADED_OVER: "🟢",
}

_THROTTLED: Final = frozenset({"ratelimited", "rate_limited"})
_UNCERTAIN: Final = frozenset({"internal_error", "fatal_error"})
"""Slack: "It's possible some aspect of the operation succeeded before the error was raised"."""
_PASSING: Final = frozenset({"service_unavailable", "request_timeout", "team_added_to_org", "accesslimited"})

_ADVICE: Final = {
    "invalid_auth": "SLACK_API_TOKEN is not valid",
    "not_authed": "SLACK_API_TOKEN is empty",
    "token_revoked": "SLACK_API_TOKEN was revoked",
    "token_expired": "SLACK_API_TOKEN has expired",
    "account_inactive": "SLACK_API_TOKEN belongs to a deleted app or workspace",
    "missing_scope": "the app needs the scope chat:write",
    "channel_not_found": "SLACK_CHANNEL_ID names no channel the app can see",
    "not_in_channel": "invite the app to the channel",
    "is_archived": "the channel is archived",
}


class Slack:
    """Implements `Notifier`.

    Args:
        token: The bot token. A secret, or a reference to a stored one.
        channel: Id of the channel.
        api_url: The Web API's base.
        base_url: `MEDIC_BASE_URL`, for links back.
        zone: `MEDIC_TIMEZONE`, in which times are shown.
        clock: To measure a Retry-After that is a date.
        resolve: Puts values in place of references.
    """

    target = SLACK

    def __init__(
        self,
        *,
        token: str,
        channel: str,
        api_url: str,
        base_url: str,
        zone: ZoneInfo,
        clock: Clock,
        resolve: Resolve = resolve_nothing,
    ) -> None:
        self._token = token
        self._resolve = resolve
        self._channel = channel
        self._url = f"{api_url.rstrip('/')}/chat.postMessage"
        self._base_url = base_url.rstrip("/")
        self._zone = zone
        self._clock = clock
        self._client = outbound_client()

    def takes(self, notification: Notification) -> bool:
        """Everything but acknowledgements: people in the channel are the ones who acknowledge."""
        return notification.kind is not NotificationKind.ACKNOWLEDGE

    async def send(self, notification: Notification) -> Attempt:
        """Post one message."""
        token = self._resolve(self._token)
        if isinstance(token, Refused):
            return token
        answer = await post(
            self._client,
            self._url,
            content=orjson.dumps(self.message(notification)),
            headers={
                "Content-Type": "application/json; charset=utf-8",
                "Authorization": f"Bearer {token}",
            },
            clock=self._clock,
        )
        return self._judge(answer, token) if isinstance(answer, Answer) else answer

    def message(self, notification: Notification) -> dict[str, object]:
        """The arguments of `chat.postMessage`."""
        said = f"{headline(notification)} {summary(notification)}"
        symbol = _SYMBOLS.get(notification.kind, "🟡")
        fields = [
            {"type": "plain_text", "text": _fitting(f"{name}: {value}", FIELD_MAX), "emoji": False}
            for name, value in self._facts(notification)
            if value
        ]
        blocks: list[dict[str, object]] = [
            {
                "type": "section",
                "text": {"type": "plain_text", "text": _fitting(f"{symbol} {said}", SECTION_MAX), "emoji": False},
            }
        ]
        if fields:
            blocks.append({"type": "section", "fields": fields[:FIELDS_MAX]})
        if links := self._links(notification):
            blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": links}]})
        return {
            "channel": self._channel,
            "text": _fitting(f"{symbol} {said}", SECTION_MAX),
            "mrkdwn": False,
            "unfurl_links": False,
            "unfurl_media": False,
            "blocks": blocks,
            "metadata": {
                "event_type": "medic_notification",
                "event_payload": {
                    "notification_id": notification.notification_id,
                    "kind": notification.kind.value,
                    "alert_id": notification.alert_id,
                },
            },
        }

    def describe(self) -> str:
        """Slack and its channel."""
        host = host_of(self._url)
        return f"Slack channel {self._channel}" + ("" if host == "slack.com" else f" at {host}")

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    def _facts(self, notification: Notification) -> tuple[tuple[str, str], ...]:
        late_since, last_seen = notification.late_since, notification.last_seen
        return (
            ("Since", "" if late_since is None else shown_at(late_since, self._zone)),
            ("Last heartbeat", "" if last_seen is None else shown_at(last_seen, self._zone)),
            ("Lasted", "" if notification.lasted_ms is None else duration_words(notification.lasted_ms)),
            ("Reason", "" if notification.reason is None else reason_words(notification)),
            ("Service", notification.service_name),
            ("Team", notification.team),
            ("Priority", notification.priority if notification.heartbeat_name else ""),
            ("By", notification.by),
            ("Note", notification.note),
            ("Alert", "" if notification.alert_id is None else str(notification.alert_id)),
        )

    def _links(self, notification: Notification) -> str:
        links = []
        if notification.runbook and len(notification.runbook) <= LINK_MAX:
            links.append(f"<{_address(notification.runbook)}|Runbook>")
        if notification.has_page:
            links.append(f"<{_address(f'{self._base_url}/alerts/{notification.alert_id}')}|Alert in Medic>")
        return " · ".join(links)

    def _judge(self, answer: Answer, token: str) -> Attempt:
        """Slack answers most errors with status 200 and `ok: false`."""
        said = _parsed(answer.body)
        error = said.get("error") if said is not None else None
        if answer.succeeded and said is not None and said.get("ok") is True:
            return Delivered()
        if isinstance(error, str) and answer.status < 500:
            return self._judge_error(error, answer.retry_after, token)
        if answer.succeeded:
            return Retry("answered something that is not Slack's", maybe_taken=True)
        return judge(answer, "")

    def _judge_error(self, error: str, retry_after: float | None, token: str) -> Attempt:
        word = safe(error, token)
        if error in _THROTTLED:
            return Throttled(f"answered {word}", retry_after)
        if error in _UNCERTAIN or error in _PASSING:
            return Retry(f"answered {word}", maybe_taken=error in _UNCERTAIN, retry_after=retry_after)
        advice = _ADVICE.get(error)
        return Refused(f"answered {word}" + (f": {advice}" if advice else ""))


def escaped(text: str) -> str:
    """`text` with Slack's three control characters as entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _fitting(text: str, longest: int) -> str:
    """`text` escaped, cut so that no entity is cut in two and the whole has at most `longest` characters."""
    whole = escaped(text)
    while len(whole) > longest:
        text = clipped(text, max(1, len(text) - (len(whole) - longest + 4) // 5))
        whole = escaped(text)
    return whole


def _address(url: str) -> str:
    """An address that cannot end the link it stands in."""
    return escaped(quote(url, safe="%/:=&?~#+!$,;'@()*[]"))


def _parsed(body: bytes) -> dict[str, object] | None:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return said if isinstance(said, dict) else None
