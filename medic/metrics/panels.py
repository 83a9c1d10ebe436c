"""What the dashboard shows: each panel's title, what it says to whoever wakes up at night, and its questions.

`SELECTED` stands where the variables of the dashboard choose among Medics. Panels of single services leave it out:
their series may come from a scrape job of their own. Several Medics of one database are one at a time in here, because
one that stands by has no metrics; a sum is the active one's.
"""

from __future__ import annotations

from typing import Final

from medic.metrics.panel import HEALTH, SELECTED, SERVICE, SPAN, Limits, Panel, Query, Row, quantiles, rate, stat, total

NOT_LISTINGS: Final = f'{SELECTED},route!="/metrics/services"'
"""A listing of every service takes seconds by its nature, and nobody waits for it."""

NOW: Final = Row(
    "Now",
    (
        stat(
            "Open alerts",
            "Services that are late or reported down, muted ones included. Many at once have mostly one cause.",
            "sum(medic_alerts_active{SELECTED})",
            limits=Limits(6, 11),
        ),
        stat(
            "Told to nobody",
            "Open alerts that no notifier took within a minute. Anything but 0: tell people by hand, then look at the "
            "notifiers.",
            "sum(medic_alerts_untold{SELECTED})",
            limits=Limits(1, 1),
        ),
        stat("Services", "Registered.", "sum(medic_registered_services{SELECTED})"),
        stat("Watched", "All but the inactive.", "sum(medic_active_services{SELECTED})"),
        stat("Muted", "Services with a mute in force.", "sum(medic_services_muted{SELECTED})"),
        stat(
            "Heartbeats",
            "Taken a second.",
            f"sum(rate(medic_heartbeats_total{{SELECTED}}[{SPAN}]))",
            unit="cps",
        ),
        stat(
            "Running for",
            "Since the start of the process.",
            "time() - max(process_start_time_seconds{SELECTED} and on (job, instance) medic_build_info)",
            unit="s",
        ),
        Panel(
            "Version",
            "What runs.",
            (Query("medic_build_info{SELECTED}", "{{version}}"),),
            kind="stat",
            width=3,
            height=4,
            is_named=True,
        ),
        Panel(
            "Health",
            "What /health says of each component; what is not configured is absent. `medic-cli health` says why.",
            (Query("min by (component) (medic_health_status{SELECTED})", "{{component}}"),),
            HEALTH,
            "stat",
            width=24,
            height=4,
        ),
    ),
)

SERVICES: Final = Row(
    "Services",
    (
        Panel(
            "Services by status",
            "All that are registered.",
            (total("medic_services", "status"),),
            is_stacked=True,
        ),
        Panel(
            "Alerts",
            "Open alerts; those of muted services among them, of which nobody is told.",
            (total("medic_alerts_active"), total("medic_alerts_active_muted")),
            limits=Limits(6, 11),
        ),
        Panel(
            "Alerts opened and closed",
            "In each span of the graph. The first alert of a team and priority since Medic's start is not seen in it.",
            (
                Query(f"sum by (priority) (increase(medic_alerts_total{{SELECTED}}[{SPAN}]))", "opened {{priority}}"),
                Query(f"sum(increase(medic_alerts_resolved_total{{SELECTED}}[{SPAN}]))", "closed"),
            ),
        ),
        Panel(
            "Late or reported down",
            "A hundred at most, and how long ago each was heard of; 0 where it never was. Those that are scraped: see "
            "docs/operations.md for /metrics/services.",
            (
                Query(
                    f"topk(100, max by ({SERVICE}) (time() - medic_service_last_heartbeat_timestamp_seconds)"
                    f" and on (heartbeat_name) medic_service_up == 0 or max by ({SERVICE}) (medic_service_up == 0))"
                ),
            ),
            "s",
            "table",
            width=12,
        ),
        Panel(
            "Next deadlines",
            "The ten services that become late first, if nothing is heard of them.",
            (Query(f"bottomk(10, max by ({SERVICE}) (medic_service_deadline_timestamp_seconds) - time())"),),
            "s",
            "table",
            width=12,
        ),
    ),
)

