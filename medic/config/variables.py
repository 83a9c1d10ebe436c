"""Every environment variable Medic knows: name, kind, default, and what it means.

`docs/reference/configuration.md` is made from these models, so what is said here is what operators read. A field is the
variable's name in lower case; a class is one table of the reference. Rules between variables stand in
`medic.config.rules`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from medic.config.fields import (
    AdminKey,
    AllowedHosts,
    Auth,
    CalledAddress,
    CalledNames,
    File,
    Flag,
    Folder,
    Host,
    Level,
    ListenItems,
    Networks,
    Notifiers,
    Origins,
    Password,
    Port,
    RedisUrl,
    References,
    Secret,
    SecretsKey,
    Text,
    WebAddress,
    WebhookSecret,
    Zone,
    number,
    one_of,
    whole,
)

YEAR_DAYS: Final = 366
DAYS_MAX: Final = 36_500
"""A century: longer than anything is kept for a number of days."""
LIMIT_MAX: Final = 1_000_000_000
"""A limit larger than this is none: 0 says so."""


class Table(BaseModel):
    """One table of the reference."""

    model_config = ConfigDict(
        frozen=True, alias_generator=str.upper, hide_input_in_errors=True, arbitrary_types_allowed=True
    )


class Listening(Table):
    """Listening."""

    port: Port = Field(8080, description="Port of the web server.")
    medic_host: Host = Field(
        "127.0.0.1", description="Where to listen. `0.0.0.0` for every address of this machine, `::` for IPv6 as well."
    )
    medic_listen_also: ListenItems = Field(
        (), description="Further ports, or host:port, with commas between them, as in `5000,10.0.0.5:8080`."
    )
    medic_tls_cert: File | None = Field(
        None,
        description="PEM file with Medic's certificate and those between it and its root. Set together with "
        "`MEDIC_TLS_KEY`, every port speaks TLS and nothing else.",
    )
    medic_tls_key: File | None = Field(None, description="PEM file with its private key, without a passphrase.")
    medic_base_url: WebAddress | None = Field(
        None, description="Base of links in messages. Unset: `http://localhost:` (`https:` with TLS) and the port."
    )
    medic_trusted_proxies: Networks = Field(
        (),
        description="Addresses and networks (CIDR) whose `X-Forwarded-For` and `Forwarded` are believed, read from the "
        "right to the first entry that is not among them.",
    )


class Access(Table):
    """Who may do what."""

    medic_auth: Auth | None = Field(
        None,
        description="`keys`: everything but health needs an API key. `heartbeats-open`: heartbeats need none, "
        "everything else does. `open`: nobody is asked. Unset: `open` where Medic listens on loopback only; else it "
        "has to be said.",
    )
    medic_metrics_open: Flag = Field(False, description="1: `/metrics` and `/metrics/services` need no key.")
    medic_allowed_hosts: CalledNames = Field(
        (),
        description="In the mode `open`: names by which Medic is called, beside loopback's and that of "
        "`MEDIC_BASE_URL`, with commas between them; `name:port` is that port only.",
    )
    medic_cors_origins: Origins = Field(
        (),
        description="Origins whose web pages may call Medic, with commas between them, as in `https://grafana.example`.",
    )


class Database(Table):
    """Database."""

    medic_database: Annotated[Literal["embedded", "external"] | None, one_of("embedded", "external")] = Field(
        None,
        description="`embedded`: Medic runs a PostgreSQL of its own in its data folder. `external`: yours. Unset: "
        "external as soon as any of `DB_HOST`, `DB_PORT`, `DB_NAME`, `PG_USER`, `PG_PASS`, `DATABASE_URL` is set, and "
        "what is missing is then a fault; embedded if none is set and Medic listens on loopback only.",
    )
    db_host: Text | None = Field(None, description="PostgreSQL host, or the folder of its Unix socket.")
    db_port: Port = Field(5432, description="PostgreSQL port.")
    db_name: Text | None = Field(None, description="PostgreSQL database.")
    pg_user: Text | None = Field(None, description="PostgreSQL user.")
    pg_pass: Password = Field(
        None, description="PostgreSQL password. May be missing where `DB_HOST` is the folder of a Unix socket."
    )
    database_url: Password = Field(
        None,
        description="All of them in one, as in `postgresql://user:password@host:5432/database?sslmode=require`; "
        "in place of the others, not beside them.",
    )
    db_sslmode: Annotated[str | None, one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full")] = (
        Field(None, description="Encryption on the way to PostgreSQL, as libpq names it. Unset: `prefer`.")
    )
    db_sslrootcert: File | None = Field(None, description="File with the certificates to trust, for `verify-*`.")


class Storage(Table):
    """Data folder and journal."""

    medic_data_dir: Folder = Field(
        Path("medic-data"),
        description="Journal and embedded PostgreSQL. Made with mode 0700 if it is not there; a relative path begins "
        "where Medic is started.",
    )
    medic_journal_sync: Annotated[Literal["always", "interval"], one_of("always", "interval")] = Field(
        "always",
        description="`always`: a heartbeat answered 201 survives `kill -9` and loss of power. `interval`: `kill -9` "
        "only; loss of power takes the last moment, some 50 ms.",
    )
    medic_journal_max_bytes: Annotated[int, whole(1 << 20, 1 << 50)] = Field(
        8 << 30,
        description="How much of the journal is kept for PostgreSQL while it is away. Beyond it heartbeats are "
        "answered 503; alerts and notifications go on.",
    )
    medic_journal_reserve_bytes: Annotated[int, whole(0, 1 << 40)] = Field(
        64 << 20,
        description="Room on the disk that is allocated ahead, so that alerts and notifications go on where the disk "
        "is full and heartbeats are refused. 0: none.",
    )
    medic_drain_seconds: Annotated[float, number(0, 600, "seconds")] = Field(
        20.0, description="How long an orderly end may take to answer what was begun."
    )
    medic_blind_max_hours: Annotated[float, number(0, YEAR_DAYS * 24, "hours")] = Field(
        720.0,
        description="How much time between two starts is believed to have been Medic's own absence, for which no "
        "service is late. A wall clock that jumped by years is not believed.",
    )
    medic_threshold_bytes_max: Annotated[int, whole(0, 1 << 40)] = Field(
        256 << 20,
        description="Memory for services with a threshold above 1, 8 bytes for each sign of life they need. Beyond it "
        "their registration is refused.",
    )


class RetentionTimes(Table):
    """How long things are kept."""

    heartbeat_retention_days: Annotated[int, whole(1, DAYS_MAX)] = Field(
        30,
        description="Days for which single heartbeats are kept in PostgreSQL; whole days (UTC) go. Deadlines do not "
        "depend on it: an interval may be longer. They are counted before they go.",
    )
    medic_hours_retention_days: Annotated[int, whole(0, DAYS_MAX)] = Field(
        92,
        description="Days for which counts of heartbeats and outages are kept by service and hour; then they are "
        "folded into days. 0, here and below: for ever.",
    )
    medic_days_retention_days: Annotated[int, whole(0, DAYS_MAX)] = Field(
        1_100, description="Days for which those counts are kept by service and day."
    )
    medic_alert_retention_days: Annotated[int, whole(0, DAYS_MAX)] = Field(
        400,
        description="Days after its end for which an alert is kept, with its moments and deliveries. Open ones stay.",
    )
    medic_snapshot_retention_days: Annotated[int, whole(0, DAYS_MAX)] = Field(
        400, description="Days for which a service as it was before a change can be restored."
    )
    medic_audit_retention_days: Annotated[int, whole(0, DAYS_MAX)] = Field(
        0, description="Days for which it is kept who did what. What is left can still be verified."
    )


class Watching(Table):
    """Watching."""

    medic_first_heartbeat_minutes: Annotated[float, number(0, YEAR_DAYS * 1440, "minutes")] = Field(
        15.0, description="The first deadline of a service never heard of is at least so long after its registration."
    )
    alert_auto_unmute_hours: Annotated[float, number(0, YEAR_DAYS * 24, "hours")] = Field(
        24.0, description="How long a mute lasts that says nothing else. 0: until somebody unmutes."
    )
    medic_renotify_minutes: Annotated[float, number(0, YEAR_DAYS * 1440, "minutes")] = Field(
        60.0, description="Time between reminders of an open alert, for services that say nothing else. 0: none."
    )
    medic_flap_openings: Annotated[int, whole(0, 1_000)] = Field(
        3, description="More openings of a service's alert than this within an hour are flapping. 0: nothing is."
    )
    medic_strict_status: Flag = Field(
        False,
        description="1: a heartbeat whose status has no meaning to Medic is a 400. 0: it is kept and counts as UP.",
    )
    worker_interval_seconds: Annotated[float, number(0.1, 3_600, "seconds")] = Field(
        15.0,
        description="How soon rows of `services` changed by SQL are noticed. Nothing is scanned for late services: "
        "each has a deadline of its own.",
    )


class Telling(Table):
    """Who is told."""

    slack_api_token: Secret = Field(None, description="Slack bot token.")
    slack_channel_id: Text | None = Field(None, description="Slack channel.")
    slack_api_url: WebAddress = Field("https://slack.com/api", description="Base of Slack's Web API.")
    pagerduty_routing_key: Secret = Field(None, description="PagerDuty Events API v2 routing key.")
    pagerduty_events_url: WebAddress = Field(
        "https://events.pagerduty.com/v2/enqueue", description="Where PagerDuty takes events."
    )
    medic_notify: Annotated[Literal["on", "off"], one_of("on", "off")] = Field(
        "on",
        description="`off`: nobody is told of anything; what would have been told is logged, counted and kept with the "
        "alert as `withheld`. What is still down at the next start with `on` is told then.",
    )
    medic_require_notifiers: Notifiers = Field(
        (), description="Those of `pagerduty` and `slack` whose settings must be there, with commas between them."
    )
    medic_allowed_webhook_hosts: AllowedHosts = Field(
        (),
        description="Where webhooks may be sent to, and nowhere else, with commas between them: `host`, `host:port`, "
        "`*.domain`, networks (CIDR). Names open public addresses only; a private one is opened by itself "
        "(`127.0.0.1,::1`, with or without port) or by a network within its range, metadata services by nothing. "
        "Unset: every public address.",
    )
    medic_timezone: Zone = Field(
        ZoneInfo("America/Chicago"), description="Time zone (IANA) in which messages to people show times."
    )


class Operation(Table):
    """Logs and metrics."""

    debug: Flag = Field(
        False, description="1: logs are verbose, and readable where `MEDIC_LOG_FORMAT` is `auto`. They show no secret."
    )
    log_level: Level = Field("INFO", description="`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.")
    medic_log_format: Annotated[Literal["auto", "console", "json"], one_of("auto", "console", "json")] = Field(
        "auto",
        description="`console` for people, `json` for programs, one object a line. `auto`: console where stderr is a "
        "terminal, else JSON.",
    )
    medic_metrics_services_max: Annotated[int, whole(0, 100_000)] = Field(
        1_000, description="Services listed on `/metrics`. `/metrics/services` has all of them."
    )


class Traces(Table):
    """Traces."""

    otel_exporter_otlp_endpoint: WebAddress | None = Field(
        None,
        description="Where traces go, by OTLP over HTTP, as in `http://collector:4318`. It needs the extra `traces`. "
        "Unset: nothing is traced, and nothing of it is loaded.",
    )
    otel_exporter_otlp_headers: Secret = Field(
        None, description="Headers for the collector, as in `authorization=Bearer%20TOKEN`, with commas between them."
    )
    otel_exporter_otlp_protocol: Annotated[Literal["http/protobuf"], one_of("http/protobuf")] = Field(
        "http/protobuf", description="The one that Medic speaks."
    )
    otel_service_name: Text = Field("medic", description="The name of this Medic in its traces.")
    otel_traces_sampler: Annotated[
        Literal[
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ]
        | None,
        one_of(
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ),
    ] = Field(
        None,
        description="Which requests are traced, by the names of the OpenTelemetry specification. Unset: heartbeats, "
        "health and metrics where the `traceparent` of their sender asks for it, other requests always. Alerts are "
        "traced whatever it says.",
    )
    otel_traces_sampler_arg: Annotated[float, number(0, 1, "parts of one")] = Field(
        1.0, description="The share that `traceidratio` and `parentbased_traceidratio` keep."
    )
    otel_sdk_disabled: Flag = Field(False, description="1: nothing is traced, whatever else is set.")


class Limits(Table):
    """Redis and rate limits."""

    redis_url: RedisUrl = Field(None, description="Redis, as in `redis://localhost:6379/0`; `rediss://` for TLS.")
    medic_rate_limiter_type: Annotated[Literal["auto", "redis", "memory"], one_of("auto", "redis", "memory")] = Field(
        "auto", description="`auto`: Redis where `REDIS_URL` is set, else memory. `redis` needs `REDIS_URL`."
    )
    redis_pool_size: Annotated[int, whole(1, 1_000)] = Field(10, description="Connections to Redis.")
    rate_limit_heartbeat_requests: Annotated[int, whole(0, LIMIT_MAX)] = Field(
        100,
        description="Heartbeats a service and minute, or three times what its interval and threshold ask for, "
        "whichever is more. What is beyond is a sign of life and is not stored. 0, here and below: no limit.",
    )
    rate_limit_heartbeat_caller_requests: Annotated[int, whole(0, LIMIT_MAX)] = Field(
        0, description="Heartbeats a caller and minute. A caller is the API key, else the peer's address."
    )
    rate_limit_unknown_requests: Annotated[int, whole(0, LIMIT_MAX)] = Field(
        600, description="Heartbeats for names that are not registered, a caller and minute."
    )
    rate_limit_management_requests: Annotated[int, whole(0, LIMIT_MAX)] = Field(
        600, description="Changes, a caller and minute. Registering what is registered is none."
    )
    rate_limit_read_requests: Annotated[int, whole(0, LIMIT_MAX)] = Field(
        600, description="Reads, a caller and minute. Health and metrics are none."
    )


class Secrets(Table):
    """Secrets."""

    medic_admin_api_key: AdminKey = Field(
        None,
        description="An API key that may do everything, of your own making: at least 32 characters, as "
        "`openssl rand -hex 32` makes them. It makes the first of the other keys.",
    )
    slack_signing_secret: Secret = Field(
        None,
        description="Verifies what Slack sends when somebody presses a button: the signing secret of the app. Unset: "
        "messages have no buttons, and what is pressed is refused.",
    )
    medic_secrets_key: SecretsKey = Field(
        None,
        description="Key that seals stored secrets, to which `SLACK_API_TOKEN`, `PAGERDUTY_ROUTING_KEY` and headers of "
        "webhooks may refer as `${secrets.NAME}`: 32 bytes in base64, as `openssl rand -base64 32` makes them. Without "
        "it nobody can read them: keep it apart from the database and its backups.",
    )
    medic_secrets_key_before: SecretsKey = Field(
        None,
        description="The key before `MEDIC_SECRETS_KEY`, until `medic secrets rotate` has sealed every secret anew.",
    )
    medic_webhook_secret: WebhookSecret = Field(
        None,
        description="Verifies heartbeats that are signed (Standard Webhooks) instead of carrying a key: `whsec_` and "
        "at least 24 bytes in base64, or a text of at least 16 characters. Unset: signatures are ignored.",
    )


class Watched(Table):
    """Medic is watched too."""

    medic_deadman_url: CalledAddress = Field(
        None,
        description="Called (POST) while wheel, journal and outbox really make progress: somebody who notices when the "
        "calls end. May refer to stored secrets behind its host, as `https://calls.example/${secrets.deadman}`. "
        "`MEDIC_ALLOWED_WEBHOOK_HOSTS` holds for it. A Medic that stands by does not call.",
    )
    medic_deadman_seconds: Annotated[float, number(1, 86_400, "seconds")] = Field(
        60.0, description="Time between two calls. One that failed is made again meanwhile."
    )
    medic_deadman_key: Secret = Field(
        None,
        description="Sent with each call as `Authorization: Bearer`: the API key of another Medic that is called, or a "
        "reference to a stored secret.",
    )
    medic_watch_seconds: Annotated[float, number(0.1, 3_600, "seconds")] = Field(
        5.0, description="`medic watch`: time between two looks at the Medic it watches."
    )
    medic_watch_grace_seconds: Annotated[float, number(1, 86_400, "seconds")] = Field(
        60.0,
        description="`medic watch`: how long it may be silent, or make no progress, before anybody is paged. Longer "
        "than a restart or a takeover lasts.",
    )
    medic_watch_references: References = Field(
        (),
        description="`medic watch`: host:port, with commas between them, of what is nearly always there. Where none of "
        "them can be reached, the watcher takes itself for cut off. Unset: the vendors it would tell.",
    )


TABLES: Final = (
    Listening,
    Access,
    Database,
    Storage,
    RetentionTimes,
    Watching,
    Telling,
    Operation,
    Traces,
    Limits,
    Secrets,
    Watched,
)

OF_OTHERS: Final = ("MEDIC_API_KEY", "MEDIC_API_KEY_FILE", "MEDIC_PYTHON")
"""Variables of `medic-cli` and of the scripts in the checkout, which may stand in the same environment."""
