"""What is owed after a start: decided, not settled, in order."""

from __future__ import annotations

from medic.core.blind import BlindSpan
from medic.core.effects import Notify, RecordBlindSpan, RemoveService, SettleNotification
from medic.core.ledger import NotificationLedger
from medic.core.notification import Notification
from medic.core.status import NotificationKind, Outcome
from medic.core.units import EventId, InstantMs, ServiceId, SightedMs

AT, SIGHTED = InstantMs(1), SightedMs(1)


def decided(notification_id, *targets, kind=NotificationKind.TRIGGER, alert_id=7):
    owner = None if alert_id is None else EventId(alert_id)
    return Notify(AT, SIGHTED, Notification(notification_id, kind, "medic-web", AT, alert_id=owner, targets=targets))


def settled(notification_id, target, outcome=Outcome.DELIVERED):
    return SettleNotification(AT, SIGHTED, notification_id, ServiceId(1), target, outcome, 1)


def ledger_of(*effects):
    ledger = NotificationLedger()
    for effect in effects:
        ledger.fold(effect)
    return ledger


def owed(ledger):
    return [(notification.notification_id, notification.targets) for notification in ledger.pending()]


def test_what_was_decided_and_not_settled_is_pending_in_order():
    ledger = ledger_of(
        decided("7.0", "pagerduty", "slack"), decided("8.0", "slack", alert_id=8), decided("7.1", "slack")
    )
    assert owed(ledger) == [("7.0", ("pagerduty", "slack")), ("8.0", ("slack",)), ("7.1", ("slack",))]
    assert len(ledger) == 3


def test_only_the_targets_that_are_left_are_pending():
    ledger = ledger_of(decided("7.0", "pagerduty", "slack"), settled("7.0", "pagerduty"))
    assert owed(ledger) == [("7.0", ("slack",))]
    ledger.fold(settled("7.0", "slack", Outcome.REFUSED))
    assert owed(ledger) == []


def test_each_target_has_the_newest_notification_it_took():
    ledger = ledger_of(
        decided("7.0", "pagerduty", "slack"),
        settled("7.0", "pagerduty"),
        settled("7.0", "slack", Outcome.REFUSED),
        decided("7.1", "pagerduty", kind=NotificationKind.REMINDER),
        settled("7.1", "pagerduty"),
    )
    assert dict(ledger.delivered(EventId(7))) == {"pagerduty": "7.1"}
    assert dict(ledger.delivered(EventId(99))) == {}


def test_an_alert_that_every_target_refused_reached_nobody():
    told = decided("7.0", "pagerduty", "slack")
    refused = settled("7.0", "pagerduty", Outcome.REFUSED)
    assert not ledger_of().reached_nobody(EventId(7)), "nothing is known of it"
    assert not ledger_of(told, refused).reached_nobody(EventId(7)), "Slack may still take it"
    assert ledger_of(told, refused, settled("7.0", "slack", Outcome.REFUSED)).reached_nobody(EventId(7))
    assert not ledger_of(told, refused, settled("7.0", "slack")).reached_nobody(EventId(7))


def test_an_alert_is_forgotten_once_it_is_over_and_settled():
    resolve = decided("7.1", "slack", kind=NotificationKind.RESOLVE)
    ledger = ledger_of(decided("7.0", "slack"), settled("7.0", "slack"), resolve)
    assert dict(ledger.delivered(EventId(7))) == {"slack": "7.0"}
    ledger.fold(settled("7.1", "slack"))
    assert dict(ledger.delivered(EventId(7))) == {}


def test_a_trigger_that_is_pending_keeps_a_closed_alert_until_it_is_settled():
    resolve = decided("7.1", "slack", kind=NotificationKind.RESOLVE)
    ledger = ledger_of(decided("7.0", "slack"), resolve, settled("7.1", "slack"))
    assert owed(ledger) == [("7.0", ("slack",))]
    ledger.fold(settled("7.0", "slack", Outcome.DROPPED))
    assert dict(ledger.delivered(EventId(7))) == {}


def test_what_has_no_targets_is_not_pending():
    ledger = ledger_of(decided("7.0"), decided("7.1", kind=NotificationKind.RESOLVE))
    assert owed(ledger) == []
    assert dict(ledger.delivered(EventId(7))) == {}


