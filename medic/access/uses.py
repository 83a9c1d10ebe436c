"""Which keys were used, and which services were heard without one: kept in memory, written to the store in batches.

A heartbeat with a key costs one entry of a dict, one without a key a look and a comparison: a service heard without a
key is noted once a day. A million such services take 42 MB, once more while they are written, and nothing where every
heartbeat has a key. Whatever walks over them does so in slices, for the loop has other things to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from medic.access.keys import ADMIN_ID, ApiKey
from medic.core.units import DAY_MS, InstantMs, ServiceId

COVERAGE_DAYS: Final = 7
"""How long a heartbeat without a key is told of. A service that sends once a week is still seen."""

SLICE_SERVICES: Final = 5_000
"""Services written or forgotten at once: about a millisecond."""

Day = int
"""Days since 1970, in UTC."""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """The newest use of a key: when, and from which address."""

    key_id: str
    at: InstantMs
    address: str


@dataclass(frozen=True, slots=True)
class Unwritten:
    """What was noted and is to be written: uses, and services heard without a key with the newest day of that."""

    uses: Sequence[KeyUse]
    keyless: Mapping[ServiceId, Day]

    def __bool__(self) -> bool:
        return bool(self.uses or self.keyless)


def day_of(instant: InstantMs) -> Day:
    """The day of an instant."""
    return instant // DAY_MS


class KeyUses:
    """Notes uses and heartbeats without a key. All of it is known here; what is new goes to the store in batches."""

    def __init__(self) -> None:
        self._used: dict[str, KeyUse] = {}
        self._keyless: dict[ServiceId, Day] = {}
        self._new: dict[str, tuple[InstantMs, str]] = {}
        self._new_keyless: set[ServiceId] = set()
        self._today: Day = 0
        self._day_ends = InstantMs(0)

    def note(self, key: ApiKey, now: InstantMs, address: str) -> None:
        """This key was shown, and was valid."""
        self._new[key.key_id] = (now, address)

    def note_keyless(self, service_id: ServiceId, now: InstantMs) -> None:
        """A heartbeat of this service was taken without a key."""
        if now >= self._day_ends:
            self._today = day_of(now)
            self._day_ends = InstantMs((self._today + 1) * DAY_MS)
        if self._keyless.get(service_id) != self._today:
            self._keyless[service_id] = self._today
            self._new_keyless.add(service_id)

    def last_use(self, key_id: str) -> KeyUse | None:
        """The newest use, or None where none is known."""
        new = self._new.get(key_id)
        return self._used.get(key_id) if new is None else KeyUse(key_id, *new)

    def keyless_on(self, service_id: ServiceId, now: InstantMs) -> Day | None:
        """The newest day on which this service was heard without a key, or None in the last `COVERAGE_DAYS` days."""
        day = self._keyless.get(service_id)
        return day if day is not None and day > day_of(now) - COVERAGE_DAYS else None

    def take_unwritten(self) -> Unwritten:
        """What is to be written, one slice of it; it counts as written from now on."""
        uses = [KeyUse(key_id, at, address) for key_id, (at, address) in self._new.items()]
        self._used.update((use.key_id, use) for use in uses)
        self._new.clear()
        keyless: dict[ServiceId, Day] = {}
        while self._new_keyless and len(keyless) < SLICE_SERVICES:
            service_id = self._new_keyless.pop()
            keyless[service_id] = self._keyless[service_id]
        if not self._new_keyless:
            self._new_keyless = set()  # an emptied set keeps its table
        return Unwritten([use for use in uses if use.key_id != ADMIN_ID], keyless)

    def give_back(self, unwritten: Unwritten) -> None:
        """It could not be written: a later batch has it, or what is newer by then."""
        for use in unwritten.uses:
            self._new.setdefault(use.key_id, (use.at, use.address))
        self._new_keyless.update(unwritten.keyless)

    def learn(self, uses: Iterable[KeyUse], keyless: Mapping[ServiceId, Day]) -> None:
        """What the store knows from earlier; what is newer here stays."""
        for use in uses:
            self._used.setdefault(use.key_id, use)
        for service_id, day in keyless.items():
            self._keyless.setdefault(service_id, day)

    def forget_old(self, now: InstantMs) -> Iterator[None]:
        """Forget what nobody will be told any more; yields where others should have their turn."""
        first = day_of(now) - COVERAGE_DAYS
        for count, service_id in enumerate(list(self._keyless), start=1):
            if self._keyless[service_id] <= first and service_id not in self._new_keyless:
                del self._keyless[service_id]
            if count % SLICE_SERVICES == 0:
                yield
