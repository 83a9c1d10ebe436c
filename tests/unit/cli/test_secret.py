"""`medic-cli secret …`: a value comes by stdin, and nothing shows it."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
import typer

from tests.unit.cli.conftest import Run
from tests.unit.cli.small_medic import SmallMedic, bad, good

ROW: dict[str, Any] = {
    "name": "slack-bot",
    "key_id": "0a1b2c3d",
    "state": "readable",
    "used_by": ["SLACK_API_TOKEN", "webhook:7"],
    "date_added": "2026-11-24T00:00:00.000Z",
    "date_modified": "2026-11-24T00:00:00.000Z",
    "modified_by": "ann",
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_value_is_read_from_stdin(small: SmallMedic, run: Run, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"xoxb-value{end}"))
    small.scripted = [good(201, "Secret stored.", ROW)]
    ended = run("secret", "set", "slack-bot")
    assert (ended.status, ended.out) == (0, "Secret stored.\n")
    assert small.last.body == {"name": "slack-bot", "value": "xoxb-value"}
    assert "xoxb" not in ended.out + ended.err


def test_on_a_terminal_it_is_asked_for_unseen(small: SmallMedic, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []

    def prompt(text: str, **how: object) -> str:
        asked.append({"text": text, **how})
        return "typed-value"

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(typer, "prompt", prompt)
    small.scripted = [good(200, "Secret replaced.", ROW)]
    assert run("secret", "set", "slack-bot", "-o", "json").json == ROW
    assert small.last.body == {"name": "slack-bot", "value": "typed-value"}
    assert asked == [{"text": "Value of slack-bot", "hide_input": True, "confirmation_prompt": True, "err": True}]


def test_a_value_is_no_argument(run: Run) -> None:
    assert run("secret", "set", "slack-bot", "xoxb-value").status == 2


def test_secrets_are_listed(small: SmallMedic, run: Run) -> None:
    small.scripted = [good(200, "", [ROW])]
    said = run("secret", "list").out
    for word in ("slack-bot", "SLACK_API_TOKEN, webhook:7", "readable", "ann", "0a1b2c3d"):
        assert word in said
    small.scripted = [good(200, "", [ROW])]
    assert run("secret", "list", "-o", "json").json == [ROW]
    small.scripted = [good(200, "", [])]
    assert "There is no secret." in run("secret", "list").err + run("secret", "list").out


def test_deleting_asks_or_is_told_not_to(small: SmallMedic, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("secret", "delete", "slack-bot").status == 2
    small.scripted = [good(200, "Secret deleted.", "")]
    assert run("secret", "delete", "slack-bot", "--yes", "--force").out == "Secret deleted.\n"
    assert (small.last.method, small.last.path) == ("DELETE", "/v2/secrets/slack-bot")
    assert small.last.query == {"force": "1"}
    small.scripted = [bad(409, "The secret slack-bot is referred to by SLACK_API_TOKEN.")]
    assert run("secret", "delete", "slack-bot", "-y").status == 1
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert run("secret", "delete", "slack-bot").status == 1
