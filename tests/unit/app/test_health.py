"""`/health` says of each component what CONTRACT 1 says it means, since when, and nothing that is nobody's business."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medic.access.endings import KeyStatistics
from medic.actors.sight import BlindReport
from medic.alerting.deadman import FAILURES_TOLD, DeadmanStatistics
from medic.alerting.statistics import AlertingStatistics
from medic.app.health import SystemHealth
from medic.core.blind import BlindLog, BlindSpan
from medic.core.units import HOUR_MS, InstantMs, SightedMs, SkewMs
from medic.errors import JournalRefusedError
from medic.store.redis.client import RedisStatistics
from tests.unit.metrics.parts import NOW, Bench, target

CALM = AlertingStatistics(targets=(), untold=(), unsettled=0)


class HandClock:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.at = NOW
        self.blind = BlindLog()
        self.skew = SkewMs(0)

    def now(self) -> InstantMs:
        return self.at

    def sighted(self) -> SightedMs:
        return SightedMs(self.at)


class Watched:
    """A health over parts in order, and what can be changed about them."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.bench.alerting = CALM
        self.bench.journal = replace(self.bench.journal, newest=600, durable=600, damaged_bytes=0)
        self.bench.writer = replace(self.bench.writer, backlog_bytes=0, lag_seconds=0.0, rejected=0)
        self.bench.host = replace(self.bench.host, overdue_seconds=0.0)
        self.bench.outbox = replace(self.bench.outbox, pending=0)
        self.bench.supervisor = replace(self.bench.supervisor, waiting=0)
        self.bench.keys = KeyStatistics(working=2, ending=0)
        self.clock = HandClock()
        self.refusal = ""
        self.proven: InstantMs | None = None
        self.health = SystemHealth(
            parts=self.bench.parts,
            clock=self.clock,
            version="1.2.3",
            database="embedded",
            journal_sync="always",
            require_intake=self.require_room,
            proven_at=lambda: self.proven,
        )

    def require_room(self) -> None:
        if self.refusal:
            raise JournalRefusedError(self.refusal)

    def component(self, name):
        return self.health.report().components[name]

    def facts(self, name):
        return dict(self.component(name).facts)


def test_all_is_well():
    watched = Watched()
    report = watched.health.report()
    assert report.status == "healthy"
    assert report.version == "1.2.3"
    assert report.at == NOW
    assert {name: part.status for name, part in report.components.items()} == {
        "database": "healthy",
        "leadership": "healthy",
        "redis": "not_configured",
        "journal": "healthy",
        "writer": "healthy",
        "wheel": "healthy",
        "actors": "healthy",
        "pagerduty": "not_configured",
        "slack": "not_configured",
        "alerts": "healthy",
        "sight": "healthy",
        "keys": "healthy",
        "cleanup": "healthy",
    }
    assert watched.facts("database") == {"kind": "embedded"}
    assert watched.facts("journal")["sync"] == "always"


@pytest.mark.parametrize(("reachable", "status"), [(True, "healthy"), (False, "unhealthy"), (None, "unhealthy")])
def test_postgresql_away_is_unhealthy(reachable, status):
    watched = Watched()
    watched.bench.database = replace(watched.bench.database, reachable=reachable)
    assert watched.component("database").status == status
    assert watched.health.report().status == status


def test_the_active_one_says_so_and_that_it_has_lost_its_lock():
    watched = Watched()
    assert watched.facts("leadership") == {"role": "active", "token": 73, "active_since": "2026-01-01T00:00:00.000Z"}
    watched.bench.leadership = replace(watched.bench.leadership, has_lock=False)
    assert watched.component("leadership").status == "degraded"
    assert watched.health.report().status == "degraded"


@pytest.mark.parametrize(
    ("failing", "refusing", "said"),
    [
        (None, None, None),
        ("it is out of memory", "it refuses (ERR)", "limits are counted in this process: it is out of memory"),
        (None, "it refuses (ERR)", "some limits are counted in this process: it refuses (ERR)"),
    ],
)
def test_a_redis_that_counts_not_everything_degrades_health(failing, refusing, said):
    watched = Watched()
    watched.bench.redis = RedisStatistics(failing, 1, 1, refused=3, refusing=refusing)
    assert watched.facts("redis").get("reason") == said
    assert watched.health.report().status == ("degraded" if said else "healthy")


