"""The disk under the journal is really full: heartbeats are refused, everything that tells people goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.mounting import mounted, unmount
from tests.e2e.pages import pages, wait_for_pages
from tests.e2e.postgres import PostgresProcess
from tests.e2e.process import MedicProcess
from tests.vendors import VendorProcess

RESERVE_BYTES = 2 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 16 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    assert mounted(place)
    yield place
    unmount(place)


@pytest.fixture
def medic(small_disk: Path, vendors: VendorProcess, postgres: PostgresProcess) -> Iterator[MedicProcess]:
    """Medic with its data on the small disk."""
    reserve = {"MEDIC_JOURNAL_RESERVE_BYTES": str(RESERVE_BYTES)}
    process = MedicProcess(small_disk / "data", **vendors.environment, **postgres.environment, **reserve)
    process.log = small_disk.parent / "medic.log"
    yield process.start()
    process.end()


def fill(path: Path) -> None:
    """Take every byte that is left."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_paging_outlives_intake_while_the_disk_is_full(
    vendors: VendorProcess, medic: MedicProcess, small_disk: Path
) -> None:
    for name in ("well", "down"):
        assert medic.register(name, seconds=600).status == 201
    assert medic.beat("down", "DOWN").status == 201
    wait_for_pages(vendors, "trigger", 1)
    assert (small_disk / "data" / "journal" / "reserve").stat().st_size == RESERVE_BYTES

    fill(small_disk / "filler")
    refused = medic.wait_for(lambda: (answer := medic.beat("well")).status == 503 and answer)
    assert int(refused.headers["Retry-After"]) > 0
    told = wait_for_pages(vendors, "trigger", 2)
    assert told[1]["document"]["dedup_key"] == "medic-self"
    assert "takes no heartbeats" in told[1]["document"]["payload"]["summary"]
    assert medic.get("/health/ready").status == 503
    assert medic.get("/health/live").status == 200
    assert medic.beat("well").status == 503

    [alert] = medic.results("/alerts?active=1")
    assert medic.post(f"/alerts/{alert['alert_id']}/resolve", {}).status == 200
    assert medic.post("/service/well", {"muted": 1, "mute_minutes": 5}).status == 200
    resolved = wait_for_pages(vendors, "resolve", 1)
    assert resolved[0]["document"]["dedup_key"] == "medic-down"

    (small_disk / "filler").unlink()
    medic.wait_for(lambda: medic.beat("well").status == 201)
    resolved = wait_for_pages(vendors, "resolve", 2)
    assert resolved[1]["document"]["dedup_key"] == "medic-self"
    assert medic.get("/health").json["components"]["sight"]["cause"] == "journal"
    assert len(pages(vendors, "trigger")) == 2
    assert medic.stop() == 0, medic.output()
