"""All of tracing, and where the parts of Medic wear it. `medic.app` imports this file where traces are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import trio
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, DEFAULT_OFF, DEFAULT_ON, Sampler

from medic.alerting.notifier import Notifier
from medic.errors import InvariantError
from medic.http.framing import HotRoute
from medic.http.hot_routes import Take
from medic.http.requests import MedicQuart
from medic.ports import Intake, Journal
from medic.tracing import requests
from medic.tracing.alerts import AlertTraces
from medic.tracing.exporting import batches_to, resource_of
from medic.tracing.identity import ChosenIds
from medic.tracing.journal import TracedJournal
from medic.tracing.notifiers import TracedNotifier, carried_headers
from medic.tracing.sampling import SILENT, sampler_of

CLOSE_SECONDS: Final = 2.0
"""How long an orderly end waits for the last spans to be sent. Only they are lost where that is too short."""


class Tracing:
    """Makes traces until it is closed.

    Args:
        endpoint: `OTEL_EXPORTER_OTLP_ENDPOINT`.
        headers: `OTEL_EXPORTER_OTLP_HEADERS`.
        service_name: `OTEL_SERVICE_NAME`.
        sampler: `OTEL_TRACES_SAMPLER`; None: the defaults of `medic.tracing.sampling`.
        ratio: `OTEL_TRACES_SAMPLER_ARG`.
        version: Medic's.
    """

    def __init__(
        self, *, endpoint: str, headers: str, service_name: str, sampler: str | None, ratio: float, version: str
    ) -> None:
        self._batches = batches_to(endpoint, headers)
        self._resource = resource_of(service_name, version)
        self._version = version
        self._begins_by_itself = sampler is not None and sampler not in SILENT
        ids = ChosenIds()
        self._alerts_tracer = self._tracer(ALWAYS_ON, ids)
        self._requests = self._tracer(DEFAULT_ON if sampler is None else sampler_of(sampler, ratio))
        self._heartbeats = self._tracer(DEFAULT_OFF if sampler is None else sampler_of(sampler, ratio))
        self._alerts = AlertTraces(self._alerts_tracer, ids)
        self.carry = carried_headers

    def journal(self, journal: Journal) -> Journal:
        """For the parts that append to it."""
        return TracedJournal(journal, self._alerts_tracer, self._alerts)

    def intake(self, intake: Intake, journal: Journal) -> Intake:
        """For HTTP: the intake as it is, unless heartbeats begin traces by themselves."""
        return requests.TracedIntake(intake, journal, self._heartbeats) if self._begins_by_itself else intake

    def notifier(self, notifier: Notifier) -> Notifier:
        """For alerting."""
        return TracedNotifier(notifier, self._alerts_tracer, self._alerts)

    def wear(self, app: MedicQuart) -> None:
        """Trace the requests of the application."""
        requests.wear(app, requests=self._requests, heartbeats=self._heartbeats)

    def hot_routes(self) -> Mapping[HotRoute, Take]:
        """For the express lane."""
        return requests.traced_routes(self._heartbeats)

    async def close(self) -> None:
        """Send what there is, as far as `CLOSE_SECONDS` reach."""
        with trio.move_on_after(CLOSE_SECONDS):
            await trio.to_thread.run_sync(self._batches.shutdown, abandon_on_cancel=True)

    def _tracer(self, sampler: Sampler, ids: ChosenIds | None = None) -> Tracer:
        provider = TracerProvider(sampler, self._resource, shutdown_on_exit=False, id_generator=ids)
        provider.add_span_processor(self._batches)
        tracer = provider.get_tracer("medic", self._version)
        if not isinstance(tracer, Tracer):
            raise InvariantError("the SDK is disabled, and Medic traces all the same")
        return tracer
