"""The spans of an alert: what they begin and end with, where they belong, and how many of them there may be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import get_current_span
from structlog.testing import capture_logs

from medic.core.effects import CloseAlert, OpenAlert, RemoveService
from medic.core.service import Alert
from medic.core.status import ClosedReason, NotificationKind, OpenedReason
from medic.core.units import EventId, InstantMs, ServiceId, SightedMs
from medic.errors import JournalRefusedError
from medic.tracing import alerts
from medic.tracing.alerts import ALERTS_SECOND_MAX
from medic.tracing.identity import alert_context
from medic.tracing.journal import end_spans
from tests.fakes.alerting import NOON, trigger
from tests.fakes.traces import Kept

AT = InstantMs(NOON + 25)


def opened(number: int = 1, *, reason: OpenedReason = OpenedReason.LATE, at: int = AT) -> OpenAlert:
    instant = InstantMs(at)
    alert = Alert(EventId(number), reason, instant, SightedMs(0), InstantMs(at - 25), "p2", "ops", "")
    return OpenAlert(ServiceId(number + 1000), instant, SightedMs(0), alert)


def closed(effect: OpenAlert) -> CloseAlert:
    return CloseAlert(effect.service_id, AT, SightedMs(0), effect.alert, ClosedReason.RECOVERED, 1)


def by_name(kept: Kept) -> dict[str, ReadableSpan]:
    return {span.name: span for span in kept.ended()}


def test_a_late_service_has_a_span_from_its_deadline_on() -> None:
    kept = Kept()
    spans = kept.alerts.note([opened()])
    assert list(by_name(kept)) == ["deadline"]
    end_spans(spans, None)
    found = by_name(kept)
    assert found.keys() == {"alert", "deadline", "journal"}
    assert found["alert"].start_time == found["deadline"].start_time == NOON * 1_000_000
    assert found["deadline"].end_time == AT * 1_000_000
    assert found["alert"].parent is None
    assert all(found[name].parent == found["alert"].context for name in ("deadline", "journal"))
    assert found["alert"].context == alert_context(ServiceId(1001), EventId(1), InstantMs(NOON))


def test_a_reported_alert_had_no_deadline() -> None:
    kept = Kept()
    end_spans(kept.alerts.note([opened(reason=OpenedReason.REPORTED_DOWN)]), None)
    assert by_name(kept).keys() == {"alert", "journal"}


def test_the_end_of_an_alert_and_what_is_told_of_it_belong_to_it_whoever_began_it() -> None:
    begun, later = Kept(), Kept()
    end_spans(begun.alerts.note([opened()]), None)
    root = by_name(begun)["alert"].context
    end_spans(later.alerts.note([closed(opened())]), None)
    assert by_name(later)["alert closed"].parent == root
    told = get_current_span(later.alerts.parent_of(trigger(1))).get_span_context()
    assert told == root


def test_two_alerts_with_one_number_in_two_databases_are_two_traces() -> None:
    here = alert_context(ServiceId(1), EventId(7), InstantMs(NOON))
    assert here != alert_context(ServiceId(1), EventId(7), InstantMs(NOON + 1))
    assert here.is_valid
    assert here.trace_flags.sampled


def test_what_is_of_no_alert_has_a_trace_of_its_own() -> None:
    kept = Kept()
    for notification in (
        replace(trigger(1), alert_id=None),
        replace(trigger(1), service_id=None),
        replace(trigger(1), kind=NotificationKind.TEST),
    ):
        assert kept.alerts.parent_of(notification) == Context()


def test_an_alert_that_a_traced_request_opened_is_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "CONTINUED_MAX", 2)
    kept = Kept()
    with kept.tracer.start_as_current_span("POST /heartbeat") as request:
        for number in (1, 2, 3):
            end_spans(kept.alerts.note([opened(number)]), None)
    roots = [span for span in kept.ended() if span.name == "alert"]
    assert [span.parent for span in roots] == [request.get_span_context()] * 3
    parents = [get_current_span(kept.alerts.parent_of(trigger(number))).get_span_context() for number in (1, 2, 3)]
    # The oldest is forgotten, and goes on in a trace of its own.
    assert parents[1:] == [span.context for span in roots[1:]]
    assert parents[0] == alert_context(ServiceId(1001), EventId(1), InstantMs(NOON))


def test_an_alert_closed_by_hand_is_linked_to_who_did_it() -> None:
    kept = Kept()
    with kept.tracer.start_as_current_span("POST /alerts/{alert_id}/resolve") as request:
        end_spans(kept.alerts.note([closed(opened())]), None)
    [link] = by_name(kept)["alert closed"].links
    assert link.context == request.get_span_context()


def test_what_the_journal_refuses_is_an_error() -> None:
    kept = Kept()
    end_spans(kept.alerts.note([opened()]), JournalRefusedError("the disk is full"))
    assert by_name(kept)["journal"].status.description == "the disk is full"


def test_other_turns_have_no_spans() -> None:
    kept = Kept()
    assert not kept.alerts.note([RemoveService(ServiceId(1), AT, SightedMs(0), "anna")])
    assert not kept.ended()


def test_in_a_burst_the_spans_of_some_are_made_and_the_others_are_counted() -> None:
    kept = Kept()
    with capture_logs() as lines:
        for number in range(ALERTS_SECOND_MAX + 5):
            end_spans(kept.alerts.note([opened(number, at=NOON)]), None)
        end_spans(kept.alerts.note([opened(999, at=NOON + 1_000)]), None)
    assert sum(span.name == "alert" for span in kept.ended()) == ALERTS_SECOND_MAX + 1
    assert [line["left_out"] for line in lines] == [1]
