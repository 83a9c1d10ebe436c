"""`medic-cli service report NAME`: how a service was over a time."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from medic.cli import service, show
from medic.cli.client import connect, service_path
from medic.cli.show import Format, Output, Url
from medic.cli.spans import METAVAR, parse_span
from medic.core.units import InstantMs, isoformat, seconds_to_ms
from medic.http.answers import JsonObject

MONTH_SECONDS: Final = 30 * 86_400.0

Last = Annotated[
    float | None,
    typer.Option(
        "--last", parser=parse_span, metavar=METAVAR, help="How far back, as in 7d or 52w.", show_default="30d"
    ),
]
From = Annotated[str | None, typer.Option("--from", metavar="TIME", help="From then on: a date or a time, UTC.")]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Until then; a date is all of that day.")]


def report(
    name: service.Name,
    *,
    last: Last = None,
    since: From = None,
    until: To = None,
    url: Url = None,
    output: Format = Output.TABLE,
) -> None:
    """Show how a service was over a time: availability, outages, heartbeats. Also when single ones are long removed."""
    if last is not None and (since is not None or until is not None):
        raise show.fail_usage("say either --last, or --from and --to")
    query = {} if since is None else {"from": since}
    query |= {} if until is None else {"to": until}
    if since is None and until is None:
        query["from"] = isoformat(InstantMs(show.now() - seconds_to_ms(MONTH_SECONDS if last is None else last)))
    with connect(url) as api:
        service_id = show.text(api.get(service_path(name)).row, "service_id")
        found = api.get(f"/v2/services/{service_id}/availability", query).row
    if output is Output.JSON:
        show.print_json(found)
        return
    _show(found)


def _show(found: JsonObject) -> None:
    heartbeats = found.get("heartbeats")
    counts = heartbeats if isinstance(heartbeats, dict) else {}
    show.print_facts(
        (
            ("name", show.text(found, "heartbeat_name")),
            ("from", show.moment(found, "from")),
            ("to", show.moment(found, "to")),
            ("availability", _percent(found)),
            ("watched", show.lasting(found, "watched_seconds")),
            ("late", show.lasting(found, "late_seconds")),
            ("reported", show.lasting(found, "reported_seconds")),
            ("muted", show.lasting(found, "muted_seconds")),
            ("outages", show.text(found, "outages_count")),
            ("heartbeats", ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "none"),
        )
    )
    outages = found.get("outages")
    rows = [row for row in outages if isinstance(row, dict)] if isinstance(outages, list) else []
    if rows:
        print()
        show.print_table(
            ("Alert", "From", "To", "Within", "Reason", "Muted"),
            (
                (
                    show.text(row, "alert_id"),
                    show.moment(row, "from"),
                    show.moment(row, "to") or "open",
                    show.lasting(row, "seconds"),
                    show.text(row, "reason"),
                    "muted" if show.is_set(row, "muted") else "",
                )
                for row in rows
            ),
        )
    kept_from = show.moment(found, "outages_kept_from")
    if kept_from and kept_from > show.moment(found, "from"):
        show.print_note(f"Alerts that closed before {kept_from} were removed; they are in the sums.")


def _percent(found: JsonObject) -> str:
    """Rounded down: what is not all of it must not look like it."""
    ratio = found.get("availability")
    if not isinstance(ratio, int | float):
        return "nothing was watched"
    return f"{int(ratio * 1_000_000) / 10_000:.4f} %"
