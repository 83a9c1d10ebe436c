"""`/v2/slack/interactions`: what people press in Slack. Whether Slack sent it, the signature says."""

from __future__ import annotations

from typing import Final

from medic.access.slack_signature import REASON, SIGNATURE, TIMESTAMP, UNSET
from medic.errors import Fault, InvalidInputError, RefusedError, UnauthorizedError
from medic.http.answers import Answer
from medic.http.call import Call
from medic.http.parts import ApiParts, SlackParts
from medic.http.slack_bodies import read_form, read_press

SENDER: Final = "slack"
"""What stands in place of a key's id where a signature was not believed."""

TAKEN: Final = Answer(200, b"", content_type="text/plain; charset=utf-8")
"""Slack shows people a warning for anything else."""

SSL_CHECK: Final = "ssl_check"
SSL_CHECK_BODY: Final = b"ssl_check=1"
"""How Slack looks at the certificate, unsigned. Nothing is done, whatever stands behind it."""


async def take_press(parts: ApiParts, call: Call) -> Answer:
    """Do what the pressed button says."""
    if call.body.startswith(SSL_CHECK_BODY):
        return TAKEN
    slack = _verified(parts, call)
    press = read_press(read_form(call.body), address=call.address, request_id=call.author.request_id)
    await slack.presses.take(press)
    return TAKEN


async def check_certificate(parts: ApiParts, call: Call) -> Answer:  # noqa: ARG001 - one signature for all views
    """Nothing is done: Slack looks at the certificate."""
    if not call.flag(SSL_CHECK):
        raise InvalidInputError((Fault(SSL_CHECK, "must be 1; what is pressed comes by POST"),))
    return TAKEN


def _verified(parts: ApiParts, call: Call) -> SlackParts:
    """What takes the press, once it is known that Slack sent it.

    Raises:
        UnauthorizedError, RateLimitedError: it is not, and was counted.
    """
    if parts.slack is None:
        raise _turned_away(parts, call, UnauthorizedError(UNSET, reason=REASON))
    signature, seconds = call.headers.get(SIGNATURE, ""), call.headers.get(TIMESTAMP, "")
    try:
        parts.slack.signatures.verify(seconds, signature, call.body, parts.clock.now())
    except UnauthorizedError as error:
        raise _turned_away(parts, call, error) from None
    return parts.slack


def _turned_away(parts: ApiParts, call: Call, error: UnauthorizedError) -> RefusedError:
    return parts.gatekeeper.turn_away(error, call.address, key_id=SENDER)
