"""A small file that only Medic may read, replaced as a whole: after a crash it is what it was, or what it was to be."""

from __future__ import annotations

import os
from pathlib import Path

from medic.store.journal.files import sync_directory


def replace_private_file(path: Path, content: bytes) -> None:
    """Write the file anew, mode 0600; returns once it is durable.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    unfinished = path.with_suffix(".unfinished")
    with open(unfinished, "wb", opener=_open_private) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_directory(path.parent)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
