"""The shape of a stored secret, for the API's description."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medic.http.shapes import Shape, Time


class SecretShape(Shape):
    """A stored secret, without its value."""

    name: str
    key_id: str = Field(description="Of the key that sealed it.")
    state: Literal["readable", "unknown_key"] = Field(
        description="`unknown_key`: neither MEDIC_SECRETS_KEY nor MEDIC_SECRETS_KEY_BEFORE opens it."
    )
    used_by: list[str] = Field(description="What refers to it: variables, and `webhook:<id>`.")
    date_added: Time
    date_modified: Time = Field(description="When it got its present value.")
    modified_by: str | None
