"""What a route is: what serves it, and what the API's description says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from medic.access.entrance import Entrance
from medic.access.scope import Scope
from medic.http.answers import JSON_TYPE, Answer, Stream
from medic.http.call import Call
from medic.http.parts import ApiParts

View = Callable[[ApiParts, Call], Awaitable[Answer | Stream]]

Kind = Literal["string", "integer", "flag"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a query string."""

    name: str
    kind: Kind
    summary: str
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """One kind of answer: what it means, its shape, and its content type. No shape: no body, or no JSON.

    `also` are content types, all of them text, that it has where Accept asks for them.
    """

    summary: str
    shape: type[BaseModel] | None = None
    content_type: str = JSON_TYPE
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One method at one path.

    Attributes:
        method, path: As in the description; places of the path in braces.
        view: What serves it.
        tag: Its chapter in the description.
        summary, about: What it does, in a line and in some.
        answers: By status. Refusals of every route (405, 500, …) are added by the description.
        body: What it reads; None where it reads none.
        body_type: The content type its body is described with; whatever is sent is read.
        body_optional: Whether the body may be left out.
        query: Its parameters; None where any query is ignored.
        actor: Whether `X-Actor` says who does it.
        headers: Names of headers that its view reads beside those of all.
        keyed: Whether `Idempotency-Key` recognises what is sent again.
        scope: What a caller's key needs for it, in the modes that ask for keys; None: nobody is asked.
        limited: Whether each request counts as a read or a change of its caller; heartbeats never do.
        basic: Whether the key may stand in HTTP Basic as well.
        narrows: Whether it shows and changes only what a restricted key reaches; where it does not, such a key is
            refused.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    view: View
    tag: str
    summary: str
    answers: dict[int, Told]
    about: str = ""
    body: type[BaseModel] | None = None
    body_type: str = JSON_TYPE
    body_optional: bool = False
    query: tuple[Parameter, ...] | None = ()
    actor: bool = False
    headers: tuple[str, ...] = ()
    keyed: bool = False
    scope: Scope | None = Scope.READ
    limited: bool = True
    basic: bool = False
    narrows: bool = False

    @property
    def entrance(self) -> Entrance:
        """What it asks of whoever calls it."""
        return Entrance(self.scope, takes_basic=self.basic, narrows=self.narrows)
