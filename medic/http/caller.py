"""Who is calling: the address nearest to the caller that nobody untrusted could have written.

A proxy appends the address it was called from to `X-Forwarded-For` (or writes `Forwarded`, RFC 7239), so the list is
believed from its right end, one entry for each proxy that is trusted: the first entry that is no trusted proxy itself
is the caller. Everything to the left of it may be invented. Where an entry cannot be read, the last address that could
be is the answer; where both headers are there and name different callers, neither is believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

TrustedProxies = tuple[IPv4Network | IPv6Network, ...]
"""`MEDIC_TRUSTED_PROXIES`."""

UNKNOWN_PEER: Final = "local"
"""Stands for a peer without an address: a Unix socket."""

PEERS_KEPT: Final = 4_096
"""Peers whose address is remembered, some 1 MB: working one out is 3 µs, a twentieth of a connection of one request."""

_FORWARDED_FOR: Final = re.compile(r'(?:^|;)\s*for=(?:"([^"]*)"|([^;"\s]*))', re.IGNORECASE)
_WITH_PORT: Final = re.compile(r"(?:\[([^\]]+)\](?::[0-9]{1,5})?|([0-9.]+)(?::[0-9]{1,5})?)")


def caller_address(
    peer: str | None, *, forwarded_for: Sequence[str], forwarded: Sequence[str], trusted: TrustedProxies
) -> str:
    """The caller's address as text.

    Args:
        peer: The address of the connection's other end, None for a Unix socket.
        forwarded_for: The `X-Forwarded-For` headers, in order.
        forwarded: The `Forwarded` headers, in order.
        trusted: Proxies that are believed.
    """
    if peer is None:
        return UNKNOWN_PEER
    if not forwarded_for and not forwarded:
        return direct_address(peer)
    nearest = _parse(peer)
    if nearest is None:
        return peer
    chains = [
        [entry.strip() for line in forwarded_for for entry in line.split(",")],
        [_forwarded_node(element) for line in forwarded for element in line.split(",")],
    ]
    callers = {_walk(nearest, chain, trusted) for chain in chains if chain}
    return str(callers.pop() if len(callers) == 1 else nearest)


@lru_cache(maxsize=PEERS_KEPT)
def direct_address(peer: str) -> str:
    """The address of a peer for whom no proxy speaks."""
    address = _parse(peer)
    return peer if address is None else str(address)


def _walk(
    nearest: IPv4Address | IPv6Address, chain: Iterable[str], trusted: TrustedProxies
) -> IPv4Address | IPv6Address:
    believed = nearest
    for entry in reversed(list(chain)):
        if not any(believed in network for network in trusted):
            break
        further = _parse(entry)
        if further is None:
            break
        believed = further
    return believed


def _forwarded_node(element: str) -> str:
    match = _FORWARDED_FOR.search(element)
    return "" if match is None else match[1] or match[2] or ""


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """The address, without its port; an IPv4 address written as an IPv6 one is the IPv4 address."""
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address(match[1] or match[2] if match else text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
