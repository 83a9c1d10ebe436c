"""Two Medics on one database, each with a data directory of its own: one is active, the other takes over."""

from __future__ import annotations

import signal
import time

from medic.store.tokens import TokenFile, may_start_alone
from tests.e2e.pages import pages, slack_ids, wait_for_pages
from tests.e2e.postgres import PostgresProcess
from tests.e2e.process import MedicProcess
from tests.patience import PATIENCE_SECONDS
from tests.vendors import VendorProcess

SILENT_SECONDS = 6.0
"""Longer than a busy machine keeps a test waiting between two lines."""

WRITTEN = """
SELECT count(*) FROM medic.services LEFT JOIN medic.service_states USING (service_id)
WHERE heartbeat_name = 'broken' AND status = 'down' OR heartbeat_name = 'silent' AND service_id IN (
    SELECT service_id FROM "heartbeatEvents")
"""
END_LOCK = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1296385097 AND objid = 1"
)


def told(vendors: VendorProcess) -> list[str]:
    """The keys of PagerDuty's triggers so far."""
    return sorted(event["document"]["dedup_key"] for event in pages(vendors, "trigger"))


def test_a_medic_that_stands_by_takes_over_from_one_that_was_killed_and_hands_back(
    vendors: VendorProcess, postgres: PostgresProcess, pair: tuple[MedicProcess, MedicProcess]
) -> None:
    first, second = pair
    assert first.register("broken", seconds=600).status == 201
    assert first.register("well", seconds=600).status == 201
    first.beat("broken", "DOWN")
    wait_for_pages(vendors, "trigger", 1)
    [alert] = first.results("/alerts?active=1")

    not_ready = second.get("/health/ready")
    assert not_ready.status == 503
    assert first.url.rpartition(":")[2] in not_ready.json["active_address"]
    for refused in (second.beat("well"), second.get("/health"), second.get("/metrics"), second.register("new")):
        assert refused.status == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.json["success"] is False
        assert not_ready.json["active"] in refused.json["message"]
    assert second.output().count("stands by") == 1

    assert first.register("silent", seconds=SILENT_SECONDS).status == 201
    beats = [first.beat(name).status for name in ("silent", "well")]
    assert beats == [201, 201]
    # What the first one has not written yet when it is killed, nobody can know.
    first.wait_for(lambda: postgres.ask(WRITTEN) == "2\n")
    first.kill()
    second.wait_for(lambda: second.takes("well"))
    second.wait_for(lambda: second.takes("well") and len(pages(vendors, "trigger")) > 1)
    assert told(vendors) == ["medic-broken", "medic-silent"]
    [still_open] = [row for row in second.results("/alerts?active=1") if row["heartbeat_name"] == "broken"]
    assert still_open == alert | {"alert_cycle": still_open["alert_cycle"], "duration": still_open["duration"]}

    # It hands back: the first one's journal ends before all that, and is not believed.
    first.launch().wait_answer("/health/live", 200)
    assert first.get("/health/ready").status == 503
    assert second.beat("broken").status == 201
    wait_for_pages(vendors, "resolve", 1)
    second.beat("well")
    assert second.stop() == 0
    first.wait_for(lambda: first.takes("well"))
    services = {row["heartbeat_name"]: row["status"] for row in first.results("/service")}
    assert services == {"broken": "up", "silent": "late", "well": "up"}
    assert (first.data_dir / "journal-overtaken").is_dir()
    assert first.post("/service/silent", {"alert_interval": 600}).status == 200
    assert first.beat("silent").status == 201
    wait_for_pages(vendors, "resolve", 2)
    assert told(vendors) == ["medic-broken", "medic-silent"]
    assert len(slack_ids(vendors)) == len(vendors.taken("slack"))
    assert first.stop() == 0


def test_a_medic_that_was_stopped_and_overtaken_ends_without_paging(
    vendors: VendorProcess, postgres: PostgresProcess, pair: tuple[MedicProcess, MedicProcess]
) -> None:
    first, second = pair
    assert first.register("silent", seconds=SILENT_SECONDS).status == 201
    assert first.beat("silent").status == 201
    assert first.child is not None
    first.child.send_signal(signal.SIGSTOP)
    assert postgres.ask(END_LOCK) == "t\n"
    second.wait_answer("/health/ready", 200)
    wait_for_pages(vendors, "trigger", 1)

    first.child.send_signal(signal.SIGCONT)
    assert first.child.wait(PATIENCE_SECONDS) == 1
    assert "another Medic has taken over this database" in first.output()
    assert "Traceback" not in first.output()
    assert not may_start_alone(TokenFile(first.data_dir).tokens)
    time.sleep(0.5)  # what a page that was on its way would take
    assert told(vendors) == ["medic-silent"]
    assert second.stop() == 0


def test_a_medic_that_stands_by_stops_when_it_is_told_to(pair: tuple[MedicProcess, MedicProcess]) -> None:
    first, second = pair
    assert second.stop() == 0
    assert "stood by" in second.output()
    assert first.stop() == 0
