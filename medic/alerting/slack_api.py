"""Slack's Web API: one call, and what its answer means.

Source: https://docs.slack.dev/apis/web-api
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import orjson

from medic.alerting.attempt import Attempt, Delivered, Refused, Retry, SecretMissing, Throttled
from medic.alerting.outbound import Answer, host_of, judge, outbound_client, post, safe
from medic.alerting.resolving import Resolve, resolve_nothing
from medic.ports import Clock

API_URL: Final = "https://slack.com/api"

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


class SlackApi:
    """Calls methods of the Web API, over connections of its own.

    Args:
        token: The bot token. A secret, or a reference to a stored one.
        api_url: The Web API's base.
        clock: To measure a Retry-After that is a date.
        resolve: Puts values in place of references.
    """

    def __init__(self, *, token: str, api_url: str, clock: Clock, resolve: Resolve = resolve_nothing) -> None:
        self._token = token
        self._resolve = resolve
        self._base = api_url.rstrip("/")
        self._clock = clock
        self._client = outbound_client()

    @property
    def host(self) -> str:
        """Where it is, for people."""
        return host_of(self._base)

    async def call(self, method: str, arguments: Mapping[str, object]) -> Attempt:
        """Call one method, such as `chat.postMessage`, once."""
        token = self._resolve(self._token)
        if isinstance(token, SecretMissing):
            return token
        answer = await post(
            self._client,
            f"{self._base}/{method}",
            content=orjson.dumps(arguments),
            headers={
                "Content-Type": "application/json; charset=utf-8",
                "Authorization": f"Bearer {token}",
            },
            clock=self._clock,
        )
        return replace(self._judge(answer, token), status=answer.status) if isinstance(answer, Answer) else answer

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

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


def _parsed(body: bytes) -> dict[str, object] | None:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return said if isinstance(said, dict) else None
