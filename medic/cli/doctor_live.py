"""`medic doctor --live`: whether the Medic of this environment lives, for the health check of a container.

It asks `GET /health/live` on the address that the same environment makes `medic serve` listen on. It is run again and
again beside a Medic that may be busy, in an image without curl; so it uses the standard library and nothing else that
would have to be imported.
"""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from medic.cli import show
from medic.config.fields import Address
from medic.config.settings import Listen, Settings

Live = Annotated[
    bool,
    typer.Option("--live", help="Ask only whether the Medic of this environment lives: a container's health check."),
]

PATH: Final = "/health/live"

PATIENCE_SECONDS: Final = 4.0
"""Longest wait for the answer. A loop that takes longer is one that a container engine should hear of."""

ANSWER_BYTES_MAX: Final = 64 << 10

_OWN_SIDE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked, not bound
"""Where Medic is reached from its own machine if it listens on every address of it."""


@dataclass(frozen=True, slots=True)
class Life:
    """Whether Medic lives, and a sentence about it."""

    alive: bool
    sentence: str


def say_life(settings: Settings) -> int:
    """Say whether the Medic of these settings lives; the exit status."""
    life = ask_life(settings.listen)
    show.say(life.sentence)
    return 0 if life.alive else show.EXIT_REFUSED


def ask_life(listen: Listen) -> Life:
    """What the Medic that listens there says of itself; where nobody answers in time, it does not live."""
    address = listen.addresses[0]
    host = _OWN_SIDE.get(address.host, address.host)
    place = str(Address(host, address.port))
    connection = _connection(host, address.port, with_tls=listen.certificate is not None)
    try:
        connection.request("GET", PATH, headers={"Host": f"localhost:{address.port}"})
        answer = connection.getresponse()
        said = _object(answer.read(ANSWER_BYTES_MAX))
    except (OSError, http.client.HTTPException) as error:
        return Life(alive=False, sentence=f"Medic does not answer on {place}: {_words(error)}.")
    finally:
        connection.close()
    if "status" not in said:
        return Life(alive=False, sentence=f"What answers on {place} is not Medic.")
    role = " and stands by" if said.get("role") == "standby" else ""
    return Life(alive=answer.status == 200, sentence=f"Medic on {place} is {said['status']}{role}.")


def _connection(host: str, port: int, *, with_tls: bool) -> http.client.HTTPConnection:
    if not with_tls:
        return http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)
    # The question is whether it lives. That its certificate has expired is no reason to restart it.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=PATIENCE_SECONDS, context=context)


def _object(body: bytes) -> dict[str, object]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing came within {PATIENCE_SECONDS:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "the connection broke"
