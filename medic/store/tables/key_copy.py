"""A copy of the keys in the data directory: a start without PostgreSQL knows who may call.

A file of its own and no section of the snapshot, because a snapshot is minutes old: a key that was revoked since would
work again after such a start. This file is replaced with each change, before the change is answered. It holds digests,
so it says nothing that could be shown as a key; it is readable by Medic alone all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog
import trio
from pydantic import ConfigDict, TypeAdapter, ValidationError

from medic.access.keys import ApiKey
from medic.store.private_file import replace_private_file

_log = structlog.get_logger(__name__)

_STORED: Final = TypeAdapter(tuple[ApiKey, ...], config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))


class KeyCopy:
    """The copy at that path."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = trio.Lock()

    async def write(self, keys: Sequence[ApiKey]) -> None:
        """Replace the copy; returns once it is durable. A failure is logged: PostgreSQL has the keys."""
        async with self._turn:
            await trio.to_thread.run_sync(self._replace, tuple(keys))

    async def read(self) -> Sequence[ApiKey]:
        """The keys as they were known last; none where nothing is known of them."""
        return await trio.to_thread.run_sync(self._read)

    def _replace(self, keys: tuple[ApiKey, ...]) -> None:
        try:
            replace_private_file(self._path, _STORED.dump_json(keys))
        except OSError as error:
            _log.error("the copy of the keys cannot be written", reason=error.strerror)

    def _read(self) -> tuple[ApiKey, ...]:
        try:
            return _STORED.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return ()
        except (ValidationError, OSError) as error:
            # The text of a ValidationError quotes what it read.
            _log.error("the copy of the keys cannot be read; no stored key works", reason=type(error).__name__)
            return ()