def test_a_notification_that_belongs_to_no_alert_is_pending_like_any_other():
    ledger = ledger_of(decided("9.m", "slack", kind=NotificationKind.MUTE_ENDED, alert_id=None))
    assert owed(ledger) == [("9.m", ("slack",))]
    ledger.fold(settled("9.m", "slack"))
    assert len(ledger) == 0


def test_one_that_was_journaled_twice_is_the_same_one():
    ledger = ledger_of(decided("7.0", "slack"), settled("7.0", "pagerduty"), decided("7.0", "slack"))
    assert owed(ledger) == [("7.0", ("slack",))]


def test_every_record_says_whom_it_concerns():
    assert decided("7.0", "slack").service_id is None
    assert RecordBlindSpan(AT, SIGHTED, BlindSpan(AT, AT, SIGHTED, "down")).service_id is None


def test_records_of_what_it_does_not_know_mean_nothing_to_it():
    ledger = ledger_of(settled("1.0", "slack"), decided("7.0", "slack"), settled("7.0", "webhook:3"))
    ledger.fold(RemoveService(ServiceId(1), AT, SIGHTED, "ada"))
    assert owed(ledger) == [("7.0", ("slack",))]


def copied(ledger):
    """Another ledger, put together of what this one was taken apart into."""
    other = NotificationLedger()
    for telling in ledger.tellings():
        other.restore(telling)
    return other


def test_a_ledger_taken_apart_and_put_together_goes_on_as_it_would_have():
    ledger = ledger_of(
        decided("7.0", "pagerduty", "slack"),
        settled("7.0", "pagerduty"),
        decided("8.0", "slack", alert_id=8),
        settled("8.0", "slack"),
        decided("8.1", "slack", kind=NotificationKind.RESOLVE, alert_id=8),
        decided("b.1", "slack", kind=NotificationKind.BLIND, alert_id=None),
    )
    other = copied(ledger)
    assert owed(other) == owed(ledger)
    assert dict(other.delivered(EventId(7))) == {"pagerduty": "7.0"}
    for one in (ledger, other):
        one.fold(settled("8.1", "slack"))
        one.fold(settled("b.1", "slack"))
        assert owed(one) == [("7.0", ("slack",))]
        assert dict(one.delivered(EventId(8))) == {}


def test_what_is_forgotten_while_a_ledger_is_taken_apart_does_not_come():
    ledger = ledger_of(
        decided("7.0", "slack"),
        decided("8.0", "slack", kind=NotificationKind.RESOLVE, alert_id=8),
        decided("b.1", "slack", kind=NotificationKind.BLIND, alert_id=None),
    )
    tellings = ledger.tellings()
    assert next(tellings).alert_id == 7
    ledger.fold(settled("8.0", "slack"))
    ledger.fold(settled("b.1", "slack"))
    assert list(tellings) == []


def test_an_alert_is_found_by_its_key_until_its_end_is_decided():
    ledger = ledger_of(decided("7.0", "slack"))
    assert ledger.open_under("medic-web") == 7
    assert ledger.open_under("medic-self") is None
    assert copied(ledger).open_under("medic-web") == 7
    ledger.fold(decided("7.1", "slack", kind=NotificationKind.RESOLVE))
    assert ledger.open_under("medic-web") is None


def test_a_target_may_know_of_an_alert_it_took_something_of_or_has_something_of_it_pending():
    ledger = ledger_of(
        decided("7.0", "pagerduty", "slack"),
        settled("7.0", "pagerduty"),
        settled("7.0", "slack", Outcome.WITHHELD),
        decided("7.1", "webhook:1"),
        decided("7.2", "slack", kind=NotificationKind.RESOLVE),
    )
    knows = {
        target: ledger.may_know(EventId(7), target, besides="7.2") for target in ("pagerduty", "slack", "webhook:1")
    }
    assert knows == {"pagerduty": True, "slack": False, "webhook:1": True}
    assert not ledger.may_know(EventId(8), "pagerduty", besides="8.0")


def test_what_was_withheld_reached_nobody():
    ledger = ledger_of(decided("7.0", "pagerduty"), settled("7.0", "pagerduty", Outcome.WITHHELD))
    assert ledger.reached_nobody(EventId(7))
