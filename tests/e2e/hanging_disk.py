"""The command `medic` on a disk whose syncs do not come back while the file exists that `HANG_FILE` names."""

from __future__ import annotations

import os
import time
from pathlib import Path

from medic.cli.medic import main
from medic.store.journal.files import Disk

HANG_FILE = "HANG_FILE"


def hang_while_asked(path: Path) -> None:
    """Let the journal's disk be one that may hang."""
    sync = Disk.sync

    def hanging_sync(self: Disk, fd: int) -> None:
        while path.exists():
            time.sleep(0.01)
        sync(self, fd)

    Disk.sync = hanging_sync


if __name__ == "__main__":
    hang_while_asked(Path(os.environ[HANG_FILE]))
    main()
