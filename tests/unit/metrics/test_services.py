"""Which services a scrape asks for, and how their labels are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from medic.core.status import Status
from medic.errors import InvalidInputError
from medic.metrics.services import SHARDS_MAX, ServiceFilter, escape_label, service_lines
from tests.unit.metrics.parts import FixedClock, ListRoster, service


def listed(services, wanted, most=None):
    text = b"".join(service_lines(ListRoster(services), FixedClock(), wanted, openmetrics=False, most=most)).decode()
    for family in text_string_to_metric_families(text):
        if family.name == "medic_service_muted":
            return [sample.labels["heartbeat_name"] for sample in family.samples]
    return []


FLEET = [
    service(1, "pay-card", team="pay"),
    service(2, "Pay-Refund", team="pay", status=Status.LATE),
    service(3, "mail", team="site-reliability"),
    service(4, "a*b", team="pay"),
]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, ["a*b", "mail", "pay-card", "Pay-Refund"]),
        ({"team": "pay"}, ["a*b", "pay-card", "Pay-Refund"]),
        ({"team": "Pay"}, []),
        ({"name": "pay-*"}, ["pay-card", "Pay-Refund"]),
        ({"name": "PAY-REFUND"}, ["Pay-Refund"]),
        ({"name": "*a*"}, ["a*b", "mail", "pay-card", "Pay-Refund"]),
        ({"name": "p*y*d"}, ["pay-card", "Pay-Refund"]),
        ({"name": "pay"}, []),
        ({"name": "ma.l"}, []),
        ({"status": "late"}, ["Pay-Refund"]),
        ({"team": "pay", "status": "up", "name": "*card"}, ["pay-card"]),
        ({"name": ""}, []),
    ],
)
def test_a_filter_selects(wanted, names):
    assert sorted(listed(FLEET, ServiceFilter.parse(**wanted))) == sorted(names)


def test_shards_divide_the_services_among_them():
    fleet = [service(number, f"service-{number}") for number in range(300)]
    parts = [listed(fleet, ServiceFilter.parse(shard=f"{place}/4")) for place in range(1, 5)]
    assert sorted(name for part in parts for name in part) == sorted(made.row.heartbeat_name for made in fleet)
    assert all(40 < len(part) < 110 for part in parts)


def test_a_shard_looks_at_the_other_services_once_and_not_once_a_family():
    class CountingRoster(ListRoster):
        looked_at = 0

        def services(self, after=""):
            for each in super().services(after):
                self.looked_at += 1
                yield each

    roster = CountingRoster(service(number, f"service-{number}") for number in range(300))
    lines = service_lines(roster, FixedClock(), ServiceFilter.parse(shard="1/4"), openmetrics=False)
    assert b"medic_service_muted{" in b"".join(lines)
    assert roster.looked_at == 300


def test_a_service_that_goes_meanwhile_is_in_all_families_or_in_none():
    roster = ListRoster(service(number, f"service-{number}") for number in range(300))
    lines = service_lines(roster, FixedClock(), ServiceFilter(), openmetrics=False)
    begun = next(line for line in lines if line)
    roster.all.clear()
    families = text_string_to_metric_families((begun + b"".join(lines)).decode())
    assert {len(family.samples) for family in families} == {300}


def test_a_service_stays_in_its_shard_whatever_the_case_of_its_name():
    places = [
        [place for place in range(1, 8) if listed([service(1, name)], ServiceFilter.parse(shard=f"{place}/7"))]
        for name in ("Job", "JOB", "job")
    ]
    assert places[0] == places[1] == places[2]
    assert len(places[0]) == 1


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3", f"1/{SHARDS_MAX + 1}", "", "٣/٤"])
def test_a_shard_that_names_no_part_is_refused_by_name(shard):
    with pytest.raises(InvalidInputError) as refused:
        ServiceFilter.parse(shard=shard)
    assert [fault.field for fault in refused.value.faults] == ["shard"]


def test_every_fault_of_a_filter_is_named_at_once():
    with pytest.raises(InvalidInputError) as refused:
        ServiceFilter.parse(status="broken", shard="9/1")
    assert [fault.field for fault in refused.value.faults] == ["status", "shard"]
    assert "degraded" in refused.value.faults[0].message


def test_only_the_first_by_name_are_listed_where_there_is_a_limit():
    fleet = [service(number, f"s{number:03d}") for number in range(200)]
    assert listed(fleet, ServiceFilter(), most=70) == [f"s{number:03d}" for number in range(70)]
    assert listed(fleet, ServiceFilter(team="nobody"), most=70) == []
    assert len(listed(fleet, ServiceFilter(), most=1_000)) == 200


def test_a_pattern_of_many_stars_costs_one_pass():
    fleet = [service(number, "a" * 240 + str(number)) for number in range(20)]
    # One that tries every way to divide 240 letters among 100 stars does not end while anybody waits for a test.
    assert listed(fleet, ServiceFilter.parse(name="*a" * 100 + "x")) == []


# The parser ends lines at these too. No name or team may hold them: they are not printable.
LINE_ENDS = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters=LINE_ENDS), max_size=40))
def test_any_label_value_comes_back_as_it_was(value):
    line = f'medic_service_up{{team="{escape_label(value)}"}} 1\n'
    [family] = text_string_to_metric_families(line)
    assert family.samples[0].labels == {"team": value}
