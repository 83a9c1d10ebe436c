"""Kinds of values an environment variable may have: each takes the text of the environment and gives Medic's own value.

A check refuses with the end of a sentence that begins with the variable's name and says what it may be. The sentence
never repeats the value: somebody may have put a secret into the wrong variable.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

from medic.access.allowlist import ENTRY_FORMS, AllowedHost, Allowlist, read_entry
from medic.access.keys import ADMIN_LENGTH_MIN
from medic.access.mode import AuthMode
from medic.access.references import fault_in, resolved
from medic.access.signed import SECRET_FORMS, read_secret

SECRETS_KEY_BYTES: Final = 32
"""AES-256."""

_WHOLE: Final = re.compile(r"[0-9]{1,15}")
_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?|\.[0-9]{1,15}")
_HOST_NAME: Final = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?)+")
_CALLED: Final = re.compile(r"(\[[^\]]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")
_FLAGS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
_LEVELS: Final = {
    **{level: level for level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")},
    "WARN": "WARNING",
    "FATAL": "CRITICAL",
}


def wrong(sentence: str) -> PydanticCustomError:
    """The refusal of one variable: the end of a sentence that begins with its name."""
    # Braces would be read as placeholders.
    return PydanticCustomError("refused", "{sentence}", {"sentence": sentence})


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a name or an address, and a port."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether nobody outside this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


# ----------------------------------------------------------------------------------------------------------- checks


def whole(least: int, most: int) -> BeforeValidator:
    """A whole number within bounds."""
    bounds = f"must be a whole number from {least} to {most}"

    def check(text: str) -> int:
        if _WHOLE.fullmatch(text) is None or not least <= int(text) <= most:
            raise wrong(bounds)
        return int(text)

    return BeforeValidator(check)


def number(least: float, most: float, unit: str) -> BeforeValidator:
    """A number within bounds, a fraction allowed."""
    bounds = f"must be a number of {unit} from {least:g} to {most:g}"

    def check(text: str) -> float:
        found = float(text) if _NUMBER.fullmatch(text) else math.nan
        if not least <= found <= most:
            raise wrong(bounds)
        return found

    return BeforeValidator(check)


def one_of(*words: str) -> BeforeValidator:
    """One of a few words, in any case."""

    def check(text: str) -> str:
        if text.lower() not in words:
            raise wrong(f"must be {' or '.join(words)}" if len(words) < 3 else f"must be one of {', '.join(words)}")
        return text.lower()

    return BeforeValidator(check)


def items_of(check_item: Callable[[str], object]) -> BeforeValidator:
    """Any number of values with commas between them, each passed through `check_item`; none twice."""

    def check(text: str) -> tuple[object, ...]:
        found = tuple(check_item(item) for part in text.split(",") if (item := part.strip()))
        if len(set(found)) != len(found):
            raise wrong("names the same thing twice")
        return found

    return BeforeValidator(check)


def check_flag(text: str) -> bool:
    """1 or 0, true or false, yes or no, on or off."""
    if text.lower() not in _FLAGS:
        raise wrong("must be 1 or 0 (true and false, yes and no, on and off are taken too)")
    return _FLAGS[text.lower()]


def check_auth(text: str) -> AuthMode:
    """One of the modes."""
    try:
        return AuthMode(text.lower())
    except ValueError:
        raise wrong("must be one of open, heartbeats-open, keys") from None


def check_level(text: str) -> str:
    """A level of the standard library's logging."""
    if text.upper() not in _LEVELS:
        raise wrong("must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL")
    return _LEVELS[text.upper()]


