"""Bodies of `/v2/secrets`, and the checks of their fields. No refusal quotes a value."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from medic.access.references import NAME_FORM, NAME_MAX
from medic.access.secrets import VALUE_MAX, VALUE_MIN
from medic.http.checks import wrong

NAME_BOUNDS: Final = f"must have 1 to {NAME_MAX} of the characters A-Z, a-z, 0-9, _ . and -"

_VALUE: Final = re.compile(r"[\x21-\x7e][\x20-\x7e]*[\x21-\x7e]")


def check_secret_name(value: object) -> str:
    """A name that can stand in a reference."""
    if not isinstance(value, str) or NAME_FORM.fullmatch(value) is None:
        raise wrong(f"{NAME_BOUNDS}, letters or digits at its ends")
    return value


def check_secret_value(value: object) -> str:
    """A value that a header can carry."""
    if not isinstance(value, str) or not VALUE_MIN <= len(value) <= VALUE_MAX or _VALUE.fullmatch(value) is None:
        raise wrong(f"must have {VALUE_MIN} to {VALUE_MAX} characters of printable ASCII, no space at either end")
    return value


SecretName = Annotated[
    str,
    BeforeValidator(check_secret_name),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{NAME_FORM.pattern}$",
            "maxLength": NAME_MAX,
            "description": "By which references name it; case matters.",
            "examples": ["slack-bot"],
        },
        mode="validation",
    ),
]
SecretValue = Annotated[
    str,
    BeforeValidator(check_secret_value),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": VALUE_MIN,
            "maxLength": VALUE_MAX,
            "writeOnly": True,
            "description": "Printable ASCII without a space at either end. No answer ever shows it.",
        },
        mode="validation",
    ),
]


class SecretBody(BaseModel):
    """A secret to store. One of that name is replaced, from the next request on."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: SecretName
    value: SecretValue = Field(repr=False)
