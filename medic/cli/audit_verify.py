"""`medic audit verify`: goes through the audit's chain, and says what is not as it was sealed."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from medic.cli import show
from medic.cli.migration import open_target, require_table
from medic.config.settings import Settings
from medic.errors import ConfigurationError, Fault
from medic.http.answers import JsonObject
from medic.store.audit.chain import Finding
from medic.store.audit.heads import FILE_NAME, AuditHeads
from medic.store.audit.verify import Verdict, verify
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import open_database


@dataclass(frozen=True, slots=True)
class Verified:
    """A verdict and how long it took."""

    verdict: Verdict
    seconds: float


async def verify_audit(settings: Settings) -> Verified:
    """Verify it, beside a Medic that runs or without.

    Raises:
        ConfigurationError, DatabaseUnavailableError: it cannot be done; the sentence says why.
    """
    heads = AuditHeads(settings.storage.folder)
    try:
        kept = heads.read()
    except ValueError as error:
        raise ConfigurationError((Fault(FILE_NAME, f"cannot be read: {error}"),)) from None
    async with (
        open_bridge() as bridge,
        open_target(settings, bridge) as target,
        open_database(target, connections_max=2, bridge=bridge) as database,
    ):
        await require_table(database, "medic.audit_checkpoints")
        begun = trio.current_time()
        verdict = await verify(database, kept, heads.checkpoints)
        return Verified(verdict, trio.current_time() - begun)


def print_verified(verified: Verified) -> None:
    """For people: what is wrong on stdout, line by line; at the end what that comes to."""
    verdict = verified.verdict
    for finding in verdict.findings:
        show.say(f"WRONG  {_where(finding)}{finding.sentence}")
    for note in verdict.notes:
        show.say(f"note   {_where(note)}{note.sentence}")
    if verdict.waiting:
        show.say(f"note   {verdict.waiting} entries have no seal yet. A Medic that runs seals them within a second.")
    head = f"the last seal is {verdict.head.hash.hex()} at place {verdict.head.place}"
    took = f"{verdict.seals} entries in {verified.seconds:.1f} s; {head}."
    if verdict.wrong:
        shown = len(verdict.findings)
        rest = f", {verdict.wrong - shown} of them not shown" if verdict.wrong > shown else ""
        show.say(f"The audit was changed: {verdict.wrong} things are wrong{rest}. {took}")
    else:
        show.say(f"The audit is as it was sealed. {took}")


def as_json(verified: Verified) -> JsonObject:
    """For programs."""
    verdict = verified.verdict
    return {
        "intact": verdict.wrong == 0,
        "entries": verdict.seals,
        "wrong": verdict.wrong,
        "findings": [{"place": finding.place or None, "sentence": finding.sentence} for finding in verdict.findings],
        "notes": [{"place": note.place or None, "sentence": note.sentence} for note in verdict.notes],
        "waiting": verdict.waiting,
        "place": verdict.head.place,
        "hash": verdict.head.hash.hex(),
        "seconds": round(verified.seconds, 3),
    }


def _where(finding: Finding) -> str:
    return f"place {finding.place}: " if finding.place else ""
