"""What is shown as a key, out of the headers of a request."""

from __future__ import annotations

from base64 import b64encode

import pytest

from medic.access.introduction import Introduction, shown_key
from medic.errors import UnauthorizedError


def basic(text: str) -> str:
    return f"Basic {b64encode(text.encode('latin-1')).decode()}"


@pytest.mark.parametrize(
    ("authorization", "api_key", "shown"),
    [
        ((), (), ""),
        (("Bearer mdk_a_b",), (), "mdk_a_b"),
        (("bEARER   mdk_a_b ",), (), "mdk_a_b"),
        ((), ("mdk_a_b",), "mdk_a_b"),
        (("Bearer mdk_a_b",), ("mdk_a_b", "mdk_a_b"), "mdk_a_b"),
        (("Bearer ",), ("",), ""),
        (("",), (), ""),
        ((), ("", "mdk_a_b"), "mdk_a_b"),
        ((basic("mdk_a_b:"),), (), "mdk_a_b"),
        ((basic("mdk_a_b:x-oauth"),), (), "mdk_a_b"),
        ((basic("curl:mdk_a_b"),), (), "mdk_a_b"),
        ((basic(":mdk_a_b"),), (), "mdk_a_b"),
        ((basic("a key of operators: with a colon"),), (), " with a colon"),
        ((basic("a key of operators"),), (), "a key of operators"),
        ((basic(":"),), (), ""),
        ((basic("k\xe9y:"),), (), "k\xe9y"),
    ],
)
def test_the_key_is_where_clients_put_it(authorization: tuple[str, ...], api_key: tuple[str, ...], shown: str) -> None:
    assert shown_key(Introduction(authorization, api_key), takes_basic=True) == shown


@pytest.mark.parametrize(
    ("authorization", "api_key", "reason"),
    [
        (("Bearer mdk_a_b",), ("mdk_a_c",), "ambiguous"),
        ((), ("mdk_a_b", "mdk_a_c"), "ambiguous"),
        (("Bearer mdk_a_b", "Bearer mdk_a_c"), (), "ambiguous"),
        ((basic("mdk_a_b:"),), ("mdk_a_c",), "ambiguous"),
        (("Digest username=x",), (), "malformed"),
        (("mdk_a_b",), (), "malformed"),
        (("Basic mdk_a_b",), (), "malformed"),
        (("Basic \xe9",), (), "malformed"),
    ],
)
def test_what_is_no_key_or_two_of_them_is_refused(
    authorization: tuple[str, ...], api_key: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(UnauthorizedError) as refused:
        shown_key(Introduction(authorization, api_key), takes_basic=True)
    assert refused.value.reason == reason
    assert "mdk_a" not in refused.value.message


def test_basic_is_for_routes_that_take_it() -> None:
    with pytest.raises(UnauthorizedError, match="in one line only") as refused:
        shown_key(Introduction((basic("mdk_a_b:"),)), takes_basic=False)
    assert refused.value.reason == "malformed"
