from __future__ import annotations

import contextlib
import typing
from dataclasses import fields, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from medic.core import effects as effects_module
from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.effects import (
    AmendAlert,
    ChangeStatus,
    CloseAlert,
    EndMute,
    NoteHeartbeat,
    Notify,
    OpenAlert,
    RecordHeartbeat,
    SettleNotification,
    StoreService,
)
from medic.core.notification import Notification
from medic.core.ring import Ring
from medic.core.service import Alert, Service
from medic.core.status import Discount, HeartbeatStatus, NotificationKind, OpenedReason, Status
from medic.errors import UnreadableRecordError
from medic.store import codec
from medic.store.codec import decode, encode, pack_state, unpack_state
from tests import strategies
from tests.stories.simulation import SimulatedMedic

BEAT = RecordHeartbeat(
    service_id=7,
    at=1_700_000_000_000,
    sighted=1_700_000_000_000,
    heartbeat_id=9,
    kind=HeartbeatStatus.UP,
    status="UP",
)


@given(strategies.effects)
@example(BEAT)
def test_every_effect_comes_back_equal_and_of_the_same_types(effect):
    again = decode(encode(effect))
    assert again == effect
    assert repr(again) == repr(effect)


@given(strategies.heartbeats)
def test_a_heartbeat_keeps_the_word_that_was_sent(heartbeat):
    again = decode(encode(heartbeat))
    assert isinstance(again, RecordHeartbeat)
    assert (again.status, again.kind) == (heartbeat.status, heartbeat.kind)
    assert type(again.status) is str


def test_a_plain_heartbeat_takes_40_bytes():
    assert len(encode(BEAT)) == 40


def test_a_heartbeat_whose_texts_are_beyond_any_bound_is_kept_all_the_same():
    wide = RecordHeartbeat(
        service_id=7, at=1, sighted=1, heartbeat_id=9, kind=HeartbeatStatus.OTHER, status="ß" * 40_000, run_id="r"
    )
    assert decode(encode(wide)) == wide


def test_a_heartbeat_that_a_limit_refused_takes_as_little_and_is_no_row():
    note = NoteHeartbeat(7, 1_700_000_000_000, 1_700_000_000_000, HeartbeatStatus.UP, "UP")
    assert len(encode(note)) == len(encode(BEAT))
    assert not codec.is_plain_heartbeat(encode(note))
    wide = NoteHeartbeat(7, 1, 1, HeartbeatStatus.OTHER, "ß" * 40_000)
    assert decode(encode(wide)) == wide


def test_every_kind_of_effect_has_a_record():
    kinds = set(typing.get_args(effects_module.Effect))
    assert kinds == set(codec._OBJECTS.values())


@given(st.binary(max_size=80))
def test_bytes_that_are_no_record_are_refused_and_never_crash(junk):
    with contextlib.suppress(UnreadableRecordError):
        decode(junk)


@pytest.mark.parametrize(
    ("record", "named"),
    [
        (b"", "0 bytes"),
        (b"\x02\x01", "version 2"),
        (b"\x01\xc8{}", "unknown kind 200"),
        (b"\x01\x09{}", "EndMute"),
        (b"\x01\x09not json", "EndMute"),
        (b"\x01\x01\x00", "heartbeat"),
        (encode(BEAT)[:34] + b"\x63" + encode(BEAT)[35:], "heartbeat"),
    ],
)
def test_a_record_this_release_cannot_read_is_named(record, named):
    with pytest.raises(UnreadableRecordError, match=named):
        decode(record)


def test_what_was_an_object_before_it_was_a_list_is_still_read():
    told = b'{"notification_id":"7.0","kind":"trigger","key":"k","at":5,"targets":["slack"]}'
    notification = Notification("7.0", NotificationKind.TRIGGER, "k", 5, targets=("slack",))
    assert decode(b'\x01\x0c{"at":5,"sighted":6,"notification":%b}' % told) == Notify(5, 6, notification)
    changed = b'{"service_id":1,"at":2,"sighted":3,"previous":"up","status":"late","reason":"late"}'
    assert decode(b"\x01\x04" + changed) == ChangeStatus(1, 2, 3, Status.UP, Status.LATE, "late")


def test_a_list_without_the_fields_that_came_later_takes_their_defaults_and_a_longer_one_is_refused():
    short = b'\x01\x15[1,2,3,[7,"late",2,3,1,"p2","team","https://run"],"well"]'
    alert = Alert(7, OpenedReason.LATE, 2, 3, 1, "p2", "team", "https://run")
    assert decode(short) == AmendAlert(1, 2, 3, alert, "well")
    with pytest.raises(UnreadableRecordError, match="ChangeStatus"):
        decode(b'\x01\x13[1,2,3,"up","late","late","added later"]')