def test_a_journal_that_refuses_is_unhealthy_and_says_why():
    watched = Watched()
    watched.bench.journal = replace(watched.bench.journal, refusing="The journal's disk is full.")
    assert watched.health.report().status == "unhealthy"
    assert watched.facts("journal")["reason"] == "The journal's disk is full."


def test_damage_found_at_the_start_is_shown():
    watched = Watched()
    watched.bench.journal = replace(watched.bench.journal, damaged_bytes=4_096)
    assert watched.component("journal").status == "degraded"
    assert watched.facts("journal")["damaged_bytes"] == 4_096


def test_a_writer_a_minute_behind_is_degraded():
    watched = Watched()
    watched.bench.writer = replace(watched.bench.writer, lag_seconds=59.9, backlog_bytes=1_000)
    assert watched.component("writer").status == "healthy"
    watched.bench.writer = replace(watched.bench.writer, lag_seconds=60.0)
    assert watched.component("writer").status == "degraded"
    assert watched.facts("writer")["backlog_bytes"] == 1_000


def test_records_that_postgresql_will_never_take_are_shown():
    watched = Watched()
    watched.bench.writer = replace(watched.bench.writer, rejected=3)
    assert watched.facts("writer")["rejected"] == 3


def test_a_notifier_that_fails_degrades_with_the_vendors_reason_since_it_began():
    watched = Watched()
    failing = target("pagerduty", failing_since=InstantMs(NOW - 90_000), last_error="403: invalid routing key")
    watched.bench.alerting = replace(CALM, targets=(failing, target("slack")))
    report = watched.health.report()
    assert report.status == "degraded"
    assert report.components["pagerduty"].status == "degraded"
    assert report.components["pagerduty"].since == NOW - 90_000
    assert dict(report.components["pagerduty"].facts)["reason"] == "403: invalid routing key"
    assert report.components["slack"].status == "configured"


def test_webhooks_are_one_component_whatever_their_number():
    watched = Watched()
    watched.bench.alerting = replace(CALM, targets=(target("webhook:1"), target("webhook:2")))
    assert watched.component("webhooks").status == "configured"
    assert watched.health.report().status == "healthy"
    failing = target("webhook:2", failing_since=NOW, last_error="timed out")
    watched.bench.alerting = replace(CALM, targets=(target("webhook:1"), failing))
    assert watched.component("webhooks").status == "degraded"
    assert watched.facts("webhooks") == {"configured": 2, "failing": 1, "reason": "webhook:2: timed out"}


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        ((), "no notifier is configured"),
        ((target("slack"),), "no notifier took them"),
        ((target("slack", last_error="invalid_auth"),), "slack: invalid_auth"),
    ],
)
def test_alerts_told_to_nobody_degrade(targets, reason):
    watched = Watched()
    watched.bench.alerting = AlertingStatistics(targets=targets, untold=(5, 6), unsettled=0)
    assert watched.component("alerts").status == "degraded"
    assert watched.facts("alerts") == {"untold": 2, "reason": reason}


def test_blind_in_the_last_hour_degrades_and_says_from_when_to_when():
    watched = Watched()
    span = BlindSpan(InstantMs(NOW - 60_000), InstantMs(NOW - 10_000), SightedMs(NOW - 60_000), "suspended")
    watched.clock.blind = BlindLog((span,))
    assert watched.health.report().status == "degraded"
    assert watched.facts("sight") == {
        "blind_from": "2025-12-31T23:59:00.000Z",
        "blind_to": "2025-12-31T23:59:50.000Z",
        "cause": "suspended",
    }
    watched.bench.sight = replace(watched.bench.sight, newest=BlindReport(span, moved=12, fresh_intervals=3))
    assert watched.facts("sight")["deadlines_moved"] == 12
    assert watched.facts("sight")["fresh_intervals"] == 3
    assert watched.component("sight").since == NOW - 10_000
    watched.clock.at = InstantMs(NOW + HOUR_MS)
    assert watched.component("sight").status == "healthy"


def test_actors_that_are_being_rebuilt_degrade():
    watched = Watched()
    watched.bench.supervisor = replace(watched.bench.supervisor, waiting=1)
    assert watched.component("actors").status == "degraded"


