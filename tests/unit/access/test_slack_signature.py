"""Signatures of Slack's, by Slack's own example."""

from __future__ import annotations

import pytest

from medic.access.slack_signature import TOLERANCE_MS, SlackSignatures, slack_signature
from medic.core.units import InstantMs
from medic.errors import UnauthorizedError

# The example of Slack's documentation, "Verifying requests from Slack".
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
SECONDS = 1531420618
BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
NOW = InstantMs(SECONDS * 1000)


def verifier() -> SlackSignatures:
    return SlackSignatures(SECRET, since=NOW)


def refusal(
    signatures: SlackSignatures,
    *,
    signature: str = SIGNATURE,
    seconds: str = str(SECONDS),
    body: bytes = BODY,
    at: int = 0,
) -> str:
    """What a request is refused with, so many milliseconds from its timestamp; empty where it is taken."""
    try:
        signatures.verify(seconds, signature, body, InstantMs(NOW + at))
    except UnauthorizedError as error:
        return f"{error.reason}: {error.message}"
    return ""


def test_slacks_own_example_is_believed():
    assert slack_signature(SECRET.encode(), SECONDS, BODY) == SIGNATURE
    assert refusal(verifier()) == ""


@pytest.mark.parametrize("away", [-TOLERANCE_MS, TOLERANCE_MS])
def test_a_signature_is_good_for_five_minutes_before_and_after(away):
    assert refusal(verifier(), at=away) == ""
    beyond = away + (1 if away > 0 else -1)
    assert "5 minutes from Medic's clock" in refusal(verifier(), at=beyond)


def test_a_signature_is_good_once():
    signatures = verifier()
    assert refusal(signatures) == ""
    assert "taken before" in refusal(signatures)
    assert "taken before" in refusal(signatures, at=TOLERANCE_MS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"body": BODY + b"&x=1"}, "is not that of this request"),
        ({"signature": SIGNATURE[:-1] + "4"}, "is not that of this request"),
        ({"signature": SIGNATURE.upper()}, "is not that of this request"),
        ({"signature": SIGNATURE.removeprefix("v0=")}, "is not that of this request"),
        ({"signature": f"{SIGNATURE},{SIGNATURE}"}, "is not that of this request"),
        ({"signature": "v0=é"}, "is not that of this request"),
        ({"seconds": str(SECONDS + 1)}, "is not that of this request"),
        ({"signature": ""}, "Slack sends"),
        ({"seconds": ""}, "Slack sends"),
        ({"seconds": "-1"}, "Slack sends"),
        ({"seconds": "１５３１４２０６１８"}, "Slack sends"),
        ({"seconds": "9" * 13}, "Slack sends"),
        ({"seconds": "0"}, "5 minutes"),
    ],
)
def test_anything_else_is_not(changes, said):
    signatures = verifier()
    refused = refusal(signatures, **changes)
    assert refused.startswith("slack_signature: ")
    assert said in refused
    # What was refused is not remembered: the true one is still good.
    assert refusal(signatures) == ""