def check_host(text: str) -> str:
    """A host name or an address; an IPv6 address with brackets or without."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ip_address(bare))
    except ValueError:
        if bare != text or _HOST_NAME.fullmatch(text) is None:
            raise wrong("must be a host name or an address") from None
        return text


def check_listen_item(text: str) -> tuple[str | None, int]:
    """A port (the host is then `MEDIC_HOST`), or host:port."""
    bounds = "must be ports or host:port with commas between them, as in 5000 or 0.0.0.0:5000,[::1]:8081"
    host, colon, port = text.rpartition(":")
    if _WHOLE.fullmatch(port) is None or not 1 <= int(port) <= 65_535 or (colon and not host):
        raise wrong(bounds)
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise wrong(bounds)
    return (check_host(host) if colon else None), int(port)


def check_web_address(text: str) -> str:
    """A http or https address without query and fragment, and without a slash at its end."""
    bounds = "must be a http or https address"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise wrong(bounds) from None
    if not host or parts.scheme not in {"http", "https"} or not text.isprintable() or " " in text:
        raise wrong(bounds)
    if parts.query or parts.fragment:
        raise wrong("must be an address without ? and #")
    if parts.username is not None or parts.password is not None:
        raise wrong("must not have a user name or password in it")
    return text.rstrip("/")


def check_called_address(text: str) -> SecretStr:
    """A http or https address that is a secret itself, and may refer to stored ones behind its host."""
    fault = fault_in(text)
    if fault is not None:
        raise wrong(fault)
    # In place of each reference stands what could be anything: what is left is judged as it will be sent.
    plain = resolved(text, lambda _: "x")
    bounds = "must be a http or https address of printable ASCII, with references to secrets only behind its host"
    try:
        parts = urlsplit(plain)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise wrong(bounds) from None
    is_plain = plain.isascii() and plain.isprintable() and " " not in plain
    if not host or parts.scheme not in {"http", "https"} or not is_plain:
        raise wrong(bounds)
    if not text.lower().startswith(f"{parts.scheme}://{parts.netloc}".lower()):
        raise wrong(bounds)
    if parts.username is not None or parts.password is not None:
        raise wrong("must not have a user name or password in it")
    if parts.fragment:
        raise wrong("must not have a # in it, which is never sent")
    return SecretStr(text)


def check_reference_item(text: str) -> tuple[str, int]:
    """Host and port of something that is nearly always there."""
    host, _, port = text.rpartition(":")
    if _WHOLE.fullmatch(port) is None or not 1 <= int(port) <= 65_535 or not host:
        raise wrong("must be host:port with commas between them, as in 192.0.2.1:443,[2001:db8::1]:53")
    return check_host(host), int(port)


def check_zone(text: str) -> ZoneInfo:
    """A time zone of the IANA database."""
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        # In this order: a name there is none of, one that is no path, one that is a folder such as America.
        raise wrong(
            "must be a time zone of the IANA database that this machine has, such as Europe/Berlin or UTC "
            "(the package tzdata brings them)"
        ) from None


def check_network(text: str) -> IPv4Network | IPv6Network:
    """An address, or a network in CIDR form."""
    try:
        return ip_network(text)
    except ValueError:
        raise wrong(
            "must be addresses or networks with commas between them, as in 10.0.0.5,192.168.0.0/16 "
            "(no bit set behind the /16)"
        ) from None


def check_notifier(text: str) -> str:
    """The name of a notifier that is configured by the environment."""
    if text.lower() not in {"pagerduty", "slack"}:
        raise wrong("must be pagerduty, slack, or both with a comma between them")
    return text.lower()


def check_allowed_host(text: str) -> AllowedHost:
    """A host, host:port, *.domain or network."""
    try:
        return read_entry(text)
    except ValueError:
        raise wrong(ENTRY_FORMS) from None


def check_webhook_secret(text: str) -> SecretStr:
    """What `medic.access.signed` can sign with."""
    try:
        read_secret(text)
    except ValueError:
        raise wrong(SECRET_FORMS) from None
    return check_secret(text)


def check_called_item(text: str) -> str:
    """A name by which Medic is called, with a port or without, in lower case, as it stands in a Host."""
    match = _CALLED.fullmatch(text)
    if match is None or (match[2] is not None and not 1 <= int(match[2]) <= 65_535):
        raise wrong("must be host names or addresses, with a port or without, as in medic.example,[2001:db8::1]:8080")
    name = check_host(match[1]).lower()
    shown = f"[{name}]" if ":" in name else name.removesuffix(".")
    return shown if match[2] is None else f"{shown}:{int(match[2])}"


def check_origin(text: str) -> str:
    """An origin as browsers say it: scheme, host in lower case, the port where it is not the usual one."""
    bounds = "must be origins as browsers say them, as in https://grafana.example,http://localhost:3000"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong(bounds) from None
    usual = {"http": 80, "https": 443}
    if not host or parts.scheme not in usual or port == usual[parts.scheme] or parts.username is not None:
        raise wrong(bounds)
    shown = f"[{host}]" if ":" in host else host
    if text != f"{parts.scheme}://{shown}" + ("" if port is None else f":{port}") or not text.isascii():
        raise wrong(bounds)
    return text


def check_text(text: str) -> str:
    """Any printable text."""
    if not text.isprintable():
        raise wrong("must consist of printable characters")
    return text


def check_file(text: str) -> str:
    """A file that can be read."""
    try:
        with Path(text).expanduser().open("rb"):
            return str(Path(text).expanduser().absolute())
    except OSError as error:
        raise wrong(f"must be a file that can be read: {(error.strerror or 'it cannot').lower()}") from None


def check_folder(text: str) -> Path:
    """A path, made absolute."""
    return Path(text).expanduser().absolute()


def check_secret(text: str) -> SecretStr:
    """A secret that vendors' protocols carry in a header or an address: printable ASCII without spaces."""
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise wrong("must consist of printable ASCII without spaces")
    return SecretStr(text)


