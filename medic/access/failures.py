"""Failed sign-ins by address: after so many in a minute, further failures are told to wait.

It is asked about failures only, so whoever shows a valid key never meets it, however many of their neighbours behind
the same address fail. It does not protect secrets, which nobody guesses: it keeps a client gone wild, or a scanner,
from filling logs and audit, and tells it to slow down.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from medic.core.units import MINUTE_MS, InstantMs

FAILURES_A_MINUTE_MAX: Final = 60
"""Failures of one address in a minute that are told why. A fleet behind one address whose key was revoked has more."""

ADDRESSES_MAX: Final = 10_000
"""Addresses counted apart in one minute, 1 MB. Beyond them all others are counted together, as one."""

IPV6_NETWORK_BITS: Final = 64
"""Who has one IPv6 address has as many: they are counted by their network."""

_OTHERS: Final = "others"


class FailedSignIns:
    """Counts failures, a calendar minute at a time."""

    def __init__(self, *, most: int = FAILURES_A_MINUTE_MAX, addresses_max: int = ADDRESSES_MAX) -> None:
        self.most = most
        self._addresses_max = addresses_max
        self._minute = 0
        self._counts: Counter[str] = Counter()

    def note(self, address: str, now: InstantMs) -> int | None:
        """Count one; the seconds until failures are told why again, or None while they are."""
        minute = now // MINUTE_MS
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
        who = counted_as(address)
        if who not in self._counts and len(self._counts) >= self._addresses_max:
            who = _OTHERS
        self._counts[who] += 1
        if self._counts[who] <= self.most:
            return None
        return max(1, -(-((minute + 1) * MINUTE_MS - now) // 1000))


def counted_as(address: str) -> str:
    """As whom an address is counted: an IPv6 address as its network."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(ip_network((int(found), IPV6_NETWORK_BITS), strict=False))
    return address
