"""The Standard Webhooks scheme, and heartbeats that carry a signature instead of a key."""

from __future__ import annotations

import base64
import hmac

import pytest

from medic.access.scope import Scope
from medic.access.shown_once import REMEMBERED_MAX
from medic.access.signed import (
    ID,
    SECRET_BYTES,
    SIGNATURE,
    TIMESTAMP,
    TOLERANCE_MS,
    SignedRequests,
    read_secret,
    sign,
    write_secret,
)
from medic.core.units import InstantMs
from medic.errors import UnauthorizedError

# The reference implementations' own test vector.
VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_SECONDS = 1_614_265_330
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

NOW = InstantMs(VECTOR_SECONDS * 1000)
SECRET = read_secret(VECTOR_SECRET)


def verifier(now: InstantMs = NOW) -> SignedRequests:
    return SignedRequests(SECRET, added_at=now)


def signed(
    message_id: str = VECTOR_ID, seconds: int = VECTOR_SECONDS, body: bytes = VECTOR_BODY, secret: bytes = SECRET
) -> dict[str, str]:
    return {ID: message_id, TIMESTAMP: str(seconds), SIGNATURE: sign(secret, message_id, seconds, body)}


def reason(requests: SignedRequests, headers: dict[str, str], body: bytes = VECTOR_BODY, now: int = NOW) -> str:
    """Why it is refused; empty where it is taken."""
    try:
        requests.verify(headers, body, InstantMs(now))
    except UnauthorizedError as error:
        return error.reason
    return ""


def test_a_signature_is_that_of_the_reference():
    assert sign(SECRET, VECTOR_ID, VECTOR_SECONDS, VECTOR_BODY) == VECTOR_SIGNATURE


def test_a_signature_is_hmac_over_id_timestamp_and_body():
    digest = hmac.new(SECRET, b"7.2.1614265330.{}", "sha256").digest()
    assert sign(SECRET, "7.2", VECTOR_SECONDS, b"{}") == "v1," + base64.b64encode(digest).decode()


def test_a_secret_is_written_and_read():
    secret = bytes(range(SECRET_BYTES))
    assert write_secret(secret).startswith("whsec_")
    assert read_secret(write_secret(secret)) == secret
    assert read_secret("a text of sixteen") == b"a text of sixteen"


@pytest.mark.parametrize(
    "text", ["", "short", "fifteen letters", "whsec_", "whsec_AAAA", "whsec_" + "A" * 31, "whsec_" + "A" * 31 + "*"]
)
def test_a_secret_that_is_short_or_no_base64_is_refused(text):
    with pytest.raises(ValueError, match="must be whsec_ and at least 24 bytes"):
        read_secret(text)


def test_a_signed_request_counts_as_a_key_of_scope_heartbeat():
    key = verifier().verify(signed(), VECTOR_BODY, NOW)
    assert (key.key_id, key.name, key.scopes) == ("webhook", "webhook", {Scope.HEARTBEAT})


def test_a_request_without_these_headers_is_not_signed():
    assert verifier().verify({"content-type": "application/json"}, VECTOR_BODY, NOW) is None


def test_one_of_several_signatures_is_enough():
    headers = signed()
    headers[SIGNATURE] = f"v1,AAAA v1a,{'x' * 44} {headers[SIGNATURE]}"
    assert reason(verifier(), headers) == ""


def test_only_so_many_signatures_are_looked_at():
    headers = signed()
    headers[SIGNATURE] = "v1,AAAA " * 8 + headers[SIGNATURE]
    assert reason(verifier(), headers) == "signature_wrong"


