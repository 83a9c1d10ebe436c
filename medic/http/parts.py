"""What the API is built from: ports of other parts, settings, and what it remembers itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from medic.access.limits import UNLIMITED
from medic.access.ports import Gatekeeper, Keys, RequestLimits
from medic.access.secrets import Secrets
from medic.access.slack_signature import SlackSignatures
from medic.alerting.guard import Guard
from medic.alerting.slack_presses import SlackPresses
from medic.audit import AuditLog, ServiceSnapshots
from medic.core.policy import Defaults
from medic.history import History, ServiceRecords
from medic.http.caller import TrustedProxies
from medic.http.headers import NO_CORS, Cors
from medic.http.refused import RefusedHeartbeats
from medic.metrics.exposition import Page
from medic.metrics.services import ServiceFilter
from medic.ports import Changes, Clock, Health, Intake, Roster, Webhooks


class Metrics(Protocol):
    """What `GET /metrics` and `GET /metrics/services` say, in the format and encoding the headers ask for."""

    def metrics(self, *, accept: str = "", accept_encoding: str = "") -> Page:
        """All metrics of the parts, and services up to `MEDIC_METRICS_SERVICES_MAX`."""
        ...

    def services(self, wanted: ServiceFilter, *, accept: str = "", accept_encoding: str = "") -> Page:
        """The metrics of the services asked for, in bounded memory.

        Raises:
            OverloadedError: too many such scrapes are under way.
        """
        ...


class Meter(Protocol):
    """Counts what the HTTP side did."""

    def observe(self, method: str, route: str, status: int, seconds: float, count: int = 1) -> None:
        """Count an answered request, or `count` alike; `route` is the template, empty where none matched."""
        ...

    def refuse_heartbeat(self, reason: str) -> None:
        """Count a heartbeat that was not taken; `reason` is one word."""
        ...


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What operators set about the API.

    Attributes:
        strict_status: `MEDIC_STRICT_STATUS`: a status without a meaning is a 400.
        trusted_proxies: `MEDIC_TRUSTED_PROXIES`: whose `X-Forwarded-For` is believed.
        metrics_open: `MEDIC_METRICS_OPEN`: metrics need no key.
        cors: `MEDIC_CORS_ORIGINS`: pages of other origins that may read answers.
    """

    strict_status: bool = False
    trusted_proxies: TrustedProxies = ()
    metrics_open: bool = False
    cors: Cors = NO_CORS


@dataclass(frozen=True, slots=True)
class SlackParts:
    """What is pressed in Slack: who verifies it, and who does it."""

    signatures: SlackSignatures
    presses: SlackPresses


@dataclass(frozen=True, slots=True)
class ApiParts:
    """Everything the views use. The same object serves the express lane."""

    intake: Intake
    roster: Roster
    changes: Changes
    history: History
    records: ServiceRecords
    webhooks: Webhooks
    audit: AuditLog
    snapshots: ServiceSnapshots
    keys: Keys
    secrets: Secrets
    health: Health
    clock: Clock
    metrics: Metrics
    meter: Meter
    defaults: Defaults
    version: str
    gatekeeper: Gatekeeper
    settings: ApiSettings = field(default_factory=ApiSettings)
    refused: RefusedHeartbeats = field(default_factory=RefusedHeartbeats)
    guard: Guard = field(default_factory=Guard)
    request_limits: RequestLimits = UNLIMITED
    slack: SlackParts | None = None
    """None: `SLACK_SIGNING_SECRET` is not set."""
