"""`medic watch`: the arguments of the outside watcher."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer
from pydantic_core import PydanticCustomError

from medic.cli import show
from medic.cli.announcing import announce_nowait
from medic.cli.ending import end_as_it_should, say, settings_or_end
from medic.config.fields import check_web_address
from medic.config.load import load_settings_to_watch

Urls = Annotated[
    list[str],
    typer.Argument(
        metavar="URL...",
        help="Where the Medic to watch answers: the active one, and those that stand by for it.",
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name", help="What it is called, also in PagerDuty's key.", show_default="host and port of the first"
    ),
]

NAME_MAX = 200
"""Characters of a name: with the rest of the key no more than PagerDuty takes."""


def watch(urls: Urls, *, name: Name = None) -> None:
    """Watch another Medic from outside, and page by the keys set here when it is silent or makes no progress."""
    addresses = tuple(dict.fromkeys(_address(url) for url in urls))
    settings = settings_or_end(load_settings_to_watch)
    # Late, as in `medic.cli.medic`.
    import trio  # noqa: PLC0415

    from medic.app import sigterm  # noqa: PLC0415
    from medic.app.watcher import Watched, default_name  # noqa: PLC0415
    from medic.app.watcher import watch as watch_medic  # noqa: PLC0415

    called = default_name(addresses[0]) if name is None else name
    if not (called.strip() and called.isprintable() and len(called) <= NAME_MAX):
        raise _wrong_usage(f"--name must be 1 to {NAME_MAX} printable characters")
    sigterm.remember()
    end_as_it_should(partial(trio.run, watch_medic, settings, Watched(called, addresses), announce_nowait))


def _address(url: str) -> str:
    try:
        return check_web_address(url)
    except PydanticCustomError as error:
        raise _wrong_usage(f"the address {error.message()}") from None


def _wrong_usage(sentence: str) -> typer.Exit:
    """Say what is wrong with the command line; raise what is returned."""
    say(sentence)
    return typer.Exit(show.EXIT_USAGE)
