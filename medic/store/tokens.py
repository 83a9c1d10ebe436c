"""What a data directory knows of tokens: its own last one, the newest it has seen, and whether it is still taking over.

PostgreSQL says who is the active Medic. Where PostgreSQL is away nobody can be asked, and a Medic that starts then may
watch and page only if nobody else can be doing so. What it knows is what stood in the database when it last looked: if
its own token was the newest then, nobody had taken over; if it was not, somebody had.

Nobody can know what happened since. A directory that was active, was killed, and was never started again while another
Medic took over, still believes itself the newest. It learns better as soon as PostgreSQL answers, and ends then.

A takeover is more than a token: what the other Medic left has to be brought into this directory first. `inheriting` is
written before the token is drawn and cleared when that is done, so that a crash in between begins the takeover anew.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from uuid import uuid4

import structlog
import trio
from pydantic import TypeAdapter, ValidationError

from medic.store.journal.files import sync_directory

_log = structlog.get_logger(__name__)

_FILE: Final = "token"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a directory knows of tokens.

    Attributes:
        directory: Which one it is, to the others: made with the file.
        own: The last token that was this directory's; 0 before the first.
        newest_seen: The newest that it saw in the database.
        inheriting: A takeover was begun, and what the other Medic left is not all in this directory yet.
    """

    directory: str
    own: int = 0
    newest_seen: int = 0
    inheriting: bool = False


def may_start_alone(tokens: Tokens) -> bool:
    """Whether a start without PostgreSQL is allowed: this directory was the active one last, as far as it knows."""
    return 0 < tokens.own == tokens.newest_seen and not tokens.inheriting


_STORED: Final = TypeAdapter(Tokens)


class TokenFile:
    """The file `token` of a data directory. Where there is none, or a damaged one, nothing is known.

    Args:
        directory: `MEDIC_DATA_DIR`.

    Raises:
        OSError: the file cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / _FILE
        self._tokens = self._load()

    @property
    def tokens(self) -> Tokens:
        """As they were written down last."""
        return self._tokens

    async def see(self, token: int) -> None:
        """Remember a token that stood in the database; returns once that is durable.

        Raises:
            OSError: it cannot be written.
        """
        if token > self._tokens.newest_seen:
            await self._keep(replace(self._tokens, newest_seen=token))

    async def begin_inheriting(self) -> None:
        """Remember that a takeover is begun; returns once that is durable.

        Raises:
            OSError: it cannot be written.
        """
        await self._keep(replace(self._tokens, inheriting=True))

    async def own(self, token: int) -> None:
        """Remember that this token is this directory's, and nothing is to be inherited; returns once that is durable.

        Raises:
            OSError: it cannot be written.
        """
        newest = max(token, self._tokens.newest_seen)
        await self._keep(replace(self._tokens, own=token, newest_seen=newest, inheriting=False))

    async def _keep(self, tokens: Tokens) -> None:
        await trio.to_thread.run_sync(self._store, tokens)
        self._tokens = tokens

    def _store(self, tokens: Tokens) -> None:
        unfinished = self._path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            file.write(_STORED.dump_json(tokens))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._path)
        sync_directory(self._path.parent)

    def _load(self) -> Tokens:
        try:
            return _STORED.validate_json(self._path.read_bytes(), strict=True)
        except FileNotFoundError:
            pass
        except ValidationError:
            _log.error("the file of tokens is damaged: this directory counts as a new one")
        return Tokens(directory=str(uuid4()))