HEARTBEATS: Final = Row(
    "Heartbeats and requests",
    (
        Panel(
            "Heartbeats",
            "Taken a second, by what they said.",
            (rate("medic_heartbeats_total", "status"),),
            "cps",
            is_stacked=True,
        ),
        Panel(
            "Heartbeats not taken",
            "By reason: `not_registered` is a name nobody registered (`medic-cli heartbeat refused` lists them). "
            "Discounted ones were taken and count for nothing.",
            (
                rate("medic_heartbeats_refused_total", "reason"),
                Query(f"sum(rate(medic_heartbeats_discounted_total{{SELECTED}}[{SPAN}]))", "discounted"),
            ),
            "cps",
        ),
        Panel(
            "Requests",
            "Answered a second, by status.",
            (rate("medic_http_requests_total", "status"),),
            "reqps",
            is_stacked=True,
        ),
        Panel(
            "Duration of requests",
            "All but listings of every service. The runbook's thresholds are for the p95.",
            quantiles("medic_http_request_duration_seconds", "0.5", "0.95", "0.99", matchers=NOT_LISTINGS),
            "s",
            limits=Limits(1, 5),
        ),
        Panel(
            "Duration by route: p95",
            "The ten slowest routes.",
            (
                Query(
                    "topk(10, histogram_quantile(0.95, sum by (method, route, le) "
                    f"(rate(medic_http_request_duration_seconds_bucket{{SELECTED}}[{SPAN}]))))",
                    "{{method}} {{route}}",
                ),
            ),
            "s",
        ),
        Panel(
            "Answers that failed",
            "Share of requests answered 5xx.",
            (
                Query(
                    f'(sum(rate(medic_http_requests_total{{SELECTED,status=~"5.."}}[{SPAN}])) or vector(0))'
                    f" / sum(rate(medic_http_requests_total{{SELECTED}}[{SPAN}]))",
                    "5xx",
                ),
            ),
            "percentunit",
        ),
        Panel(
            "Callers turned away",
            "For their key, a second, by reason.",
            (rate("medic_auth_failures_total", "reason"),),
            "cps",
        ),
    ),
)

TELLING: Final = Row(
    "Telling people",
    (
        Panel(
            "Notifications that wait",
            "Decided and not settled, by target. They wait for their vendor.",
            (total("medic_notifications_pending", "target"),),
        ),
        Panel(
            "Notifiers that fail",
            "1 while every attempt at a target fails. All at once: Medic's way to the internet.",
            (Query("max by (target) (medic_notifier_failing{SELECTED})", "{{target}}"),),
        ),
        Panel(
            "Notifications settled",
            "A second, by target and outcome; tries after which another was needed.",
            (
                rate("medic_notifications_total", "target", "outcome"),
                Query(f"sum by (target) (rate(medic_notifier_retries_total{{SELECTED}}[{SPAN}]))", "{{target}} again"),
            ),
            "cps",
        ),
        Panel(
            "Requests to PagerDuty",
            "A second, by action and whether it was taken.",
            (rate("medic_pagerduty_requests_total", "action", "status"),),
            "reqps",
        ),
        Panel("Requests to Slack", "A second.", (rate("medic_slack_requests_total", "status"),), "reqps"),
        Panel(
            "Calls of MEDIC_DEADMAN_URL",
            "A second. Withheld: nothing went through journal, wheel and outbox, so the call was not made.",
            (rate("medic_deadman_calls_total", "status"),),
            "reqps",
        ),
        Panel(
            "Outbox",
            "Notifications that are decided and wait for the journal; should be 0 but for moments.",
            (total("medic_outbox_pending"), rate("medic_outbox_retries_total"), rate("medic_notifier_crashes_total")),
        ),
    ),
)

