"""Which addresses are places of the public internet, and what the others are.

The problem. Whoever may set the address of a webhook makes Medic's machine send a request there: to itself, to its
neighbours behind the firewall, to the service that gives a cloud machine its credentials. So each range that IANA
registers for a special purpose is refused, and what an IPv6 address says of an IPv4 address is judged by that one:
`::ffff:127.0.0.1` is this machine, whatever it is written as.

Two kinds of ranges. Some are places that an operator may mean (loopback, a private network): these may be opened by
an entry that names them (`medic.access.allowlist`). Others are nobody's place, or hand out credentials to whoever
asks: never, whatever is listed.

Rejected: `ipaddress.is_global` and its kin. What they say changes between releases of Python, they know neither
6to4 nor NAT64 by the address within, and they take multicast for global.

Source: the IANA IPv4 and IPv6 Special-Purpose Address Registries, and Multicast (224.0.0.0/4, ff00::/8), as of 2025.
AS112 and AMT are registered as reachable, and refused all the same: no webhook is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class SpecialRange:
    """Addresses that are no place of the public internet.

    Attributes:
        network: The range.
        words: What an address in it is, after "is".
        opens: Whether an entry that names it opens it.
    """

    network: Network
    words: str
    opens: bool = True


def _ranges(words: str, *networks: str, opens: bool = True) -> Iterator[SpecialRange]:
    return (SpecialRange(ip_network(network), words, opens) for network in networks)


SPECIAL_RANGES: Final[tuple[SpecialRange, ...]] = (
    # Handing out credentials to whoever can reach them: never. Before the ranges that they lie in.
    *_ranges(
        "a metadata service",
        "169.254.169.254/32",  # Amazon, Azure, Google, Oracle, DigitalOcean, OpenStack
        "169.254.170.2/32",  # Amazon: containers
        "169.254.170.23/32",  # Amazon: pods
        "169.254.0.23/32",  # Tencent
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure: a public address that only Azure's own machines have
        "192.0.0.192/32",  # Oracle
        "fd00:ec2::254/128",  # Amazon
        "fd00:ec2::23/128",  # Amazon: pods
        "fd20:ce::254/128",  # Google
        "fd00:42::42/128",  # Scaleway
        opens=False,
    ),
    # Nobody's place. Linux takes 0.0.0.0 and :: for loopback.
    *_ranges("unspecified", "0.0.0.0/8", "::/128", opens=False),
    *_ranges("multicast", "224.0.0.0/4", "ff00::/8", opens=False),
    *_ranges("broadcast", "255.255.255.255/32", opens=False),
    *_ranges("reserved", "240.0.0.0/4", opens=False),
    # Places that an operator may mean.
    *_ranges("loopback", "127.0.0.0/8", "::1/128"),
    *_ranges("private", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    *_ranges("unique local", "fc00::/7"),
    *_ranges("link-local", "169.254.0.0/16", "fe80::/10"),
    *_ranges("site-local", "fec0::/10"),
    *_ranges("shared by carriers", "100.64.0.0/10"),
    *_ranges("for benchmarks", "198.18.0.0/15"),
    *_ranges(
        "for documentation",
        *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
    ),
    *_ranges("reserved for protocols", "192.0.0.0/24", "2001::/23"),
    *_ranges("an anycast service", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24"),
    *_ranges("an anycast service", "2620:4f:8000::/48"),
    *_ranges("translated locally", "64:ff9b:1::/48"),
    *_ranges("discarded", "100::/64", "100:0:0:1::/64"),
    *_ranges("for segment routing", "5f00::/16"),
)
"""The first that holds an address is what it is."""

_UNALLOCATED: Final = SpecialRange(ip_network("::/0"), "reserved", opens=False)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
"""The only IPv6 addresses that were ever given to anybody."""

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_TRANSLATED: Final = IPv6Network("::ffff:0:0:0/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_6TO4: Final = IPv6Network("2002::/16")
_TEREDO: Final = IPv6Network("2001::/32")
_LOW: Final = 0xFFFF_FFFF


def special_range_of(address: Address) -> SpecialRange | None:
    """The range that an address lies in, or None where it is a place of the public internet.

    Args:
        address: One that `forms_of` gave.
    """
    for special in SPECIAL_RANGES:
        if address.version == special.network.version and address in special.network:
            return special
    if address.version == 6 and address not in _GLOBAL_UNICAST:
        return _UNALLOCATED
    return None


def forms_of(address: Address) -> tuple[Address, ...]:
    """The addresses by which one is judged: itself, or the IPv4 addresses that it is only another form of."""
    if isinstance(address, IPv4Address):
        return (address,)
    number = int(address)
    if address in _TEREDO:
        # The server in the clear, and the client with each bit turned.
        return IPv4Address((number >> 64) & _LOW), IPv4Address(~number & _LOW)
    if address in _6TO4:
        return (IPv4Address((number >> 80) & _LOW),)
    if address in _COMPATIBLE and number <= 1:
        # `::` and `::1` are addresses of their own.
        return (address,)
    if any(address in network for network in (_MAPPED, _TRANSLATED, _COMPATIBLE, _NAT64)):
        return (IPv4Address(number & _LOW),)
    return (IPv6Address(number),)


def address_in(text: str) -> Address | None:
    """The address that a host is, or None where it is a name."""
    try:
        return ip_address(text)
    except ValueError:
        return None
