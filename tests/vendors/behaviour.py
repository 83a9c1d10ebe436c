"""How a vendor may fail, as values: they can be compared, and sent to a vendor in another process as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Works:
    """Check the request and answer as documented."""


@dataclass(frozen=True)
class Refuse:
    """Answer this status and take nothing. `retry_after` becomes the header; `error` is what is said to be wrong."""

    status: int
    retry_after: str | None = None
    error: str = ""


@dataclass(frozen=True)
class Hang:
    """Read the request and never answer, until the server is closed or `release` is called."""


@dataclass(frozen=True)
class Reset:
    """Read the request, then reset the connection; `taken` says whether the vendor took it all the same."""

    taken: bool = False


@dataclass(frozen=True)
class Slow:
    """Take the request as usual, but answer only after so many seconds."""

    seconds: float


Behaviour = Works | Refuse | Hang | Reset | Slow

_BY_NAME = {kind.__name__.lower(): kind for kind in (Works, Refuse, Hang, Reset, Slow)}


def as_json(behaviour: Behaviour) -> dict[str, Any]:
    """The form that the control port takes."""
    return {"behaviour": type(behaviour).__name__.lower(), **asdict(behaviour)}


def from_json(document: dict[str, Any]) -> Behaviour:
    """The behaviour that `as_json` wrote."""
    fields = {name: value for name, value in document.items() if name not in {"behaviour", "times", "containing"}}
    return _BY_NAME[document["behaviour"]](**fields)
