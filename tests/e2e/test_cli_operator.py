"""`medic-cli` against the real Medic: an operator's day, one verb after the other, as the runbook has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.pages import wait_for_pages
from tests.e2e.process import MedicProcess
from tests.vendors import VendorProcess

COMMAND = str(Path(sys.executable).parent / "medic-cli")


def cli(medic: MedicProcess, *words: str, status: int = 0) -> str:
    """What it prints; the exit status has to be this one."""
    environment = {**os.environ, "MEDIC_BASE_URL": medic.url, "USER": "ann"}
    done = subprocess.run(
        [COMMAND, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == status, f"medic-cli {' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def rows(medic: MedicProcess, *words: str) -> Any:
    """The JSON it prints."""
    return json.loads(cli(medic, *words, "--output", "json"))


def test_a_service_is_registered_explained_changed_muted_and_deleted(medic: MedicProcess) -> None:
    said = cli(medic, "service", "register", "pay/nightly", "--interval", "5m", "--team", "platform", "--grace", "30s")
    assert "Heartbeat successfully registered." in said
    said = cli(medic, "service", "register", "pay/nightly", "--interval", "10m")
    assert "alert_interval is 5, asked for: 10" in said
    assert "30 s" in cli(medic, "service", "get", "pay/nightly")
    assert "has not been heard of yet" in cli(medic, "service", "why", "PAY/nightly")

    cli(medic, "heartbeat", "send", "pay/nightly")
    assert "pay/nightly" in cli(medic, "heartbeat", "list", "--name", "pay/nightly")
    said = cli(medic, "service", "why", "pay/nightly")
    assert "pay/nightly is up." in said
    assert "the terminal of Medic" in said

    cli(
        medic,
        "service",
        "update",
        "pay/nightly",
        "--interval",
        "1h",
        "--priority",
        "p1",
        "--runbook",
        "https://r.example",
    )
    row = rows(medic, "service", "get", "pay/nightly")
    assert (row["alert_interval"], row["priority"], row["runbook"]) == (60, "p1", "https://r.example")

    cli(medic, "service", "register", "report", "--interval", "5m", "--team", "platform")
    assert cli(
        medic, "service", "mute", "--match", "pay*", "--team", "platform", "--duration", "2h", "--reason", "move"
    )
    muted = rows(medic, "service", "list", "--muted")
    assert [(row["heartbeat_name"], row["mute_reason"], row["muted_by"]) for row in muted] == [
        ("pay/nightly", "move", "ann")
    ]
    assert "by ann (move)" in cli(medic, "service", "why", "pay/nightly")
    cli(medic, "service", "unmute", "pay/nightly")

    cli(medic, "service", "deactivate", "pay/nightly")
    assert "inactive since" in cli(medic, "heartbeat", "send", "pay/nightly", status=1)
    assert "from 127.0.0.1: inactive" in cli(medic, "service", "why", "pay/nightly")
    assert [row["heartbeat_name"] for row in rows(medic, "service", "list", "--active")] == ["report"]
    cli(medic, "service", "activate", "pay/nightly")

    assert "--yes" in cli(medic, "service", "delete", "report", status=2)
    cli(medic, "service", "delete", "pay/nightly", "report", "--yes")
    assert "not registered" in cli(medic, "service", "get", "report", status=1)


def test_an_alert_is_seen_acknowledged_and_resolved(vendors: VendorProcess, medic: MedicProcess) -> None:
    cli(medic, "service", "register", "backup", "--interval", "1h")
    cli(medic, "heartbeat", "send", "backup", "--status", "FAILED", "--run-id", "42")
    assert "backup" in cli(medic, "alerts", "list", "--active")
    [alert] = rows(medic, "alerts", "list", "--active")
    number = str(alert["alert_id"])
    said = cli(medic, "service", "why", "backup")
    assert f"Alert {number} is open since" in said
    assert "because it reported FAILED" in said
    assert "told to PagerDuty, Slack" in said
    cli(medic, "alerts", "ack", number, "--note", "on it")
    wait_for_pages(vendors, "acknowledge", 1, seconds=10)
    assert "ann acknowledged it" in cli(medic, "service", "why", "backup")
    cli(medic, "alerts", "resolve", number, "--note", "mended")
    wait_for_pages(vendors, "resolve", 1, seconds=10)
    assert "closed already" in cli(medic, "alerts", "resolve", number, status=1)
    said = medic.wait_for(lambda: (text := cli(medic, "alerts", "get", number)) if "mended" in text else "")
    for word in ("acknowledged", "ann", "on it", "by_hand", "pagerduty", "slack", "delivered"):
        assert word in said, said


def test_a_test_page_goes_out_and_is_resolved(vendors: VendorProcess, medic: MedicProcess) -> None:
    cli(medic, "service", "register", "drill", "--interval", "1h")
    assert "pagerduty" in cli(medic, "alerts", "test", "drill")
    wait_for_pages(vendors, "trigger", 1, seconds=10)
    wait_for_pages(vendors, "resolve", 1, seconds=10)


def test_a_test_page_that_only_the_terminal_gets_says_so(medic: MedicProcess) -> None:
    cli(medic, "service", "register", "drill", "--interval", "1h")
    assert "console" in cli(medic, "alerts", "test", "drill")


def test_names_nobody_registered_are_listed(medic: MedicProcess) -> None:
    cli(medic, "heartbeat", "send", "typo", status=1)
    cli(medic, "heartbeat", "send", "typo", status=1)
    [row] = rows(medic, "heartbeat", "refused")
    assert (row["heartbeat_name"], row["count"], row["address"]) == ("typo", 2, "127.0.0.1")
    assert "refused 2 times" in cli(medic, "service", "why", "typo", status=1)


def test_webhooks_are_kept(medic: MedicProcess) -> None:
    said = cli(medic, "webhook", "add", "https://hooks.example/medic", "--header", "Authorization: Bearer geheim")
    number = said.rsplit("id is ", 1)[1].strip(" .\n")
    said = cli(medic, "webhook", "list")
    assert "https://hooks.example/medic" in said
    assert "geheim" not in said
    cli(medic, "webhook", "remove", number)
    assert rows(medic, "webhook", "list") == []
    assert "no webhook" in cli(medic, "webhook", "remove", number, status=1)


def test_health_is_told_by_the_exit_status(medic: MedicProcess) -> None:
    assert "is healthy" in cli(medic, "health")
    medic.stop()
    assert "cannot be reached" in cli(medic, "health", status=3)
