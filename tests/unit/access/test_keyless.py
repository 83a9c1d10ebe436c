"""Which requests may come without a key where the mode is open: those of programs, by a known name, and directly."""

from __future__ import annotations

import pytest

from medic.access.introduction import Introduction
from medic.access.keyless import KeylessRules

RULES = KeylessRules(hosts=("medic.example", "medic-host:5000", "[2001:db8::1]"), origins=("https://grafana.example",))


def reason(rules: KeylessRules = RULES, **headers: object) -> str | None:
    refusal = rules.refusal(Introduction(**{"host": "localhost:8080", **headers}))  # type: ignore[arg-type]
    return None if refusal is None else refusal.reason


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "LOCALHOST:8080",
        "localhost.:8080",
        "127.0.0.1:8080",
        "127.9.9.9",
        "[::1]:8080",
        "medic.example",
        "Medic.Example:9999",
        "medic.example.",
        "medic-host:5000",
        "[2001:DB8::1]:80",
    ],
)
def test_it_answers_to_loopback_and_to_names_that_were_said(host: str) -> None:
    assert reason(host=host) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "medic-host",
        "medic-host:5001",
        "medic.example.evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "0.0.0.0:8080",
        "192.0.2.7",
        "[2001:db8::2]",
        "medic.example:port",
        "medic.example:80:80",
        "user@medic.example",
        "[::1",
        "\xe9",
    ],
)
def test_a_name_that_was_pointed_at_it_is_refused(host: str) -> None:
    assert reason(host=host) == "foreign_host"


def test_a_proxy_nobody_named_is_refused() -> None:
    assert reason(is_relayed=True) == "proxy"
    assert reason(KeylessRules(trusts_proxies=True), is_relayed=True) is None


@pytest.mark.parametrize(
    ("host", "origin", "site"),
    [
        ("localhost:8080", "http://localhost:8080", "same-origin"),
        ("localhost:8080", "http://LOCALHOST:8080", ""),
        ("medic.example", "https://medic.example", ""),
        ("localhost:8080", "", "none"),
        ("localhost:8080", "", "same-origin"),
        ("localhost:8080", "https://grafana.example", "cross-site"),
    ],
)
def test_its_own_page_and_those_named_may_call(host: str, origin: str, site: str) -> None:
    assert reason(host=host, origin=origin, fetch_site=site) is None


@pytest.mark.parametrize(
    ("origin", "site"),
    [
        ("http://evil.example", ""),
        ("null", ""),
        ("http://localhost:3000", "same-site"),
        ("http://localhost:8080", "cross-site"),
        ("", "cross-site"),
        ("", "same-site"),
        ("", "whatever comes next"),
        ("https://grafana.example.evil.example", ""),
        ("http://grafana.example", ""),
    ],
)
def test_a_page_of_others_is_refused(origin: str, site: str) -> None:
    assert reason(origin=origin, fetch_site=site) == "foreign_page"


def test_a_page_that_calls_by_its_own_name_is_none_of_ours_where_hosts_are_not_looked_at_either() -> None:
    refusal = RULES.page_refusal(Introduction(host="evil.example", origin="http://evil.example"))
    assert refusal is not None
    assert refusal.reason == "foreign_page"


def test_each_refusal_says_what_to_set() -> None:
    for introduction, variable in (
        (Introduction(host="evil.example"), "MEDIC_ALLOWED_HOSTS"),
        (Introduction(is_relayed=True), "MEDIC_TRUSTED_PROXIES"),
        (Introduction(origin="http://evil.example"), "MEDIC_CORS_ORIGINS"),
    ):
        refusal = RULES.refusal(introduction)
        assert refusal is not None
        assert variable in refusal.message
        assert "MEDIC_AUTH=keys" in refusal.message
