"""What a start says of who may call, and when it does not happen."""

from __future__ import annotations

import pytest

from medic.access.keys import ApiKey, KeyRing
from medic.access.scope import Scope
from medic.access.uses import KeyUses
from medic.actors.directory import Directory
from medic.app.access import build_gate, describe_access, describe_signatures, require_keys
from medic.config.load import load_settings
from medic.core.units import InstantMs
from medic.errors import ConfigurationError
from medic.metrics.requests import RequestMeter
from tests.fakes.alerting import StandingClock

NOW = InstantMs(1_000)
WORKING = ApiKey("id", "n", frozenset({Scope.READ}), b"", InstantMs(0))
ENDED = ApiKey("id", "n", frozenset({Scope.ADMIN}), b"", InstantMs(0), expires_at=NOW)


@pytest.mark.parametrize("mode", ["keys", "heartbeats-open"])
def test_a_mode_that_needs_keys_needs_one_that_works(mode: str) -> None:
    settings = load_settings({"MEDIC_AUTH": mode})
    for ring in (KeyRing(), KeyRing([ENDED])):
        with pytest.raises(ConfigurationError) as refused:
            require_keys(settings, ring, NOW)
        assert f"is {mode}, and there is no key" in str(refused.value)
        assert "MEDIC_AUTH=open" in str(refused.value)
    require_keys(settings, KeyRing([WORKING]), NOW)
    require_keys(settings, KeyRing(admin="k" * 32), NOW)


def test_the_open_mode_needs_none() -> None:
    require_keys(load_settings({}), KeyRing(), NOW)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "open to every program on this machine"),
        ({"MEDIC_AUTH": "open"}, "open to every program on this machine"),
        (
            {"MEDIC_AUTH": "open", "MEDIC_HOST": "0.0.0.0", "MEDIC_DATABASE": "embedded"},
            "open to whoever reaches the port (MEDIC_AUTH=open)",
        ),
        ({"MEDIC_AUTH": "heartbeats-open"}, "heartbeats need no API key, everything else does"),
        ({"MEDIC_AUTH": "keys"}, "everything but health needs an API key"),
    ],
)
def test_the_first_screen_says_who_may_call(environment: dict[str, str], said: str) -> None:
    assert describe_access(load_settings(environment)).startswith(said)


def test_a_start_says_whether_signatures_are_looked_at() -> None:
    unset, given = load_settings({}), load_settings({"MEDIC_WEBHOOK_SECRET": "a-text-of-sixteen-and-more"})
    assert "MEDIC_WEBHOOK_SECRET is not set" in describe_signatures(unset)
    assert "needs no key" in describe_signatures(given)
    for settings, verifies in ((unset, False), (given, True)):
        gate = build_gate(
            settings,
            KeyRing(),
            KeyUses(),
            roster=Directory(),
            clock=StandingClock(),
            meter=RequestMeter(),
            awake_until=InstantMs(0),
        )
        assert gate.verifies_signatures is verifies
