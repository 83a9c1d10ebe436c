"""Traces where they are asked for. Where they are not, no part has anything more to do, and nothing is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medic.config.settings import Traces

if TYPE_CHECKING:
    from medic.tracing.assembly import Tracing


def open_traces(traces: Traces | None, version: str) -> Tracing | None:
    """What the parts wear, or None."""
    if traces is None:
        return None
    from medic.tracing.assembly import Tracing  # noqa: PLC0415 - an extra, and a tenth of a second of everybody's start

    return Tracing(
        endpoint=traces.endpoint,
        headers="" if traces.headers is None else traces.headers.get_secret_value(),
        service_name=traces.service_name,
        sampler=traces.sampler,
        ratio=traces.ratio,
        version=version,
    )
