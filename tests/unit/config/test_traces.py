"""Traces are asked for by one variable, and what is missing for them stops the start."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from medic.app.traces import open_traces
from medic.config.load import load_settings
from medic.config.secret_rules import values_of
from medic.errors import ConfigurationError

COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def test_what_the_variables_say_is_what_tracing_is_given() -> None:
    assert load_settings({}).traces is None
    traces = load_settings(
        {**COLLECTOR, "OTEL_TRACES_SAMPLER": "ParentBased_TraceIdRatio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
    ).traces
    assert traces is not None
    assert (traces.endpoint, traces.service_name) == ("http://collector:4318", "medic")
    assert (traces.sampler, traces.ratio, traces.headers) == ("parentbased_traceidratio", 0.01, None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
    ],
)
def test_what_medic_cannot_do_is_a_fault(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({**COLLECTOR, name: text})
    assert [fault.field for fault in refused.value.faults] == [name]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5000", "max_export_batch_size"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-5", "schedule_delay"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "many", "OTEL_SPAN_EVENT_COUNT_LIMIT"),
    ],
)
def test_what_the_sdk_refuses_of_its_own_variables_is_a_sentence(
    name: str, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ConfigurationError) as refused:
        open_traces(load_settings(COLLECTOR).traces, "1")
    [fault] = refused.value.faults
    assert "OpenTelemetry refuses" in fault.message
    assert said in fault.message


def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert load_settings({}).traces is None
    with pytest.raises(ConfigurationError) as refused:
        load_settings(COLLECTOR)
    [fault] = refused.value.faults
    assert fault.field == "OTEL_EXPORTER_OTLP_ENDPOINT"
    assert "pip install 'medic-monitor[traces]'" in fault.message


def test_headers_for_the_collector_are_kept_out_of_logs_as_they_are_set_and_as_they_are_sent() -> None:
    settings = load_settings({**COLLECTOR, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20geheim,tenant=eu"})
    assert {"Bearer%20geheim", "Bearer geheim"} <= values_of(settings)
    assert "eu" not in values_of(settings)


@pytest.mark.parametrize("sampler", ["", "always_off", "traceidratio"])
def test_heartbeats_are_asked_one_by_one_only_where_a_sampler_begins_traces_by_itself(sampler: str) -> None:
    tracing = open_traces(load_settings({**COLLECTOR, "OTEL_TRACES_SAMPLER": sampler}).traces, "1")
    assert tracing is not None
    intake = SimpleNamespace(wait_durable=None)
    assert (tracing.intake(intake, None) is intake) is (sampler != "traceidratio")
    tracing._batches.shutdown()
