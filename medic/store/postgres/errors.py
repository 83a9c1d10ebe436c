"""What goes wrong with PostgreSQL, in Medic's words; the border where asyncpg's errors end.

`DatabaseUnavailableError`: PostgreSQL does not answer, or not now (SQLSTATE 08, 40, 53, 55, 57, and anything while
connecting): trying again is right. `RowRefusedError` (22, 23, and values that have no binary form): these rows will
never be taken. `StatementRefusedError`: any other answer, a fault of Medic or of its privileges. None of them names
host, user or password; the driver's own exception is not chained, because its text does.
"""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg
import trio

from medic.errors import DatabaseUnavailableError, MedicError

TRANSPORT_ERRORS: Final = (OSError, EOFError, asyncio.CancelledError, trio.TooSlowError, asyncpg.InternalClientError)
"""After one of these nobody knows what became of the statement; the connection is of no use any more."""

_LOCKED: Final = "55P03"
_UNAVAILABLE_CLASSES: Final = frozenset({"08", "40", "53", "55", "57"})
_ROW_CLASSES: Final = frozenset({"22", "23"})


class CommitUnknownError(DatabaseUnavailableError):
    """The connection broke between COMMIT and its answer: read back what is stored before trying again."""


class LockedError(DatabaseUnavailableError):
    """Somebody held what the statement wanted for longer than `lock_timeout`; nothing was changed."""


class StatementRefusedError(MedicError):
    """PostgreSQL refused a statement as it stands: a fault of Medic, of the schema or of the role's privileges.

    Attributes:
        sqlstate: PostgreSQL's code, empty where the driver refused it.
        constraint: Name of the constraint that was violated, or empty.
    """

    def __init__(self, message: str, *, sqlstate: str = "", constraint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate
        self.constraint = constraint


class RowRefusedError(StatementRefusedError):
    """The values themselves are refused (SQLSTATE 22, 23): the same rows will be refused for ever."""


def translated(error: Exception) -> MedicError:
    """Medic's error for what the server, or the driver's encoder, answered on a connection that still works."""
    sqlstate: str = getattr(error, "sqlstate", None) or ""
    if sqlstate == _LOCKED:
        return LockedError(f"PostgreSQL cannot do this now ({reason_of(error)})")
    if sqlstate[:2] in _UNAVAILABLE_CLASSES:
        return DatabaseUnavailableError(f"PostgreSQL cannot do this now ({reason_of(error)})")
    constraint: str = getattr(error, "constraint_name", None) or ""
    said = error.args[0] if error.args and isinstance(error.args[0], str) else type(error).__name__
    if sqlstate[:2] in _ROW_CLASSES or isinstance(error, (asyncpg.DataError, UnicodeError, OverflowError)):
        return RowRefusedError(f"PostgreSQL refuses these rows: {said}", sqlstate=sqlstate, constraint=constraint)
    return StatementRefusedError(f"PostgreSQL refuses a statement: {said}", sqlstate=sqlstate, constraint=constraint)


def reason_of(error: BaseException) -> str:
    """A few words for logs and answers that give nothing away: SQLSTATE, errno's text, or the kind of error."""
    sqlstate: str = getattr(error, "sqlstate", None) or ""
    if sqlstate:
        return f"SQLSTATE {sqlstate}"
    if isinstance(error, (trio.TooSlowError, TimeoutError)):
        return "timed out"
    if isinstance(error, OSError) and error.errno is not None:
        return "connection refused or lost"
    return type(error).__name__
