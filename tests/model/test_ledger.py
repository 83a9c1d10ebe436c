"""The ledger against a list of all records, asked anew each time what is owed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from medic.core.effects import Effect, Notify, SettleNotification
from medic.core.ledger import NotificationLedger
from medic.core.notification import Notification
from medic.core.status import NotificationKind, Outcome
from medic.core.units import EventId, InstantMs, SightedMs
from medic.ports import Position
from medic.store.snapshot.content import CopiedTelling, Facts, Snapshot

TARGETS = ("pagerduty", "slack", "webhook:1")
AT, SIGHTED = InstantMs(1), SightedMs(1)


@st.composite
def journals(draw) -> list[Effect]:
    """Notifications of a few alerts and of none, each settled for some targets later on, in any order between them."""
    decided: list[Notify] = []
    for alert_id in draw(st.lists(st.sampled_from([1, 2, 3, None]), max_size=12)):
        ordinal = sum(1 for before in decided if before.notification.alert_id == alert_id)
        over = any(
            before.notification.kind == "resolve" and before.notification.alert_id == alert_id for before in decided
        )
        if alert_id is not None and over:
            continue
        kinds = (NotificationKind.TRIGGER, NotificationKind.REMINDER, NotificationKind.RESOLVE)
        notification = Notification(
            notification_id=f"{alert_id}.{ordinal}",
            kind=draw(st.sampled_from(kinds)) if alert_id is not None else NotificationKind.MUTE_ENDED,
            key="medic-web",
            at=AT,
            alert_id=None if alert_id is None else EventId(alert_id),
            targets=tuple(draw(st.lists(st.sampled_from(TARGETS), unique=True, max_size=3))),
        )
        decided.append(Notify(AT, SIGHTED, notification))
    records: list[Effect] = list(decided)
    for notify in decided:
        for target in draw(st.lists(st.sampled_from(TARGETS), unique=True)):
            settled = SettleNotification(
                AT, SIGHTED, notify.notification.notification_id, None, target, draw(st.sampled_from(Outcome)), 1
            )
            records.insert(draw(st.integers(records.index(notify) + 1, len(records))), settled)
    return records


def owed(records: list[Effect]) -> list[tuple[str, tuple[str, ...]]]:
    settled = {(record.notification_id, record.target) for record in records if isinstance(record, SettleNotification)}
    found = []
    for record in records:
        if isinstance(record, Notify):
            name = record.notification.notification_id
            left = tuple(target for target in record.notification.targets if (name, target) not in settled)
            if left:
                found.append((name, left))
    return found


def newest_delivered(records: list[Effect], alert_id: int) -> dict[str, str]:
    told = {
        record.notification.notification_id: record.notification.targets
        for record in records
        if isinstance(record, Notify) and record.notification.alert_id == alert_id
    }
    return {
        record.target: record.notification_id
        for record in records
        if isinstance(record, SettleNotification)
        and record.outcome is Outcome.DELIVERED
        and record.target in told.get(record.notification_id, ())
    }


@given(journals())
def test_after_every_record_the_ledger_owes_what_the_list_says(records):
    ledger = NotificationLedger()
    for count, record in enumerate(records, start=1):
        ledger.fold(record)
        pending = [(notification.notification_id, notification.targets) for notification in ledger.pending()]
        assert pending == owed(records[:count])
        assert len(ledger) == len(pending)


@given(journals())
def test_what_was_delivered_is_known_until_the_alert_is_over_and_nothing_of_it_is_owed(records):
    ledger = NotificationLedger()
    for count, record in enumerate(records, start=1):
        ledger.fold(record)
        so_far = records[:count]
        for alert_id in (1, 2, 3):
            told = [
                other.notification
                for other in so_far
                if isinstance(other, Notify) and other.notification.alert_id == alert_id
            ]
            over = any(notification.kind is NotificationKind.RESOLVE for notification in told)
            pending = any(name.startswith(f"{alert_id}.") for name, _ in owed(so_far))
            known = dict(ledger.delivered(EventId(alert_id)))
            assert known == ({} if over and not pending else newest_delivered(so_far, alert_id))


@given(journals())
def test_a_ledger_whose_alerts_are_over_and_settled_holds_nothing(records):
    ledger = NotificationLedger()
    for record in records:
        ledger.fold(record)
    for notification in ledger.pending():
        for target in notification.targets:
            ledger.fold(
                SettleNotification(AT, SIGHTED, notification.notification_id, None, target, Outcome.GIVEN_UP, 3)
            )
    for alert_id in (1, 2, 3):
        over = Notification(f"{alert_id}.over", NotificationKind.RESOLVE, "k", AT, alert_id=EventId(alert_id))
        ledger.fold(Notify(AT, SIGHTED, over))
        assert dict(ledger.delivered(EventId(alert_id))) == {}
    assert len(ledger) == 0


@given(journals(), st.data())
def test_a_ledger_copied_piece_by_piece_while_it_lives_goes_on_as_the_live_one(records, data):
    live = NotificationLedger()
    begun = data.draw(st.integers(0, len(records)), label="begun after")
    for record in records[:begun]:
        live.fold(record)
    snapshot = Snapshot(Facts("0" * 32, 0, Position(begun), AT, SIGHTED), newest=Position(len(records)))
    reached, tellings = begun, live.tellings()
    while True:
        onward = data.draw(st.integers(reached, len(records)), label="copied after")
        for record in records[reached:onward]:
            live.fold(record)
        reached = onward
        telling = next(tellings, None)
        if telling is None:
            break
        snapshot.restore(CopiedTelling(Position(reached), telling))
    for record in records[reached:]:
        live.fold(record)
    for position, record in enumerate(records[begun:], start=begun + 1):
        if not snapshot.has_told(Position(position), record):
            snapshot.ledger.fold(record)
    assert {one.notification_id: one.targets for one in snapshot.ledger.pending()} == dict(owed(records))
    for alert_id in (1, 2, 3):
        assert dict(snapshot.ledger.delivered(EventId(alert_id))) == dict(live.delivered(EventId(alert_id)))
        assert snapshot.ledger.reached_nobody(EventId(alert_id)) == live.reached_nobody(EventId(alert_id))


def test_a_record_that_a_copied_piece_has_is_not_taken_again():
    """Two notifications of one alert that were settled the other way round: what was taken last stays what it was."""
    first, second = (
        Notify(
            AT,
            SIGHTED,
            Notification(f"1.{number}", NotificationKind.TRIGGER, "k", AT, None, EventId(1), targets=("slack",)),
        )
        for number in (0, 1)
    )
    settled = [SettleNotification(AT, SIGHTED, one, None, "slack", Outcome.DELIVERED, 1) for one in ("1.1", "1.0")]
    records = [first, second, *settled]
    live = NotificationLedger()
    for record in records:
        live.fold(record)
    snapshot = Snapshot(Facts("0" * 32, 0, Position(1), AT, SIGHTED), newest=Position(4))
    for telling in live.tellings():
        snapshot.restore(CopiedTelling(Position(4), telling))
    for position, record in enumerate(records[1:], start=2):
        if not snapshot.has_told(Position(position), record):
            snapshot.ledger.fold(record)
    assert dict(snapshot.ledger.delivered(EventId(1))) == {"slack": "1.0"}
