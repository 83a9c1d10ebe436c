"""What the earlier system's rows may say, and the SQL that settles what they may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medic.core.names import NAME_MAX
from medic.core.units import INSTANT_MAX, InstantMs
from medic.store.adoption.bounds import EarlierService, is_takeable, unsettled_in, unsettled_names
from medic.store.adoption.earlier import literal

USUAL = EarlierService(7, "pay", "pay", alert_interval=5)


@pytest.mark.parametrize(
    ("fields", "begins", "sql"),
    [
        ({"heartbeat_name": ""}, "heartbeat_name is ''", "heartbeat_name = 'service-7'"),
        ({"heartbeat_name": None}, "heartbeat_name is None", "heartbeat_name = 'service-7'"),
        ({"heartbeat_name": " pay "}, "heartbeat_name is ' pay '", "heartbeat_name = 'pay'"),
        ({"heartbeat_name": "it's\nhere"}, "heartbeat_name is", "heartbeat_name = 'it''s here'"),
        ({"heartbeat_name": "x" * 250}, "heartbeat_name is", f"heartbeat_name = '{'x' * NAME_MAX}'"),
        ({"service_name": "a\tb"}, "service_name is 'a\\tb'", "service_name = 'a b'"),
        ({"alert_interval": 0}, "alert_interval is 0", "alert_interval = 1"),
        ({"alert_interval": None}, "alert_interval is None", "alert_interval = 1"),
        ({"alert_interval": 600_000}, "alert_interval is 600000", "alert_interval = 527040"),
        ({"threshold": 0}, "threshold is 0", "threshold = 1"),
        ({"threshold": 1_001}, "threshold is 1001", "threshold = 1000"),
        ({"priority": "urgent"}, "priority is 'urgent'", "priority = 'p3'"),
        ({"team": "t" * 101}, "team is", "team = 'site-reliability'"),
        ({"runbook": "see the wiki"}, "runbook is 'see the wiki'", "runbook = NULL"),
        ({"grace_period_seconds": -1}, "grace_period_seconds is -1", "grace_period_seconds = 0"),
        ({"grace_period_seconds": 1e9}, "grace_period_seconds is", "grace_period_seconds = 31622400"),
        ({"active": 2}, "active is 2", "active = 1"),
        ({"muted": None}, "muted is None", "muted = 0"),
        ({"date_added": InstantMs(-1)}, "date_added is -1", "date_added = now()"),
        ({"date_muted": InstantMs(INSTANT_MAX + 1)}, "date_muted is", "date_muted = now()"),
        ({"service_id": -7}, "service_id is -7", "service_id = 7"),
    ],
)
def test_a_value_out_of_bounds_is_named_with_what_settles_it(fields, begins, sql):
    service = replace(USUAL, **fields)
    [found] = unsettled_in([service], "medic.services")
    assert begins in found.what
    assert found.sql == f"UPDATE medic.services SET {sql} WHERE service_id = {service.service_id};"
    assert not is_takeable(service)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"service_name": None},
        {"service_name": ""},
        {"priority": "P1"},
        {"priority": ""},
        {"team": ""},
        {"runbook": ""},
        {"runbook": "HTTPS://runbooks.example/pay"},
        {"heartbeat_name": "cafe\u0301"},
        {"grace_period_seconds": None, "threshold": None, "priority": None, "team": None},
        {"alert_interval": 527_040},
    ],
)
def test_what_the_earlier_system_did_not_tell_apart_is_taken(fields):
    assert is_takeable(replace(USUAL, **fields))


def test_of_names_that_differ_in_case_the_one_heard_of_last_keeps_its_name():
    services = [
        replace(USUAL, service_id=number, heartbeat_name=name) for number, name in ((1, "Pay"), (2, "pay"), (3, "PAY"))
    ]
    found = list(unsettled_names(services, "medic.services", {2: InstantMs(5), 3: InstantMs(9)}))
    assert [one.what.split(")", 1)[0] for one in found] == ["service 1 ('Pay'", "service 2 ('pay'"]
    assert (
        "heartbeat_name = 'Pay-1' WHERE service_id = 1;  -- or: DELETE FROM medic.services WHERE service_id = 1;"
        in found[0].sql
    )


def test_a_new_name_is_nobodys():
    services = [
        replace(USUAL, service_id=number, heartbeat_name=name) for number, name in ((1, "a"), (2, "A"), (3, "A-2"))
    ]
    [found] = unsettled_names(services, "medic.services", {})
    assert "heartbeat_name = 'A-1000002'" in found.sql


def test_names_of_two_unicode_forms_are_one_name():
    services = [
        replace(USUAL, service_id=1, heartbeat_name="caf\u00e9"),
        replace(USUAL, service_id=2, heartbeat_name="cafe\u0301"),
    ]
    assert len(list(unsettled_names(services, "s", {}))) == 1


def test_a_long_name_stays_a_name_when_it_gets_another():
    services = [
        replace(USUAL, service_id=1, heartbeat_name="x" * NAME_MAX),
        replace(USUAL, service_id=2, heartbeat_name="X" * NAME_MAX),
    ]
    [found] = unsettled_names(services, "s", {})
    assert f"'{'X' * (NAME_MAX - 2)}-2'" in found.sql


def test_quotes_are_doubled():
    assert literal("it's") == "'it''s'"
