"""The power goes while the turn that closes an alert is being written: the page does not stay open."""

from __future__ import annotations

from medic.core.effects import Effect, Notify
from medic.core.status import NotificationKind
from medic.store.codec import decode
from medic.store.journal.files import JournalFiles
from medic.store.journal.frames import HEADER_BYTES, Damage
from tests.e2e.pages import wait_for_pages
from tests.e2e.process import MedicProcess
from tests.vendors import Refuse, VendorProcess, Works


def is_resolve(effect: Effect) -> bool:
    return isinstance(effect, Notify) and effect.notification.kind is NotificationKind.RESOLVE


def tear(medic: MedicProcess) -> None:
    """Leave of the journal what a loss of power may: all but the last bytes of the last resolve that was decided."""
    files = JournalFiles(medic.data_dir / "journal")
    frames = [one for one in files.scan(files.oldest, files.end) if not isinstance(one, Damage)]
    files.close()
    end = max(frame.end for frame in frames if is_resolve(decode(frame.record)))
    last = max((medic.data_dir / "journal").glob("*.journal"))
    with last.open("r+b") as file:
        file.truncate(HEADER_BYTES + end - int(last.name[:20]) - 5)


def test_an_alert_whose_closing_was_torn_is_closed_again_and_resolved(
    vendors: VendorProcess, medic: MedicProcess
) -> None:
    medic.register("door", seconds=600)
    assert medic.beat("door", "DOWN").status == 201
    wait_for_pages(vendors, "trigger", 1)
    for vendor in ("pagerduty", "slack"):
        vendors.behave(vendor, Refuse(503))
    assert medic.beat("door").status == 201
    assert medic.get("/service/door").json["results"][0]["status"] == "up"
    medic.kill()
    tear(medic)
    for vendor in ("pagerduty", "slack"):
        vendors.behave(vendor, Works())
    medic.start()
    assert medic.get("/service/door").json["results"][0]["status"] == "down"
    assert medic.beat("door").status == 201
    [resolve] = wait_for_pages(vendors, "resolve", 1)
    assert resolve["document"]["dedup_key"] == "medic-door"
    [alert] = medic.get("/alerts?heartbeat_name=door").json["results"]
    assert (alert["active"], alert["closed_reason"]) == (0, "recovered")
