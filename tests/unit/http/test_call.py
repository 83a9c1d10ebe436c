"""Paths, query strings and actors as they come over the wire."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic.errors import InvalidInputError
from medic.http.call import Call, canonical_path, read_actor, read_query


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/service/a%2Fb", "/service/a%2Fb"),
        (b"/service/a%2fb", "/service/a%2Fb"),
        (b"/%68ealth", "/health"),
        (b"/service/a b", "/service/a%20b"),
        (b"/service/%zz", "/service/%25zz"),
        (b"/service/%", "/service/%25"),
        (b"/service/\xff", "/service/%FF"),
        (b"http://medic:8080/service/x", "/service/x"),
        (b"http://medic", "/"),
        (b"", "/"),
        (b"*", "%2A"),
        (b"//heartbeat", "//heartbeat"),
    ],
)
def test_a_path_has_one_spelling(raw: bytes, path: str) -> None:
    assert canonical_path(raw) == path


@given(st.binary(max_size=50))
def test_any_path_is_read_and_its_spelling_is_final(raw: bytes) -> None:
    path = canonical_path(b"/" + raw)
    assert path.isascii()
    assert canonical_path(path.encode()) == path


@pytest.mark.parametrize(
    ("raw", "query"),
    [
        (b"", {}),
        (b"a=1&b=", {"a": "1", "b": ""}),
        (b"a=x%20y+z", {"a": "x y z"}),
        (b"a=%C3%BC", {"a": "ü"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
        (b"a", {"a": ""}),
        (b"&&a=1&", {"a": "1"}),
    ],
)
def test_a_query_is_read(raw: bytes, query: dict[str, str]) -> None:
    assert read_query(raw, ["a", "b"]) == query


@pytest.mark.parametrize("raw", [b"a=%FF", b"a=\xff", b"a=1&a=1", b"c=1", b"&".join([b"a=1"] * 40)])
def test_a_faulty_query_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidInputError):
        read_query(raw, ["a", "b"])


@given(st.binary(max_size=200))
def test_any_query_is_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(InvalidInputError):
        read_query(raw, ["a"])


@pytest.mark.parametrize(
    ("header", "actor"),
    [(None, "192.0.2.1"), ("", "192.0.2.1"), (" \t", "192.0.2.1"), (" ann ", "ann"), ("J\u00c3\u00b6rg", "Jörg"),
     ("J\u00f6rg", "Jörg"), ("x" * 100, "x" * 100)],
)  # fmt: skip
def test_the_actor_is_the_label_or_the_address(header: str | None, actor: str) -> None:
    assert read_actor(header, "192.0.2.1") == actor


@pytest.mark.parametrize("header", ["x" * 101, "a\tb", "a\u0080b", "a\x7fb"])
def test_a_faulty_actor_is_refused(header: str) -> None:
    with pytest.raises(InvalidInputError, match="X-Actor"):
        read_actor(header, "192.0.2.1")


def test_a_name_in_a_path_is_normalised() -> None:
    call = Call("GET", {"heartbeat_name": "e%CC%81%2Fx"}, {}, b"", "", "")
    assert call.name == "\u00e9/x"
