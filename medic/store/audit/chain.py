"""The chain of the audit, in plain code: what a seal's hash covers, and what is wrong with a run of seals.

The problem. Whoever can write SQL can change what the audit says. The database that holds it cannot prevent that, but
it can be shown. Each entry has a seal, and

    hash(n) = SHA-256( hash(n - 1) || n || sealed_at || SHA-256(entry) )

with `n` counted from 1 without gaps and 32 zero bytes before the first. The entry's own digest covers every column in
one unambiguous form, a JSON array (`DIGEST`). So a changed entry no longer fits its seal; a removed one leaves a seal
without an entry, or a gap; one put in between has no seal, and cannot get one but at the end; two that changed places
fit neither. Whoever changes an entry and computes every hash behind it anew ends with another last hash than the one
that Medic keeps in its data directory and logs once a day (`heads`); whoever cuts the end off ends before it.

What remains: who can write to the database and to the data directory, and to wherever the log goes, can rewrite all
three. And an entry can be changed in the second before it is sealed.

The order is that of sealing, and within a seal's batch that of `audit_id`. Not `audit_id` alone: numbers are drawn when
an entry is written and seen when its transaction commits, in any order, and to wait for the lowest would let one
forgotten session keep everything behind it unsealed.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from medic.core.units import InstantMs

BEGINNING: Final = bytes(32)
"""What stands for the hash before the first."""

DIGEST: Final = (
    "pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.jsonb_build_array(a.audit_id,"
    " (extract(epoch FROM a.at) * 1000000)::bigint, a.actor, a.key_id, a.address, a.request_id, a.label, a.action,"
    " a.service_id, a.subject, a.before, a.after)::text, 'UTF8'))"
)
"""The digest of entry `a`, as PostgreSQL works it out: 32 bytes leave the server and not the entry. `at` counts in
microseconds, since SQL by hand has them. Functions are named with their schema: no other can stand in for one."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: the place of its last seal, and that one's hash."""

    place: int
    hash: bytes


START: Final = Head(0, BEGINNING)
"""Of a chain that has no seal yet."""


@dataclass(frozen=True, slots=True)
class Seal:
    """One seal as it is stored, and the digest of its entry as it is now; None where there is no such entry."""

    place: int
    audit_id: int
    sealed_at: InstantMs
    hash: bytes
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was sealed: at which place, and a sentence."""

    place: int
    sentence: str


def next_hash(before: bytes, place: int, sealed_at: InstantMs, digest: bytes) -> bytes:
    """The hash of the seal at `place`. Costs a microsecond."""
    return hashlib.sha256(before + place.to_bytes(8, "big") + sealed_at.to_bytes(8, "big") + digest).digest()


def seal_all(head: Head, entries: Iterable[tuple[int, bytes]], sealed_at: InstantMs) -> Iterator[Seal]:
    """The seals of entries, given by number and digest, behind the head."""
    place, before = head.place, head.hash
    for audit_id, digest in entries:
        place += 1
        before = next_hash(before, place, sealed_at, digest)
        yield Seal(place, audit_id, sealed_at, before, digest)


class Walk:
    """Walks along a chain from its beginning to its end and remembers where it is. Bounded memory.

    Behind something wrong it goes on from the stored hash, so that each finding is one thing that somebody did.

    Args:
        kept: Heads that were kept elsewhere; each has to be met on the way.
        checkpoints: Up to where entries were removed rightly, in order. What still stands before one is looked at too.
    """

    def __init__(self, kept: Iterable[Head], checkpoints: Iterable[Head] = ()) -> None:
        self.head = START
        self.seals = 0
        self._checkpoints = deque(checkpoints)
        self._kept = {head.place: head.hash for head in (*self._checkpoints, *kept)}

    def take(self, seal: Seal) -> Iterator[Finding]:
        """What is wrong with the next seal, if anything is."""
        if seal.place != self.head.place + 1:
            self._pass_over_removed(seal.place)
        expected = self.head.place + 1
        if seal.place != expected:
            gap = f"seals {expected} to {seal.place - 1} are missing" if seal.place > expected else "seals stand twice"
            yield Finding(seal.place, f"{gap}: entries were removed, or the chain was cut and mended")
        elif seal.digest is not None and self._hash_of(seal, seal.digest) != seal.hash:
            yield Finding(
                seal.place, f"entry {seal.audit_id} does not fit its seal: one of them, or the seal before, was changed"
            )
        if seal.digest is None:
            yield Finding(seal.place, f"entry {seal.audit_id} is missing")
        kept = self._kept.pop(seal.place, None)
        if kept is not None and kept != seal.hash:
            sentence = f"entry {seal.audit_id} has another seal than the data directory knows: the chain was rewritten"
            yield Finding(seal.place, sentence)
        self.head = Head(seal.place, seal.hash)
        self.seals += 1

    def end(self) -> Iterator[Finding]:
        """What is wrong with where it ends."""
        for checkpoint in self._checkpoints:
            if checkpoint.place > self.head.place:
                self.head = checkpoint
        for place in sorted(self._kept):
            if place > self.head.place:
                sentence = (
                    f"the chain ends at place {self.head.place}, and the data directory knows a seal of place {place}"
                )
                yield Finding(place, f"{sentence}: its end was cut off, or the database was put back to a backup")

    def _pass_over_removed(self, place: int) -> None:
        """Go on from the last checkpoint before `place`, if that is further than where we are."""
        while self._checkpoints and self._checkpoints[0].place < place:
            checkpoint = self._checkpoints.popleft()
            if checkpoint.place > self.head.place:
                self.head = checkpoint

    def _hash_of(self, seal: Seal, digest: bytes) -> bytes:
        return next_hash(self.head.hash, seal.place, seal.sealed_at, digest)
