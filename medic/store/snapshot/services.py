"""Services as a block of a snapshot, and back: columns of numbers, texts that are stored once a block, packed states.

A million services have to be written while heartbeats are answered, and read before anything is. So nothing is done
for a service that can be done for a column: a column is one `struct.pack` of a thousand numbers. What many services
have in common (their terms, labels, runbooks, authors) stands in tables at the head of the block and is referred to by
number; a block is complete in itself, so the tables are never larger than a block. The hot state is what `pack_state`
makes of it, the same as in `service_states`.

Reading gives rows whose texts are shared beyond their block: a million services of one team hold one string. A service
that was read takes no more memory than one that PostgreSQL handed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final

import orjson

from medic.core.policy import Defaults, Policy
from medic.core.service import Service, ServiceRow, modified_at
from medic.core.units import DurationMs, InstantMs, ServiceId
from medic.store.codec import pack_state, unpack_state

SERVICES_A_BLOCK: Final = 1_000
"""Services packed in one turn of the loop: some 4 ms."""

SHARED_MAX: Final = 65_536
"""Texts remembered while reading, so that all who have one share it; beyond it they are only shared within a block."""

_HEAD: Final = struct.Struct("<III")
_Terms = tuple[bool | int | str | None, ...]


def pack_services(services: Sequence[Service]) -> bytes:
    """One block of at most 65 535 services, each as it is at this moment."""
    rows = [service.row for service in services]
    terms: dict[_Terms, int] = {}
    texts: dict[str, int] = {}
    term_numbers = [terms.setdefault(_terms_of(row), len(terms)) for row in rows]
    labels = [texts.setdefault(row.service_name, len(texts)) for row in rows]
    runbooks = [texts.setdefault(row.runbook, len(texts)) for row in rows]
    authors = [texts.setdefault(row.changed_by, len(texts)) for row in rows]
    names = [row.heartbeat_name.encode() for row in rows]
    states = [pack_state(service) for service in services]
    tables = orjson.dumps((list(terms), list(texts)))
    numbers = struct.pack(
        _columns(len(rows)),
        *[row.service_id for row in rows],
        *[row.version for row in rows],
        *[row.date_added for row in rows],
        *[row.date_modified for row in rows],
        *term_numbers,
        *labels,
        *runbooks,
        *authors,
        *map(len, names),
        *map(len, states),
    )
    head = _HEAD.pack(len(rows), len(tables), sum(map(len, names)))
    return b"".join((head, tables, numbers, *names, *states))


class ServiceReader:
    """Makes services of blocks.

    Args:
        defaults: The environment's, for the policies.
    """

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self._shared: dict[str, str] = {}

    def unpack(self, block: bytes) -> Iterator[Service]:
        """The services of a block that `pack_services` made.

        Raises:
            UnreadableRecordError: a later release packed a state.
        """
        count, tables_length, names_length = _HEAD.unpack_from(block)
        if not count:  # every service of the slice was being rebuilt
            return
        terms, said = orjson.loads(block[_HEAD.size : _HEAD.size + tables_length])
        for term in terms:
            term[6], term[7] = self._share(term[6]), self._share(term[7])
        policies: list[Policy | None] = [None] * len(terms)
        texts = [self._share(text) for text in said]
        place = _HEAD.size + tables_length
        layout = _columns(count)
        numbers = struct.unpack_from(layout, block, place)
        place += struct.calcsize(layout)
        columns = [numbers[first : first + count] for first in range(0, len(numbers), count)]
        names = pairwise(accumulate(columns[8], initial=place))
        states = pairwise(accumulate(columns[9], initial=place + names_length))
        for service_id, version, added, modified, term, label, runbook, author, name, state in zip(
            *columns[:8], names, states, strict=True
        ):
            active, interval_ms, grace_ms, threshold, recovery_ms, renotify_ms, team, priority, shard, *more = terms[
                term
            ]
            row = ServiceRow(
                service_id=ServiceId(service_id),
                version=version,
                heartbeat_name=block[name[0] : name[1]].decode(),
                service_name=texts[label],
                active=active,
                interval_ms=DurationMs(interval_ms),
                grace_ms=DurationMs(grace_ms),
                threshold=threshold,
                recovery_ms=DurationMs(recovery_ms),
                renotify_ms=renotify_ms,
                team=team,
                priority=priority,
                runbook=texts[runbook],
                date_added=InstantMs(added),
                date_modified=modified_at(InstantMs(added), InstantMs(modified)),
                changed_by=texts[author],
                shard=shard,
                require_key=bool(more),
            )
            policy = policies[term]
            if policy is None:
                policy = policies[term] = row.policy(self._defaults)
            yield unpack_state(block[state[0] : state[1]], row, policy)

    @staticmethod
    def has(block: bytes, service_id: ServiceId) -> bool:
        """Whether that service is in the block."""
        count, tables_length, _ = _HEAD.unpack_from(block)
        return service_id in struct.unpack_from(f"<{count}Q", block, _HEAD.size + tables_length)

    def _share(self, text: str) -> str:
        if len(self._shared) < SHARED_MAX:
            return self._shared.setdefault(text, text)
        return self._shared.get(text, text)


def _terms_of(row: ServiceRow) -> _Terms:
    """Nine terms, as the release before reads them; a tenth only where a key is required."""
    terms = (
        row.active,
        row.interval_ms,
        row.grace_ms,
        row.threshold,
        row.recovery_ms,
        row.renotify_ms,
        row.team,
        row.priority,
        row.shard,
    )
    return (*terms, True) if row.require_key else terms


def _columns(count: int) -> str:
    """Id, version; two dates; terms, label, runbook, author, length of the name, length of the state."""
    return f"<{2 * count}Q{2 * count}q{5 * count}I{count}I"
