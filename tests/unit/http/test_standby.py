"""What a Medic that stands by says of the active one."""

from __future__ import annotations

from medic.core.units import InstantMs
from medic.http.standby import ActiveMedic


def test_the_active_one_is_named_with_its_address_and_its_time() -> None:
    active = ActiveMedic("left (process 7)", "http://left:8080", InstantMs(1_767_225_600_000))
    assert active.clause == "left (process 7) at http://left:8080 is active since 2026-01-01T00:00:00.000Z"


def test_where_nobody_is_active_it_is_about_to_take_over() -> None:
    assert ActiveMedic("", "", None).clause == "it is about to take over"
