"""Which requests may come without a key, where the mode allows that to any at all.

A Medic that asks nobody for a key, on a machine of its own or on a trusted network, is still within reach of three that
nobody meant:

* A web page, in the browser of somebody on that machine. Browsers send a page's requests to any address, but say from
  which page: `Origin`, and `Sec-Fetch-Site` to addresses they trust, loopback among them. A page cannot forge either.
* A web page whose own name was pointed at Medic's address after it was loaded (DNS rebinding). To its browser it and
  Medic are one origin then. But the browser says the page's name as `Host`, so Medic answers to known names only.
* Everybody, through a reverse proxy that somebody put in front and forgot: every caller is on loopback then. Proxies
  say so in headers of their own. Once `MEDIC_TRUSTED_PROXIES` names one, somebody has thought of it.

Nothing of this is a question of who asks: whoever shows a key that is valid was let in by it, from wherever.

What it cannot see: a proxy that adds no header, and a page's plain GET to an address that is neither loopback nor TLS,
which carries nothing that would give it away. docs/topics/security says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from medic.access.introduction import Introduction
from medic.errors import ForbiddenError

LOCALHOST: Final = "localhost"

OWN_SITES: Final = frozenset({"", "none", "same-origin"})
"""`Sec-Fetch-Site` of requests that no foreign page made: no browser, an address somebody typed, Medic's own page.
`same-site` is another port of the same machine, or another machine of the same domain: another program."""

CHOOSE: Final = "Or choose a mode: MEDIC_AUTH=keys, or heartbeats-open, and MEDIC_ADMIN_API_KEY."

HOSTS_KEPT: Final = 1_024
"""Hosts that were looked at before: reading an address is 2 µs, and a fleet calls Medic by a few."""

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")


class KeylessRules:
    """Says why a request may not come without a key.

    Args:
        hosts: Names by which Medic may be called beside loopback's, in lower case; with a port, only that port.
        origins: Origins whose pages may call it, exactly as browsers say them.
        trusts_proxies: Whether a proxy was named that is believed.
    """

    def __init__(self, *, hosts: Iterable[str] = (), origins: Iterable[str] = (), trusts_proxies: bool = False) -> None:
        self._hosts = frozenset(hosts)
        self._origins = frozenset(origins)
        self._trusts_proxies = trusts_proxies

    def refusal(self, introduction: Introduction) -> ForbiddenError | None:
        """Why not, in a mode that is open; None: it may."""
        if not self._is_known(introduction.host):
            return ForbiddenError(
                "Medic is open to whoever reaches it, and so answers to names it knows only. "
                f"Add the name of the address you called to MEDIC_ALLOWED_HOSTS. {CHOOSE}",
                reason="foreign_host",
            )
        if introduction.is_relayed and not self._trusts_proxies:
            return ForbiddenError(
                "This came through a proxy, and Medic is open to whoever reaches it. "
                f"Name the proxy in MEDIC_TRUSTED_PROXIES, if all it lets through may do everything. {CHOOSE}",
                reason="proxy",
            )
        return self.page_refusal(introduction)

    def page_refusal(self, introduction: Introduction) -> ForbiddenError | None:
        """Why not, because a web page of others sent it; None: no such page did."""
        origin, site = introduction.origin, introduction.fetch_site
        if not origin and site in OWN_SITES:
            return None
        if origin in self._origins or (site in OWN_SITES and self._is_own(origin, introduction.host)):
            return None
        return ForbiddenError(
            "A web page of another origin sent this, and shows no key. "
            f"Name the origin in MEDIC_CORS_ORIGINS, if its pages may. {CHOOSE}",
            reason="foreign_page",
        )

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether the page is one of ours: its origin is the address that was called, by a name we know."""
        return origin.partition("://")[2].lower() == host.lower() and self._is_known(host)

    def _is_known(self, host: str) -> bool:
        """Whether Medic answers to this Host. None at all is no browser's."""
        if not host:
            return True
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower().removesuffix(".")
        return name in self._hosts or host.lower() in self._hosts or _is_loopback(name.strip("[]"))


@lru_cache(maxsize=HOSTS_KEPT)
def _is_loopback(name: str) -> bool:
    if name == LOCALHOST:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
