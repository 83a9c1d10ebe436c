"""The route of `/v2/slack/interactions`."""

from __future__ import annotations

from typing import Final

from medic.access.slack_signature import SIGNATURE, TIMESTAMP
from medic.http import shapes, slack
from medic.http.route import Parameter, Route, Told
from medic.http.slack_bodies import SlackForm

PATH: Final = "/v2/slack/interactions"
TAG: Final = "Slack"

SLACK: Final = (
    Route(
        "POST",
        PATH,
        slack.take_press,
        TAG,
        "Take what somebody pressed in Slack",
        {
            200: Told("Taken. What came of it is said in Slack."),
            401: Told("Not signed by Slack just now, or SLACK_SIGNING_SECRET is not set.", shapes.Refusal),
            429: Told("Too many of those came from this address.", shapes.Refusal),
            503: Told("Too many presses are under way, or Medic is stopping.", shapes.Refusal),
        },
        "For Slack alone: the signature is the credential. Buttons: Acknowledge, Mute 1 h, Mute 24 h. The actor is "
        "`slack:NAME (ID)`. Works while PostgreSQL is away.",
        body=SlackForm,
        body_type="application/x-www-form-urlencoded",
        query=None,
        headers=(TIMESTAMP, SIGNATURE),
        limited=False,
        scope=None,
    ),
    Route(
        "GET",
        PATH,
        slack.check_certificate,
        TAG,
        "Let Slack look at the certificate",
        {200: Told("Here it is.")},
        query=(Parameter("ssl_check", "flag", "1, as Slack sends it from time to time."),),
        limited=False,
        scope=None,
    ),
)
