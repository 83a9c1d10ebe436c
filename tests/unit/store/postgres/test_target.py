"""Where a PostgreSQL is: what its URL names, what is refused, what is never shown."""

from __future__ import annotations

import pytest

from medic.store.postgres.target import ConnectionTarget


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("postgresql://u:p@db.example.org/medic", ConnectionTarget("db.example.org", "medic", "u", "p")),
        ("postgres://u@[::1]:6000/a%2Fb", ConnectionTarget("::1", "a/b", "u", None, 6000)),
        ("postgresql://u:p%40ss@h/d?sslmode=require", ConnectionTarget("h", "d", "u", "p@ss", 5432, "require")),
        (
            "postgresql://u@h/d?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            ConnectionTarget("h", "d", "u", None, 5432, "verify-full", "/etc/ca.pem"),
        ),
        ("postgresql:///d?host=/run/pg&user=u&port=7", ConnectionTarget("/run/pg", "d", "u", None, 7)),
    ],
)
def test_a_url_names_a_target(url: str, target: ConnectionTarget) -> None:
    assert ConnectionTarget.from_url(url) == target


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://u@h/d", "must begin with postgresql://"),
        ("postgresql://h/d", "must name host, user and database"),
        ("postgresql://u@h", "must name host, user and database"),
        ("postgresql://u:sesame@h/d?sslmode=sometimes", "sslmode must be one of"),
        ("postgresql://u:sesame@h/d?target_session_attrs=any", "Medic does not know: target_session_attrs"),
        ("postgresql://u:sesame@h:port/d", "port"),
        ("postgresql://u:sesame@h/d?port=x", "port"),
    ],
)
def test_a_url_that_asks_for_something_else_is_refused(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        ConnectionTarget.from_url(url)

    assert "sesame" not in str(caught.value)


def test_a_password_is_not_shown() -> None:
    assert "sesame" not in repr(ConnectionTarget("h", "d", "u", "sesame"))


def test_psql_finds_a_socket_by_its_environment() -> None:
    names = ConnectionTarget("/run/pg", "d", "u").environment()

    assert (names["DB_HOST"], names["DB_PORT"], names["DB_NAME"], names["PG_USER"]) == ("/run/pg", "5432", "d", "u")
    assert "PG_PASS" not in names
    assert "PGSSLMODE" not in names


def test_psql_finds_a_server_by_its_environment() -> None:
    target = ConnectionTarget("h", "d", "u", "p", sslmode="verify-full", sslrootcert="/etc/ca.pem")

    names = target.environment()

    assert (names["PG_PASS"], names["PGPASSWORD"]) == ("p", "p")
    assert (names["PGSSLMODE"], names["PGSSLROOTCERT"]) == ("verify-full", "/etc/ca.pem")


@pytest.mark.parametrize(
    ("target", "dsn"),
    [
        (ConnectionTarget("/run/pg", "d", "u", sslmode="require"), "postgresql://?sslmode=disable"),
        (ConnectionTarget("h", "d", "u"), "postgresql://?sslmode=prefer"),
        (
            ConnectionTarget("h", "d", "u", sslmode="verify-ca", sslrootcert="/a b/ca.pem"),
            "postgresql://?sslmode=verify-ca&sslrootcert=%2Fa+b%2Fca.pem",
        ),
    ],
)
def test_the_driver_is_told_how_to_encrypt_and_nothing_else(target: ConnectionTarget, dsn: str) -> None:
    assert target.ssl_dsn() == dsn