WATCHING: Final = Row(
    "Wheel, actors, loop",
    (
        Panel(
            "Lateness of deadlines",
            "How long after its deadline a service was decided. Alerts come late by as much.",
            quantiles("medic_wheel_lateness_seconds", "0.5", "0.99"),
            "s",
        ),
        Panel(
            "Overdue",
            "How long the oldest deadline that is not decided has been due. It grows while the wheel stands.",
            (Query("max(medic_wheel_overdue_seconds{SELECTED})", "overdue"),),
            "s",
            limits=Limits(2, 10),
        ),
        Panel(
            "Deadlines and turns",
            "A second: deadlines decided, events taken by actors.",
            (rate("medic_wheel_fired_total"), rate("medic_actor_turns_total")),
            "cps",
        ),
        Panel(
            "Turns of the loop",
            "How long a socket had to wait; 50 ms is the promise. By cause: garbage collection, or anything else.",
            (
                Query(
                    "histogram_quantile(0.999, sum by (cause, le) "
                    f"(rate(medic_loop_stall_seconds_bucket{{SELECTED}}[{SPAN}])))",
                    "p999 {{cause}}",
                ),
                Query("max(medic_loop_stall_longest_seconds{SELECTED})", "longest since the start"),
                Query(f"sum(rate(medic_gc_seconds_total{{SELECTED}}[{SPAN}]))", "garbage collection, of a second"),
            ),
            "s",
        ),
        Panel(
            "Blind",
            "Seconds in which no heartbeat could be taken, and services given a fresh interval for it. Nobody is paged "
            "for this time.",
            (
                Query(f"sum(increase(medic_blind_seconds_total{{SELECTED}}[{SPAN}]))", "seconds"),
                Query(f"sum(increase(medic_blind_spans_total{{SELECTED}}[{SPAN}]))", "spans"),
                Query(f"sum(increase(medic_fresh_intervals_total{{SELECTED}}[{SPAN}]))", "fresh intervals"),
            ),
        ),
        Panel(
            "Actors",
            "Crashes are bugs in Medic; an actor that is being rebuilt watches nothing meanwhile.",
            (
                total("medic_actors_rebuilding"),
                Query(f"sum(increase(medic_actor_crashes_total{{SELECTED}}[{SPAN}]))", "crashes"),
                Query(f"sum(increase(medic_actor_restarts_total{{SELECTED}}[{SPAN}]))", "rebuilt"),
            ),
        ),
    ),
)

