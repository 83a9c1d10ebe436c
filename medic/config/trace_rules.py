"""Rules about traces: what has to be installed for them, and what is built from their variables."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

from medic.config.settings import Traces
from medic.config.variables import Traces as TraceVariables
from medic.errors import Fault

NEEDED: Final = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")

INSTALL: Final = """needs packages that are not installed. Install them beside Medic with
      pip install 'medic-monitor[traces]'
    or, in a checkout, .venv/bin/pip install -r requirements/traces.in; or unset it"""


def trace_faults(traces: TraceVariables) -> Iterator[Fault]:
    """Traces are asked for and cannot be made."""
    if trace_settings(traces) is not None and not all(map(_is_installed, NEEDED)):
        yield Fault("OTEL_EXPORTER_OTLP_ENDPOINT", INSTALL)


def trace_settings(traces: TraceVariables) -> Traces | None:
    """What tracing is built from; None: there is none."""
    if traces.otel_exporter_otlp_endpoint is None or traces.otel_sdk_disabled:
        return None
    return Traces(
        endpoint=traces.otel_exporter_otlp_endpoint,
        headers=traces.otel_exporter_otlp_headers,
        service_name=traces.otel_service_name,
        sampler=traces.otel_traces_sampler,
        ratio=traces.otel_traces_sampler_arg,
    )


def _is_installed(module: str) -> bool:
    """Whether it is there. Its parents are imported to find that out: asked where traces are wanted only."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
