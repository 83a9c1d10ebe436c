"""Who may call, as the environment says it."""

from __future__ import annotations

import pytest

from medic.access.mode import AuthMode
from medic.config.load import load_settings
from medic.errors import ConfigurationError


def faults(**environment: str) -> dict[str, str]:
    """Variable to sentence."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environment)
    found = {fault.field: fault.message for fault in caught.value.faults}
    assert len(found) == len(caught.value.faults), "one sentence a variable"
    return found


@pytest.mark.parametrize(
    "place", [{"MEDIC_HOST": "0.0.0.0"}, {"MEDIC_LISTEN_ALSO": "10.0.0.5:80"}, {"MEDIC_HOST": "medic.example"}]
)
def test_listening_beyond_this_machine_asks_which_database_is_meant_and_who_may_call(place: dict[str, str]) -> None:
    found = faults(**place)
    assert found.keys() == {"MEDIC_AUTH", "MEDIC_DATABASE"}
    assert found["MEDIC_DATABASE"].startswith("must be said")
    settings = load_settings({**place, "MEDIC_DATABASE": "embedded", "MEDIC_AUTH": "OPEN"})
    assert settings.database.kind == "embedded"
    assert not settings.listen.loopback_only
    assert settings.access.mode is AuthMode.OPEN


def test_who_does_not_say_who_may_call_is_shown_three_lines_that_each_start_medic() -> None:
    sentence = faults(MEDIC_HOST="0.0.0.0", MEDIC_DATABASE="embedded")["MEDIC_AUTH"]
    lines = [line.split("#")[0].split() for line in sentence.splitlines() if line.strip().startswith("MEDIC_AUTH=")]
    assert [line[0] for line in lines] == ["MEDIC_AUTH=keys", "MEDIC_AUTH=heartbeats-open", "MEDIC_AUTH=open"]
    for line in lines:
        chosen = dict(pair.split("=", 1) for pair in line if "=" in pair)
        if "MEDIC_ADMIN_API_KEY" in chosen:
            chosen["MEDIC_ADMIN_API_KEY"] = "0" * 64
        assert load_settings({"MEDIC_HOST": "0.0.0.0", "MEDIC_DATABASE": "embedded", **chosen}).access.mode_is_chosen


def test_on_loopback_medic_is_open_where_nothing_is_said() -> None:
    access = load_settings({}).access
    assert (access.mode, access.mode_is_chosen, access.hosts, access.cors_origins) == (AuthMode.OPEN, False, (), ())


def test_the_names_medic_answers_to_are_those_said_and_that_of_its_own_address() -> None:
    settings = load_settings(
        {
            "MEDIC_ALLOWED_HOSTS": "Medic.Example., medic-host:05000,[2001:DB8::1], [::2]:80",
            "MEDIC_BASE_URL": "https://[2001:db8::5]:8443/medic",
            "MEDIC_CORS_ORIGINS": "https://grafana.example,http://localhost:3000, http://[::1]:3000",
            "MEDIC_METRICS_OPEN": "true",
            "MEDIC_ADMIN_API_KEY": "a key of more than thirty-two characters",
        }
    )
    assert settings.access.hosts == (
        "medic.example",
        "medic-host:5000",
        "[2001:db8::1]",
        "[::2]:80",
        "[2001:db8::5]",
    )
    assert settings.access.cors_origins == ("https://grafana.example", "http://localhost:3000", "http://[::1]:3000")
    assert settings.access.metrics_open
    assert settings.admin_key is not None
    assert load_settings({"MEDIC_BASE_URL": "http://medic"}).access.hosts == ("medic",)
