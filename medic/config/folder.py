"""The data folder: made where there is none, refused in one sentence where Medic could not write in it."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from medic.errors import ConfigurationError, Fault, PassingError

FOLDER_MODE: Final = 0o700
"""What is in it is the business of Medic's user only. A folder that is there already keeps its permissions."""

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Numbers of errors that end once somebody makes room."""

_REASONS: Final = {
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "it is a file",
    errno.ENAMETOOLONG: "the path is too long",
}


def prepare(folder: Path) -> None:
    """Make the folder if it is not there, and write and remove a file in it.

    Raises:
        ConfigurationError: that does not work; the sentence says why and what to set.
    """
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        _try(folder)
    except OSError as error:
        raise refused(folder, error) from None


def require_sight(folder: Path) -> None:
    """Return where there is no such folder, or this user may look into it.

    Raises:
        ConfigurationError: it may not, so that nothing can be said of what is in it.
    """
    try:
        os.scandir(folder).close()
    except PermissionError:
        sentence = f"is {folder}, which this user may not look into: run this as Medic's user"
        raise ConfigurationError((Fault("MEDIC_DATA_DIR", sentence),)) from None
    except OSError:
        return


def look(folder: Path) -> Iterator[Fault]:
    """What `prepare` would say; makes nothing, and of a folder that is not there tries the one it would stand in."""
    try:
        _try(next(place for place in (folder, *folder.parents) if place.exists()))
    except OSError as error:
        yield from refused(folder, error).faults


def _try(place: Path) -> None:
    trial = place / f".trial-{os.getpid()}-{secrets.token_hex(4)}"
    trial.touch(mode=0o600, exist_ok=False)
    trial.unlink()


def refused(folder: Path, error: OSError) -> ConfigurationError:
    """The sentence for an operating system that does not let Medic write in its folder."""
    reason = _REASONS.get(error.errno or 0, (error.strerror or "it does not work").lower())
    sentence = f"is {folder}, and Medic cannot keep its data there: {reason}. Set it to a folder that can be written"
    kind = PassingError if error.errno in NO_ROOM else ConfigurationError
    return kind((Fault("MEDIC_DATA_DIR", sentence),))
