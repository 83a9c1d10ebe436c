"""Rules between variables, and the settings that are built from them.

Each rule gives its faults and assumes nothing about the others, so that all of them are found at once. A variable that
is faulty by itself counts as set, with its default as value; nothing is built from it in the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from medic.access.mode import AuthMode
from medic.config.fields import Address
from medic.config.secret_rules import secret_faults
from medic.config.settings import (
    AccessSettings,
    Certificate,
    DatabaseSettings,
    DeadmanSettings,
    Listen,
    Logs,
    PagerDutySettings,
    RateLimits,
    SecretsSettings,
    Settings,
    SlackSettings,
    Storage,
    Telling,
    Tuning,
    WatchSettings,
)
from medic.config.trace_rules import trace_faults, trace_settings
from medic.config.variables import (
    Access,
    Database,
    Limits,
    Listening,
    Operation,
    RetentionTimes,
    Secrets,
    Traces,
    Watched,
    Watching,
)
from medic.config.variables import Storage as StorageVariables
from medic.config.variables import Telling as TellingVariables
from medic.core.policy import Defaults
from medic.core.units import HOUR_MS, DurationMs, minutes_to_ms
from medic.errors import ConfigurationError, Fault
from medic.http.tls import CERTIFICATE, KEY, server_context
from medic.store.embedded.cluster import is_embedded_socket
from medic.store.postgres.target import ConnectionTarget
from medic.store.retention.ages import FOR_EVER, Retention

EXTERNAL_MARKS: Final = ("DB_HOST", "DB_PORT", "DB_NAME", "PG_USER", "PG_PASS", "DATABASE_URL")
"""Whoever sets one of these means a PostgreSQL of their own (CONTRACT 3)."""

CHOICE: Final = """Choose one of these three lines:
      MEDIC_AUTH=keys MEDIC_ADMIN_API_KEY=$(openssl rand -hex 32)              # everything needs a key
      MEDIC_AUTH=heartbeats-open MEDIC_ADMIN_API_KEY=$(openssl rand -hex 32)   # heartbeats need none, the rest does
      MEDIC_AUTH=open                                                          # whoever reaches Medic may do anything
    MEDIC_ADMIN_API_KEY is the first key, and makes the others: medic-cli key create."""
"""What an operator is shown who has to choose a mode, or has none of the keys that the mode needs."""

_PARTS: Final = EXTERNAL_MARKS[:-1]
_ENCRYPTION: Final = ("DB_SSLMODE", "DB_SSLROOTCERT")


@dataclass(frozen=True, slots=True)
class Given:
    """The variables, table by table, and the names of those that were set."""

    names: frozenset[str]
    listening: Listening
    access: Access
    database: Database
    storage: StorageVariables
    retention: RetentionTimes
    watching: Watching
    telling: TellingVariables
    operation: Operation
    traces: Traces
    limits: Limits
    secrets: Secrets
    watched: Watched

    def among(self, *names: str) -> tuple[str, ...]:
        """Those of `names` that were set, in this order."""
        return tuple(name for name in names if name in self.names)


def faults(given: Given) -> Iterator[Fault]:
    """What is wrong between variables."""
    yield from _listening_faults(given)
    yield from _access_faults(given)
    yield from _database_faults(given)
    yield from _telling_faults(given)
    yield from secret_faults(given.names, given.telling, given.secrets, given.watched)
    for name in given.among("MEDIC_DEADMAN_SECONDS", "MEDIC_DEADMAN_KEY"):
        if "MEDIC_DEADMAN_URL" not in given.names:
            yield Fault("MEDIC_DEADMAN_URL", f"is missing: {name} alone calls nobody")
    yield from trace_faults(given.traces)
    if given.limits.medic_rate_limiter_type == "redis" and "REDIS_URL" not in given.names:
        yield Fault("REDIS_URL", "is missing: MEDIC_RATE_LIMITER_TYPE=redis needs it")


def faults_of_telling(given: Given) -> Iterator[Fault]:
    """What is wrong between the variables that say who is told, and in those that settings cannot be built from."""
    yield from _telling_faults(given)
    yield from secret_faults(given.names, given.telling, given.secrets, given.watched)
    if "DATABASE_URL" in given.names and (fault := _url_fault(given.database.database_url)) is not None:
        yield fault


def settings(given: Given) -> Settings:
    """The settings of variables without a fault."""
    return Settings(
        listen=_listen(given.listening),
        access=_access(given),
        database=DatabaseSettings(_target(given.database) if _is_external(given) else None),
        storage=_storage(given.storage),
        telling=_telling(given.telling),
        tuning=_tuning(given),
        logs=Logs(
            level=given.operation.log_level,
            form=given.operation.medic_log_format,
            debug=given.operation.debug,
        ),
        limits=_limits(given.limits),
        traces=trace_settings(given.traces),
        webhook_secret=given.secrets.medic_webhook_secret,
        slack_signing_secret=given.secrets.slack_signing_secret,
        admin_key=given.secrets.medic_admin_api_key,
        secrets=SecretsSettings(given.secrets.medic_secrets_key, given.secrets.medic_secrets_key_before),
        deadman=_deadman(given.watched),
        watch=WatchSettings(
            seconds=given.watched.medic_watch_seconds,
            grace_seconds=given.watched.medic_watch_grace_seconds,
            references=given.watched.medic_watch_references,
        ),
        retention=_retention(given.retention),
        remarks=tuple(_remarks(given)),
    )


# ------------------------------------------------------------------------------------------------------------ faults


def _listening_faults(given: Given) -> Iterator[Fault]:
    addresses = _addresses(given.listening)
    seen: set[tuple[str, int]] = set()
    for address in addresses:
        place = (address.host.lower(), address.port)
        if place in seen:
            yield Fault("MEDIC_LISTEN_ALSO", f"names {address} although Medic listens there already")
        seen.add(place)
    yield from _tls_faults(given)


def _access_faults(given: Given) -> Iterator[Fault]:
    """Whoever listens beyond this machine says who may call. Whether there is a key is seen where keys are read."""
    if "MEDIC_AUTH" not in given.names and not _loopback_only(given):
        yield Fault("MEDIC_AUTH", f"must be said, because Medic listens beyond this machine. {CHOICE}")


def _tls_faults(given: Given) -> Iterator[Fault]:
    """One of the two without the other, or two that do not belong together. Each alone was looked at before."""
    for name, other in ((CERTIFICATE, KEY), (KEY, CERTIFICATE)):
        if name in given.names and other not in given.names:
            yield Fault(other, f"is missing: {name} needs it")
    certificate = _certificate(given.listening)
    if certificate is not None:
        try:
            server_context(certificate.chain, certificate.key)
        except ConfigurationError as error:
            yield from error.faults


def _database_faults(given: Given) -> Iterator[Fault]:
    marks = given.among(*EXTERNAL_MARKS)
    asked = given.database.medic_database
    if asked == "embedded" and marks:
        yield Fault(
            "MEDIC_DATABASE",
            f"is embedded, but {_listed(marks)} {_names(marks)} a PostgreSQL of your own: unset one side",
        )
    elif asked is None and not marks and "MEDIC_DATABASE" not in given.names and not _loopback_only(given):
        yield Fault(
            "MEDIC_DATABASE",
            "must be said, because Medic listens beyond this machine: set DB_HOST, DB_NAME, PG_USER and PG_PASS for a "
            "PostgreSQL of your own, or MEDIC_DATABASE=embedded",
        )
    if _is_external(given):
        yield from _external_faults(given)
    else:
        for name in given.among(*_ENCRYPTION):
            yield Fault(name, "has no meaning for the embedded database: unset it")


def _external_faults(given: Given) -> Iterator[Fault]:
    if "DATABASE_URL" in given.names:
        for name in given.among(*_PARTS):
            yield Fault(name, "stands beside DATABASE_URL: keep one of the two")
        for name in given.among(*_ENCRYPTION):
            option = name.removeprefix("DB_").lower()
            yield Fault(name, f"stands beside DATABASE_URL: say {option}=… in its query instead")
        fault = _url_fault(given.database.database_url)
        if fault is not None:
            yield fault
        return
    because = (
        f"is missing: {_listed(given.among(*_PARTS) or ('MEDIC_DATABASE=external',))} asks for a PostgreSQL of your own"
    )
    for name in ("DB_HOST", "DB_NAME", "PG_USER"):
        if name not in given.names:
            yield Fault(name, because)
    on_socket = (given.database.db_host or "").startswith("/")
    if "PG_PASS" not in given.names and not on_socket:
        yield Fault("PG_PASS", because)
    if on_socket:
        for name in given.among(*_ENCRYPTION):
            yield Fault(name, "has no meaning on a Unix socket: unset it")


def _url_fault(url: SecretStr | None) -> Fault | None:
    if url is None:
        return None  # faulty by itself
    try:
        ConnectionTarget.from_url(url.get_secret_value())
    except ValueError as error:
        # urlsplit and int() quote what they were given, which may be the password; Medic's own sentences do not.
        sentence = str(error)
        own = sentence.startswith(("must ", "has ", "sslmode "))
        return Fault("DATABASE_URL", sentence if own else "must be postgresql://user:password@host:5432/database")
    return None


def _telling_faults(given: Given) -> Iterator[Fault]:
    pairs = (("SLACK_API_TOKEN", "SLACK_CHANNEL_ID"), ("SLACK_CHANNEL_ID", "SLACK_API_TOKEN"))
    for there, needed in pairs:
        if there in given.names and needed not in given.names:
            yield Fault(needed, f"is missing: {there} alone tells nobody")
    required = {"pagerduty": ("PAGERDUTY_ROUTING_KEY",), "slack": ("SLACK_API_TOKEN", "SLACK_CHANNEL_ID")}
    for notifier in given.telling.medic_require_notifiers:
        missing = tuple(name for name in required[notifier] if name not in given.names)
        if len(missing) == len(required[notifier]):
            yield Fault(missing[0], f"is missing: MEDIC_REQUIRE_NOTIFIERS asks for {notifier}")


# ---------------------------------------------------------------------------------------------------------- building


def _listen(listening: Listening) -> Listen:
    certificate = _certificate(listening)
    scheme = "http" if certificate is None else "https"
    return Listen(
        addresses=_addresses(listening),
        base_url=listening.medic_base_url or f"{scheme}://localhost:{listening.port}",
        trusted_proxies=listening.medic_trusted_proxies,
        certificate=certificate,
    )


def _access(given: Given) -> AccessSettings:
    access, base_url = given.access, given.listening.medic_base_url
    called = urlsplit(base_url).hostname if base_url is not None else None
    shown = () if called is None else (f"[{called}]" if ":" in called else called,)
    return AccessSettings(
        mode=access.medic_auth or AuthMode.OPEN,
        mode_is_chosen=access.medic_auth is not None,
        metrics_open=access.medic_metrics_open,
        hosts=(*access.medic_allowed_hosts, *shown),
        cors_origins=access.medic_cors_origins,
    )


def _certificate(listening: Listening) -> Certificate | None:
    chain, key = listening.medic_tls_cert, listening.medic_tls_key
    return None if chain is None or key is None else Certificate(Path(chain), Path(key))


def _addresses(listening: Listening) -> tuple[Address, ...]:
    also = (Address(host or listening.medic_host, port) for host, port in listening.medic_listen_also)
    return (Address(listening.medic_host, listening.port), *also)


def _loopback_only(given: Given) -> bool:
    return all(address.is_loopback for address in _addresses(given.listening))


def _is_external(given: Given) -> bool:
    asked = given.database.medic_database
    if asked is not None:
        return asked == "external"
    return bool(given.among(*EXTERNAL_MARKS)) and not _is_our_own(given)


def _is_our_own(given: Given) -> bool:
    """Whether the variables are those that `medic env` printed for this folder's embedded database."""
    return is_embedded_socket(given.database.db_host or "", given.storage.medic_data_dir.absolute())


