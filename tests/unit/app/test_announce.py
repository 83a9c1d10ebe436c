"""The first screen."""

from __future__ import annotations

import pytest

from medic.app.announce import Started, say_started
from medic.config.load import load_settings

STARTED = Started("0.1.0", ("http://127.0.0.1:8080",), "its own", services=0, alerts=0, targets="this terminal")
SLACK = {"SLACK_SIGNING_SECRET": "s" * 32}
WEBHOOK = {"MEDIC_WEBHOOK_SECRET": "w" * 32}


def said(**environment: str) -> list[str]:
    lines: list[str] = []
    say_started(STARTED, load_settings(environment), lines.append)
    return lines


def test_what_is_not_taken_for_its_signature_is_one_line_where_nothing_is() -> None:
    [line] = [line for line in said() if "is not set" in line or "are not set" in line]
    assert "SLACK_SIGNING_SECRET" in line
    assert "MEDIC_WEBHOOK_SECRET" in line


@pytest.mark.parametrize(
    ("environment", "unset"),
    [(SLACK, "MEDIC_WEBHOOK_SECRET"), (WEBHOOK, "SLACK_SIGNING_SECRET"), (SLACK | WEBHOOK, None)],
)
def test_either_has_a_line_of_its_own_where_one_is_set(environment: dict[str, str], unset: str | None) -> None:
    lines = said(**environment)
    assert len([line for line in lines if "buttons in Slack" in line]) == 1
    assert len([line for line in lines if "signed heartbeat" in line or "signatures of heartbeats" in line]) == 1
    assert unset is None or any(f"{unset} is not set" in line for line in lines)


def test_the_lines_to_try_show_a_key_where_one_is_needed() -> None:
    curls = {mode: [line for line in said(MEDIC_AUTH=mode) if " curl" in line] for mode in ("open", "keys")}
    assert not any("X-API-Key" in line for line in curls["open"])
    assert all("X-API-Key" in line for line in curls["keys"])
    assert len(curls["open"]) == len(curls["keys"]) == 3
