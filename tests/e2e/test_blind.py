"""A Medic that is stopped and goes on: what was sent meanwhile counts, and nobody is paged falsely."""

from __future__ import annotations

import os
import signal
import threading
import time

from tests.e2e.pages import pages, wait_for_pages
from tests.e2e.process import Answer, MedicProcess
from tests.vendors import VendorProcess

STOPPED_SECONDS = 3.0
INTERVAL_SECONDS = 2.0


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
    sending.join(10)
    assert [answer.status for answer in answers] == [201]
    medic.wait_for(lambda: "Medic was blind" in medic.output())
    assert pages(vendors, "trigger") == []

    # Both fall silent for good now. "silent" was due within the span, so it has one fresh interval and not two.
    wait_for_pages(vendors, "trigger", 2, seconds=15)
    told = {event["document"]["dedup_key"]: event["at"] for event in pages(vendors, "trigger")}
    assert set(told) == {"medic-sender", "medic-silent"}
    assert all(at - went_on < 2 * INTERVAL_SECONDS + 1 for at in told.values())
    assert medic.output().count("Medic was blind from") == 1
    blind = [message for message in vendors.taken("slack") if "was blind" in str(message["document"])]
    assert len(blind) == 1
    assert medic.get("/health").json["status"] == "degraded"
