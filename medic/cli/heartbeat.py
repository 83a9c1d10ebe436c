"""`medic-cli heartbeat …`: send one, list those that came, list names that are not registered."""

from __future__ import annotations

from typing import Annotated

import typer

from medic.cli import show
from medic.cli.client import connect
from medic.cli.show import Format, Output, Url
from medic.http.answers import JsonObject

app = show.commands("Signs of life: send one, list them, see who is refused.")

LISTED_MAX = 250
"""Medic answers no more at once, as the earlier system did."""


@app.command("send")
def send(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The heartbeat name.", show_default=False)],
    *,
    status: Annotated[
        str,
        typer.Option("--status", "-s", help="UP, DOWN, DEGRADED, STARTED, COMPLETED, FAILED, or a word of your own."),
    ] = "UP",
    run_id: Annotated[str | None, typer.Option("--run-id", help="Which run of a job this belongs to.")] = None,
    time: Annotated[
        str | None,
        typer.Option("--time", help="When it was, if not now: ISO 8601. Older than interval and grace: history only."),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The same when this is sent again: it counts once.")
    ] = None,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """Send a heartbeat. It is safe once this returns 0."""
    body: JsonObject = {"heartbeat_name": name, "service_name": "", "status": status}
    beside = {"run_id": run_id, "time": time, "idempotency_key": key}
    body |= {name: value for name, value in beside.items() if value is not None}
    with connect(url) as api:
        reply = api.post("/heartbeat", body)
    if output is Output.JSON:
        show.print_json(reply.fields)
    else:
        show.say(reply.message)


@app.command("list")
def list_heartbeats(
    *,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Only of this heartbeat name.")] = None,
    service: Annotated[str | None, typer.Option("--service", help="Only of services with this label.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, max=LISTED_MAX, help="How many at most.")] = 50,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """List the newest heartbeats, newest first."""
    query = {"maxCount": str(limit)}
    query |= {} if name is None else {"heartbeat_name": name}
    query |= {} if service is None else {"service_name": service}
    with connect(url) as api:
        rows = api.get("/heartbeat", query).rows
    if output is Output.JSON:
        show.print_json(rows)
        return
    show.print_table(
        ("Time", "Name", "Status", "Service", "Team", "Run"),
        (
            (
                show.moment(row, "time"),
                show.text(row, "heartbeat_name"),
                show.text(row, "status"),
                show.text(row, "service_name"),
                show.text(row, "team"),
                show.text(row, "run_id"),
            )
            for row in rows
        ),
        empty="No heartbeat is like that.",
    )


@app.command("refused")
def refused(*, url: Url = None, output: Format = Output.TABLE) -> None:
    """List names heard of since Medic's start that are not registered, last heard of first."""
    with connect(url) as api:
        rows = api.get("/v2/refused").rows
    if output is Output.JSON:
        show.print_json(rows)
        return
    show.print_table(
        ("Name", "Count", "Last from", "First", "Last"),
        (
            (
                show.text(row, "heartbeat_name"),
                show.text(row, "count"),
                show.text(row, "address"),
                show.moment(row, "first_at"),
                show.moment(row, "last_at"),
            )
            for row in rows
        ),
        empty="Every heartbeat since Medic's start had a registered name.",
    )