def test_since_is_when_the_status_last_changed():
    watched = Watched()
    assert watched.component("database").since == NOW
    watched.clock.at = InstantMs(NOW + 5_000)
    assert watched.component("database").since == NOW
    watched.bench.database = replace(watched.bench.database, reachable=False)
    assert watched.component("database").since == NOW + 5_000
    watched.clock.at = InstantMs(NOW + 9_000)
    assert watched.component("database").since == NOW + 5_000
    watched.bench.database = replace(watched.bench.database, reachable=True)
    assert watched.component("database").since == NOW + 9_000


def test_ready_depends_on_the_journal_and_not_on_postgresql():
    watched = Watched()
    watched.bench.database = replace(watched.bench.database, reachable=False)
    assert watched.health.ready() is None
    watched.refusal = "The journal's disk is full."
    assert watched.health.ready() == "The journal's disk is full."


def test_without_ids_no_heartbeat_can_be_taken():
    watched = Watched()
    watched.bench.ids_ahead = 0
    assert "ids" in watched.health.ready()


def test_a_medic_that_stops_is_not_ready():
    watched = Watched()
    watched.health.leave("Medic is stopping.")
    assert watched.health.ready() == "Medic is stopping."


def test_a_key_about_to_expire_is_degraded_and_not_named():
    watched = Watched()
    assert (watched.component("keys").status, watched.facts("keys")) == ("healthy", {"working": 2})
    watched.bench.keys = KeyStatistics(working=2, ending=1)
    assert watched.health.report().status == "degraded"
    assert watched.facts("keys") == {
        "working": 2,
        "ending": 1,
        "reason": "a key is about to expire: 1 within 14 days",
    }


def test_calls_that_go_through_are_configured_and_say_when_the_last_one_did():
    watched = Watched()
    watched.bench.deadman = DeadmanStatistics(failures=FAILURES_TOLD - 1, failing_since=NOW, last_error="answered 503")
    assert watched.component("deadman").status == "configured"
    watched.bench.deadman = DeadmanStatistics(succeeded=3, withheld=2, last_success_at=NOW)
    assert watched.facts("deadman") == {"withheld": 2, "last_call": "2026-01-01T00:00:00.000Z"}
    assert watched.health.report().status == "healthy"


def test_calls_that_fail_again_and_again_or_are_not_made_are_degraded():
    watched = Watched()
    failing_since = InstantMs(NOW - 5_000)
    watched.bench.deadman = DeadmanStatistics(failures=4, failing_since=failing_since, last_error="answered 404")
    assert watched.component("deadman").status == "degraded"
    assert watched.component("deadman").since == failing_since
    assert watched.facts("deadman")["reason"] == "4 calls in a row failed: answered 404"
    watched.bench.deadman = DeadmanStatistics(stuck="journal", withheld=1)
    assert watched.component("deadman").status == "degraded"
    assert "journal" in watched.facts("deadman")["reason"]
    assert watched.health.report().status == "degraded"


def test_when_progress_was_seen_is_what_the_proofs_say():
    watched = Watched()
    assert watched.health.proven_at() is None
    watched.proven = NOW
    assert watched.health.proven_at() == NOW


def test_while_nobody_is_told_health_is_degraded_and_says_so():
    watched = Watched()
    watched.bench.alerting = AlertingStatistics(targets=(), untold=(), unsettled=0, withholds=True)
    assert watched.component("alerts").status == "degraded"
    assert watched.facts("alerts") == {"untold": 0, "withheld": 0, "reason": "MEDIC_NOTIFY is off: nobody is told"}


def test_a_cleanup_that_left_something_degrades_and_says_when_it_is_tried_again():
    watched = Watched()
    assert watched.facts("cleanup") == {
        "last_success_at": "2026-01-01T00:00:00.000Z",
        "next_at": "2026-01-02T00:00:00.000Z",
    }
    failing = "2026-01-01 is not removed: somebody reads it"
    watched.bench.cleanup = replace(watched.bench.cleanup, last_success_at=None, next_at=None, failing=failing)
    assert watched.component("cleanup").status == "degraded"
    assert watched.facts("cleanup") == {"reason": "what is old was not all removed; the log says what stays"}
    assert watched.health.report().status == "degraded"