def check_admin_key(text: str) -> SecretStr:
    """Any text that is long enough and can be sent in a header."""
    if len(text) < ADMIN_LENGTH_MIN or not text.isprintable() or text != text.strip():
        raise wrong(f"must be at least {ADMIN_LENGTH_MIN} printable characters, without a space at either end")
    return SecretStr(text)


def check_password(text: str) -> SecretStr:
    """Any text."""
    return SecretStr(text)


def check_redis_url(text: str) -> SecretStr:
    """An address of Redis, which may hold a password."""
    bounds = "must be an address like redis://localhost:6379/0, rediss://… or unix://…"
    try:
        parts = urlsplit(text)
        place, _ = parts.path if parts.scheme == "unix" else parts.hostname, parts.port
    except ValueError:
        raise wrong(bounds) from None
    if not place or parts.scheme not in {"redis", "rediss", "unix"}:
        raise wrong(bounds)
    return SecretStr(text)


def check_secrets_key(text: str) -> SecretStr:
    """32 bytes in base64."""
    bounds = f"must be {SECRETS_KEY_BYTES} bytes in base64, as `openssl rand -base64 {SECRETS_KEY_BYTES}` makes them"
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise wrong(bounds) from None
    if len(key) != SECRETS_KEY_BYTES:
        raise wrong(bounds)
    return SecretStr(text)


# ------------------------------------------------------------------------------------------------------------ types


@dataclass(frozen=True, slots=True)
class IsSecret:
    """Marks a variable whose value is never shown, and which may be given as a file by NAME_FILE."""


Port = Annotated[int, whole(1, 65_535)]
Flag = Annotated[bool, BeforeValidator(check_flag)]
Auth = Annotated[AuthMode, BeforeValidator(check_auth)]
CalledNames = Annotated[tuple[str, ...], items_of(check_called_item)]
Origins = Annotated[tuple[str, ...], items_of(check_origin)]
Level = Annotated[str, BeforeValidator(check_level)]
Host = Annotated[str, BeforeValidator(check_host)]
ListenItems = Annotated[tuple[tuple[str | None, int], ...], items_of(check_listen_item)]
WebAddress = Annotated[str, BeforeValidator(check_web_address)]
CalledAddress = Annotated[SecretStr | None, BeforeValidator(check_called_address), IsSecret()]
References = Annotated[tuple[tuple[str, int], ...], items_of(check_reference_item)]
Zone = Annotated[ZoneInfo, BeforeValidator(check_zone)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], items_of(check_network)]
AllowedHosts = Annotated[Allowlist, items_of(check_allowed_host)]
Notifiers = Annotated[tuple[str, ...], items_of(check_notifier)]
Text = Annotated[str, BeforeValidator(check_text)]
File = Annotated[str, BeforeValidator(check_file)]
Folder = Annotated[Path, BeforeValidator(check_folder)]
Secret = Annotated[SecretStr | None, BeforeValidator(check_secret), IsSecret()]
Password = Annotated[SecretStr | None, BeforeValidator(check_password), IsSecret()]
RedisUrl = Annotated[SecretStr | None, BeforeValidator(check_redis_url), IsSecret()]
WebhookSecret = Annotated[SecretStr | None, BeforeValidator(check_webhook_secret), IsSecret()]
AdminKey = Annotated[SecretStr | None, BeforeValidator(check_admin_key), IsSecret()]
SecretsKey = Annotated[SecretStr | None, BeforeValidator(check_secrets_key), IsSecret()]
