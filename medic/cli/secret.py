"""`medic-cli secret …`: secrets that vendor tokens and webhook headers refer to. A value is never an argument.

Arguments stand in the shell's history and in the list of processes, which everybody on the machine can read.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from medic.cli import show
from medic.cli.client import connect, segment
from medic.cli.show import Format, Output, Url

app = show.commands("Stored secrets: what ${secrets.NAME} stands for in tokens and webhook headers. Never read back.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The secret's name.", show_default=False)]


@app.command("set")
def put(name: Name, *, url: Url = None, output: Format = Output.TABLE) -> None:
    """Store a secret, or replace it. The value is read from stdin; on a terminal it is asked for."""
    value = _value(name)
    with connect(url) as api:
        reply = api.post("/v2/secrets", {"name": name, "value": value})
    if output is Output.JSON:
        show.print_json(reply.row)
    else:
        show.say(reply.message)


@app.command("list")
def list_secrets(*, url: Url = None, output: Format = Output.TABLE) -> None:
    """List secrets by name, and what refers to each."""
    with connect(url) as api:
        rows = api.get("/v2/secrets").rows
    if output is Output.JSON:
        show.print_json(rows)
        return
    show.print_table(
        ("Name", "State", "Used by", "Changed", "By", "Key"),
        (
            (
                show.text(row, "name"),
                show.text(row, "state"),
                ", ".join(map(str, used)) if isinstance(used := row.get("used_by"), list) else "",
                show.moment_and_distance(row, "date_modified"),
                show.text(row, "modified_by"),
                show.text(row, "key_id"),
            )
            for row in rows
        ),
        empty="There is no secret.",
    )


@app.command("delete")
def delete(
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if something refers to it.")] = False,
    url: Url = None,
) -> None:
    """Delete a secret."""
    if not yes:
        if not sys.stdin.isatty():
            raise show.fail_usage("deleting asks for confirmation, and there is no terminal to ask on: say --yes")
        typer.confirm(f"Delete {name}?", abort=True, err=True)
    with connect(url) as api:
        reply = api.delete(f"/v2/secrets/{segment(name)}", {"force": "1"} if force else {})
    show.say(reply.message)


def _value(name: str) -> str:
    """What is piped in, without the new line at its end; on a terminal what is typed, twice and unseen."""
    if sys.stdin.isatty():
        typed: str = typer.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    return sys.stdin.read().removesuffix("\n").removesuffix("\r")
