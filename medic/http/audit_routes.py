"""Routes of the audit and of services' snapshots."""

from __future__ import annotations

from typing import Final

from medic.access.scope import Scope
from medic.audit import COUNTED_MAX
from medic.http import audit, shapes
from medic.http.csv import CSV_TYPE
from medic.http.limits import ENTRIES_DEFAULT, ENTRIES_MAX
from medic.http.route import Parameter, Route, Told

AWAY: Final = Told("PostgreSQL does not answer. Retry-After says when to try again.", shapes.Refusal)
NO_SNAPSHOT: Final = Told("There is no such snapshot.", shapes.Refusal)

WINDOW: Final = (
    Parameter("start_date", "string", "Only from then on: a date, or a time as ISO 8601 has it; UTC without a zone."),
    Parameter("end_date", "string", "Only until then; a date is all of that day."),
    Parameter(
        "limit",
        "integer",
        f"How many a page holds; {ENTRIES_DEFAULT} where it is left out, {ENTRIES_MAX} for more than that.",
        1,
    ),
    Parameter("offset", "integer", "How many newer ones to pass over.", 0, COUNTED_MAX),
)
SERVICE_ID: Final = Parameter("service_id", "integer", "Only what concerns this service, also when it is gone.", 0)

AUDIT: Final = (
    Route(
        "GET",
        "/v2/audit-logs",
        audit.list_audit,
        "Audit",
        "List who did what, newest first",
        {
            200: Told("Entries.", shapes.Envelope[shapes.Entries[shapes.AuditEntryShape]], also=(CSV_TYPE,)),
            503: AWAY,
        },
        "With `Accept: text/csv` as CSV: all that match, streamed, or the page where `limit` or `offset` is given. "
        "`medic audit verify` shows that no entry was changed.",
        query=(
            SERVICE_ID,
            Parameter("heartbeat_name", "string", "Only what concerns this name; case of A-Z is ignored."),
            Parameter("action", "string", "Only this: register, update, mute, delete, restore, …"),
            Parameter("action_type", "string", "The same, under another name."),
            Parameter("actor", "string", "Only what they did: exactly as an entry says it."),
            *WINDOW,
        ),
        scope=Scope.ADMIN,
    ),
    Route(
        "GET",
        "/v2/snapshots",
        audit.list_snapshots,
        "Audit",
        "List services as they were before a change, newest first",
        {200: Told("Snapshots.", shapes.Envelope[shapes.Entries[shapes.SnapshotShape]]), 503: AWAY},
        "Each edit and each deletion leaves one.",
        query=(
            SERVICE_ID,
            Parameter("heartbeat_name", "string", "Only of services of this name; case of A-Z is ignored."),
            Parameter(
                "action_type",
                "string",
                "Only those before this: edit, deactivate, activate, priority_change, team_change, delete, restore.",
            ),
            *WINDOW,
        ),
    ),
    Route(
        "GET",
        "/v2/snapshots/{snapshot_id}",
        audit.show_snapshot,
        "Audit",
        "Show a snapshot",
        {200: Told("The snapshot.", shapes.Envelope[shapes.SnapshotShape]), 404: NO_SNAPSHOT, 503: AWAY},
    ),
    Route(
        "POST",
        "/v2/snapshots/{snapshot_id}/restore",
        audit.restore_snapshot,
        "Audit",
        "Restore a service from a snapshot, once",
        {
            200: Told("Restored; `service` is the service as it is now.", shapes.Envelope[shapes.RestoredShape]),
            400: Told("A bad request, or the snapshot was restored before.", shapes.Refusal),
            404: NO_SNAPSHOT,
            409: Told("The service was deleted, and its name belongs to another one by now.", shapes.Refusal),
            503: AWAY,
        },
        "Gives the service its columns back as an edit does, or registers it anew under its name where it was deleted: "
        "with a fresh deadline, so that nobody is paged for it, and without mute. What was there before it has a "
        "snapshot too.",
        actor=True,
        scope=Scope.WRITE,
    ),
)
