"""Which traces are kept. Three kinds of beginnings, and one variable that decides for the first two.

    an alert                               always: there are few, and each is what somebody will ask about
    a heartbeat, a look at health or       only one whose sender traces it and wants it kept (`traceparent` says so):
      metrics                              there are thousands a second, all alike
    any other request                      always, or as its sender says

`OTEL_TRACES_SAMPLER` takes the place of the defaults of the second and third kind.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)

SILENT: Final = frozenset({"always_off", "parentbased_always_off"})
"""Samplers that begin no trace by themselves."""


def sampler_of(name: str, ratio: float) -> Sampler:
    """The sampler of that name, as the OpenTelemetry specification has it.

    Args:
        name: `OTEL_TRACES_SAMPLER`.
        ratio: `OTEL_TRACES_SAMPLER_ARG`.
    """
    match name:
        case "always_on":
            return ALWAYS_ON
        case "always_off":
            return ALWAYS_OFF
        case "traceidratio":
            return TraceIdRatioBased(ratio)
        case "parentbased_traceidratio":
            return ParentBased(TraceIdRatioBased(ratio))
        case "parentbased_always_off":
            return DEFAULT_OFF
        case _:
            return DEFAULT_ON
