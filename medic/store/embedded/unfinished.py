"""The mark of a restore that was begun and is not finished: no server is started beside it, and so no Medic."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from medic.errors import ConfigurationError, Fault

MARKER: Final = "restore-unfinished"


def require_finished(folder: Path) -> None:
    """Return unless a restore into that directory was cut off between two of its steps.

    Raises:
        ConfigurationError: one was.
    """
    if (folder / MARKER).exists():
        sentence = f"is {folder}, and a restore was cut off there: run medic restore once more, which finishes it"
        raise ConfigurationError((Fault("MEDIC_DATA_DIR", sentence),))
