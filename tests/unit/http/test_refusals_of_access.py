"""What callers are told who may not, or not so often."""

from __future__ import annotations

import orjson

from medic.errors import ForbiddenError, RateLimitedError, UnauthorizedError
from medic.http.refusals import refuse


def test_401_says_how_to_sign_in() -> None:
    answer = refuse(UnauthorizedError("This needs a key.", reason="missing"))
    assert answer.status == 401
    assert dict(answer.headers)["WWW-Authenticate"] == 'Bearer realm="medic"'
    assert orjson.loads(answer.body) == {"success": False, "message": "This needs a key.", "results": ""}


def test_403_is_the_contracts_json() -> None:
    answer = refuse(ForbiddenError("The key may not.", reason="scope"))
    assert (answer.status, orjson.loads(answer.body)["message"]) == (403, "The key may not.")


def test_429_says_limit_and_when_to_come_again() -> None:
    answer = refuse(RateLimitedError("Too many.", limit=100, reset_seconds=60, retry_after_seconds=1))
    assert answer.status == 429
    assert dict(answer.headers) == {
        "Retry-After": "1",
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "60",
    }
