"""`medic-cli alerts …`: what is late, who knows, who works on it."""

from __future__ import annotations

from typing import Annotated

import typer

from medic.cli import show
from medic.cli.client import connect, segment
from medic.cli.show import Format, Output, Url
from medic.errors import RefusedError
from medic.http.answers import JsonObject

app = show.commands("Alerts: list, show, acknowledge, resolve, send a test page.")

AlertId = Annotated[int, typer.Argument(metavar="ID", min=1, help="The alert's id.", show_default=False)]
Note = Annotated[str | None, typer.Option("--note", help="Kept in the alert's history.")]

RECENT = 100
"""Alerts listed where nothing in particular is asked for, as the earlier system had it."""


@app.command("list")
def list_alerts(
    *,
    active: Annotated[bool | None, typer.Option("--active/--closed", help="Only those.", show_default=False)] = None,
    team: Annotated[str | None, typer.Option("--team", help="Only this team's.")] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Only of this heartbeat name.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-l", min=1, help="How many at most.", show_default="100; open ones all")
    ] = None,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """List alerts, newest first."""
    query = {} if active is None else {"active": str(int(active))}
    query |= {} if team is None else {"team": team}
    query |= {} if name is None else {"heartbeat_name": name}
    most = RECENT if limit is None and active is not True else limit
    with connect(url) as api:
        rows = list(api.pages("/alerts", query, limit=most))
    if output is Output.JSON:
        show.print_json(rows)
        return
    show.print_table(
        ("Id", "Name", "Priority", "Team", "Reason", "Opened", "Closed", "Acknowledged by"),
        (
            (
                show.text(row, "alert_id"),
                show.text(row, "heartbeat_name"),
                show.text(row, "priority"),
                show.text(row, "team"),
                _reason(row),
                show.moment(row, "created_date"),
                _closed(row),
                show.text(row, "acknowledged_by"),
            )
            for row in rows
        ),
        empty="No alert is open." if active else "No alert is like that.",
    )


@app.command("get")
def get_alert(alert_id: AlertId, *, url: Url = None, output: Format = Output.TABLE) -> None:
    """Show an alert, what happened to it, and whom it was told."""
    with connect(url) as api:
        row = api.get(f"/alerts/{alert_id}").row
    if output is Output.JSON:
        show.print_json(row)
        return
    show.print_facts(
        (
            ("alert", show.text(row, "alert_id")),
            ("name", show.text(row, "heartbeat_name")),
            ("service", show.text(row, "service_name")),
            ("team", show.text(row, "team")),
            ("priority", show.text(row, "priority")),
            ("reason", show.text(row, "reason")),
            ("opened", show.moment_and_distance(row, "created_date")),
            ("closed", _closed(row)),
            ("acknowledged", _acknowledged(row)),
            ("intervals missed", show.text(row, "alert_cycle")),
            ("muted", "yes" if show.is_set(row, "muted") else "no"),
            ("flapping", "yes" if show.is_set(row, "flapping") else ""),
            ("runbook", show.text(row, "runbook")),
        )
    )
    _print_part(
        "History",
        ("At", "What", "By", "Note"),
        [
            (show.moment(part, "at"), show.text(part, "change"), show.text(part, "by"), show.text(part, "note"))
            for part in _parts(row, "history")
        ],
    )
    _print_part(
        "Told",
        ("Decided", "Whom", "What", "Outcome", "Attempts", "Detail"),
        [
            (
                show.moment(part, "at"),
                show.text(part, "notifier"),
                show.text(part, "action"),
                show.text(part, "result"),
                show.text(part, "attempts"),
                show.text(part, "detail"),
            )
            for part in _parts(row, "deliveries")
        ],
    )


@app.command("ack")
def acknowledge(alert_id: AlertId, *, note: Note = None, url: Url = None, output: Format = Output.TABLE) -> None:
    """Say that somebody works on an alert: its reminders stop, PagerDuty is acknowledged."""
    _order(alert_id, "acknowledge", note, url, output)


@app.command("resolve")
def resolve(alert_id: AlertId, *, note: Note = None, url: Url = None, output: Format = Output.TABLE) -> None:
    """Close an alert by hand: PagerDuty is resolved, the service has a fresh deadline."""
    _order(alert_id, "resolve", note, url, output)


@app.command("test")
def send_test(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A registered heartbeat name.", show_default=False)],
    *,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """Send a marked page about a service through the real notifiers; it is resolved right after."""
    with connect(url) as api:
        reply = api.post(f"/v2/services/{segment(name)}/test")
    if output is Output.JSON:
        show.print_json(reply.row)
    else:
        show.say(reply.message)
    if not reply.row.get("targets"):
        raise RefusedError("Nobody would have been told.")


def _order(alert_id: int, verb: str, note: str | None, url: str | None, output: Output) -> None:
    body: JsonObject = {} if note is None else {"note": note}
    with connect(url) as api:
        reply = api.post(f"/alerts/{alert_id}/{verb}", body)
    if output is Output.JSON:
        show.print_json(reply.row)
    else:
        show.say(reply.message)


def _reason(row: JsonObject) -> str:
    marks = [mark for mark in ("muted", "flapping") if show.is_set(row, mark)]
    return show.text(row, "reason") + (f" ({', '.join(marks)})" if marks else "")


def _closed(row: JsonObject) -> str:
    at, reason = show.moment(row, "closed_date"), show.text(row, "closed_reason")
    return f"{at} ({reason})" if at and reason else at


def _acknowledged(row: JsonObject) -> str:
    at, by = show.moment_and_distance(row, "acknowledged_date"), show.text(row, "acknowledged_by")
    return f"{at}, by {by}" if at and by else at


def _parts(row: JsonObject, name: str) -> list[JsonObject]:
    parts = row.get(name)
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _print_part(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if rows:
        print(f"\n{title}")
        show.print_table(columns, rows)
