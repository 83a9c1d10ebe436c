"""Slack, by `chat.postMessage`: one message a notification, with buttons under what says that an alert is open.

Source: https://docs.slack.dev/reference/methods/chat.postMessage
"""

from __future__ import annotations

from medic.alerting.attempt import Attempt
from medic.alerting.notifier import CLAIMS
from medic.alerting.slack_api import SlackApi
from medic.alerting.slack_buttons import buttons
from medic.alerting.slack_look import Look
from medic.core.notification import SLACK, Notification
from medic.core.status import NotificationKind


class Slack:
    """Implements `Notifier`.

    Args:
        api: The Web API, used by nobody else.
        channel: Id of the channel.
        look: How messages look.
        has_buttons: Whether what people press is taken: a button that nobody answers misleads.
    """

    target = SLACK

    def __init__(self, api: SlackApi, *, channel: str, look: Look, has_buttons: bool = False) -> None:
        self._api = api
        self._channel = channel
        self._look = look
        self._has_buttons = has_buttons

    def takes(self, notification: Notification) -> bool:
        """Everything but acknowledgements: people in the channel are the ones who acknowledge."""
        return notification.kind is not NotificationKind.ACKNOWLEDGE

    async def send(self, notification: Notification) -> Attempt:
        """Post one message."""
        return await self._api.call("chat.postMessage", self.message(notification))

    def message(self, notification: Notification) -> dict[str, object]:
        """The arguments of `chat.postMessage`."""
        blocks = self._look.blocks(notification)
        alert_id = notification.alert_id
        if self._has_buttons and notification.kind in CLAIMS and notification.has_page and alert_id is not None:
            blocks.append(buttons(alert_id))
        return {
            "channel": self._channel,
            "text": self._look.text(notification),
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
        host = self._api.host
        return f"Slack channel {self._channel}" + ("" if host == "slack.com" else f" at {host}")

    async def aclose(self) -> None:
        """Close its connections."""
        await self._api.aclose()
