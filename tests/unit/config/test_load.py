"""The environment becomes settings, or one error with every fault. Nothing here opens a socket."""

from __future__ import annotations

import base64
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme

from medic.access.allowlist import AllowedHost
from medic.config.load import known_names, load_settings, load_settings_to_serve, secret_names
from medic.config.secret_rules import references_of, values_of
from medic.core.policy import Defaults
from medic.core.units import HOUR_MS, DurationMs
from medic.errors import ConfigurationError
from medic.store.retention.ages import Retention

OWN_DATABASE = {"DB_HOST": "db.example", "DB_NAME": "medic", "PG_USER": "medic", "PG_PASS": "hunter2"}


def faults(**environment: str) -> dict[str, str]:
    """Variable to sentence."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environment)
    found = {fault.field: fault.message for fault in caught.value.faults}
    assert len(found) == len(caught.value.faults), "one sentence a variable"
    return found


def test_an_empty_environment_is_a_whole_configuration() -> None:
    settings = load_settings({})
    assert [str(address) for address in settings.listen.addresses] == ["127.0.0.1:8080"]
    assert settings.listen.base_url == "http://localhost:8080"
    assert settings.listen.loopback_only
    assert settings.database.kind == "embedded"
    assert settings.storage.folder == Path.cwd() / "medic-data"
    assert settings.storage.journal_sync == "always"
    assert settings.telling.slack is settings.telling.pagerduty is None
    assert settings.telling.zone.key == "America/Chicago"
    assert settings.tuning.defaults == Defaults(heartbeats_a_minute=100)
    assert settings.tuning.changes_seconds == 15
    assert settings.retention == Retention(heartbeats=30, hours=92, days=1_100, alerts=400, snapshots=400, audit=0)
    assert settings.logs.level == "INFO"
    assert settings.remarks == ()


def test_the_runbooks_variables_are_all_known() -> None:
    runbook = """DB_HOST DB_PORT DB_NAME PG_USER PG_PASS PORT DEBUG MEDIC_BASE_URL MEDIC_TIMEZONE LOG_LEVEL
    WORKER_INTERVAL_SECONDS ALERT_AUTO_UNMUTE_HOURS HEARTBEAT_RETENTION_DAYS REDIS_URL MEDIC_RATE_LIMITER_TYPE
    REDIS_POOL_SIZE SLACK_API_TOKEN SLACK_CHANNEL_ID SLACK_SIGNING_SECRET PAGERDUTY_ROUTING_KEY MEDIC_SECRETS_KEY
    MEDIC_WEBHOOK_SECRET MEDIC_ALLOWED_WEBHOOK_HOSTS"""
    assert set(runbook.split()) <= set(known_names())


def test_the_runbooks_whole_environment_starts_medic() -> None:
    settings = load_settings(
        {
            **OWN_DATABASE,
            "DB_PORT": "5433",
            "PORT": "9090",
            "DEBUG": "true",
            "MEDIC_BASE_URL": "https://medic.example/",
            "MEDIC_TIMEZONE": "Europe/Berlin",
            "LOG_LEVEL": "warn",
            "WORKER_INTERVAL_SECONDS": "0.5",
            "ALERT_AUTO_UNMUTE_HOURS": "0",
            "HEARTBEAT_RETENTION_DAYS": "7",
            "REDIS_URL": "redis://localhost:6379/0",
            "MEDIC_RATE_LIMITER_TYPE": "auto",
            "REDIS_POOL_SIZE": "10",
            "SLACK_API_TOKEN": "xoxb-1",
            "SLACK_CHANNEL_ID": "C1",
            "SLACK_SIGNING_SECRET": "s",
            "PAGERDUTY_ROUTING_KEY": "k" * 32,
            "MEDIC_SECRETS_KEY": base64.b64encode(bytes(32)).decode(),
            "MEDIC_WEBHOOK_SECRET": "w" * 16,
            "MEDIC_ALLOWED_WEBHOOK_HOSTS": "Hooks.Example, 10.1.2.3",
        }
    )
    target = settings.database.target
    assert target is not None
    assert (target.host, target.port, target.database, target.user) == ("db.example", 5433, "medic", "medic")
    assert target.password == "hunter2"
    assert settings.listen.base_url == "https://medic.example"
    assert settings.logs.level == "WARNING"
    assert settings.logs.debug
    assert settings.tuning.defaults.auto_unmute_ms == 0
    assert settings.telling.zone.key == "Europe/Berlin"
    assert settings.telling.webhook_hosts == (AllowedHost("hooks.example"), AllowedHost(network=ip_network("10.1.2.3")))
    assert settings.webhook_secret is not None
    assert settings.limits.limiter == "redis"
    assert settings.telling.slack is not None
    assert settings.telling.slack.token.get_secret_value() == "xoxb-1"
    assert settings.retention.heartbeats == 7
    assert settings.remarks == ()


def test_no_secret_is_in_the_text_of_the_settings() -> None:
    marked = {name: f"geheim{number}" for number, name in enumerate(sorted(secret_names()))}
    marked["MEDIC_SECRETS_KEY"] = base64.b64encode(b"geheim-geheim-geheim-geheim-gehe").decode()
    marked["MEDIC_SECRETS_KEY_BEFORE"] = base64.b64encode(b"geheim-geheim-geheim-geheim-geh2").decode()
    marked["MEDIC_WEBHOOK_SECRET"] = "geheim-geheim-geheim"
    marked["REDIS_URL"] = "redis://:geheim@localhost/0"
    marked["MEDIC_ADMIN_API_KEY"] = "geheim" * 6
    marked["MEDIC_DEADMAN_URL"] = "https://calls.example/geheim-of-the-check"
    marked["DATABASE_URL"] = "postgresql://u:geheim@h/d"
    del marked["PG_PASS"]
    settings = load_settings({**marked, "SLACK_CHANNEL_ID": "C1", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"})
    assert "geheim" not in f"{settings!r} {settings}"
    assert marked["MEDIC_SECRETS_KEY"] not in f"{settings!r}"
    known = values_of(settings)
    assert {value for name, value in marked.items() if name != "DATABASE_URL"} <= known
    assert {"geheim", "geheim-of-the-check"} <= known, "the secrets within addresses"


def test_references_to_secrets_need_a_key_and_their_form() -> None:
    slack = {"SLACK_API_TOKEN": "${secrets.slack}", "SLACK_CHANNEL_ID": "C1"}
    key = base64.b64encode(bytes(32)).decode()
    assert "SLACK_API_TOKEN refers to a stored secret" in faults(**slack)["MEDIC_SECRETS_KEY"]
    settings = load_settings({**slack, "MEDIC_SECRETS_KEY": key, "PAGERDUTY_ROUTING_KEY": "k" * 32})
    assert references_of(settings) == {"SLACK_API_TOKEN": ("slack",)}
    assert "${secrets.slack}" not in values_of(settings)
    assert references_of(load_settings({})) == {}
    assert "must refer to secrets as" in faults(PAGERDUTY_ROUTING_KEY="${secrets.}")["PAGERDUTY_ROUTING_KEY"]


def test_the_key_before_comes_before_another() -> None:
    key = base64.b64encode(bytes(32)).decode()
    assert "is the one before it" in faults(MEDIC_SECRETS_KEY_BEFORE=key)["MEDIC_SECRETS_KEY"]
    both = faults(MEDIC_SECRETS_KEY=key, MEDIC_SECRETS_KEY_BEFORE=key)
    assert "is the same as MEDIC_SECRETS_KEY" in both["MEDIC_SECRETS_KEY_BEFORE"]


def test_no_secret_is_in_the_text_of_a_fault() -> None:
    found = faults(
        DATABASE_URL="mysql://u:geheim@h:x/d",
        REDIS_URL="http://:geheim@h",
        SLACK_API_TOKEN="gehe im",
        MEDIC_SECRETS_KEY="geheim",
        PAGERDUTY_ROUTING_KEY="geheim\n",
        PORT="geheim",
        LOG_LEVEL="geheim",
        MEDIC_BASE_URL="http://u:geheim@h",
    )
    assert {"DATABASE_URL", "REDIS_URL", "SLACK_API_TOKEN", "MEDIC_SECRETS_KEY", "PORT", "LOG_LEVEL"} <= found.keys()
    assert "geheim" not in str(found)


@pytest.mark.parametrize(
    "url", ["postgresql://u:geheim@h:geheim/d", "postgresql://u:geheim@[h/d", "postgresql://h:99999999/d"]
)
def test_a_database_url_that_cannot_be_read_is_a_fault_without_its_password(url: str) -> None:
    found = faults(DATABASE_URL=url)
    assert found.keys() == {"DATABASE_URL"}
    assert "geheim" not in found["DATABASE_URL"]


def test_every_fault_is_named_at_once() -> None:
    found = faults(
        PORT="0",
        MEDIC_HOST="not a host",
        MEDIC_JOURNAL_SYNC="sometimes",
        MEDIC_TIMEZONE="Mars/Olympus",
        WORKER_INTERVAL_SECONDS="soon",
        DB_PORT="x",
        SLACK_API_TOKEN="xoxb-1",
        MEDIC_RATE_LIMITER_TYPE="redis",
        MEDIC_JOURNAL_SYNK="always",
    )
    assert found.keys() == {
        "PORT",
        "MEDIC_HOST",
        "MEDIC_JOURNAL_SYNC",
        "MEDIC_TIMEZONE",
        "WORKER_INTERVAL_SECONDS",
        "DB_PORT",
        "DB_HOST",
        "DB_NAME",
        "PG_USER",
        "PG_PASS",
        "SLACK_CHANNEL_ID",
        "REDIS_URL",
        "MEDIC_JOURNAL_SYNK",
    }
    assert found["MEDIC_JOURNAL_SYNC"] == "must be always or interval"
    assert found["PORT"] == "must be a whole number from 1 to 65535"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("PORT", "80.5", "must be a whole number from 1 to 65535"),
        ("PORT", "٨٠", "must be a whole number"),
        ("PORT", "1_000", "must be a whole number"),
        ("DEBUG", "maybe", "must be 1 or 0"),
        ("LOG_LEVEL", "LOUD", "must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("ALERT_AUTO_UNMUTE_HOURS", "-1", "must be a number of hours from 0 to 8784"),
        ("ALERT_AUTO_UNMUTE_HOURS", "nan", "must be a number of hours"),
        ("ALERT_AUTO_UNMUTE_HOURS", "inf", "must be a number of hours"),
        ("HEARTBEAT_RETENTION_DAYS", "0", "must be a whole number from 1"),
        ("MEDIC_TIMEZONE", "America", "must be a time zone of the IANA database"),
        ("MEDIC_TIMEZONE", "../../etc/passwd", "must be a time zone of the IANA database"),
        ("MEDIC_BASE_URL", "medic.example", "must be a http or https address"),
        ("MEDIC_BASE_URL", "https://medic.example:x", "must be a http or https address"),
        ("MEDIC_BASE_URL", "https://medic.example?a=1", "must be an address without ? and #"),
        ("MEDIC_LISTEN_ALSO", "5000,x:y", "must be ports or host:port"),
        ("MEDIC_LISTEN_ALSO", ":5000", "must be ports or host:port"),
        ("MEDIC_LISTEN_ALSO", "::1:5000", "must be ports or host:port"),
        ("MEDIC_LISTEN_ALSO", "5000,5000", "names the same thing twice"),
        ("MEDIC_LISTEN_ALSO", "8080", "names 127.0.0.1:8080 although Medic listens there already"),
        ("MEDIC_TRUSTED_PROXIES", "10.0.0.1/8", "must be addresses or networks"),
        ("MEDIC_ALLOWED_WEBHOOK_HOSTS", "a b", "must be hosts, host:port, *.domain or networks"),
        ("MEDIC_ALLOWED_WEBHOOK_HOSTS", "10.0.0.1/8", "must be hosts, host:port, *.domain or networks"),
        ("MEDIC_ALLOWED_WEBHOOK_HOSTS", "a.example, A.example", "names the same thing twice"),
        ("MEDIC_WEBHOOK_SECRET", "short", "must be whsec_ and at least 24 bytes in base64, or a text of at least 16"),
        ("MEDIC_WEBHOOK_SECRET", "a text with a space", "must consist of printable ASCII without spaces"),
        ("MEDIC_REQUIRE_NOTIFIERS", "email", "must be pagerduty, slack"),
        ("MEDIC_AUTH", "shut", "must be one of open, heartbeats-open, keys"),
        ("MEDIC_ADMIN_API_KEY", "k" * 31, "must be at least 32 printable characters"),
        ("MEDIC_METRICS_OPEN", "maybe", "must be 1 or 0"),
        ("MEDIC_ALLOWED_HOSTS", "medic:0", "must be host names or addresses, with a port or without"),
        ("MEDIC_ALLOWED_HOSTS", "http://medic", "must be host names or addresses, with a port or without"),
        ("MEDIC_ALLOWED_HOSTS", "::1", "must be host names or addresses, with a port or without"),
        ("MEDIC_ALLOWED_HOSTS", "a b", "must be a host name or an address"),
        ("MEDIC_CORS_ORIGINS", "*", "must be origins as browsers say them"),
        ("MEDIC_CORS_ORIGINS", "https://grafana.example/", "must be origins as browsers say them"),
        ("MEDIC_CORS_ORIGINS", "https://Grafana.example", "must be origins as browsers say them"),
        ("MEDIC_CORS_ORIGINS", "https://grafana.example:443", "must be origins as browsers say them"),
        ("MEDIC_CORS_ORIGINS", "https://u:p@grafana.example", "must be origins as browsers say them"),
        ("MEDIC_CORS_ORIGINS", "https://grafana.example:x", "must be origins as browsers say them"),
        ("MEDIC_CORS_ORIGINS", "null", "must be origins as browsers say them"),
        ("MEDIC_RATE_LIMITER_TYPE", "memcached", "must be one of auto, redis, memory"),
        ("MEDIC_SECRETS_KEY", "c2hvcnQ=", "must be 32 bytes in base64"),
        ("MEDIC_SECRETS_KEY", "§", "must be 32 bytes in base64"),
        ("MEDIC_DATABASE", "sqlite", "must be embedded or external"),
        ("SLACK_CHANNEL_ID", "C\n1", "must consist of printable characters"),
        ("DB_SSLMODE", "require", "has no meaning for the embedded database"),
        ("DB_SSLROOTCERT", "/nowhere/at/all.pem", "must be a file that can be read: no such file or directory"),
        ("REDIS_URL", "redis://localhost:x", "must be an address like redis://"),
        ("REDIS_URL", "unix://", "must be an address like redis://"),
    ],
)
def test_a_wrong_value_is_a_sentence_that_names_its_bounds(name: str, text: str, sentence: str) -> None:
    assert faults(**{name: text})[name].startswith(sentence)


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert load_settings(dict.fromkeys(known_names(), "")) == load_settings({})
    assert load_settings({"PORT": " \t", "MEDIC_WHATEVER": ""}) == load_settings({})


def test_spaces_around_a_value_are_not_part_of_it_unless_it_is_a_secret() -> None:
    settings = load_settings({**OWN_DATABASE, "PG_PASS": " pass word ", "PORT": "9000\r"})
    assert settings.listen.addresses[0].port == 9000
    assert settings.database.target is not None
    assert settings.database.target.password == " pass word "


# ---------------------------------------------------------------------------------------------------------- listening


def test_further_ports_and_proxies_are_lists() -> None:
    settings = load_settings(
        {
            "MEDIC_HOST": "[::1]",
            "MEDIC_LISTEN_ALSO": "5000, localhost:5001,[::1]:5002,",
            "MEDIC_TRUSTED_PROXIES": "10.0.0.0/8,::1",
            "PORT": "8081",
        }
    )
    assert [str(address) for address in settings.listen.addresses] == [
        "[::1]:8081",
        "[::1]:5000",
        "localhost:5001",
        "[::1]:5002",
    ]
    assert settings.listen.loopback_only
    assert settings.listen.base_url == "http://localhost:8081"
    assert settings.listen.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))


# ----------------------------------------------------------------------------------------------------------- database


@pytest.mark.parametrize("mark", ["DB_HOST", "DB_PORT", "DB_NAME", "PG_USER", "PG_PASS"])
def test_one_mark_of_a_database_of_their_own_makes_what_is_missing_a_fault(mark: str) -> None:
    needed = {"DB_HOST", "DB_NAME", "PG_USER", "PG_PASS"}
    found = faults(**{mark: "5432"})
    assert found.keys() == needed - {mark}
    assert all(sentence == f"is missing: {mark} asks for a PostgreSQL of your own" for sentence in found.values())


def test_external_asked_for_and_nothing_said_is_a_fault_for_each_part() -> None:
    assert faults(MEDIC_DATABASE="external").keys() == {"DB_HOST", "DB_NAME", "PG_USER", "PG_PASS"}


def test_a_unix_socket_needs_no_password_and_no_encryption() -> None:
    socket = {"DB_HOST": "/run/postgresql", "DB_NAME": "medic", "PG_USER": "medic"}
    settings = load_settings(socket)
    assert settings.database.target is not None
    assert settings.database.target.is_socket
    assert settings.database.target.password is None
    assert faults(**socket, DB_SSLMODE="require") == {"DB_SSLMODE": "has no meaning on a Unix socket: unset it"}


def test_database_url_says_everything_and_stands_alone() -> None:
    settings = load_settings({"DATABASE_URL": "postgres://me:p%40ss@db.example:6000/medic?sslmode=require"})
    target = settings.database.target
    assert target is not None
    assert (target.host, target.port, target.password, target.sslmode) == ("db.example", 6000, "p@ss", "require")
    found = faults(DATABASE_URL="postgres://me@h/d", DB_HOST="h", DB_SSLMODE="require")
    assert found == {
        "DB_HOST": "stands beside DATABASE_URL: keep one of the two",
        "DB_SSLMODE": "stands beside DATABASE_URL: say sslmode=… in its query instead",
    }
    assert faults(DATABASE_URL="postgres://h")["DATABASE_URL"].startswith("must name host, user and database")


def test_embedded_beside_a_database_of_their_own_is_a_fault() -> None:
    sentence = faults(MEDIC_DATABASE="embedded", **OWN_DATABASE)["MEDIC_DATABASE"]
    assert sentence.startswith("is embedded, but DB_HOST, DB_NAME, PG_USER and PG_PASS name a PostgreSQL of your own")
    assert "DB_HOST names" in faults(MEDIC_DATABASE="embedded", DB_HOST="h")["MEDIC_DATABASE"]


# ------------------------------------------------------------------------------------------------------------ telling


def test_half_of_slack_tells_nobody() -> None:
    assert faults(SLACK_API_TOKEN="xoxb-1") == {"SLACK_CHANNEL_ID": "is missing: SLACK_API_TOKEN alone tells nobody"}
    assert faults(SLACK_CHANNEL_ID="C1") == {"SLACK_API_TOKEN": "is missing: SLACK_CHANNEL_ID alone tells nobody"}


def test_required_notifiers_have_to_be_there() -> None:
    found = faults(MEDIC_REQUIRE_NOTIFIERS="pagerduty,Slack")
    assert found == {
        "PAGERDUTY_ROUTING_KEY": "is missing: MEDIC_REQUIRE_NOTIFIERS asks for pagerduty",
        "SLACK_API_TOKEN": "is missing: MEDIC_REQUIRE_NOTIFIERS asks for slack",
    }
    assert faults(MEDIC_REQUIRE_NOTIFIERS="slack", SLACK_API_TOKEN="x").keys() == {"SLACK_CHANNEL_ID"}
    there = {"PAGERDUTY_ROUTING_KEY": "k", "SLACK_API_TOKEN": "t", "SLACK_CHANNEL_ID": "C1"}
    load_settings({"MEDIC_REQUIRE_NOTIFIERS": "pagerduty,slack", **there})


def test_limits_choose_redis_where_there_is_one() -> None:
    assert load_settings({}).limits.limiter == "memory"
    assert load_settings({"REDIS_URL": "unix:///run/redis.sock"}).limits.limiter == "redis"
    both = {"REDIS_URL": "rediss://h", "MEDIC_RATE_LIMITER_TYPE": "memory"}
    assert load_settings(both).limits.limiter == "memory"


def test_durations_are_in_medics_units() -> None:
    settings = load_settings(
        {"MEDIC_RENOTIFY_MINUTES": "1.5", "MEDIC_FIRST_HEARTBEAT_MINUTES": "0", "MEDIC_BLIND_MAX_HOURS": "0.5"}
    )
    assert settings.tuning.defaults.renotify_ms == 90_000
    assert settings.tuning.defaults.first_heartbeat_ms == 0
    assert settings.storage.blind_max_ms == DurationMs(HOUR_MS // 2)


# ------------------------------------------------------------------------------------------------- names and NAME_FILE


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("MEDIC_JOURNAL_SYCN", "MEDIC_JOURNAL_SYNC"),
        ("MEDIC_BASEURL", "MEDIC_BASE_URL"),
        ("MEDIC_PORT", "PORT"),
        ("MEDIC_LOG_LEVEL", "LOG_LEVEL"),
        ("MEDIC_DB_HOST", "DB_HOST"),
        ("MEDIC_SECRET_KEY", "MEDIC_SECRETS_KEY"),
    ],
)
def test_a_typing_error_is_a_fault_with_the_nearest_name(name: str, nearest: str) -> None:
    assert faults(**{name: "9000"})[name] == f"is no variable of Medic; did you mean {nearest}?"


def test_a_name_like_no_other_is_a_fault_without_a_guess() -> None:
    assert faults(MEDIC_QUUX="1") == {"MEDIC_QUUX": "is no variable of Medic"}


@pytest.mark.parametrize(("said", "withheld"), [("", False), ("on", False), ("off", True)])
def test_notify_off_withholds_and_nothing_else_does(said: str, withheld: bool) -> None:
    assert load_settings({"MEDIC_NOTIFY": said}).telling.withheld is withheld
    assert "MEDIC_NOTIFY" in faults(MEDIC_NOTIFY="0")


def test_what_kubernetes_sets_for_services_named_medic_is_left_alone() -> None:
    load_settings(
        {
            "MEDIC_SERVICE_HOST": "10.0.0.1",
            "MEDIC_SERVICE_PORT": "8080",
            "MEDIC_SERVICE_PORT_HTTP": "8080",
            "MEDIC_PORT": "tcp://10.0.0.1:8080",
            "MEDIC_PORT_8080_TCP": "tcp://10.0.0.1:8080",
            "MEDIC_PORT_8080_TCP_ADDR": "10.0.0.1",
            "MEDIC_WEB_SERVICE_HOST": "10.0.0.1",
            "MEDIC_WEB_PORT": "tcp://10.0.0.1:8080",
            "MEDIC_WEB_PORT_8080_TCP_PROTO": "tcp",
            "MEDIC_API_KEY": "for medic-cli",
        }
    )


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "pass").write_text("pass word\r\n")
    own = {**OWN_DATABASE, "PG_PASS": "", "PG_PASS_FILE": str(tmp_path / "pass")}
    settings = load_settings(own)
    assert settings.database.target is not None
    assert settings.database.target.password == "pass word"


def test_a_file_of_a_secret_that_does_not_work_is_one_fault(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "huge").write_bytes(b"x" * 100_000)
    found = faults(
        **{**OWN_DATABASE, "PG_PASS": "", "PG_PASS_FILE": str(tmp_path / "nowhere")},
        SLACK_API_TOKEN_FILE=str(tmp_path / "empty"),
        SLACK_CHANNEL_ID="C1",
        REDIS_URL_FILE=str(tmp_path / "binary"),
        PAGERDUTY_ROUTING_KEY="k",
        PAGERDUTY_ROUTING_KEY_FILE=str(tmp_path / "empty"),
        MEDIC_WEBHOOK_SECRET_FILE=str(tmp_path / "huge"),
        MEDIC_HOST_FILE=str(tmp_path / "empty"),
    )
    assert found == {
        "PG_PASS_FILE": "cannot be read: no such file or directory",
        "SLACK_API_TOKEN_FILE": "is an empty file",
        "REDIS_URL_FILE": "must be a text file in UTF-8",
        "PAGERDUTY_ROUTING_KEY": "stands beside PAGERDUTY_ROUTING_KEY_FILE: keep one of the two",
        "MEDIC_WEBHOOK_SECRET_FILE": "is larger than any secret",
        "MEDIC_HOST_FILE": "is no variable of Medic; only secrets are taken from files: set MEDIC_HOST",
    }


def test_whoever_serves_is_told_of_the_folder_beside_every_other_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = {"MEDIC_DATA_DIR": str(tmp_path / "file" / "data"), "LOG_LEVEL": "LOUD"}
    with pytest.raises(ConfigurationError) as caught:
        load_settings_to_serve(environment)
    assert [fault.field for fault in caught.value.faults] == ["LOG_LEVEL", "MEDIC_DATA_DIR"]


def test_a_folder_that_can_be_made_is_not_made_by_reading_the_environment(tmp_path: Path) -> None:
    settings = load_settings_to_serve({"MEDIC_DATA_DIR": str(tmp_path / "data")})
    assert settings.storage.folder == tmp_path / "data"
    assert not settings.storage.folder.exists()


# --------------------------------------------------------------------------------------------------------------- TLS


def test_a_certificate_without_its_key_is_a_fault_that_names_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "file.pem"
    file.write_bytes(b"")
    assert faults(MEDIC_TLS_CERT=str(file)) == {"MEDIC_TLS_KEY": "is missing: MEDIC_TLS_CERT needs it"}
    assert faults(MEDIC_TLS_KEY=str(file)) == {"MEDIC_TLS_CERT": "is missing: MEDIC_TLS_KEY needs it"}


def test_files_that_are_none_or_do_not_belong_together_are_faults(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued, other = authority.issue_cert("a.example"), authority.issue_cert("b.example")
    chain, key, junk = tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "junk.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(other.private_key_pem.bytes())
    junk.write_bytes(b"junk")
    found = faults(MEDIC_TLS_CERT=str(chain), MEDIC_TLS_KEY=str(key))
    assert found == {"MEDIC_TLS_KEY": "is not the key of the certificate in MEDIC_TLS_CERT"}
    assert "PEM files" in faults(MEDIC_TLS_CERT=str(junk), MEDIC_TLS_KEY=str(key))["MEDIC_TLS_CERT"]
    assert faults(MEDIC_TLS_CERT=str(tmp_path / "none"), MEDIC_TLS_KEY=str(key)).keys() == {"MEDIC_TLS_CERT"}


def test_a_certificate_makes_every_address_https(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    listen = load_settings({"MEDIC_TLS_CERT": str(chain), "MEDIC_TLS_KEY": str(key)}).listen
    assert (listen.scheme, listen.base_url) == ("https", "https://localhost:8080")
    assert listen.certificate is not None
    assert (listen.certificate.chain, listen.certificate.key) == (chain, key)
    assert load_settings({}).listen.scheme == "http"
