"""`medic-cli` against the real Medic: an operator's day, one verb after the other, as the runbook has them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import httpx
import pytest

from medic.cli import operator
from tests.e2e.pages import pages, wait_for_pages
from tests.e2e.process import MedicProcess
from tests.vendors import VendorProcess
from tests.vendors.webhook import signature_of

# Starting a Medic takes longer than any of these tests, so they share two: one that tells vendors, one that has none.


WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(scope="module")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VendorProcess]:
    with VendorProcess(tmp_path_factory.mktemp("vendors")) as process:
        yield process
        assert process.faults() == []


@pytest.fixture(scope="module")
def telling(
    vendors: VendorProcess, first_data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MedicProcess]:
    environment = {**vendors.environment, "MEDIC_WEBHOOK_SECRET": WEBHOOK_SECRET}
    yield from _running(first_data_dir, tmp_path_factory.mktemp("telling") / "data", **environment)


@pytest.fixture(scope="module")
def medic(first_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MedicProcess]:
    yield from _running(first_data_dir, tmp_path_factory.mktemp("quiet") / "data")


def _running(first_data_dir: Path, data_dir: Path, **environment: str) -> Iterator[MedicProcess]:
    subprocess.run(["cp", "-a", first_data_dir, data_dir], check=True)
    process = MedicProcess(data_dir, **environment).start()
    yield process
    assert process.stop() == 0, process.output()


COMMAND = str(Path(sys.executable).parent / "medic-cli")


def cli(medic: MedicProcess, *words: str, status: int = 0) -> str:
    """What it prints; the exit status has to be this one.

    It runs in this process: of a process of its own, starting Python would take most of the time.
    """
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("MEDIC_BASE_URL", medic.url)
        patch.setenv("USER", "ann")
        patch.setattr(sys, "argv", ["medic-cli", *words])
        patch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            operator.main()
    said = out.getvalue() + err.getvalue()
    assert (ended.value.code or 0) == status, f"medic-cli {' '.join(words)}\n{said}"
    return said


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
    assert [row["heartbeat_name"] for row in rows(medic, "service", "list", "--inactive")] == ["pay/nightly"]
    cli(medic, "service", "activate", "pay/nightly")

    assert "--yes" in cli(medic, "service", "delete", "report", status=2)
    cli(medic, "service", "delete", "pay/nightly", "report", "--yes")
    assert "not registered" in cli(medic, "service", "get", "report", status=1)


def test_an_alert_is_seen_acknowledged_and_resolved(vendors: VendorProcess, telling: MedicProcess) -> None:
    cli(telling, "service", "register", "backup", "--interval", "1h")
    cli(telling, "heartbeat", "send", "backup", "--status", "FAILED", "--run-id", "42")
    assert "backup" in cli(telling, "alerts", "list", "--active")
    [alert] = rows(telling, "alerts", "list", "--active")
    number = str(alert["alert_id"])
    said = cli(telling, "service", "why", "backup")
    assert f"Alert {number} is open since" in said
    assert "because it reported FAILED" in said
    assert "told to PagerDuty, Slack" in said
    cli(telling, "alerts", "ack", number, "--note", "on it")
    wait_for_pages(vendors, "acknowledge", 1)
    assert "ann acknowledged it" in cli(telling, "service", "why", "backup")
    cli(telling, "alerts", "resolve", number, "--note", "mended")
    wait_for_pages(vendors, "resolve", 1)
    assert "closed already" in cli(telling, "alerts", "resolve", number, status=1)
    # The history is PostgreSQL's, which learns of it a moment later.
    telling.wait_for(lambda: "mended" in cli(telling, "alerts", "get", number))
    said = cli(telling, "alerts", "get", number)
    for word in ("acknowledged", "ann", "on it", "by_hand", "pagerduty", "slack", "delivered"):
        assert word in said, said


def test_a_test_page_goes_out_and_is_resolved(vendors: VendorProcess, telling: MedicProcess) -> None:
    triggers, resolves = len(pages(vendors, "trigger")), len(pages(vendors, "resolve"))
    cli(telling, "service", "register", "drill", "--interval", "1h")
    assert "pagerduty" in cli(telling, "alerts", "test", "drill")
    wait_for_pages(vendors, "trigger", triggers + 1)
    wait_for_pages(vendors, "resolve", resolves + 1)


def test_a_test_page_that_only_the_terminal_gets_says_so(medic: MedicProcess) -> None:
    cli(medic, "service", "register", "rehearsal", "--interval", "1h")
    assert "console" in cli(medic, "alerts", "test", "rehearsal")


def test_names_nobody_registered_are_listed(medic: MedicProcess) -> None:
    cli(medic, "heartbeat", "send", "typo", status=1)
    cli(medic, "heartbeat", "send", "typo", status=1)
    [row] = rows(medic, "heartbeat", "refused")
    assert (row["heartbeat_name"], row["count"], row["address"]) == ("typo", 2, "127.0.0.1")
    assert "refused 2 times" in cli(medic, "service", "why", "typo", status=1)


def webhook_id(said: str) -> str:
    return said.split("id is ")[1].split(".", maxsplit=1)[0]


def shown_secret(said: str) -> str:
    """The secret that `webhook add` and `webhook rotate` print."""
    return said.split("signed with ")[1].split(",", maxsplit=1)[0]


def test_a_webhook_is_signed_with_the_secrets_that_were_shown(telling: MedicProcess, vendors: VendorProcess) -> None:
    cli(telling, "service", "register", "hooked", "--interval", "5m")
    said = cli(telling, "webhook", "add", vendors.webhook_url, "--name", "hooked")
    cli(telling, "alerts", "test", "hooked")
    first = vendors.wait_for("webhook", 1)[0]
    assert first["headers"]["webhook-signature"] == signature_of(shown_secret(said), first["headers"], first["text"])
    rotated = cli(telling, "webhook", "rotate", webhook_id(said))
    told = len(vendors.taken("webhook"))
    cli(telling, "alerts", "test", "hooked")
    last = vendors.wait_for("webhook", told + 1)[-1]
    signatures = last["headers"]["webhook-signature"].split(" ")
    known = [signature_of(shown_secret(text), last["headers"], last["text"]) for text in (rotated, said)]
    assert signatures == known
    cli(telling, "webhook", "remove", webhook_id(said))


@pytest.mark.parametrize("address", ["http://169.254.169.254/latest/", "http://10.0.0.1:5432/", "http://10.1/"])
def test_no_webhook_leads_inside(telling: MedicProcess, address: str) -> None:
    assert "url must" in cli(telling, "webhook", "add", address, status=1)


def test_a_signed_heartbeat_is_taken_once(telling: MedicProcess) -> None:
    cli(telling, "service", "register", "signed", "--interval", "5m")
    body = '{"heartbeat_name":"signed","service_name":"x","status":"UP"}'
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(time.time()))}
    headers["webhook-signature"] = signature_of(WEBHOOK_SECRET, headers, body)
    sent = [httpx.post(f"{telling.url}/heartbeat", content=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in sent] == [201, 401]
    assert "taken before" in sent[1].json()["message"]


def test_webhooks_are_kept(medic: MedicProcess) -> None:
    said = cli(medic, "webhook", "add", "https://hooks.example/medic", "--header", "Authorization: Bearer geheim")
    number = webhook_id(said)
    assert "whsec_" in said
    said = cli(medic, "webhook", "list")
    assert "https://hooks.example/medic" in said
    assert "geheim" not in said
    assert "whsec_" not in said
    cli(medic, "webhook", "remove", number)
    assert rows(medic, "webhook", "list") == []
    assert "no webhook" in cli(medic, "webhook", "remove", number, status=1)


def test_health_is_told_by_the_exit_status_of_the_command(medic: MedicProcess) -> None:
    asked = {**os.environ, "MEDIC_BASE_URL": medic.url}
    done = subprocess.run([COMMAND, "health"], env=asked, capture_output=True, text=True, check=False)
    # On a busy machine it may have been blind for a second, and says so for an hour.
    assert {0: "is healthy", 1: "is degraded"}[done.returncode] in done.stdout, done.stderr
