"""How Slack's messages look: text, blocks and escapes. Pure.

Names come from anybody who may register a service, and Slack's markup can page a whole channel (`<!channel>`), forge
links and hide text. So whatever Medic did not write itself stands in `plain_text` objects, where nothing is
interpreted, with `&`, `<` and `>` escaped as Slack asks for in every text; the only `mrkdwn` is the line of links that
Medic builds. The `text` beside the blocks, which phones and screen readers show, is sent with `mrkdwn: false` where
Slack has that argument.

Source: https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from medic.alerting.wording import clipped, duration_words, headline, priority_words, reason_words, shown_at, summary
from medic.core.notification import Notification
from medic.core.status import NotificationKind

SECTION_MAX: Final = 3_000
FIELD_MAX: Final = 2_000
FIELDS_MAX: Final = 10
LINK_MAX: Final = 1_500
"""Characters of a runbook's address that still fit with the alert's into one context element of 2 000."""

Block = dict[str, object]
"""One block of a message, as Slack's reference has it."""

_SYMBOLS: Final = {
    NotificationKind.TRIGGER: "🔴",
    NotificationKind.REMINDER: "🔴",
    NotificationKind.ESCALATION: "🔴",
    NotificationKind.RESOLVE: "🟢",
    NotificationKind.DEGRADED_OVER: "🟢",
}


@dataclass(frozen=True, slots=True)
class Look:
    """What every message of this Medic has in common.

    Attributes:
        base_url: `MEDIC_BASE_URL`, for links back, without a slash at its end.
        zone: `MEDIC_TIMEZONE`, in which times are shown.
    """

    base_url: str
    zone: ZoneInfo

    def text(self, notification: Notification) -> str:
        """The whole in one line, escaped."""
        return fitting(self._said(notification), SECTION_MAX)

    def blocks(self, notification: Notification) -> list[Block]:
        """What is said, the facts, the links."""
        fields = [
            {"type": "plain_text", "text": fitting(f"{name}: {value}", FIELD_MAX), "emoji": False}
            for name, value in self._facts(notification)
            if value
        ]
        blocks = [section(self._said(notification))]
        if fields:
            blocks.append({"type": "section", "fields": fields[:FIELDS_MAX]})
        if links := self._links(notification):
            blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": links}]})
        return blocks

    def _said(self, notification: Notification) -> str:
        symbol = _SYMBOLS.get(notification.kind, "🟡")
        return f"{symbol} {headline(notification)} {summary(notification)}"

    def _facts(self, notification: Notification) -> tuple[tuple[str, str], ...]:
        late_since, last_seen = notification.late_since, notification.last_seen
        return (
            ("Since", "" if late_since is None else shown_at(late_since, self.zone)),
            ("Last heartbeat", "" if last_seen is None else shown_at(last_seen, self.zone)),
            ("Lasted", "" if notification.lasted_ms is None else duration_words(notification.lasted_ms)),
            ("Reason", "" if notification.reason is None else reason_words(notification)),
            ("Service", notification.service_name),
            ("Team", notification.team),
            ("Priority", priority_words(notification) if notification.heartbeat_name else ""),
            ("By", notification.by),
            ("Note", notification.note),
            ("Alert", "" if notification.alert_id is None else str(notification.alert_id)),
        )

    def _links(self, notification: Notification) -> str:
        links = []
        if notification.runbook and len(notification.runbook) <= LINK_MAX:
            links.append(f"<{_address(notification.runbook)}|Runbook>")
        if notification.has_page:
            links.append(f"<{_address(f'{self.base_url}/alerts/{notification.alert_id}')}|Alert in Medic>")
        return " · ".join(links)


def section(text: str) -> Block:
    """A block of plain text, escaped and cut to what Slack takes."""
    return {"type": "section", "text": {"type": "plain_text", "text": fitting(text, SECTION_MAX), "emoji": False}}


def remark(text: str) -> Block:
    """A block of small plain text."""
    return {"type": "context", "elements": [{"type": "plain_text", "text": fitting(text, FIELD_MAX), "emoji": False}]}


def escaped(text: str) -> str:
    """`text` with Slack's three control characters as entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def fitting(text: str, longest: int) -> str:
    """`text` escaped, cut so that no entity is cut in two and the whole has at most `longest` characters."""
    whole = escaped(text)
    while len(whole) > longest:
        text = clipped(text, max(1, len(text) - (len(whole) - longest + 4) // 5))
        whole = escaped(text)
    return whole


def _address(url: str) -> str:
    """An address that cannot end the link it stands in."""
    return escaped(quote(url, safe="%/:=&?~#+!$,;'@()*[]"))
