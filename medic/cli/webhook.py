"""`medic-cli webhook …`: addresses that are told as plain JSON."""

from __future__ import annotations

from typing import Annotated

import typer

from medic.cli import show
from medic.cli.client import connect
from medic.cli.show import Format, Output, Url
from medic.cli.spans import Overlap, overlap_body
from medic.http.answers import JsonObject, JsonValue

app = show.commands("Webhooks: addresses that are told as plain JSON.")


@app.command("add")
def add(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Where to POST; http or https.", show_default=False)
    ],
    *,
    name: Annotated[
        str | None,
        typer.Option("--name", "-n", help="Only alerts of this heartbeat name.", show_default="every service"),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="Sent with each request: 'Name: value'. May be repeated.")
    ] = None,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """Add a webhook. It is told what happens from now on."""
    headers: dict[str, JsonValue] = {}
    for line in header or ():
        key, colon, value = line.partition(":")
        if not colon or not key.strip():
            raise show.fail_usage("--header has the form 'Name: value'")
        headers[key.strip()] = value.strip()
    body: JsonObject = {"url": address}
    if name is not None:
        body["heartbeat_name"] = name
    if headers:
        body["headers"] = headers
    with connect(url) as api:
        reply = api.post("/v2/webhooks", body)
    if output is Output.JSON:
        show.print_json(reply.row)
    else:
        show.say(f"{reply.message} Its id is {show.text(reply.row, 'webhook_id')}.")
        _say_secret(reply.row)


@app.command("list")
def list_webhooks(*, url: Url = None, output: Format = Output.TABLE) -> None:
    """List webhooks."""
    with connect(url) as api:
        rows = api.get("/v2/webhooks").rows
    if output is Output.JSON:
        show.print_json(rows)
        return
    show.print_table(
        ("Id", "Address", "Only", "Headers", "Added", "By"),
        (
            (
                show.text(row, "webhook_id"),
                show.text(row, "url"),
                show.text(row, "heartbeat_name"),
                _header_names(row),
                show.moment(row, "date_added"),
                show.text(row, "added_by"),
            )
            for row in rows
        ),
        empty="There is no webhook.",
    )


@app.command("rotate")
def rotate(
    webhook_id: Annotated[int, typer.Argument(metavar="ID", min=1, help="The webhook's id.", show_default=False)],
    *,
    overlap: Overlap = None,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """Give a webhook a new secret and show it."""
    with connect(url) as api:
        reply = api.post(f"/v2/webhooks/{webhook_id}/rotate", overlap_body(overlap))
    if output is Output.JSON:
        show.print_json(reply.row)
    else:
        show.say(
            f"{reply.message} The secret before signs as well until {show.moment(reply.row, 'former_secret_until')}."
        )
        _say_secret(reply.row)


@app.command("remove")
def remove(
    webhook_id: Annotated[int, typer.Argument(metavar="ID", min=1, help="The webhook's id.", show_default=False)],
    *,
    url: Url = None,
) -> None:
    """Remove a webhook; what waits for it is dropped."""
    with connect(url) as api:
        show.print_note(api.delete(f"/v2/webhooks/{webhook_id}").message)


def _say_secret(row: JsonObject) -> None:
    show.say(f"Its requests are signed with {show.text(row, 'secret')}, which is not shown again.")


def _header_names(row: JsonObject) -> str:
    headers = row.get("headers")
    return ", ".join(headers) if isinstance(headers, dict) else ""
