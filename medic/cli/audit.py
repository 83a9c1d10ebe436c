"""`medic-cli audit …` and `medic-cli service history | restore`: who did what, and how to have it back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import typer

from medic.cli import service, show
from medic.cli.client import Api, connect
from medic.cli.show import Format, Output, Url
from medic.cli.spans import METAVAR, parse_span
from medic.core.units import InstantMs, isoformat, seconds_to_ms
from medic.http.answers import JsonObject

app = show.commands("Who did what.")

PAGE: Final = 200
"""Entries asked for at a time: Medic's own limit of a page."""

BOOKKEEPING: Final = frozenset({"version", "date_modified", "changed_by"})
"""Columns that every change of a service changes, and that say nothing of it."""

CHANGES_SHOWN: Final = 4

SnapshotId = Annotated[int, typer.Argument(metavar="ID", min=1, help="The snapshot's id.", show_default=False)]
Limit = Annotated[int, typer.Option("--limit", "-l", min=1, help="How many at most.")]


@app.command("list")
def list_audit(
    *,
    of_service: Annotated[str | None, typer.Option("--service", help="Only what concerns this name.")] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Only what they did.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only this: register, update, mute, …")] = None,
    since: Annotated[
        float | None, typer.Option("--since", parser=parse_span, metavar=METAVAR, help="Only the last 2h, 7d, …")
    ] = None,
    limit: Limit = 50,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """List who did what, newest first."""
    query = {} if of_service is None else {"heartbeat_name": of_service}
    query |= {} if actor is None else {"actor": actor}
    query |= {} if action is None else {"action": action}
    if since is not None:
        query["start_date"] = isoformat(InstantMs(show.now() - seconds_to_ms(since)))
    with connect(url) as api:
        rows = list(_entries(api, "/v2/audit-logs", query, limit))
    if output is Output.JSON:
        show.print_json(rows)
        return
    show.print_table(
        ("Id", "At", "Who", "Did", "To", "From", "What changed"),
        (
            (
                show.text(row, "audit_id"),
                show.moment(row, "timestamp"),
                _who(row),
                show.text(row, "action"),
                show.text(row, "subject"),
                show.text(row, "address"),
                _changes(row),
            )
            for row in rows
        ),
        empty="No entry is like that.",
    )


@service.app.command("history")
def history(name: service.Name, *, limit: Limit = 50, url: Url = None, output: Format = Output.TABLE) -> None:
    """List how a service was before each of its changes; it may be deleted. Any line can be restored, once."""
    with connect(url) as api:
        rows = list(_entries(api, "/v2/snapshots", {"heartbeat_name": name}, limit))
    if output is Output.JSON:
        show.print_json(rows)
        return
    show.print_table(
        ("Id", "Until", "Then", "By", "Restored", "Interval", "Threshold", "Team", "Priority"),
        (_snapshot_line(row) for row in rows),
        empty="Nothing of that name was ever changed.",
    )


@service.app.command("restore")
def restore(snapshot_id: SnapshotId, *, url: Url = None, output: Format = Output.TABLE) -> None:
    """Give a service its columns of a snapshot back, once. A deleted one is registered anew, with a fresh deadline."""
    with connect(url) as api:
        reply = api.post(f"/v2/snapshots/{snapshot_id}/restore")
    if output is Output.JSON:
        show.print_json(reply.row)
        return
    name = show.text(reply.row, "heartbeat_name")
    show.say(f"{name} is as snapshot {snapshot_id} has it, with a fresh deadline.")


def _entries(api: Api, path: str, query: Mapping[str, str], most: int) -> Iterator[JsonObject]:
    """The entries of a listing, page by page, `most` of them at most."""
    offset = 0
    while offset < most:
        asked = min(PAGE, most - offset)
        page = api.get(path, {**query, "limit": str(asked), "offset": str(offset)}).row
        found = page.get("entries")
        entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
        yield from entries
        offset += len(entries)
        if not entries or page.get("has_more") is not True:
            return


def _who(row: JsonObject) -> str:
    actor, label = show.text(row, "actor"), show.text(row, "label")
    return f"{actor} ({label})" if label and label != actor else actor


def _changes(row: JsonObject) -> str:
    """What an update changed, field by field; nothing for what came or went as a whole."""
    before, after = row.get("before"), row.get("after")
    if not isinstance(before, dict) or not isinstance(after, dict):
        return ""
    changed = [
        f"{name}: {show.text(before, name) or '-'} -> {show.text(after, name) or '-'}"
        for name in after
        if before.get(name) != after[name] and name not in BOOKKEEPING and not name.endswith("_ms")
    ]
    rest = len(changed) - CHANGES_SHOWN
    return ", ".join(changed[:CHANGES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _snapshot_line(row: JsonObject) -> tuple[str, ...]:
    found = row.get("snapshot_data")
    kept = found if isinstance(found, dict) else {}
    return (
        show.text(row, "snapshot_id"),
        show.moment(row, "created_at"),
        show.text(row, "action_type"),
        show.text(row, "actor"),
        show.moment(row, "restored_at"),
        show.minutes(kept, "alert_interval"),
        show.text(kept, "threshold"),
        show.text(kept, "team"),
        show.text(kept, "priority"),
    )