@pytest.mark.parametrize(
    "change",
    [
        {ID: None},
        {TIMESTAMP: None},
        {SIGNATURE: None},
        {ID: ""},
        {ID: "x" * 257},
        {ID: "msg_ü"},
        {TIMESTAMP: ""},
        {TIMESTAMP: "now"},
        {TIMESTAMP: "-1"},
        {TIMESTAMP: "1614265330.5"},
        {TIMESTAMP: "１６１４２６５３３０"},
        {TIMESTAMP: "9" * 13},
        {SIGNATURE: ""},
    ],
)
def test_a_request_that_is_signed_by_halves_is_malformed(change):
    headers = {name: value for name, value in {**signed(), **change}.items() if value is not None}
    assert reason(verifier(), headers) == "signature_malformed"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (signed(secret=b"another secret of Medic's"), VECTOR_BODY),
        (signed(), b'{"test": 2432232315}'),
        (signed(), b""),
        ({**signed(), ID: "msg_other"}, VECTOR_BODY),
        ({**signed(), TIMESTAMP: str(VECTOR_SECONDS + 1)}, VECTOR_BODY),
        ({**signed(), SIGNATURE: VECTOR_SIGNATURE.removeprefix("v1,")}, VECTOR_BODY),
        ({**signed(), SIGNATURE: VECTOR_SIGNATURE.replace("v1", "v2")}, VECTOR_BODY),
        ({**signed(), SIGNATURE: VECTOR_SIGNATURE.lower()}, VECTOR_BODY),
        ({**signed(), SIGNATURE: VECTOR_SIGNATURE.replace(" ", ",")[:-1]}, VECTOR_BODY),
        ({**signed(), SIGNATURE: "v1,ü"}, VECTOR_BODY),
    ],
)
def test_a_signature_of_something_else_is_wrong(headers, body):
    assert reason(verifier(), headers, body) == "signature_wrong"


@pytest.mark.parametrize(
    ("skew", "said"),
    [
        (0, ""),
        (TOLERANCE_MS, ""),
        (-TOLERANCE_MS, ""),
        (TOLERANCE_MS + 1, "signature_stale"),
        (-TOLERANCE_MS - 1, "signature_stale"),
    ],
)
def test_a_signature_is_good_for_five_minutes_either_way(skew, said):
    assert reason(verifier(), signed(), now=NOW + skew) == said


def test_a_signature_is_taken_once_within_its_five_minutes():
    requests = verifier(InstantMs(NOW - TOLERANCE_MS))
    early = NOW - TOLERANCE_MS
    assert reason(requests, signed(), now=early) == ""
    for later in range(0, 2 * TOLERANCE_MS + 1, TOLERANCE_MS // 2):
        assert reason(requests, signed(), now=early + later) == "signature_replayed"
    assert reason(requests, signed(), now=early + 2 * TOLERANCE_MS + 1) == "signature_stale"


def test_a_sender_that_tries_again_signs_again():
    requests = verifier()
    assert reason(requests, signed()) == ""
    assert reason(requests, signed(seconds=VECTOR_SECONDS + 1)) == ""
    assert reason(requests, signed(body=b"{}"), b"{}") == ""


def test_what_is_refused_is_not_remembered():
    requests = verifier()
    forged = {**signed(), SIGNATURE: "v1,AAAA"}
    assert reason(requests, forged) == "signature_wrong"
    assert requests.remembered == 0
    assert reason(requests, signed()) == ""
    assert requests.remembered == 1


def test_what_is_no_longer_good_is_forgotten():
    requests = verifier()
    for minute in range(0, 60, 2):
        seconds = VECTOR_SECONDS + minute * 60
        assert reason(requests, signed(seconds=seconds), now=NOW + minute * 60_000) == ""
        assert requests.remembered <= 12


def test_what_is_remembered_is_bounded(monkeypatch):
    assert REMEMBERED_MAX >= 10_000
    monkeypatch.setattr("medic.access.shown_once.REMEMBERED_MAX", 3)
    requests = verifier()
    for number in range(20):
        assert reason(requests, signed(f"msg_{number}")) == ""
        assert requests.remembered <= 6
    # The newest are known still; the oldest are good a second time, as the essay says.
    assert [reason(requests, signed(f"msg_{number}")) for number in (17, 18, 19)] == ["signature_replayed"] * 3
    assert reason(requests, signed("msg_0")) == ""


def test_a_clock_that_is_set_back_keeps_nothing_for_ever():
    requests = verifier()
    assert reason(requests, signed()) == ""
    day = 86_400_000
    seconds = VECTOR_SECONDS - 86_400
    for number in range(3):
        now = NOW - day + number * 3 * TOLERANCE_MS
        assert reason(requests, signed(seconds=seconds + number * 900), now=now) == ""
    assert requests.remembered <= 2