STORING: Final = Row(
    "Journal, writer, PostgreSQL",
    (
        Panel(
            "Commits of the journal",
            "Write, sync, and the way there and back. With MEDIC_JOURNAL_SYNC=always every heartbeat waits for one.",
            quantiles("medic_journal_commit_seconds", "0.5", "0.99"),
            "s",
        ),
        Panel(
            "What waits",
            "Journal: appended and not synced. Writer: in the journal and not in PostgreSQL.",
            (total("medic_journal_backlog_bytes"), total("medic_writer_backlog_bytes")),
            "bytes",
        ),
        Panel(
            "PostgreSQL behind",
            "Age of the oldest record that is not in PostgreSQL. History lacks it; deadlines and pages do not.",
            (Query("max(medic_writer_lag_seconds{SELECTED})", "behind"),),
            "s",
            limits=Limits(60, 600),
        ),
        Panel(
            "Journal and its limit",
            "At the limit heartbeats are refused. It grows while PostgreSQL is away.",
            (total("medic_journal_held_bytes"), total("medic_journal_limit_bytes")),
            "bytes",
        ),
        Panel(
            "Disk",
            "The one under MEDIC_DATA_DIR.",
            (
                Query("min(medic_disk_free_bytes{SELECTED})", "free"),
                Query("max(medic_disk_size_bytes{SELECTED})", "size"),
            ),
            "bytes",
        ),
        Panel(
            "Refused, failed",
            "1 while records or heartbeats are refused, or the writer cannot write. Records set aside, snapshots and "
            "syncs that failed, in each span of the graph.",
            (
                total("medic_journal_refusing"),
                total("medic_journal_refusing_intake"),
                total("medic_writer_failing"),
                Query(f"sum(increase(medic_writer_rejected_total{{SELECTED}}[{SPAN}]))", "records set aside"),
                Query(f"sum(increase(medic_snapshot_failures_total{{SELECTED}}[{SPAN}]))", "snapshots failed"),
                Query(f"sum(increase(medic_journal_failures_total{{SELECTED}}[{SPAN}]))", "syncs failed"),
            ),
        ),
        Panel(
            "Written",
            "A second: records into the journal; rows and states into PostgreSQL.",
            (
                rate("medic_journal_records_total"),
                rate("medic_writer_rows_total"),
                rate("medic_writer_states_total"),
            ),
            "cps",
        ),
        Panel(
            "PostgreSQL: p95 by operation",
            "Failed ones included.",
            (
                Query(
                    "histogram_quantile(0.95, sum by (operation, le) "
                    f"(rate(medic_db_client_operation_duration_seconds_bucket{{SELECTED}}[{SPAN}])))",
                    "{{operation}}",
                ),
            ),
            "s",
        ),
        Panel(
            "Connection errors a minute",
            "Attempts to connect to PostgreSQL that failed, and connections that broke. The runbook's thresholds.",
            (Query(f"sum(rate(medic_db_connection_errors_total{{SELECTED}}[{SPAN}])) * 60", "a minute"),),
            limits=Limits(0.1, 1),
        ),
        Panel("Connections", "To PostgreSQL, by use.", (total("medic_db_connections", "state"),), is_stacked=True),
        Panel(
            "Age of the snapshot",
            "It is written when enough has come to the journal, so an idle Medic's is old.",
            (Query("time() - max(medic_snapshot_timestamp_seconds{SELECTED})", "age"),),
            "s",
        ),
        Panel(
            "Cleanup",
            "Hours since it last did all that was due; daily at 00:00 UTC, so 24 at most. 1 where the last one left "
            "something.",
            (
                Query(
                    "(time() - max(medic_cleanup_last_success_timestamp_seconds{SELECTED})) / 3600",
                    "hours since the last",
                ),
                total("medic_cleanup_failing"),
            ),
            limits=Limits(26, 74),
        ),
        Panel(
            "Lock, ids, keys",
            "1 while Medic has its lock in PostgreSQL; API keys about to expire; millions of ids it can draw without "
            "PostgreSQL.",
            (
                Query("min(medic_active_lock_held{SELECTED})", "lock"),
                total("medic_api_keys_expiring"),
                Query("sum(medic_ids_ahead{SELECTED}) / 1e6", "million ids ahead"),
            ),
        ),
    ),
)

MACHINE: Final = Row(
    "Process",
    (
        Panel(
            "CPU",
            "Cores in use. One is all that Medic's loop can use.",
            (Query(f"rate(process_cpu_seconds_total{{SELECTED}}[{SPAN}])", "{{instance}}"),),
        ),
        Panel(
            "Memory",
            "Resident; a service costs some 680 bytes.",
            (Query("process_resident_memory_bytes{SELECTED}", "{{instance}}"),),
            "bytes",
        ),
        Panel(
            "Files",
            "Open, and as many as may be.",
            (
                Query("process_open_fds{SELECTED}", "{{instance}} open"),
                Query("process_max_fds{SELECTED}", "{{instance}} limit"),
            ),
        ),
    ),
)

REDIS: Final = Row(
    "Redis, where it is configured",
    (
        Panel(
            "Redis",
            "1 while limits are counted there, 0 while each Medic counts for itself.",
            (total("medic_redis_up"), total("medic_redis_connections")),
            width=12,
        ),
        Panel(
            "Redis found ill",
            "How often, in each span of the graph.",
            (Query(f"sum(increase(medic_redis_failures_total{{SELECTED}}[{SPAN}]))", "found ill"),),
            width=12,
        ),
    ),
)

ROWS: Final = (NOW, SERVICES, HEARTBEATS, TELLING, WATCHING, STORING, MACHINE, REDIS)
