"""How a request introduces itself: the headers that say who sends it, from which page, through whom.

Both ways into Medic read these headers into an `Introduction`, so that what follows from them is decided once. Values
are as HTTP carries them, one character a byte.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Final, NamedTuple

from medic.access.keys import KEY_PREFIX
from medic.errors import UnauthorizedError

RELAY_HEADERS: Final = frozenset(
    {"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"}
)
"""What proxies add to a request. One of them is enough to know that there is one."""

BEARER_NEEDED: Final = "A key is shown as `Authorization: Bearer KEY` or `X-API-Key: KEY`."
BASIC_ELSEWHERE: Final = f"HTTP Basic is taken for heartbeats in one line only. {BEARER_NEEDED}"
BASIC_UNREADABLE: Final = "This is no HTTP Basic: `user:password` in base64, with the key as either."
TWO_KEYS: Final = "Two different keys are shown: send one of them."


class Introduction(NamedTuple):
    """What a request says of its sender.

    Attributes:
        authorization, api_key: Every `Authorization` and `X-API-Key`.
        host: The `Host`, or what HTTP/2 has in its place; empty where there is none.
        is_relayed: Whether a proxy says that it stands between.
        origin, fetch_site: `Origin` and `Sec-Fetch-Site`, which browsers send and pages cannot forge.
    """

    authorization: tuple[str, ...] = ()
    api_key: tuple[str, ...] = ()
    host: str = ""
    is_relayed: bool = False
    origin: str = ""
    fetch_site: str = ""


def shown_key(introduction: Introduction, *, takes_basic: bool) -> str:
    """The text shown as a key, whatever it is worth; empty where none is. An empty header shows none.

    Args:
        introduction: Of the request.
        takes_basic: Whether HTTP Basic may hold it.

    Raises:
        UnauthorizedError: something is shown that is none (`malformed`), or two different ones are (`ambiguous`).
    """
    authorization, api_key = introduction.authorization, introduction.api_key
    if not authorization and not api_key:
        return ""
    shown = {*api_key, *(_credentials(line, takes_basic=takes_basic) for line in authorization)} - {""}
    if len(shown) > 1:
        raise UnauthorizedError(TWO_KEYS, reason="ambiguous")
    return shown.pop() if shown else ""


def _credentials(line: str, *, takes_basic: bool) -> str:
    scheme, _, text = line.strip().partition(" ")
    kind = scheme.lower()
    if kind == "bearer":
        return text.strip()
    if kind == "basic":
        if not takes_basic:
            raise UnauthorizedError(BASIC_ELSEWHERE, reason="malformed")
        return _key_in_basic(text.strip())
    if not scheme:
        return ""
    raise UnauthorizedError(BEARER_NEEDED, reason="malformed")


def _key_in_basic(text: str) -> str:
    """The key among user name and password: what looks like one, else the password, else the user name."""
    try:
        user, _, password = b64decode(text, validate=True).decode("latin-1").partition(":")
    except (binascii.Error, ValueError):
        raise UnauthorizedError(BASIC_UNREADABLE, reason="malformed") from None
    return user if user.startswith(KEY_PREFIX) or not password else password
