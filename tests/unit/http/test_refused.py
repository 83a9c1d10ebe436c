"""What is remembered of refused heartbeats is bounded."""

from __future__ import annotations

from medic.core.units import InstantMs, ServiceId
from medic.http.refused import RefusedHeartbeats


def test_names_are_counted_without_regard_to_case_and_the_last_heard_of_comes_first() -> None:
    refused = RefusedHeartbeats()
    for at, name in enumerate(("a", "b", "A")):
        refused.note_unknown(name, address=f"192.0.2.{at}", at=InstantMs(at))
    first, second = refused.names()
    assert (first.heartbeat_name, first.count, first.address, first.first_at, first.last_at) == (
        "A",
        2,
        "192.0.2.2",
        0,
        2,
    )
    assert second.heartbeat_name == "b"


def test_beyond_the_limit_what_was_not_heard_of_for_longest_is_forgotten() -> None:
    refused = RefusedHeartbeats(most=3)
    for name in ("a", "b", "c", "a", "d"):
        refused.note_unknown(name, address="x", at=InstantMs(1))
    assert [name.heartbeat_name for name in refused.names()] == ["d", "a", "c"]
    for service_id in range(5):
        refused.note_refusal(ServiceId(service_id), "inactive", address="x", at=InstantMs(service_id))
    assert [refused.of_service(ServiceId(service_id)) is None for service_id in range(5)] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_registered_name_is_no_longer_unknown() -> None:
    refused = RefusedHeartbeats()
    refused.note_unknown("job", address="x", at=InstantMs(1))
    refused.forget_name("JOB")
    refused.forget_name("never heard of")
    assert refused.names() == ()
