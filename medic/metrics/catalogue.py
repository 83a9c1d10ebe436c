"""Every metric of the parts: name, kind, labels and what it says.

`docs/reference/metrics.md` is tested against this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric family. `name` of a counter ends in `_total`, as its series do."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    summary: str
    labels: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------- services and alerts

REGISTERED_SERVICES: Final = Spec("medic_registered_services", "gauge", "Services registered.")
ACTIVE_SERVICES: Final = Spec("medic_active_services", "gauge", "Services that are watched: all but the inactive.")
SERVICES_MUTED: Final = Spec("medic_services_muted", "gauge", "Services with a mute in force.")
SERVICES: Final = Spec("medic_services", "gauge", "Services by status.", ("status",))
HEARTBEATS: Final = Spec(
    "medic_heartbeats_total",
    "counter",
    "Heartbeats taken, by what they said; OTHER for words without a meaning of their own.",
    ("status",),
)
HEARTBEATS_DISCOUNTED: Final = Spec(
    "medic_heartbeats_discounted_total",
    "counter",
    "Heartbeats taken that counted for nothing: sent longer ago than interval and grace, or repeated.",
    ("reason",),
)
HEARTBEATS_REFUSED: Final = Spec(
    "medic_heartbeats_refused_total", "counter", "Heartbeats that were not taken, by reason.", ("reason",)
)
ALERTS_ACTIVE: Final = Spec("medic_alerts_active", "gauge", "Open alerts, muted ones included.")
ALERTS_ACTIVE_MUTED: Final = Spec("medic_alerts_active_muted", "gauge", "Open alerts of services that are muted.")
ALERTS: Final = Spec(
    "medic_alerts_total", "counter", "Alerts opened, by the priority and team they opened with.", ("priority", "team")
)
ALERTS_RESOLVED: Final = Spec("medic_alerts_resolved_total", "counter", "Alerts closed, for whatever reason.")
ALERTS_UNTOLD: Final = Spec(
    "medic_alerts_untold", "gauge", "Open alerts that nobody took within 60 s, or that a notifier refused for good."
)
FRESH_INTERVALS: Final = Spec(
    "medic_fresh_intervals_total",
    "counter",
    "Services given one fresh interval because their heartbeat was due while Medic was blind.",
)

# ----------------------------------------------------------------------------------------------------------------- http

REQUEST_DURATION: Final = Spec(
    "medic_http_request_duration_seconds",
    "histogram",
    "From the end of a request's head to the end of its answer.",
    ("method", "route"),
)
REQUESTS: Final = Spec("medic_http_requests_total", "counter", "Requests answered.", ("method", "route", "status"))
AUTH_FAILURES: Final = Spec(
    "medic_auth_failures_total", "counter", "Callers turned away for their key, by reason.", ("reason",)
)

# ---------------------------------------------------------------------------------------------- actors, wheel, outbox

ACTORS: Final = Spec("medic_actors", "gauge", "Actors in this process: one a registered service.")
ACTORS_REBUILDING: Final = Spec("medic_actors_rebuilding", "gauge", "Actors that crashed and are not rebuilt yet.")
ACTOR_TURNS: Final = Spec("medic_actor_turns_total", "counter", "Events taken by actors.")
ACTOR_CRASHES: Final = Spec("medic_actor_crashes_total", "counter", "Turns that raised: each is a bug in Medic.")
ACTOR_RESTARTS: Final = Spec("medic_actor_restarts_total", "counter", "Actors rebuilt after a crash.")
WHEEL_TIMERS: Final = Spec("medic_wheel_timers_armed", "gauge", "Timers on the wheel.")
WHEEL_FIRED: Final = Spec("medic_wheel_fired_total", "counter", "Deadlines that came due and were decided.")
WHEEL_LATENESS: Final = Spec(
    "medic_wheel_lateness_seconds", "histogram", "How long after its deadline a timer was decided."
)
WHEEL_OVERDUE: Final = Spec(
    "medic_wheel_overdue_seconds", "gauge", "How long the oldest deadline not decided yet has been due."
)
OUTBOX_PENDING: Final = Spec(
    "medic_outbox_pending", "gauge", "Notifications that are decided and wait for the journal, not for a vendor."
)
OUTBOX_RETRIES: Final = Spec(
    "medic_outbox_retries_total", "counter", "Waits for the journal that ended because its disk failed, and began anew."
)

# ------------------------------------------------------------------------------------------------------ telling people

PAGERDUTY_REQUESTS: Final = Spec(
    "medic_pagerduty_requests_total",
    "counter",
    "Requests to PagerDuty, by action (trigger, acknowledge, resolve) and status (success, failure).",
    ("action", "status"),
)
SLACK_REQUESTS: Final = Spec(
    "medic_slack_requests_total", "counter", "Requests to Slack, by status (success, failure).", ("status",)
)
NOTIFICATIONS_PENDING: Final = Spec(
    "medic_notifications_pending", "gauge", "Notifications decided and not settled, by target.", ("target",)
)
NOTIFICATIONS: Final = Spec(
    "medic_notifications_total",
    "counter",
    "Notifications settled, by target and outcome (delivered, refused, given_up, dropped, withheld).",
    ("target", "outcome"),
)
NOTIFIER_RETRIES: Final = Spec(
    "medic_notifier_retries_total", "counter", "Attempts after which another was needed, by target.", ("target",)
)
NOTIFIER_FAILING: Final = Spec(
    "medic_notifier_failing", "gauge", "1 while every attempt at a target fails, else 0.", ("target",)
)
NOTIFIER_CRASHES: Final = Spec(
    "medic_notifier_crashes_total", "counter", "Bugs of a notifier that its supervision survived.", ("target",)
)
NOTIFICATIONS_UNSETTLED: Final = Spec(
    "medic_notifications_unsettled_total",
    "counter",
    "Outcomes that the journal did not take: a restart tells these again.",
)

# ------------------------------------------------------------------------------------------------------------- journal

JOURNAL_RECORDS: Final = Spec("medic_journal_records_total", "counter", "Records appended.")
JOURNAL_BYTES: Final = Spec("medic_journal_bytes_total", "counter", "Bytes written to the journal's files.")
JOURNAL_BACKLOG: Final = Spec("medic_journal_backlog_bytes", "gauge", "Bytes appended that no sync covers yet.")
JOURNAL_COMMIT: Final = Spec(
    "medic_journal_commit_seconds", "histogram", "One commit: write, sync, and the way to the thread and back."
)
JOURNAL_REFUSING: Final = Spec("medic_journal_refusing", "gauge", "1 while records are refused, else 0.")
JOURNAL_FAILURES: Final = Spec("medic_journal_failures_total", "counter", "Writes and syncs that failed.")
JOURNAL_DAMAGED: Final = Spec(
    "medic_journal_damaged_bytes", "gauge", "Bytes that could not be read, when the journal was opened or since."
)
JOURNAL_SEGMENTS: Final = Spec("medic_journal_segments", "gauge", "Files that hold the journal.")
JOURNAL_HELD: Final = Spec("medic_journal_held_bytes", "gauge", "Bytes of records in them: what is older was deleted.")
JOURNAL_LIMIT: Final = Spec(
    "medic_journal_limit_bytes", "gauge", "MEDIC_JOURNAL_MAX_BYTES: held bytes beyond which heartbeats are refused."
)
JOURNAL_RESERVED: Final = Spec(
    "medic_journal_reserved_bytes", "gauge", "Allocated ahead for a full disk; 0 while the disk is full."
)
JOURNAL_REFUSING_INTAKE: Final = Spec(
    "medic_journal_refusing_intake", "gauge", "1 while heartbeats are refused for want of room, else 0."
)
DISK_SIZE: Final = Spec("medic_disk_size_bytes", "gauge", "Size of the disk under MEDIC_DATA_DIR.")
DISK_FREE: Final = Spec("medic_disk_free_bytes", "gauge", "What Medic's user may still write there.")

# ------------------------------------------------------------------------------------------------------------ snapshot

SNAPSHOTS: Final = Spec("medic_snapshots_total", "counter", "Snapshots written.")
SNAPSHOT_FAILURES: Final = Spec("medic_snapshot_failures_total", "counter", "Snapshots that could not be written.")
SNAPSHOT_TIME: Final = Spec(
    "medic_snapshot_timestamp_seconds", "gauge", "When the newest snapshot was begun; absent before the first one."
)
SNAPSHOT_BYTES: Final = Spec("medic_snapshot_bytes", "gauge", "Size of the newest snapshot.")
SNAPSHOT_SERVICES: Final = Spec("medic_snapshot_services", "gauge", "Services in it.")
SNAPSHOT_SECONDS: Final = Spec("medic_snapshot_seconds", "gauge", "How long writing it took.")

IDS_AHEAD: Final = Spec("medic_ids_ahead", "gauge", "Ids that can be drawn without PostgreSQL.")

# -------------------------------------------------------------------------------------------------------------- writer

WRITER_BATCHES: Final = Spec("medic_writer_batches_total", "counter", "Batches committed in PostgreSQL.")
WRITER_ROWS: Final = Spec("medic_writer_rows_total", "counter", "Rows of heartbeats, alerts and notifications in them.")
WRITER_STATES: Final = Spec("medic_writer_states_total", "counter", "Hot states of services written.")
WRITER_STATES_DUE: Final = Spec("medic_writer_states_due", "gauge", "Hot states that wait to be written.")
WRITER_LAG: Final = Spec(
    "medic_writer_lag_seconds", "gauge", "Age of the oldest record that is not in PostgreSQL; 0 where there is none."
)
WRITER_BACKLOG: Final = Spec("medic_writer_backlog_bytes", "gauge", "Durable in the journal and not yet in PostgreSQL.")
WRITER_REJECTED: Final = Spec(
    "medic_writer_rejected_total", "counter", "Records that PostgreSQL will never take, kept in journal/rejected."
)
WRITER_SUPERSEDED: Final = Spec(
    "medic_writer_superseded_total", "counter", "Older open alerts closed because a service had two."
)
WRITER_FAILING: Final = Spec("medic_writer_failing", "gauge", "1 while the writer cannot write, else 0.")

# ----------------------------------------------------------------------------------------------------- the loop itself

LOOP_STALL: Final = Spec(
    "medic_loop_stall_seconds",
    "histogram",
    "Turns of the event loop: how long a socket had to wait. Cause gc: half of it or more was garbage collection.",
    ("cause",),
)
LOOP_STALL_LONGEST: Final = Spec("medic_loop_stall_longest_seconds", "gauge", "The longest turn since the start.")
COLLECTIONS: Final = Spec("medic_gc_collections_total", "counter", "Garbage collections.", ("generation",))
COLLECTION_SECONDS: Final = Spec("medic_gc_seconds_total", "counter", "Time spent in them.", ("generation",))
BLIND_SPANS: Final = Spec("medic_blind_spans_total", "counter", "Spans in which heartbeats could not be taken.")
BLIND_SECONDS: Final = Spec("medic_blind_seconds_total", "counter", "Length of these spans, all of it credited.")

# ------------------------------------------------------------------------------------------------------- PostgreSQL

DATABASE_DURATION: Final = Spec(
    "medic_db_client_operation_duration_seconds",
    "histogram",
    "Operations on PostgreSQL, failed ones included.",
    ("operation",),
)
DATABASE_ERRORS: Final = Spec(
    "medic_db_connection_errors_total", "counter", "Attempts to connect that failed, and connections that broke."
)
DATABASE_CONNECTIONS: Final = Spec("medic_db_connections", "gauge", "Connections open, by use.", ("state",))

# ----------------------------------------------------------------------------------------------------------- cleanup

CLEANUP_SUCCESS: Final = Spec(
    "medic_cleanup_last_success_timestamp_seconds",
    "gauge",
    "When a cleanup last did all that was due, the daily one or `medic cleanup`; absent before the first.",
)
CLEANUP_FAILING: Final = Spec(
    "medic_cleanup_failing", "gauge", "1 where the last cleanup left something that was due, else 0."
)
CLEANUP_FAILURES: Final = Spec("medic_cleanup_failures_total", "counter", "Cleanups that left something that was due.")
CLEANUP_SECONDS: Final = Spec(
    "medic_cleanup_seconds", "gauge", "How long the last daily cleanup took; absent before the first of this process."
)

# ------------------------------------------------------------------------------------------------------------- Redis

REDIS_UP: Final = Spec(
    "medic_redis_up",
    "gauge",
    "1 while limits are counted in Redis, 0 while each Medic counts for itself; absent where Redis is not configured.",
)
REDIS_FAILURES: Final = Spec("medic_redis_failures_total", "counter", "How often Redis was found not to work.")
REDIS_REFUSED: Final = Spec(
    "medic_redis_refused_total",
    "counter",
    "How often Redis refused to count one name, which then is counted in this Medic alone. The log says which and why.",
)
REDIS_CONNECTIONS: Final = Spec("medic_redis_connections", "gauge", "Connections to Redis.")

# ----------------------------------------------------------------------------------------------- the one active Medic

ACTIVE_TOKEN: Final = Spec(
    "medic_active_token",
    "gauge",
    "The token of this Medic, the active one of its database. It grows with each takeover.",
)
ACTIVE_LOCK_HELD: Final = Spec(
    "medic_active_lock_held", "gauge", "1 while it has the lock, 0 while it has lost it and takes it back."
)
ACTIVE_LOCKS_LOST: Final = Spec("medic_active_locks_lost_total", "counter", "How often it lost the lock.")

# ------------------------------------------------------------------------------------------- Medic is watched too

DEADMAN_CALLS: Final = Spec(
    "medic_deadman_calls_total",
    "counter",
    "Calls to MEDIC_DEADMAN_URL, by status (success, failure; withheld: due, and not made for want of progress).",
    ("status",),
)
DEADMAN_LAST_SUCCESS: Final = Spec(
    "medic_deadman_last_success_timestamp_seconds",
    "gauge",
    "When the last call to MEDIC_DEADMAN_URL was taken; absent before the first one.",
)
PROGRESS_PROVEN: Final = Spec(
    "medic_progress_timestamp_seconds",
    "gauge",
    "When work was last seen to go through journal, wheel and outbox; absent before the first time.",
)

# --------------------------------------------------------------------------------------------------------- API keys

KEYS: Final = Spec("medic_api_keys", "gauge", "API keys that work; MEDIC_ADMIN_API_KEY is not counted.")
KEYS_ENDING: Final = Spec(
    "medic_api_keys_expiring",
    "gauge",
    "Those of them that expire within 14 days; keys made for no longer, in their last day.",
)

# ----------------------------------------------------------------------------------------------------------- health

HEALTH_STATUS: Final = Spec(
    "medic_health_status",
    "gauge",
    "1 healthy, 0.5 degraded, 0 unhealthy; absent for what is not configured.",
    ("component",),
)
BUILD: Final = Spec("medic_build_info", "gauge", "Always 1; the labels say what runs.", ("version", "python"))
METRICS_LEFT_OUT: Final = Spec(
    "medic_metrics_services_left_out",
    "gauge",
    "Services that /metrics left out beyond MEDIC_METRICS_SERVICES_MAX; /metrics/services has all.",
)

ALL: Final = tuple(spec for spec in vars().values() if isinstance(spec, Spec))
"""Every metric above, in its order."""
