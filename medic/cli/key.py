"""`medic-cli key …`: API keys, and which services still do without."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from medic.cli import show
from medic.cli.client import Api, connect, segment
from medic.cli.show import Format, Output, Url
from medic.cli.spans import METAVAR, Overlap, overlap_body, parse_span
from medic.core.names import name_key, normal_name
from medic.http.answers import JsonObject, JsonValue

app = show.commands("API keys: make, list, rotate, revoke; and which services are heard without one.")

DAY_SECONDS = 86_400

REVOKED = "revoked"
"""The state of a key that works no more, as Medic says it."""


class ScopeWord(StrEnum):
    """What `--scope` may be."""

    HEARTBEAT = "heartbeat"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


KeyId = Annotated[
    str,
    typer.Argument(metavar="ID", help="The key's id, as `key list` shows it; or its name.", show_default=False),
]


@app.command("create")
def create(
    *,
    name: Annotated[str, typer.Option("--name", "-n", help="What people call it.", show_default=False)],
    scope: Annotated[
        list[ScopeWord],
        typer.Option("--scope", "-s", help="What it may do; write includes read, admin all. May be repeated."),
    ],
    expires: Annotated[
        float | None,
        typer.Option(
            "--expires", parser=parse_span, metavar=METAVAR, help="How long it works, as in 90d; else for ever."
        ),
    ] = None,
    team: Annotated[
        list[str] | None, typer.Option("--team", help="Only for services of this team. May be repeated.")
    ] = None,
    match: Annotated[
        list[str] | None,
        typer.Option("--match", help="Only for heartbeat names like this, as in 'pay-*'. May be repeated."),
    ] = None,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """Make a key and print it. Nothing ever shows it again."""
    scopes: list[JsonValue] = [word.value for word in scope]
    body: JsonObject = {"name": name, "scopes": scopes}
    if team:
        body["teams"] = list(team)
    if match:
        body["names"] = list(match)
    if expires is not None:
        body["expires_in_days"] = expires / DAY_SECONDS
    with connect(url) as api:
        reply = api.post("/v2/keys", body)
    _print_new(reply.message, reply.row, output)


@app.command("list")
def list_keys(*, url: Url = None, output: Format = Output.TABLE) -> None:
    """List keys by name, those that do not work any more among them."""
    with connect(url) as api:
        rows = api.get("/v2/keys").rows
    if output is Output.JSON:
        show.print_json(rows)
        return
    show.print_table(
        ("Id", "Name", "State", "Scopes", "Only", "Expires", "Last used", "From"),
        (
            (
                show.text(row, "key_id"),
                show.text(row, "name"),
                show.text(row, "state"),
                _words(row, "scopes"),
                _restriction(row),
                show.moment_and_distance(row, "expires_at") or "never",
                show.moment_and_distance(row, "last_used_at") or "not yet",
                show.text(row, "last_used_from"),
            )
            for row in rows
        ),
        empty="There is no key.",
    )


@app.command("rotate")
def rotate(
    key_id: KeyId,
    *,
    overlap: Overlap = None,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """Give a key its next secret and print it. The one before works on for a while."""
    with connect(url) as api:
        reply = api.post(f"/v2/keys/{segment(_find_id(api, key_id))}/rotate", overlap_body(overlap))
    _print_new(reply.message, reply.row, output)
    if output is Output.TABLE:
        show.print_note(f"The one before works until {show.moment(reply.row, 'former_until')}.")


@app.command("revoke")
def revoke(
    key_id: KeyId,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Even if it is the last key that can make others, and Medic has no other way."),
    ] = False,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """Revoke a key: it works no more from now on, and never again."""
    if not yes:
        if not sys.stdin.isatty():
            raise show.fail_usage("revoking asks for confirmation, and there is no terminal to ask on: say --yes")
        typer.confirm(f"Revoke {key_id}?", abort=True, err=True)
    with connect(url) as api:
        reply = api.delete(f"/v2/keys/{segment(_find_id(api, key_id))}", {"force": "1"} if force else {})
    if output is Output.JSON:
        show.print_json(reply.row)
    else:
        show.print_note(f"{show.text(reply.row, 'name')}: {reply.message}")


@app.command("coverage")
def coverage(*, url: Url = None, output: Format = Output.TABLE) -> None:
    """List the services that were heard without a key in the last 7 days."""
    with connect(url) as api:
        rows = list(api.pages("/v2/keys/coverage", {}))
    if output is Output.JSON:
        show.print_json(rows)
        return
    show.print_table(
        ("Name", "Service", "Team", "Last without a key"),
        (
            (
                show.text(row, "heartbeat_name"),
                show.text(row, "service_name"),
                show.text(row, "team"),
                show.text(row, "last_day_without_key"),
            )
            for row in rows
        ),
        empty="No service was heard without a key in the last 7 days.",
    )


def _find_id(api: Api, text: str) -> str:
    """The id that this is, else that of the key so called. What is neither is left to Medic to refuse.

    Keys that were revoked count by id only: another key may have had their name since.
    """
    rows = api.get("/v2/keys").rows
    if any(row["key_id"] == text for row in rows):
        return text
    wanted = name_key(normal_name(text))
    called = [row for row in rows if row["state"] != REVOKED and name_key(show.text(row, "name")) == wanted]
    if len(called) > 1:
        several = ", ".join(f"{show.text(row, 'key_id')} ({show.text(row, 'name')})" for row in called)
        raise show.fail_usage(f"{text} is the name of several keys, say the id of one: {several}")
    return show.text(called[0], "key_id") if called else text


def _print_new(message: str, row: JsonObject, output: Output) -> None:
    """The key alone on stdout, so that it can be read into a variable."""
    if output is Output.JSON:
        show.print_json(row)
        return
    show.print_note(f"{message} Its id is {show.text(row, 'key_id')}.")
    show.say(show.text(row, "key"))


def _words(row: JsonObject, name: str) -> str:
    found = row.get(name)
    return ", ".join(str(word) for word in found) if isinstance(found, list) else ""


def _restriction(row: JsonObject) -> str:
    names, teams = _words(row, "names"), _words(row, "teams")
    return "; ".join(filter(None, (names, f"team {teams}" if teams else ""))) or "everything"
