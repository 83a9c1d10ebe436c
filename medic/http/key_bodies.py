"""Bodies of `/v2/keys`, and the checks of their fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from medic.access.keys import ADMIN_ID, KeyDraft
from medic.access.scope import Scope
from medic.core.names import NAME_MAX, name_key
from medic.core.units import DAY_MS, HOUR_MS, DurationMs
from medic.errors import Fault, InvalidInputError
from medic.http.checks import check_name, check_team, wrong

KEY_NAME_MAX: Final = 100
"""Characters of a key's name."""

RESTRICTIONS_MAX: Final = 50
"""Names, and teams, one key may be restricted to: each is looked at for every heartbeat that the key sends."""

LIFETIME_DAYS_MIN: Final = 0.0001
"""Nine seconds: long enough to see one expire, and a number that can be read."""

LIFETIME_DAYS_MAX: Final = 3_660
"""Ten years: whoever wants more wants a key that does not expire, and says so by leaving it out."""

OVERLAP_HOURS_MAX: Final = 30 * 24
"""A month: a secret that is to live longer beside its successor is a key of its own."""

OVERLAP_HOURS: Final = 24
"""Long enough for whoever deploys once a day."""

_SCOPES: Final = {scope.value: scope for scope in Scope}


RESERVED_NAMES: Final = frozenset({ADMIN_ID, "webhook", "sql", "medic"})
RESERVED_PREFIX: Final = "slack:"
"""Under these the audit writes what no stored key did: `MEDIC_ADMIN_API_KEY`, signed heartbeats, SQL, Medic itself, and
whoever presses a button in Slack. A key so called would have its changes taken for theirs."""


def check_key_name(value: object) -> str:
    """A key's name in NFC, which is nobody else's in the audit."""
    name = check_name(value, longest=KEY_NAME_MAX)
    compared = name_key(name)
    if compared in RESERVED_NAMES or compared.startswith(RESERVED_PREFIX):
        raise wrong("must not be admin, webhook, SQL or Medic, nor begin with slack: the audit means others by these")
    return name


def check_scopes(value: object) -> frozenset[Scope]:
    """At least one scope."""
    if not isinstance(value, list) or not value or not all(isinstance(word, str) and word in _SCOPES for word in value):
        raise wrong(f"must be an array of at least one of {', '.join(_SCOPES)}")
    return frozenset(_SCOPES[word] for word in value)


def several(check: Callable[[object], str], what: str) -> Callable[[object], tuple[str, ...]]:
    """A check for an array of what `check` takes; None and an empty one restrict nothing."""

    def check_each(value: object) -> tuple[str, ...]:
        if value is None:
            return ()
        if not isinstance(value, list) or len(value) > RESTRICTIONS_MAX:
            raise wrong(f"must be an array of at most {RESTRICTIONS_MAX} {what}")
        return tuple(dict.fromkeys(map(check, value)))

    return check_each


def number_up_to(most: int, unit: str, unit_ms: int, *, least: float) -> Callable[[object], DurationMs]:
    """A check for a number of units, fractions allowed."""

    def check(value: object) -> DurationMs:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise wrong(f"must be a number of {unit} up to {most}")
        if value < least:
            raise wrong(f"must be a number of {unit}, at least {least:g}")
        return DurationMs(round(value * unit_ms))

    return check


def _array_schema(description: str, longest: int) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "type": "array",
            "maxItems": RESTRICTIONS_MAX,
            "items": {"type": "string", "minLength": 1, "maxLength": longest},
            "description": description,
        },
        mode="validation",
    )


KeyName = Annotated[
    str,
    BeforeValidator(check_key_name),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": KEY_NAME_MAX,
            "description": "What people call it; unlike those of other keys that are not revoked. "
            "Not `admin`, `webhook`, `SQL` or `Medic`, and nothing that begins with `slack:`.",
            "examples": ["payments-hosts"],
        },
        mode="validation",
    ),
]
Scopes = Annotated[
    frozenset[Scope],
    BeforeValidator(check_scopes),
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "enum": list(_SCOPES)},
            "description": "What it may do. `write` includes `read`; `admin` includes all; `heartbeat` stands alone.",
        },
        mode="validation",
    ),
]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(several(check_name, "names, in which * stands for any characters")),
    _array_schema("Heartbeat names it is restricted to; `*` stands for any characters. Empty: every name.", NAME_MAX),
]
Teams = Annotated[
    tuple[str, ...],
    BeforeValidator(several(check_team, "teams")),
    _array_schema("Teams whose services it is restricted to. Empty: every team.", KEY_NAME_MAX),
]
Lifetime = Annotated[
    DurationMs,
    BeforeValidator(number_up_to(LIFETIME_DAYS_MAX, "days", DAY_MS, least=LIFETIME_DAYS_MIN)),
    WithJsonSchema(
        {
            "type": "number",
            "minimum": LIFETIME_DAYS_MIN,
            "maximum": LIFETIME_DAYS_MAX,
            "description": "Days until it expires, fractions allowed. Left out: it does not.",
        },
        mode="validation",
    ),
]
Overlap = Annotated[
    DurationMs,
    BeforeValidator(number_up_to(OVERLAP_HOURS_MAX, "hours", HOUR_MS, least=0)),
    WithJsonSchema(
        {
            "type": "number",
            "minimum": 0,
            "maximum": OVERLAP_HOURS_MAX,
            "description": f"Hours for which the secret before works on; {OVERLAP_HOURS} where it is left out.",
        },
        mode="validation",
    ),
]


class KeyBody(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid")

    name: KeyName
    scopes: Scopes
    names: Names = ()
    teams: Teams = ()
    expires_in_days: Lifetime | None = None

    def draft(self) -> KeyDraft:
        """The key as it would be made.

        Raises:
            InvalidInputError: it could do everything, and is restricted: it could make itself another key.
        """
        if Scope.ADMIN in self.scopes and (self.names or self.teams):
            sentence = "must not have admin beside names or teams: such a key could make one that is not restricted"
            raise InvalidInputError((Fault("scopes", sentence),))
        return KeyDraft(self.name, self.scopes, self.names, self.teams, self.expires_in_days)


class RotationBody(BaseModel):
    """How a key gets its next secret. The whole body may be left out."""

    model_config = ConfigDict(extra="forbid")

    overlap_hours: Overlap = Field(DurationMs(OVERLAP_HOURS * HOUR_MS), validate_default=False)
