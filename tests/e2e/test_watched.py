"""Medic is watched too: by whoever it calls while it makes progress, and by a watcher that looks at it from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.hanging_disk import HANG_FILE
from tests.e2e.pages import wait_for_pages
from tests.e2e.process import MedicProcess
from tests.vendors import VendorProcess
from tests.vendors.calls import CallReceiver

ROOT = Path(__file__).resolve().parents[2]
SECRET_PATH = "4f6b9a6e-the-secret-of-the-check"
KEY = "medic-watch-main"


class WatcherProcess(MedicProcess):
    """`medic watch` with a folder of its own; it has no port, and `output` is all it says."""

    def __init__(self, data_dir: Path, url: str, **environment: str) -> None:
        super().__init__(data_dir, **environment)
        self.command = [sys.executable, "-m", "medic", "watch", url, "--name", "main"]

    def start(self) -> WatcherProcess:
        said = self.output().count("Watching main")
        self.launch().wait_for(lambda: self.output().count("Watching main") > said)
        return self


@pytest.fixture
def on_hanging_disk(tmp_path: Path, first_data_dir: Path) -> Iterator[tuple[MedicProcess, CallReceiver]]:
    """A Medic that calls every second, on a disk that hangs while `tmp_path / "hang"` exists; and whom it calls."""
    subprocess.run(["cp", "-a", first_data_dir, tmp_path / "data"], check=True)
    with CallReceiver() as calls:
        process = MedicProcess(
            tmp_path / "data",
            MEDIC_DEADMAN_URL=f"{calls.origin}/{SECRET_PATH}",
            MEDIC_DEADMAN_SECONDS="1",
            MEDIC_ALLOWED_WEBHOOK_HOSTS="127.0.0.1",
            PYTHONPATH=str(ROOT),
            **{HANG_FILE: str(tmp_path / "hang")},
        )
        process.command = [sys.executable, "-m", "tests.e2e.hanging_disk", "serve"]
        yield process.start(), calls
        process.end()
        assert calls.faults() == []


def test_calls_and_progress_end_while_the_journal_hangs_and_go_on_when_it_does(
    on_hanging_disk: tuple[MedicProcess, CallReceiver], tmp_path: Path
) -> None:
    medic, calls = on_hanging_disk
    calls.wait_for(2)
    first = medic.get("/health/live").json["progress_at"]
    medic.wait_for(lambda: medic.get("/health/live").json["progress_at"] != first)
    assert medic.get("/health").json["components"]["deadman"]["status"] == "configured"

    (tmp_path / "hang").touch()

    def withheld() -> int:
        deadman = medic.get("/health").json["components"]["deadman"]
        return int(deadman["withheld"]) if "journal" in deadman.get("reason", "") else 0

    seen = medic.wait_for(withheld)
    before, stood = len(calls.arrivals), medic.get("/health/live").json["progress_at"]
    medic.wait_for(lambda: withheld() >= seen + 2)
    assert len(calls.arrivals) == before
    assert medic.get("/health/live").json["progress_at"] == stood
    assert medic.get("/health").json["status"] != "healthy"

    (tmp_path / "hang").unlink()
    calls.wait_for(before + 1)
    medic.wait_for(lambda: medic.get("/health/live").json["progress_at"] != stood)
    series = medic.get("/metrics").body.decode()
    assert 'medic_deadman_calls_total{status="withheld"}' in series
    assert "medic_deadman_last_success_timestamp_seconds" in series
    assert {arrival.path for arrival in calls.arrivals} == {f"/{SECRET_PATH}"}
    assert medic.stop() == 0, medic.output()
    assert "watched   127.0.0.1 is called every 1 s" in medic.output()
    assert SECRET_PATH not in medic.output() + series


def is_open(vendors: VendorProcess) -> bool:
    return KEY in vendors.snapshot("pagerduty")["open"]


def test_a_medic_that_is_stopped_or_killed_is_paged_for_from_outside(
    vendors: VendorProcess, tmp_path: Path, first_data_dir: Path
) -> None:
    # The watched one tells nobody of itself: what the vendors hear is the watcher's.
    subprocess.run(["cp", "-a", first_data_dir, tmp_path / "data"], check=True)
    (tmp_path / "file").touch()
    medic = MedicProcess(tmp_path / "data").start()
    # As in the image: what a Medic would have to be told is nothing to a watcher.
    given = {"MEDIC_WATCH_SECONDS": "0.2", "MEDIC_WATCH_GRACE_SECONDS": "2.5", "MEDIC_HOST": "0.0.0.0"}
    without_folder = WatcherProcess(tmp_path / "watcher", medic.url, **vendors.environment, **given)
    without_folder.environment["MEDIC_DATA_DIR"] = str(tmp_path / "file" / "folder")
    watcher = WatcherProcess(tmp_path / "watcher", medic.url, **vendors.environment, **given)
    try:
        without_folder.start()
        assert medic.child is not None
        os.kill(medic.child.pid, signal.SIGSTOP)
        medic.wait_for(lambda: is_open(vendors))
        [trigger] = wait_for_pages(vendors, "trigger", 1)[:1]
        assert trigger["document"]["dedup_key"] == KEY
        assert medic.url in trigger["document"]["payload"]["summary"]
        assert trigger["document"]["payload"]["severity"] == "critical"

        # That watcher is lost, and so is what it knew; the one after it ends what may be open all the same.
        without_folder.kill()
        watcher.start()
        os.kill(medic.child.pid, signal.SIGCONT)
        medic.wait_for(lambda: not is_open(vendors))

        # This one has a folder. Killed and started again it tells nobody a second time.
        medic.kill()
        medic.wait_for(lambda: is_open(vendors))
        watcher.wait_for(lambda: "the watched Medic is not well" in watcher.output())
        assert watcher.stop() == 0, watcher.output()
        told = len(vendors.taken("slack")), len(vendors.taken("pagerduty"))
        watcher.start()
        watcher.wait_for(lambda: "an alert is open from before" in watcher.output())
        assert watcher.stop() == 0, watcher.output()
        assert (len(vendors.taken("slack")), len(vendors.taken("pagerduty"))) == told
        assert set(vendors.snapshot("pagerduty")["opened"]) == {KEY}
    finally:
        for process in (without_folder, watcher, medic):
            process.end()
