"""Verifies the audit's chain: streamed, in bounded memory, from its beginning to the head the data directory knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

import trio

from medic.core.units import InstantMs, isoformat
from medic.store.audit.chain import DIGEST, START, Finding, Head, Seal, Walk
from medic.store.audit.heads import HEADS_MAX, Checkpoint
from medic.store.postgres.database import Database

FINDINGS_MAX: Final = 100
"""Findings listed; all are counted. A chain that was rewritten as a whole has one for each day."""

SLICE_SEALS: Final = 2_000
"""Seals taken between two chances for other tasks."""

AGAIN_SECONDS: Final = 2.0
"""How long an entry without a seal is given, where later ones have theirs: it may have committed just now."""

_CHECKPOINTS: Final = "SELECT place, hash FROM medic.audit_checkpoints ORDER BY place DESC LIMIT $1"

# What was there before there was a chain was sealed on its first day. Since then, late is later than a day.
_SEALS: Final = (
    "SELECT s.place, s.audit_id, s.sealed_at, s.hash,"  # noqa: S608 - constants
    f" CASE WHEN a.audit_id IS NOT NULL THEN {DIGEST} END AS digest,"
    " a.at < s.sealed_at - interval '1 day' AND s.sealed_at > (SELECT applied_at + interval '1 day'"
    " FROM medic.migrations WHERE version = 7) AS is_late"
    " FROM medic.audit_seals s LEFT JOIN medic.audit_log a USING (audit_id) ORDER BY s.place"
)
_UNSEALED: Final = """
SELECT a.audit_id, a.audit_id < (SELECT max(audit_id) FROM medic.audit_seals) AS is_overtaken
FROM medic.audit_log a
WHERE NOT EXISTS (SELECT FROM medic.audit_seals s WHERE s.audit_id = a.audit_id)
ORDER BY a.audit_id LIMIT $1
"""
_VANISHED: Final = """
SELECT u.audit_id FROM medic.audit_unsealed u
WHERE NOT EXISTS (SELECT FROM medic.audit_log a WHERE a.audit_id = u.audit_id)
ORDER BY u.audit_id LIMIT $1
"""

_UNKNOWN_CHECKPOINT: Final = (
    "a checkpoint says that the chain begins behind this place, and the data directory knows of none that Medic made "
    "there: somebody wrote it, to hide that entries were removed"
)


@dataclass(slots=True)
class Verdict:
    """What was found.

    Attributes:
        head: Where the chain ends.
        seals: How many were verified.
        findings: The first `FINDINGS_MAX` things that are wrong; `wrong` counts all of them.
        notes: What may be right and is worth a look.
        waiting: Entries that have no seal yet; Medic seals them while it runs.
    """

    head: Head = START
    seals: int = 0
    wrong: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    waiting: int = 0

    def add(self, findings: Iterable[Finding]) -> None:
        """Take further findings."""
        for finding in findings:
            self.wrong += 1
            if len(self.findings) < FINDINGS_MAX:
                self.findings.append(finding)


async def verify(database: Database, kept: Sequence[Head], made: Sequence[Checkpoint] = ()) -> Verdict:
    """Go through all of it.

    Args:
        database: Where the audit is.
        kept: What the data directory knows of the chain.
        made: The checkpoints that Medic made, as the data directory knows them. No other counts.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer.
    """
    verdict = Verdict()
    walk = Walk(kept, await _believed_checkpoints(database, made, verdict))
    async with aclosing(database.stream(_SEALS, rows=SLICE_SEALS)) as slices:
        async for rows in slices:
            for row in rows:
                seal = Seal(row["place"], row["audit_id"], InstantMs(row["sealed_at"]), row["hash"], row["digest"])
                verdict.add(walk.take(seal))
                if row["is_late"] and len(verdict.notes) < FINDINGS_MAX:
                    verdict.notes.append(Finding(seal.place, _late(seal)))
            await trio.lowlevel.checkpoint()
    verdict.add(walk.end())
    verdict.head, verdict.seals = walk.head, walk.seals
    await _look_for_unsealed(database, verdict)
    return verdict


async def _believed_checkpoints(database: Database, made: Sequence[Checkpoint], verdict: Verdict) -> list[Head]:
    """The checkpoints that Medic made, in order, each with a note; the others are findings."""
    known = {checkpoint.head: checkpoint.at for checkpoint in made}
    believed: list[Head] = []
    for row in reversed(await database.fetch(_CHECKPOINTS, HEADS_MAX, operation="audit checkpoints")):
        head = Head(row["place"], row["hash"])
        at = known.get(head)
        if at is None:
            verdict.add([Finding(head.place, _UNKNOWN_CHECKPOINT)])
        else:
            believed.append(head)
            verdict.notes.append(Finding(head.place, f"Medic removed the entries up to this place on {isoformat(at)}"))
    del verdict.notes[:-FINDINGS_MAX]
    return believed


async def _look_for_unsealed(database: Database, verdict: Verdict) -> None:
    if any(row["is_overtaken"] for row in await database.fetch(_UNSEALED, FINDINGS_MAX, operation="unsealed audit")):
        await trio.sleep(AGAIN_SECONDS)
    for row in await database.fetch(_UNSEALED, FINDINGS_MAX, operation="unsealed audit"):
        if row["is_overtaken"]:
            sentence = (
                f"entry {row['audit_id']} has no seal, though later ones have: it was inserted, or its seal removed"
            )
            verdict.add([Finding(0, sentence)])
        else:
            verdict.waiting += 1
    for row in await database.fetch(_VANISHED, FINDINGS_MAX, operation="vanished audit"):
        verdict.add([Finding(0, f"entry {row['audit_id']} is missing: it was removed before it was sealed")])


def _late(seal: Seal) -> str:
    return (
        f"entry {seal.audit_id} says that it is more than a day older than its seal: PostgreSQL was away, "
        "a session was open for long, or it was inserted"
    )
