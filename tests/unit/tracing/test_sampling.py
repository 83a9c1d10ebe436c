"""Which traces are kept, by the names of the OpenTelemetry specification."""

from __future__ import annotations

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from medic.tracing.requests import continued, is_one_of_many
from medic.tracing.sampling import sampler_of

LOW, HIGH = 1, (1 << 128) - 1
"""Trace ids that a ratio of one half keeps, and does not."""


def parent(*, kept: bool) -> Context:
    context = SpanContext(LOW, 1, is_remote=True, trace_flags=TraceFlags(int(kept)))
    return set_span_in_context(NonRecordingSpan(context), Context())


def keeps(name: str, trace: int, context: Context) -> bool:
    decision = sampler_of(name, 0.5).should_sample(context, trace, "POST /heartbeat").decision
    return decision is Decision.RECORD_AND_SAMPLE


@pytest.mark.parametrize(
    ("name", "of_itself", "as_parent"),
    [
        ("always_on", (True, True), (True, True)),
        ("always_off", (False, False), (False, False)),
        ("traceidratio", (True, False), (True, True)),
        ("parentbased_always_on", (True, True), (True, False)),
        ("parentbased_always_off", (False, False), (True, False)),
        ("parentbased_traceidratio", (True, False), (True, False)),
    ],
)
def test_a_sampler_keeps_what_its_name_says(
    name: str, of_itself: tuple[bool, bool], as_parent: tuple[bool, bool]
) -> None:
    assert (keeps(name, LOW, Context()), keeps(name, HIGH, Context())) == of_itself
    assert (keeps(name, LOW, parent(kept=True)), keeps(name, LOW, parent(kept=False))) == as_parent


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/heartbeat", True),
        ("/heartbeat/job", True),
        ("/v2/heartbeats", True),
        ("/health/live", True),
        ("/metrics/services", True),
        ("/heartbeats", False),
        ("/service/heartbeat", False),
        ("/alerts", False),
    ],
)
def test_heartbeats_health_and_metrics_are_many_and_alike(path: str, *, expected: bool) -> None:
    assert is_one_of_many(path) is expected


@pytest.mark.parametrize("text", ["", "00-1-2-01", "nonsense", "ff-" + "1" * 32 + "-" + "2" * 16 + "-01", "00-\r\n-01"])
def test_a_traceparent_that_is_none_begins_no_trace(text: str) -> None:
    assert continued({"traceparent": text}) == Context()
