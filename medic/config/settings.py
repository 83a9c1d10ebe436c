"""What operators set, checked and in Medic's units: small frozen groups, so that each part is given what is its own.

Secrets are `SecretStr`: neither `repr` nor a log line nor an error shows them; `get_secret_value()` stands where one is
used.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from medic.access.allowlist import Allowlist
from medic.access.mode import AuthMode
from medic.config.fields import Address
from medic.core.policy import Defaults
from medic.core.units import DurationMs
from medic.store.postgres.target import ConnectionTarget
from medic.store.retention.ages import DEFAULT_RETENTION, Retention


@dataclass(frozen=True, slots=True)
class Certificate:
    """What Medic shows to those who connect: `MEDIC_TLS_CERT` and `MEDIC_TLS_KEY`."""

    chain: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Listen:
    """Where requests come in.

    Attributes:
        addresses: `MEDIC_HOST` and `PORT` first, then `MEDIC_LISTEN_ALSO`; none twice.
        base_url: `MEDIC_BASE_URL`, without a slash at its end.
        trusted_proxies: `MEDIC_TRUSTED_PROXIES`.
        certificate: None: connections are plain.
    """

    addresses: tuple[Address, ...]
    base_url: str
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    certificate: Certificate | None = None

    @property
    def scheme(self) -> Literal["http", "https"]:
        """How a URL of Medic begins."""
        return "http" if self.certificate is None else "https"

    @property
    def loopback_only(self) -> bool:
        """Whether nobody outside this machine can reach Medic."""
        return all(address.is_loopback for address in self.addresses)


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Who may do what.

    Attributes:
        mode: `MEDIC_AUTH`, or what stands for it where it is not set.
        mode_is_chosen: Whether it is set.
        metrics_open: `MEDIC_METRICS_OPEN`.
        hosts: Names by which Medic may be called in the mode `open`, beside loopback's.
        cors_origins: `MEDIC_CORS_ORIGINS`.
    """

    mode: AuthMode
    mode_is_chosen: bool
    metrics_open: bool
    hosts: tuple[str, ...]
    cors_origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Which PostgreSQL: `target` is the operators' own, None the embedded one in the data folder."""

    target: ConnectionTarget | None

    @property
    def kind(self) -> Literal["embedded", "external"]:
        """The word of `GET /health`."""
        return "embedded" if self.target is None else "external"


@dataclass(frozen=True, slots=True)
class Storage:
    """The data folder and what lies in it.

    Attributes:
        folder: `MEDIC_DATA_DIR`, absolute. `medic.config.folder.prepare` makes it.
        journal_sync: `MEDIC_JOURNAL_SYNC`.
        journal_bytes_max: `MEDIC_JOURNAL_MAX_BYTES`.
        journal_reserve_bytes: `MEDIC_JOURNAL_RESERVE_BYTES`.
        blind_max_ms: `MEDIC_BLIND_MAX_HOURS`.
        threshold_bytes_max: `MEDIC_THRESHOLD_BYTES_MAX`.
    """

    folder: Path
    journal_sync: Literal["always", "interval"]
    journal_bytes_max: int
    journal_reserve_bytes: int
    blind_max_ms: DurationMs
    threshold_bytes_max: int


@dataclass(frozen=True, slots=True)
class SlackSettings:
    """`SLACK_API_TOKEN`, `SLACK_CHANNEL_ID`, `SLACK_API_URL`."""

    token: SecretStr
    channel: str
    api_url: str


@dataclass(frozen=True, slots=True)
class PagerDutySettings:
    """`PAGERDUTY_ROUTING_KEY`, `PAGERDUTY_EVENTS_URL`."""

    routing_key: SecretStr
    events_url: str


@dataclass(frozen=True, slots=True)
class Telling:
    """Who is told, and in which time zone. None: not configured. `withheld`: `MEDIC_NOTIFY` is off, nobody is told."""

    slack: SlackSettings | None
    pagerduty: PagerDutySettings | None
    webhook_hosts: Allowlist
    zone: ZoneInfo
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class Tuning:
    """Numbers that parts are built with.

    Attributes:
        defaults: What a service gets for what its registration leaves open.
        strict_status: `MEDIC_STRICT_STATUS`.
        drain_seconds: `MEDIC_DRAIN_SECONDS`.
        changes_seconds: `WORKER_INTERVAL_SECONDS`: how soon rows changed by SQL are noticed.
        metrics_services_max: `MEDIC_METRICS_SERVICES_MAX`.
    """

    defaults: Defaults
    strict_status: bool
    drain_seconds: float
    changes_seconds: float
    metrics_services_max: int


