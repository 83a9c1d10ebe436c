"""One Medic a data directory: a lock that the operating system gives back whatever way the process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from medic.errors import ConfigurationError, Fault, PassingError

_LOCK: Final = "lock"


class DirectoryInUseError(PassingError):
    """Another process has the lock; `holder` is its id, as far as it is known."""

    def __init__(self, directory: Path, holder: str) -> None:
        sentence = (
            f"{directory} is in use by another Medic, process {holder}. "
            "Stop that one, or give this one a directory of its own."
        )
        super().__init__((Fault("MEDIC_DATA_DIR", sentence),))
        self.holder = holder


class DirectoryLock:
    """Held for the length of a `with` block. Makes the directory, mode 0700, where it is not there.

    Args:
        directory: `MEDIC_DATA_DIR`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd: int | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            DirectoryInUseError: another process has it.
            ConfigurationError: the directory cannot be written.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _refusal(f"{self._directory} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise DirectoryInUseError(self._directory, holder) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode("ascii"), 0)
        self._fd = fd
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give the lock back. The file stays: removing it would let two processes lock two files of one name."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _refusal(sentence: str) -> ConfigurationError:
    return ConfigurationError((Fault("MEDIC_DATA_DIR", sentence),))
