"""Where requests to addresses that users configure may go: `MEDIC_ALLOWED_WEBHOOK_HOSTS`, and one judgement.

Unset, every public address may be asked. Set, these and no other:

    hooks.example.com         this name, at public addresses, at any port but those of other protocols
    hooks.example.com:8443    the same at this port only, whatever it is
    *.example.com             every name below it (not itself), at public addresses
    203.0.113.7, [::1]:8443   this address, whatever name led there; with a port, at this one only
    203.0.113.0/24            every address in it, whatever name led there

A place that is not public is opened by an entry that is its address, or a network that lies within the special range.
A name opens none: where it leads is up to whoever owns its zone, who may say loopback tomorrow. `0.0.0.0/0` names no
private network either: it only happens to hold one. Metadata services and what is no place at all are never opened.

Every address of a name is judged, and one that is refused refuses the name: a name that is public and loopback at
once is a mistake or an attack, and its operator should hear of it rather than be served now and then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from medic.access.ranges import Address, Network, SpecialRange, address_in, forms_of, special_range_of

VARIABLE: Final = "MEDIC_ALLOWED_WEBHOOK_HOSTS"

ENTRY_FORMS: Final = "must be hosts, host:port, *.domain or networks, with commas between them"

PORT_MAX: Final = 65_535
PORT_DIGITS_MAX: Final = 5

# fmt: off
PORTS_OF_OTHERS: Final = frozenset({
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530,
    531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190,
    5060, 5061, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
})
# fmt: on
"""Where something listens that would take a POST for commands of its own: mail, Redis, printers. A browser sends
nothing there either. Source: the Fetch Standard, "port blocking", and Redis."""

METADATA_NAMES: Final = frozenset(
    {
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "metadata.tencentyun.com",
        "metadata.platformequinix.com",
        "instance-data",
        "instance-data.ec2.internal",
    }
)
"""Names of metadata services; their addresses are refused as well."""

_LABEL: Final = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_ENDS_IN_A_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes, as the parser says that will connect: host in lower case, no dot at its end, and port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class AllowedHost:
    """One entry.

    Attributes:
        host: A name; empty where addresses are meant.
        below: Whether names below `host` are meant, and not itself.
        port: The only port; None: any.
        network: The addresses that are meant: one, or a network.
    """

    host: str = ""
    below: bool = False
    port: int | None = None
    network: Network | None = None

    def names(self, place: Place) -> bool:
        """Whether this entry means that host by its name, or a name above it."""
        if self.network is not None or self.port not in {None, place.port}:
            return False
        return place.host.endswith(f".{self.host}") if self.below else place.host == self.host

    def holds(self, place: Place, address: Address) -> bool:
        """Whether this entry means this address of that place by itself, whatever name led there."""
        network = self.network
        if network is None or self.port not in {None, place.port}:
            return False
        return address.version == network.version and address in network

    def lies_within(self, special: SpecialRange) -> bool:
        """Whether the addresses that this entry means are all of that range: then whoever wrote it meant the range."""
        network, whole = self.network, special.network
        if isinstance(network, IPv4Network) and isinstance(whole, IPv4Network):
            return network.subnet_of(whole)
        return isinstance(network, IPv6Network) and isinstance(whole, IPv6Network) and network.subnet_of(whole)


Allowlist = tuple[AllowedHost, ...]
"""Empty: every public place."""


def read_entry(text: str) -> AllowedHost:
    """One entry of the variable.

    Raises:
        ValueError: it is none of the forms.
    """
    text = text.lower()
    if "/" in text:
        return AllowedHost(network=ip_network(text))
    bare, port = _without_port(text)
    below = bare.startswith("*.")
    host = bare.removeprefix("*.").removesuffix(".")
    address = address_in(host)
    if address is not None and not below:
        # By the form that addresses are judged by: `::ffff:10.0.0.1` is `10.0.0.1`.
        return AllowedHost(port=port, network=ip_network(forms_of(address)[-1]))
    if not _is_name(host):
        raise ValueError(ENTRY_FORMS)
    return AllowedHost(host=host, below=below, port=port)


def judge_place(place: Place, allowlist: Allowlist) -> str | None:
    """Why a request must not go there, wherever the name leads, as the end of a sentence; None: look it up."""
    named = [entry for entry in allowlist if entry.names(place)]
    address = address_in(place.host)
    if not 1 <= place.port <= PORT_MAX:
        return f"must name a port from 1 to {PORT_MAX}"
    meant = (*named, *_holding(place, address, allowlist))
    if place.port in PORTS_OF_OTHERS and all(entry.port is None for entry in meant):
        return f"must not name port {place.port}: it belongs to another protocol"
    if address is None:
        if _ENDS_IN_A_NUMBER.fullmatch(place.host):
            return "must write an IPv4 address as four decimal numbers"
        if not _is_name(place.host):
            return "must name a host: letters, digits, hyphens and dots"
    elif "%" in place.host:
        return "must name a host without a zone"
    if place.host in METADATA_NAMES:
        return "must not name a metadata service"
    if allowlist and not named and all(entry.network is None for entry in allowlist):
        return f"must name a host of {VARIABLE}"
    return judge(place, address, allowlist) if address is not None else None


def judge(place: Place, address: Address, allowlist: Allowlist) -> str | None:
    """Why a request to this place must not go to this address of it, as the end of a sentence; None where it may."""
    for form in forms_of(address):
        special = special_range_of(form)
        if special is not None and not special.opens:
            return f"must not lead to an address that is {special.words}"
        if _is_opened(place, form, special, allowlist):
            continue
        if special is not None:
            return f"must not lead to an address that is {special.words}, unless {VARIABLE} has it or its network"
        return f"must name a host of {VARIABLE}"
    return None


def judge_all(place: Place, addresses: Iterable[Address], allowlist: Allowlist) -> str | None:
    """The first reason against any of the addresses of a name."""
    reasons = (judge(place, address, allowlist) for address in addresses)
    return next((reason for reason in reasons if reason is not None), None)


def _is_opened(place: Place, address: Address, special: SpecialRange | None, allowlist: Allowlist) -> bool:
    holding = _holding(place, address, allowlist)
    if special is not None:
        return any(entry.lies_within(special) for entry in holding)
    return not allowlist or any(holding) or any(entry.names(place) for entry in allowlist)


def _holding(place: Place, address: Address | None, allowlist: Allowlist) -> Iterator[AllowedHost]:
    """The entries that mean this address of the place by itself."""
    return (entry for entry in allowlist if address is not None and entry.holds(place, address))


def _is_name(host: str) -> bool:
    return _NAME.fullmatch(host) is not None and _ENDS_IN_A_NUMBER.fullmatch(host) is None


def _without_port(text: str) -> tuple[str, int | None]:
    """A host, without the brackets of IPv6, and the port behind it."""
    if address_in(text) is not None:
        return text, None
    host, colon, digits = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, digits = text, ""
    elif not _is_port(digits):
        raise ValueError(ENTRY_FORMS)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if address_in(host) is None:
            raise ValueError(ENTRY_FORMS)
    return host, int(digits) if digits else None


def _is_port(digits: str) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) <= PORT_DIGITS_MAX and 1 <= int(digits) <= PORT_MAX
