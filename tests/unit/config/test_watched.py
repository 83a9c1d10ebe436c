"""The variables by which Medic is watched: whom it calls, and how the outside watcher looks."""

from __future__ import annotations

import base64

import pytest

from medic.config.load import load_settings
from medic.config.secret_rules import references_of, values_of
from medic.config.settings import WatchSettings
from tests.unit.config.test_load import faults


@pytest.mark.parametrize(
    "url",
    [
        "https://calls.example/ping/4f6b?rid=1",
        "HTTPS://calls.example/x",
        "http://127.0.0.1:8080/heartbeat/medic-a",
        "https://[2001:db8::1]/x",
    ],
)
def test_whom_to_call_is_an_address_that_may_have_a_query(url: str) -> None:
    deadman = load_settings({"MEDIC_DEADMAN_URL": url}).deadman
    assert deadman is not None
    assert (deadman.url.get_secret_value(), deadman.seconds, deadman.key) == (url, 60.0, None)
    assert load_settings({}).deadman is None


def test_whom_to_call_may_be_a_stored_secret_behind_its_host() -> None:
    key = base64.b64encode(b"k" * 32).decode()
    given = {"MEDIC_DEADMAN_URL": "https://calls.example/${secrets.check}?x=${secrets.b}", "MEDIC_SECRETS_KEY": key}
    settings = load_settings({**given, "MEDIC_DEADMAN_KEY": "${secrets.key}", "MEDIC_DEADMAN_SECONDS": "5"})
    assert references_of(settings) == {"MEDIC_DEADMAN_URL": ("check", "b"), "MEDIC_DEADMAN_KEY": ("key",)}
    assert not any("secrets." in value for value in values_of(settings))
    assert "MEDIC_SECRETS_KEY" in faults(MEDIC_DEADMAN_URL=given["MEDIC_DEADMAN_URL"])


@pytest.mark.parametrize(
    "url",
    [
        "calls.example/x",
        "ftp://calls.example/geheim",
        "https://${secrets.host}/geheim",
        "https://calls.example:${secrets.port}/geheim",
        "https://me:geheim@calls.example/",
        "https://calls.example/geheim#x",
        "https://calls.example/geheim x",
        "https://calls.example/ä",
        "https://[calls/geheim",
        "https://calls.example/${secrets.a b}",
    ],
)
def test_an_address_to_call_that_is_none_is_a_fault_that_does_not_show_it(url: str) -> None:
    found = faults(MEDIC_DEADMAN_URL=url)
    assert found.keys() == {"MEDIC_DEADMAN_URL"}
    assert "geheim" not in found["MEDIC_DEADMAN_URL"]


def test_a_pace_or_a_key_alone_calls_nobody() -> None:
    for name in ("MEDIC_DEADMAN_SECONDS", "MEDIC_DEADMAN_KEY"):
        assert faults(**{name: "30"}) == {"MEDIC_DEADMAN_URL": f"is missing: {name} alone calls nobody"}


def test_the_watchers_variables_are_read() -> None:
    said = {"MEDIC_WATCH_SECONDS": "2.5", "MEDIC_WATCH_GRACE_SECONDS": "90", "MEDIC_WATCH_REFERENCES": "a:1,[::1]:2"}
    assert load_settings(said).watch == WatchSettings(2.5, 90.0, (("a", 1), ("::1", 2)))
    assert load_settings({}).watch == WatchSettings()
    for wrong in ("a", "a:0", ":1", "a:1,a:1", "a b:1"):
        assert faults(MEDIC_WATCH_REFERENCES=wrong).keys() == {"MEDIC_WATCH_REFERENCES"}