def _target(database: Database) -> ConnectionTarget:
    if database.database_url is not None:
        return ConnectionTarget.from_url(database.database_url.get_secret_value())
    return ConnectionTarget(
        host=database.db_host or "",
        port=database.db_port,
        database=database.db_name or "",
        user=database.pg_user or "",
        password=None if database.pg_pass is None else database.pg_pass.get_secret_value(),
        sslmode=database.db_sslmode or "prefer",
        sslrootcert=database.db_sslrootcert or "",
    )


def _storage(storage: StorageVariables) -> Storage:
    return Storage(
        folder=storage.medic_data_dir.absolute(),
        journal_sync=storage.medic_journal_sync,
        journal_bytes_max=storage.medic_journal_max_bytes,
        journal_reserve_bytes=storage.medic_journal_reserve_bytes,
        blind_max_ms=_hours(storage.medic_blind_max_hours),
        threshold_bytes_max=storage.medic_threshold_bytes_max,
    )


def _retention(retention: RetentionTimes) -> Retention:
    return Retention(
        heartbeats=retention.heartbeat_retention_days,
        hours=retention.medic_hours_retention_days,
        days=retention.medic_days_retention_days,
        alerts=retention.medic_alert_retention_days,
        snapshots=retention.medic_snapshot_retention_days,
        audit=retention.medic_audit_retention_days,
    )


