"""Traces of the real process, as a collector gets them: from a request or a deadline to each delivery."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.collector import Collector, Span
from tests.e2e.pages import pages, wait_for_pages
from tests.e2e.process import MedicProcess
from tests.vendors import Refuse, VendorProcess

SECRET = "marked-token-of-the-collector"


def traceparent(number: int, *, kept: bool = True) -> str:
    return f"00-{number:032x}-{number:016x}-{int(kept):02x}"


def of(spans: list[Span], trace: str) -> dict[str, Span]:
    """The spans of one trace by name; of several with one name, the last."""
    return {span.name: span for span in spans if span.trace == trace}


def beat(medic: MedicProcess, name: str, status: str = "UP", **headers: str) -> None:
    body = {"heartbeat_name": name, "service_name": "", "status": status}
    assert medic.request("POST", "/heartbeat", body, **headers).status == 201


def test_a_trace_leads_from_request_and_deadline_to_each_delivery(
    vendors: VendorProcess, tmp_path: Path, first_data_dir: Path
) -> None:
    subprocess.run(["cp", "-a", first_data_dir, tmp_path / "data"], check=True)
    with Collector() as collector:
        medic = MedicProcess(
            tmp_path / "data",
            **vendors.environment,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer%20{SECRET}",
            OTEL_SERVICE_NAME="medic-of-the-test",
            OTEL_BSP_SCHEDULE_DELAY="100",
            OTEL_EXPORTER_OTLP_TIMEOUT="1",
        )
        medic.start()
        try:
            requests_are_traced(medic, collector)
            alerts_are_traced(medic, collector, vendors)
            alerts_of_requests_are_part_of_them(medic, collector)
            a_restart_goes_on_with_the_trace(medic, collector, vendors)
            assert collector.authorizations == {f"Bearer {SECRET}"}
            collector.answers.clear()
            nobody_waits_for_a_collector(medic, vendors, "hangs")
            collector.close()
            nobody_waits_for_a_collector(medic, vendors, "is-gone")
            assert medic.stop() == 0, medic.output()
            # The line comes once a minute, whoever sends how many spans meanwhile; a slow machine takes some.
            assert 1 <= medic.output().count("traces are not taken") <= 3
            assert "opentelemetry" not in medic.output().replace("medic.tracing", "")
        finally:
            medic.end()
    assert SECRET not in medic.output()


def requests_are_traced(medic: MedicProcess, collector: Collector) -> None:
    body = {"heartbeat_name": "job", "service_name": "owner", "alert_interval": 60}
    registered = medic.request("POST", "/service", body, traceparent=traceparent(1))
    assert registered.status == 201
    for _ in range(20):
        beat(medic, "job")
        beat(medic, "job", traceparent=traceparent(2, kept=False))
    beat(medic, "job", traceparent=traceparent(3))
    medic.request("GET", "/heartbeat/job?status=UP", traceparent=traceparent(4))
    spans = collector.wait_for(lambda spans: {f"{number:032x}" for number in (1, 3, 4)} <= {s.trace for s in spans})

    answered = of(spans, f"{1:032x}")["POST /service"]
    assert answered.parent == f"{1:016x}"
    assert answered.service == "medic-of-the-test"
    assert answered.attributes["http.response.status_code"] == 201
    assert answered.attributes["medic.request_id"] == registered.headers["X-Request-Id"]
    taken = of(collector.wait_for(lambda spans: len(of(spans, f"{3:032x}")) == 2), f"{3:032x}")
    assert taken["POST /heartbeat"].parent == f"{3:016x}"
    assert taken["journal"].parent == taken["POST /heartbeat"].id
    assert "GET /heartbeat/{heartbeat_name}" in of(spans, f"{4:032x}")
    # The forty before it, and the looks at health that the start waited with, are nobody's trace.
    assert [s.name for s in spans if "/heartbeat" in s.name or "/health" in s.name] == [
        "POST /heartbeat",
        "GET /heartbeat/{heartbeat_name}",
    ]


def alerts_are_traced(medic: MedicProcess, collector: Collector, vendors: VendorProcess) -> None:
    assert medic.post("/v2/webhooks", {"url": vendors.webhook_url}).status == 201
    vendors.behave("pagerduty", Refuse(503), times=1)
    medic.register("late", seconds=1)
    [page] = wait_for_pages(vendors, "trigger", 1)
    [hook] = vendors.wait_for("webhook", 1)
    names = {"alert", "deadline", "journal", "deliver pagerduty", "deliver slack", "deliver webhook"}
    root = next(s for s in collector.wait_for(lambda spans: any(s.name == "alert" for s in spans)) if s.name == "alert")
    spans = [
        span
        for span in collector.wait_for(
            lambda spans: names <= of(spans, root.trace).keys() and sum("pagerduty" in s.name for s in spans) == 2
        )
        if span.trace == root.trace
    ]
    assert {span.name for span in spans} == names
    assert root.parent == ""
    assert {span.parent for span in spans if span is not root} == {root.id}
    told = of(spans, root.trace)
    assert root.began == told["deadline"].began <= told["deadline"].ended <= told["journal"].ended
    assert root.attributes["medic.reason"] == "never_heard"
    assert root.attributes["medic.alert_id"] == page["document"]["payload"]["custom_details"]["alert_id"]
    tries = sorted((s for s in spans if s.name == "deliver pagerduty"), key=lambda span: span.began)
    assert [(s.attributes["medic.outcome"], s.attributes["http.response.status_code"], s.is_error) for s in tries] == [
        ("retry", 503, True),
        ("delivered", 202, False),
    ]
    assert hook["headers"]["traceparent"] == f"00-{root.trace}-{told['deliver webhook'].id}-01"
    assert not any("traceparent" in a["headers"] for v in ("pagerduty", "slack") for a in vendors.arrivals(v))


def alerts_of_requests_are_part_of_them(medic: MedicProcess, collector: Collector) -> None:
    beat(medic, "job", "DOWN", traceparent=traceparent(5))
    spans = collector.wait_for(lambda spans: {"deliver pagerduty", "alert"} <= of(spans, f"{5:032x}").keys())
    told = of(spans, f"{5:032x}")
    assert told["alert"].parent == told["POST /heartbeat"].id
    assert told["deliver pagerduty"].parent == told["alert"].id
    assert "deadline" not in told


def a_restart_goes_on_with_the_trace(medic: MedicProcess, collector: Collector, vendors: VendorProcess) -> None:
    assert medic.stop() == 0, medic.output()
    medic.start()
    beat(medic, "late")
    wait_for_pages(vendors, "resolve", 1)
    root = next(span for span in collector.spans if span.attributes.get("medic.reason") == "never_heard")
    spans = collector.wait_for(
        lambda spans: sum(s.name == "deliver pagerduty" and s.trace == root.trace for s in spans) == 3
    )
    ended = of(spans, root.trace)
    assert ended["alert closed"].parent == root.id
    assert ended["deliver pagerduty"].attributes["medic.kind"] == "resolve"
    assert ended["deliver pagerduty"].parent == root.id


def nobody_waits_for_a_collector(medic: MedicProcess, vendors: VendorProcess, which: str) -> None:
    name = f"while-it-{which}"
    medic.register(name, seconds=600)
    beat(medic, name, "DOWN", traceparent=traceparent(6))
    medic.wait_for(lambda: any(page["document"]["dedup_key"] == f"medic-{name}" for page in pages(vendors, "trigger")))
    medic.wait_for(lambda: "traces are not taken" in medic.output())
    for number in range(1_000, 1_050):
        beat(medic, name, traceparent=traceparent(number))
