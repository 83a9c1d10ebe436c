"""Buttons in Slack: what takes presses, and what is said of them at a start."""

from __future__ import annotations

from random import SystemRandom

from medic.access.slack_signature import SlackSignatures
from medic.alerting.assembly import slack_api, slack_look
from medic.alerting.resolving import SecretSource, resolve_from
from medic.alerting.slack_presses import SlackPresses
from medic.app.build import notifier_settings
from medic.config.settings import Settings
from medic.http.parts import SlackParts
from medic.http.slack_routes import PATH
from medic.ports import Changes, Clock, Roster


def build_slack(
    settings: Settings, *, changes: Changes, roster: Roster, clock: Clock, secrets: SecretSource
) -> SlackParts | None:
    """What takes what is pressed; None where nothing can be believed, because `SLACK_SIGNING_SECRET` is not set."""
    secret = settings.slack_signing_secret
    if secret is None:
        return None
    chosen = notifier_settings(settings)
    presses = SlackPresses(
        changes=changes,
        roster=roster,
        clock=clock,
        look=slack_look(chosen),
        api=slack_api(chosen, clock, resolve_from(secrets)) if chosen.slack_token else None,
        rng=SystemRandom(),
    )
    return SlackParts(SlackSignatures(secret.get_secret_value(), since=clock.now()), presses)


def describe_buttons(settings: Settings) -> str:
    """Whether people can press buttons in Slack, for the first screen."""
    if settings.slack_signing_secret is None:
        return "no buttons in Slack, and what is pressed there is refused: SLACK_SIGNING_SECRET is not set"
    if settings.telling.slack is None:
        return "no buttons in Slack: SLACK_API_TOKEN and SLACK_CHANNEL_ID are not set"
    return f"buttons in Slack, whose app has to send what is pressed to {settings.listen.base_url}{PATH}"
