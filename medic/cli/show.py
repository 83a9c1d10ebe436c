"""How `medic-cli` shows things: tables for people, JSON for programs, refusals on stderr.

Names and statuses come from whoever may send a heartbeat, so nothing reaches a terminal before anything it might obey
is replaced by its escape.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final

import typer

from medic.alerting.wording import duration_words, printable
from medic.core.units import DurationMs, InstantMs, from_datetime, minutes_to_ms, seconds_to_ms
from medic.errors import RefusedError
from medic.http.answers import JsonObject, JsonValue

EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3

DRAWN_ROWS_MAX: Final = 500
"""Rows laid out to the width of the terminal. Beyond it lines are only aligned, which is a hundred times faster."""

_STYLES: Final = {
    "up": "green",
    "healthy": "green",
    "delivered": "green",
    "late": "bold red",
    "down": "bold red",
    "unhealthy": "bold red",
    "degraded": "yellow",
    "new": "cyan",
    "inactive": "dim",
}


class Output(StrEnum):
    """What `--output` may be."""

    TABLE = "table"
    JSON = "json"


Url = Annotated[
    str | None,
    typer.Option("--url", help="Where Medic is: before MEDIC_BASE_URL.", show_default="http://localhost:8080"),
]
Format = Annotated[Output, typer.Option("--output", "-o", help="Tables for people, JSON for programs.")]


def commands(about: str, *, name: str | None = None, epilog: str | None = None) -> typer.Typer:
    """A group of commands. Help and usage errors are plain lines: a box would break sentences where nobody looks on."""
    return typer.Typer(
        name=name,
        help=about,
        epilog=epilog,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def print_version(asked: bool) -> None:
    """The callback of `--version`."""
    if asked:
        from importlib.metadata import version  # noqa: PLC0415 - 20 ms that no other verb pays

        print(f"Medic {version('medic-monitor')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=print_version, is_eager=True, help="Show the version and exit.")
]


# -------------------------------------------------------------------------------------------------------------- fields


def text(row: JsonObject, name: str) -> str:
    """A field as text; nothing where it is null or missing."""
    value = row.get(name)
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def instant(row: JsonObject, name: str) -> InstantMs | None:
    """A field that is a time, or None."""
    value = row.get(name)
    try:
        return from_datetime(datetime.fromisoformat(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def now() -> InstantMs:
    """This machine's wall clock."""
    return from_datetime(datetime.now(UTC))


def moment(row: JsonObject, name: str) -> str:
    """A field that is a time, to the second: 2026-11-24 02:38:15Z."""
    at = instant(row, name)
    return "" if at is None else datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def moment_and_distance(row: JsonObject, name: str) -> str:
    """A field that is a time, and how far from now: 2026-11-24 02:38:15Z, 12 min ago."""
    at = instant(row, name)
    if at is None:
        return ""
    distance = at - now()
    words = duration_words(DurationMs(abs(distance)))
    return f"{moment(row, name)}, in {words}" if distance >= 0 else f"{moment(row, name)}, {words} ago"


def minutes(row: JsonObject, name: str) -> str:
    """A field that is a number of minutes, in words: 12 s, 5 min, 2 h 30 min."""
    value = row.get(name)
    return span_words(minutes_to_ms(value)) if isinstance(value, int | float) else ""


def seconds(row: JsonObject, name: str) -> str:
    """A field that is a number of seconds, in words."""
    value = row.get(name)
    return span_words(seconds_to_ms(value)) if isinstance(value, int | float) else ""


def lasting(row: JsonObject, name: str) -> str:
    """A field that is a number of seconds, as how long something lasted: 45 s, 3 h 20 min."""
    value = row.get(name)
    return duration_words(seconds_to_ms(value)) if isinstance(value, int | float) else ""


def span_words(duration: DurationMs) -> str:
    """A length of time somebody chose, exactly: 1.5 s, 90 s, 5 min, 36 h."""
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if duration >= length and duration % length == 0:
            return f"{duration // length} {unit}"
    return f"{duration / 1000:.10g} s"


def is_set(row: JsonObject, name: str) -> bool:
    """A flag."""
    return row.get(name) == 1


# ------------------------------------------------------------------------------------------------------------ printing


def print_json(value: JsonValue | Sequence[JsonObject]) -> None:
    """JSON on stdout, indented, non-ASCII as it is."""
    import orjson  # noqa: PLC0415

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str = "") -> None:
    """A table: drawn on a terminal, aligned lines elsewhere, so that a row is always one line for grep and awk."""
    shown = [[printable(cell) for cell in row] for row in rows]
    if not shown:
        if empty:
            print_note(empty)
        return
    if sys.stdout.isatty() and len(shown) <= DRAWN_ROWS_MAX:
        _draw(columns, shown)
    else:
        _align([column.upper() for column in columns], shown)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Names and values under each other; a fact without a value is left out."""
    shown = [(name, printable(value)) for name, value in facts if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name.ljust(width)}  {value}")


def say(sentence: str) -> None:
    """A sentence on stdout."""
    print(printable(sentence))


def print_note(sentence: str) -> None:
    """Something for people, on stderr, so that stdout holds only what was asked for."""
    print(printable(sentence), file=sys.stderr)


def print_refusal(error: RefusedError) -> None:
    """A refusal and what is wrong with which field."""
    print_note(f"medic-cli: {error.message}")
    if len(error.faults) > 1:
        for fault in error.faults:
            print_note(f"  {fault.field} {fault.message}")


def fail_usage(sentence: str) -> typer.Exit:
    """Say what is wrong with the command line; raise what is returned."""
    print_note(f"medic-cli: {sentence}")
    return typer.Exit(EXIT_USAGE)


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - 40 ms that a pipe does not pay
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console(width=shutil.get_terminal_size().columns).print(table)


def _align(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
