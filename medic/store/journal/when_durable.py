"""Runs what others asked a journal to call once a record is durable."""

from __future__ import annotations

import structlog

from medic.errors import JournalRefusedError
from medic.ports import WhenDurable

_log = structlog.get_logger(__name__)


def run_call(call: WhenDurable, refused: JournalRefusedError | None) -> None:
    """Run one call. What it raises is a bug of whoever handed it in, and must not reach the committer."""
    try:
        call(refused)
    except Exception as error:  # noqa: BLE001 - as the supervisor: one caller's bug must not stop every other's commit
        _log.error("a call that waited for the journal raised", exc_info=error)
