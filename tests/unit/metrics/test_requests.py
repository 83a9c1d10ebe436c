"""Requests are counted by route template, and no client can make labels grow."""

from __future__ import annotations

from medic.metrics.requests import OTHER, REASONS_MAX, ROUTES_MAX, RequestMeter


def test_a_request_is_counted_once_by_status_and_once_by_duration():
    meter = RequestMeter()
    meter.observe("POST", "/heartbeat", 201, 0.002)
    meter.observe("POST", "/heartbeat", 404, 0.001)
    statistics = meter.statistics()
    assert statistics.requests == {("POST", "/heartbeat", 201): 1, ("POST", "/heartbeat", 404): 1}
    assert statistics.durations["POST", "/heartbeat"].count == 2


def test_a_method_that_http_does_not_define_is_other():
    meter = RequestMeter()
    for number in range(1_000):
        meter.observe(f"BREW{number}", "/heartbeat", 405, 0.001)
    assert meter.statistics().requests == {(OTHER, "/heartbeat", 405): 1_000}


def test_a_request_that_matched_no_route_is_other():
    meter = RequestMeter()
    meter.observe("GET", "", 404, 0.001)
    meter.observe("GET", "", 404, 0.001)
    assert meter.statistics().requests == {("GET", OTHER, 404): 2}
    assert meter.statistics().durations["GET", OTHER].count == 2


def test_raw_paths_in_place_of_routes_cannot_fill_the_memory():
    meter = RequestMeter()
    for number in range(ROUTES_MAX * 2):
        meter.observe("GET", f"/service/{number}", 200, 0.001)
    statistics = meter.statistics()
    assert len(statistics.durations) == ROUTES_MAX + 1
    assert statistics.requests[OTHER, OTHER, 200] == ROUTES_MAX


def test_refused_heartbeats_and_failed_keys_are_counted_by_reason():
    meter = RequestMeter()
    meter.refuse_heartbeat("unknown")
    meter.refuse_heartbeat("unknown")
    meter.fail_authentication("expired_key")
    statistics = meter.statistics()
    assert statistics.heartbeats_refused == {"unknown": 2}
    assert statistics.auth_failures == {"expired_key": 1}


def test_reasons_beyond_the_limit_are_other():
    meter = RequestMeter()
    for number in range(REASONS_MAX * 2):
        meter.refuse_heartbeat(f"reason-{number}")
    assert meter.statistics().heartbeats_refused[OTHER] == REASONS_MAX
