"""Services as blocks: every column comes back, texts are one object for all who share them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from medic.core.policy import Defaults
from medic.core.service import Service, ServiceRow
from medic.store.codec import pack_state
from medic.store.snapshot.services import ServiceReader, pack_services

DEFAULTS = Defaults()
NUMBERS = st.integers(0, 1 << 52)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


def row(number: int) -> ServiceRow:
    return ServiceRow(
        service_id=number,
        version=1,
        heartbeat_name=f"service-{number}",
        service_name="shop",
        active=True,
        interval_ms=60_000,
        grace_ms=0,
        threshold=1,
        recovery_ms=0,
        renotify_ms=None,
        team="site-reliability",
        priority="p3",
        runbook="",
        date_added=1,
        date_modified=2,
    )


def test_a_block_of_the_release_before_is_read_and_one_that_needs_no_key_is_as_it_was():
    plain, locked = pack_services([service_of(row(1))]), pack_services([service_of(replace(row(1), require_key=True))])
    assert b"true]" not in plain
    assert b"0,true]" in locked
    assert [one.row.require_key for one in ServiceReader(DEFAULTS).unpack(plain)] == [False]
    assert [one.row.require_key for one in ServiceReader(DEFAULTS).unpack(locked)] == [True]


def service_of(one: ServiceRow) -> Service:
    return Service(one, one.policy(DEFAULTS), registered=5)


rows = st.builds(
    replace,
    st.just(row(1)),
    service_id=NUMBERS,
    version=NUMBERS,
    heartbeat_name=TEXTS,
    service_name=TEXTS,
    active=st.booleans(),
    interval_ms=st.integers(1_000, 10**9),
    threshold=st.integers(1, 4),
    renotify_ms=st.none() | NUMBERS,
    team=TEXTS,
    priority=st.sampled_from(("p1", "p3")),
    runbook=TEXTS,
    date_added=NUMBERS,
    date_modified=NUMBERS,
    changed_by=TEXTS,
    require_key=st.booleans(),
    shard=st.integers(0, 3),
)


@given(st.lists(rows, max_size=5))
def test_what_was_packed_comes_back(several):
    services = [service_of(one) for one in several]
    block = pack_services(services)
    found = list(ServiceReader(DEFAULTS).unpack(block))
    assert [one.row for one in found] == several
    assert [pack_state(one) for one in found] == [pack_state(one) for one in services]
    assert all(one.policy is one.row.policy(DEFAULTS) for one in found)
    assert all(ServiceReader.has(block, one.service_id) for one in several)


def test_texts_are_shared_beyond_a_block():
    reader = ServiceReader(DEFAULTS)
    first, second = (next(iter(reader.unpack(pack_services([service_of(row(number))])))) for number in (1, 2))
    assert first.row.team is second.row.team
    assert first.row.service_name is second.row.service_name
    assert not ServiceReader.has(pack_services([service_of(row(1))]), 2)


def test_a_service_that_was_read_shares_what_one_from_postgresql_shares():
    added = 1_700_000_000_000
    reader = ServiceReader(DEFAULTS)
    never_edited = [replace(row(number), date_added=added, date_modified=added + 0) for number in (1, 2)]
    one, other = (next(iter(reader.unpack(pack_services([service_of(mine)])))) for mine in never_edited)
    assert one.row.date_modified is one.row.date_added
    assert one.row._shared is other.row._shared
    assert one.policy is other.policy
    assert one.rare is other.rare


def test_a_full_memory_of_texts_still_gives_them(monkeypatch):
    monkeypatch.setattr("medic.store.snapshot.services.SHARED_MAX", 1)
    reader = ServiceReader(DEFAULTS)
    [found] = reader.unpack(pack_services([service_of(row(1))]))
    assert found.row == row(1)