@dataclass(frozen=True, slots=True)
class Logs:
    """`LOG_LEVEL`, `MEDIC_LOG_FORMAT`, `DEBUG`.

    Attributes:
        form: `auto` is decided where stderr is known.
    """

    level: str
    form: Literal["auto", "console", "json"]
    debug: bool

    def as_json(self, *, is_terminal: bool) -> bool:
        """Whether a line is an object for programs; `is_terminal`: stderr is one."""
        if self.form == "auto":
            return not (self.debug or is_terminal)
        return self.form == "json"


@dataclass(frozen=True, slots=True)
class Traces:
    """Where traces go, and which are kept.

    Attributes:
        endpoint, service_name: As the variables have them.
        headers: `OTEL_EXPORTER_OTLP_HEADERS`, or None.
        sampler: `OTEL_TRACES_SAMPLER`, or None where the defaults stand.
        ratio: `OTEL_TRACES_SAMPLER_ARG`.
    """

    endpoint: str
    headers: SecretStr | None
    service_name: str
    sampler: str | None
    ratio: float


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests a minute and caller; 0 is no limit. That of a service is in `Tuning.defaults`.

    Attributes:
        redis_url: `REDIS_URL`, or None.
        redis_pool_size: `REDIS_POOL_SIZE`.
        limiter: redis or memory, `auto` resolved.
    """

    redis_url: SecretStr | None
    redis_pool_size: int
    limiter: Literal["redis", "memory"]
    heartbeats_caller: int
    unknown: int
    management: int
    reads: int


@dataclass(frozen=True, slots=True)
class SecretsSettings:
    """How stored secrets are sealed.

    Attributes:
        key: `MEDIC_SECRETS_KEY`; None: there are none.
        key_before: `MEDIC_SECRETS_KEY_BEFORE`.
    """

    key: SecretStr | None = None
    key_before: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class DeadmanSettings:
    """`MEDIC_DEADMAN_URL`, `MEDIC_DEADMAN_SECONDS`, `MEDIC_DEADMAN_KEY`."""

    url: SecretStr
    seconds: float
    key: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """How `medic watch` looks at another Medic.

    Attributes:
        seconds: `MEDIC_WATCH_SECONDS`.
        grace_seconds: `MEDIC_WATCH_GRACE_SECONDS`.
        references: `MEDIC_WATCH_REFERENCES`: hosts and ports.
    """

    seconds: float = 5.0
    grace_seconds: float = 60.0
    references: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything.

    Attributes:
        admin_key: `MEDIC_ADMIN_API_KEY`.
        secrets: `MEDIC_SECRETS_KEY`.
        retention: `HEARTBEAT_RETENTION_DAYS`, and of other things.
        webhook_secret: `MEDIC_WEBHOOK_SECRET`; None: signed requests are not told from others.
        slack_signing_secret: `SLACK_SIGNING_SECRET`; None: what is pressed in Slack is refused.
        deadman: Who is called while Medic makes progress; None: nobody.
        watch: How `medic watch` looks at another Medic.
        remarks: Sentences the operator should read at the start: what is set and has no effect.
        traces: None: nothing is traced.
    """

    listen: Listen
    access: AccessSettings
    database: DatabaseSettings
    storage: Storage
    telling: Telling
    tuning: Tuning
    logs: Logs
    limits: RateLimits
    webhook_secret: SecretStr | None = None
    slack_signing_secret: SecretStr | None = None
    admin_key: SecretStr | None = None
    secrets: SecretsSettings = SecretsSettings()
    deadman: DeadmanSettings | None = None
    watch: WatchSettings = WatchSettings()
    retention: Retention = DEFAULT_RETENTION
    traces: Traces | None = None
    remarks: tuple[str, ...] = ()
