"""A copy of the secrets in the data directory, sealed as they are stored: a start without PostgreSQL can page.

It is of no use to whoever has the directory and not the key. Losing it costs a start without PostgreSQL its secrets,
and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog
import trio
from pydantic import ConfigDict, TypeAdapter, ValidationError

from medic.access.secrets import Secret
from medic.store.private_file import replace_private_file

_log = structlog.get_logger(__name__)

FILE: Final = "secrets"

_STORED: Final = TypeAdapter(tuple[Secret, ...], config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))


class SecretCopy:
    """The copy in that data directory."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._turn = trio.Lock()

    async def write(self, secrets: Sequence[Secret]) -> None:
        """Replace the copy; returns once it is durable. A failure is logged: PostgreSQL has the secrets."""
        async with self._turn:
            await trio.to_thread.run_sync(self._replace, tuple(secrets))

    async def read(self) -> Sequence[Secret]:
        """The secrets as they were known last; none where nothing is known of them."""
        return await trio.to_thread.run_sync(self._read)

    def _replace(self, secrets: tuple[Secret, ...]) -> None:
        try:
            replace_private_file(self._path, _STORED.dump_json(secrets))
        except OSError as error:
            _log.error("the copy of the secrets cannot be written", reason=error.strerror)

    def _read(self) -> tuple[Secret, ...]:
        try:
            return _STORED.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return ()
        except (ValidationError, OSError) as error:
            _log.error("the copy of the secrets cannot be read; none is known", reason=type(error).__name__)
            return ()
