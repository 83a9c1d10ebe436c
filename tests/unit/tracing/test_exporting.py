"""A collector that is slow or gone costs spans, and one line a minute."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from structlog.testing import capture_logs

from medic.tracing.exporting import SAID_AGAIN_SECONDS, LastWords, ReportingExporter


class Collector(SpanExporter):
    """Takes what it is sent, or not."""

    def __init__(self) -> None:
        self.takes = True
        self.is_closed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if not self.takes:
            logger = logging.getLogger("tests.collector")
            logger.warning("Transient error %s.", "no\nkey")
            logger.error("Failed.")
        return SpanExportResult.SUCCESS if self.takes else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True

    def shutdown(self) -> None:
        self.is_closed = True


SPANS = [ReadableSpan("one"), ReadableSpan("two")]


def test_what_is_lost_is_told_once_a_minute_and_counted_at_the_end() -> None:
    collector, now = Collector(), 1_000.0
    exporter = ReportingExporter(collector, LastWords("tests.collector"), lambda: now)
    with capture_logs() as lines:
        assert exporter.export(SPANS) is SpanExportResult.SUCCESS
        collector.takes = False
        for _ in range(50):
            assert exporter.export(SPANS) is SpanExportResult.FAILURE
        now += SAID_AGAIN_SECONDS
        exporter.export(SPANS)
        collector.takes = True
        exporter.export(SPANS)
        exporter.export(SPANS)
    assert [(line["log_level"], line["lost"]) for line in lines] == [("warning", 2), ("warning", 102), ("info", 102)]


def test_a_collector_that_comes_and_goes_makes_no_more_lines() -> None:
    collector = Collector()
    exporter = ReportingExporter(collector, LastWords("tests.collector"), lambda: 1_000.0)
    with capture_logs() as lines:
        for _ in range(20):
            collector.takes = not collector.takes
            exporter.export(SPANS)
    assert [line["log_level"] for line in lines].count("warning") == 1
    assert exporter.force_flush()
    exporter.shutdown()
    assert collector.is_closed


def test_the_reason_is_the_exporters_own_and_its_lines_are_kept_out_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    collector = Collector()
    exporter = ReportingExporter(collector, LastWords("tests.collector"), lambda: 1_000.0)
    collector.takes = False
    with capture_logs() as lines:
        exporter.export(SPANS)
    assert [line["reason"] for line in lines] == ["Transient error no key. Failed."]
    assert [record.name for record in caplog.records if record.name == "tests.collector"] == []
