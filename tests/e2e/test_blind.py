"""A Medic that is stopped and goes on: what was sent meanwhile counts, and nobody is paged falsely."""

from __future__ import annotations

import os
import signal
import threading
import time

from tests.e2e.pages import due_at, pages, slack_said, wait_for_pages
from tests.e2e.process import Answer, MedicProcess
from tests.patience import PATIENCE_SECONDS
from tests.vendors import VendorProcess

INTERVAL_SECONDS = 5.0
"""Longer than a busy machine keeps the test waiting between a heartbeat and the stop."""

STOPPED_SECONDS = INTERVAL_SECONDS + 1
"""Both services are due within it."""


def test_a_stopped_process_pages_for_nobody_and_takes_what_was_sent_to_it(
    vendors: VendorProcess, medic: MedicProcess
) -> None:
    assert medic.child is not None
    for name in ("sender", "silent"):
        medic.register(name, seconds=INTERVAL_SECONDS)
        medic.beat(name)
    answers: list[Answer] = []
    sending = threading.Thread(target=lambda: answers.append(medic.beat("sender")))
    os.kill(medic.child.pid, signal.SIGSTOP)
    try:
        sending.start()
        time.sleep(STOPPED_SECONDS)
    finally:
        os.kill(medic.child.pid, signal.SIGCONT)
    went_on = time.time()
    sending.join(PATIENCE_SECONDS)
    assert [answer.status for answer in answers] == [201]
    medic.wait_for(lambda: "Medic was blind" in medic.output())
    assert pages(vendors, "trigger") == []

    # Both fall silent for good now. "silent" was due within the span, so it has one fresh interval as "sender" has.
    wait_for_pages(vendors, "trigger", 2)
    due = {event["document"]["dedup_key"]: due_at(event) for event in pages(vendors, "trigger")}
    assert set(due) == {"medic-sender", "medic-silent"}
    assert went_on < due["medic-silent"] < due["medic-sender"] + INTERVAL_SECONDS / 2
    # On a busy machine Medic may have been blind once more, by itself.
    assert 1 <= len(slack_said(vendors, "blind")) <= medic.output().count("Medic was blind from")
    assert medic.get("/health").json["status"] == "degraded"