ORDER = {
    ChangeStatus: "service_id at sighted previous status reason",
    OpenAlert: "service_id at sighted alert",
    AmendAlert: "service_id at sighted alert change by note author",
    CloseAlert: "service_id at sighted alert reason cycle by note author",
    Author: "name key_id address request_id label",
    Notify: "at sighted notification",
    SettleNotification: "at sighted notification_id service_id target outcome attempts detail",
    Alert: """
        alert_id reason opened_at opened_sighted late_since priority team runbook reported told told_priority
        acknowledged_at acknowledged_by flapping reminders well_since notifications reminded_ms key
    """,
    Notification: """
        notification_id kind key at service_id alert_id heartbeat_name service_name team priority runbook reason
        late_since last_seen interval_ms threshold flapping muted lasted_ms closed_reason by note text targets
    """,
}
"""A new field goes to the end of its line, and has a default: old records end before it."""


@pytest.mark.parametrize("kind", codec._FIELDS_OF)
def test_the_order_of_fields_that_stand_in_journals_never_changes(kind):
    assert [field.name for field in fields(kind)] == ORDER[kind].split()


def test_a_row_of_a_release_that_knew_no_keys_requires_none():
    row = ServiceDraft("web", "shop", 60_000, require_key=True).row(7, 1, "anna")
    record = encode(StoreService(7, 1, 1, row))
    assert decode(record).row.require_key
    assert not decode(record.replace(b',"require_key":true', b"")).row.require_key


def test_fields_a_later_release_added_are_passed_over_and_missing_ones_take_their_default():
    longer = b'\x01\x09{"service_id":1,"at":2,"sighted":3,"by":"ann","added_later":[1]}'
    assert decode(longer) == EndMute(service_id=1, at=2, sighted=3, by="ann")
    shorter = b'\x01\x03{"service_id":1,"at":2,"sighted":3,"since":4}'
    assert decode(shorter).fresh_interval is False


def test_a_journal_of_before_authors_is_read_and_one_with_them_keeps_them():
    before = (
        b'\x01\x08{"service_id":1,"at":2,"sighted":3,"mute":{"muted_at":2,"until":null,"reason":"r","muted_by":"ann"}}'
    )
    assert decode(before).author is None
    ann = Author("ann", key_id="k1", address="192.0.2.7", request_id="r1", label="ann@laptop")
    assert decode(encode(EndMute(service_id=1, at=2, sighted=3, by="ann", author=ann))).author == ann


def _slots(service: Service) -> dict[str, object]:
    marks = None if service.ring is None else service.ring.marks
    return {name: getattr(service, name) for name in Service.__slots__} | {"marks": marks}


@given(strategies.services())
def test_hot_state_comes_back_whole(service):
    again = unpack_state(pack_state(service), service.row, service.policy)
    assert _slots(again) == _slots(service)


def service_with(ring: Ring | None) -> Service:
    service = SimulatedMedic().register(threshold=3).service
    service.ring = ring
    return service


def test_only_what_needs_the_newer_layout_is_written_in_it():
    assert encode(BEAT)[:2] == b"\x01\x01"
    assert encode(replace(BEAT, mark=5))[:2] == b"\x01\x0f"
    assert encode(replace(BEAT, discount=Discount.HISTORY))[:2] == b"\x01\x0f"
    assert pack_state(service_with(Ring([1, 2, 3])))[0] == 1
    assert pack_state(service_with(Ring([1, 2, 3], [0, 7, 0])))[0] == 2


def test_a_mark_takes_9_bytes_of_a_record_and_8_of_a_state():
    assert len(encode(replace(BEAT, mark=5))) == len(encode(BEAT)) + 9
    plain, marked = service_with(Ring([1, 2, 3])), service_with(Ring([1, 2, 3], [4, 5, 6]))
    assert len(pack_state(marked)) == len(pack_state(plain)) + 3 * 8


@given(strategies.services(), st.data())
def test_a_cut_state_is_refused(service, data):
    state = pack_state(service)
    cut = data.draw(st.integers(0, len(state) - 1))
    with pytest.raises(UnreadableRecordError, match=f"service {service.row.service_id}"):
        unpack_state(state[:cut], service.row, service.policy)