def _telling(telling: TellingVariables) -> Telling:
    slack, pagerduty = None, None
    if telling.slack_api_token is not None and telling.slack_channel_id is not None:
        slack = SlackSettings(telling.slack_api_token, telling.slack_channel_id, telling.slack_api_url)
    if telling.pagerduty_routing_key is not None:
        pagerduty = PagerDutySettings(telling.pagerduty_routing_key, telling.pagerduty_events_url)
    withheld = telling.medic_notify == "off"
    return Telling(slack, pagerduty, telling.medic_allowed_webhook_hosts, telling.medic_timezone, withheld)


def _deadman(watched: Watched) -> DeadmanSettings | None:
    url = watched.medic_deadman_url
    return None if url is None else DeadmanSettings(url, watched.medic_deadman_seconds, watched.medic_deadman_key)


def _tuning(given: Given) -> Tuning:
    watching = given.watching
    return Tuning(
        defaults=Defaults(
            renotify_ms=minutes_to_ms(watching.medic_renotify_minutes),
            flap_openings=watching.medic_flap_openings,
            first_heartbeat_ms=minutes_to_ms(watching.medic_first_heartbeat_minutes),
            auto_unmute_ms=_hours(watching.alert_auto_unmute_hours),
            heartbeats_a_minute=given.limits.rate_limit_heartbeat_requests,
        ),
        strict_status=watching.medic_strict_status,
        drain_seconds=given.storage.medic_drain_seconds,
        changes_seconds=watching.worker_interval_seconds,
        metrics_services_max=given.operation.medic_metrics_services_max,
    )


def _limits(limits: Limits) -> RateLimits:
    asked = limits.medic_rate_limiter_type
    return RateLimits(
        redis_url=limits.redis_url,
        redis_pool_size=limits.redis_pool_size,
        limiter=("memory" if limits.redis_url is None else "redis") if asked == "auto" else asked,
        heartbeats_caller=limits.rate_limit_heartbeat_caller_requests,
        unknown=limits.rate_limit_unknown_requests,
        management=limits.rate_limit_management_requests,
        reads=limits.rate_limit_read_requests,
    )


def _remarks(given: Given) -> Iterator[str]:
    hours, days = given.retention.medic_hours_retention_days, given.retention.medic_days_retention_days
    if days != FOR_EVER and (days < hours or hours == FOR_EVER):
        yield (
            f"MEDIC_DAYS_RETENTION_DAYS={days} has no effect: counts are folded into days only after "
            f"MEDIC_HOURS_RETENTION_DAYS={hours} days{' (never)' if hours == FOR_EVER else ''}"
        )


def _hours(hours: float) -> DurationMs:
    return DurationMs(round(hours * HOUR_MS))


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _names(names: tuple[str, ...]) -> str:
    return "names" if len(names) == 1 else "name"
