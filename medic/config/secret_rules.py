"""Rules about secrets, and all values of an environment that nobody must see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from medic.access.references import FORM, fault_in, names_in
from medic.access.secrets import KEY_LINE
from medic.config.settings import Settings
from medic.config.variables import Secrets, Telling, Watched
from medic.errors import Fault
from medic.store.postgres.target import ConnectionTarget

KEY: Final = "MEDIC_SECRETS_KEY"
KEY_BEFORE: Final = "MEDIC_SECRETS_KEY_BEFORE"

HEADER_VALUE_MIN: Final = 8
"""Characters of a header's value from which on it is kept out of logs: `1` or `eu` would take every number with it."""


def secret_faults(names: frozenset[str], telling: Telling, secrets: Secrets, watched: Watched) -> Iterator[Fault]:
    """References that are none, or that nothing could resolve; a key before that comes before no other."""
    for name, text in _tokens(telling, watched):
        fault = fault_in(text)
        if fault is not None:
            yield Fault(name, fault)
        elif names_in(text) and KEY not in names:
            yield Fault(KEY, f"is missing: {name} refers to a stored secret ({FORM}), and nothing can open it")
    if KEY_BEFORE in names and KEY not in names:
        yield Fault(KEY, f"is missing: {KEY_BEFORE} is the one before it. Set {KEY_LINE}")
    elif secrets.medic_secrets_key is not None and secrets.medic_secrets_key == secrets.medic_secrets_key_before:
        yield Fault(KEY_BEFORE, f"is the same as {KEY}: unset it, or set a new {KEY}")


def references_of(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The stored secrets that variables refer to, by variable."""
    slack, pagerduty, deadman = settings.telling.slack, settings.telling.pagerduty, settings.deadman
    tokens = {
        "SLACK_API_TOKEN": slack.token if slack else None,
        "PAGERDUTY_ROUTING_KEY": pagerduty.routing_key if pagerduty else None,
        "MEDIC_DEADMAN_URL": deadman.url if deadman else None,
        "MEDIC_DEADMAN_KEY": deadman.key if deadman else None,
    }
    return {name: names for name, token in tokens.items() if token and (names := names_in(token.get_secret_value()))}


def values_of(settings: Settings) -> frozenset[str]:
    """Every secret in the settings, and the passwords within addresses. References are none: they may be shown."""
    found: set[str] = set()
    for value in _secrets_in(settings):
        found |= {value, *_password_in(value), *_path_in(value)}
    if settings.traces is not None and settings.traces.headers is not None:
        found |= set(_header_values(settings.traces.headers.get_secret_value()))
    return frozenset(value for value in found if not names_in(value))


def _tokens(telling: Telling, watched: Watched) -> Iterator[tuple[str, str]]:
    for name, secret in (
        ("SLACK_API_TOKEN", telling.slack_api_token),
        ("PAGERDUTY_ROUTING_KEY", telling.pagerduty_routing_key),
        ("MEDIC_DEADMAN_URL", watched.medic_deadman_url),
        ("MEDIC_DEADMAN_KEY", watched.medic_deadman_key),
    ):
        if secret is not None:
            yield name, secret.get_secret_value()


def _secrets_in(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, ConnectionTarget):
        if value.password:
            yield value.password
    elif is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from _secrets_in(getattr(value, each.name))


def _header_values(text: str) -> Iterator[str]:
    """Of `name=value,name=value`, as they stand there and as they are sent. A short one is no secret."""
    for pair in text.split(","):
        value = pair.partition("=")[2].strip()
        if len(value) >= HEADER_VALUE_MIN:
            yield value
            yield unquote(value)


def _password_in(value: str) -> Iterator[str]:
    """Of an address such as `redis://:password@host`, as it stands there and as it means."""
    if "://" in value and "@" in value:
        password = urlsplit(value).password
        if password:
            yield password
            yield unquote(password)


def _path_in(value: str) -> Iterator[str]:
    """Of an address that is a secret as a whole: what is behind its host, which is where the secret lies."""
    if value.startswith(("http://", "https://")):
        parts = urlsplit(value)
        yield from (part for part in (parts.path.strip("/"), parts.query) if part)
