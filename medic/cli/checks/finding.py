"""What one look of the doctor found, and the words for what a connection failed of."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from medic.alerting.outbound import causes, safe
from medic.config.settings import Settings
from medic.http.answers import JsonObject


class Verdict(StrEnum):
    """What a finding means."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; Medic works."""
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found, and what to do about it."""

    part: str
    verdict: Verdict
    found: str
    to_do: str = ""

    def as_json(self) -> JsonObject:
        """For `--output json`."""
        return {"part": self.part, "verdict": self.verdict.value, "found": self.found, "to_do": self.to_do}


Check = Callable[[Settings], Awaitable[list[Finding]]]
"""Looks at one thing, changes nothing, and says what it found. It may be cancelled at any await."""


def words(error: BaseException) -> str:
    """Why a connection failed, in a few words."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLError):
            return safe(cause.reason or str(cause)).lower().replace("_", " ")
        if isinstance(cause, OSError) and cause.errno is not None and cause.strerror:
            # trio's own sentences repeat the address; the number has the reason alone. Those of names are negative.
            return (os.strerror(cause.errno) if cause.errno > 0 else cause.strerror).lower()
    return safe(str(error)).lower() or "the connection broke"
