"""The command `medic`: how it ends, what it exports, what the demo plays. The real process runs in tests/e2e."""

from __future__ import annotations

import errno
import itertools
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trio
import typer

from medic.cli import medic as command
from medic.cli.demo import beats_of, demo_folder, demo_settings, live, simulated_services, wait_ready
from medic.cli.ending import EXIT_CONFIGURATION, EXIT_INTERRUPTED, EXIT_UNAVAILABLE, end_as_it_should
from medic.cli.environment import database_in_use, exports
from medic.config.load import load_settings
from medic.errors import ConfigurationError, DatabaseUnavailableError, Fault, PassingError
from medic.store.postgres.target import ConnectionTarget
from tests.patience import PATIENCE_SECONDS
from tests.unit.cli.small_medic import Answer, SmallMedic

PORT_FAULT = ConfigurationError((Fault("127.0.0.1:80", "another program listens there. Set PORT."),))
TWO_FAULTS = ConfigurationError((Fault("PORT", "is wrong"), Fault("DEBUG", "is wrong too")))


def raises(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def run_medic(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["medic", *words])
    with pytest.raises(SystemExit) as ended:
        command.main()
    return ended.value.code if isinstance(ended.value.code, int) else 0


# -------------------------------------------------------------------------------------------------------------- endings


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (PORT_FAULT, EXIT_CONFIGURATION, "medic: 127.0.0.1:80: another program listens there. Set PORT.\n"),
        (
            TWO_FAULTS,
            EXIT_CONFIGURATION,
            "medic: 2 settings are wrong, nothing was started:\n  PORT: is wrong.\n  DEBUG: is wrong too.\n",
        ),
        (
            BaseExceptionGroup("", [ExceptionGroup("", [PORT_FAULT]), ExceptionGroup("", [PORT_FAULT])]),
            EXIT_CONFIGURATION,
            "medic: 127.0.0.1:80: another program listens there. Set PORT.\n",
        ),
        (
            PassingError((Fault("MEDIC_DATA_DIR", "is in use by another Medic."),)),
            EXIT_UNAVAILABLE,
            "medic: MEDIC_DATA_DIR: is in use by another Medic.\n",
        ),
        (BaseExceptionGroup("", [PassingError(PORT_FAULT.faults), TWO_FAULTS]), EXIT_CONFIGURATION, None),
        (DatabaseUnavailableError("PostgreSQL is away."), EXIT_UNAVAILABLE, "medic: PostgreSQL is away.\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/journal"),
            EXIT_UNAVAILABLE,
            "medic: the disk does not take what Medic has to write: no space left on device (/data/journal).\n",
        ),
        (PermissionError(errno.EACCES, "Permission denied"), EXIT_CONFIGURATION, None),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, ""),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), EXIT_INTERRUPTED, ""),
    ],
)
def test_what_the_operator_settles_is_a_message_and_a_status(
    error: BaseException, status: int, said: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        end_as_it_should(raises(error))
    assert ended.value.exit_code == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said is None or captured.err == said
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("error", [KeyError("bug"), OSError(errno.EIO, "Input/output error")])
def test_a_bug_is_seen_whole(error: Exception) -> None:
    with pytest.RaisesGroup(type(error)) as ended:
        end_as_it_should(raises(ExceptionGroup("", [error])))
    assert ended.value.exceptions == (error,)


def test_an_orderly_end_is_no_exit() -> None:
    end_as_it_should(lambda: None)


@pytest.mark.parametrize("verb", ["serve", "migrate", "doctor", "env"])
def test_a_wrong_environment_ends_every_command_with_every_fault(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "eighty")
    monkeypatch.setenv("MEDIC_JOURNAL_SYNC", "never")
    assert run_medic(verb, monkeypatch=monkeypatch) == 2
    said = capsys.readouterr().err
    assert "PORT: must be a whole number" in said
    assert "MEDIC_JOURNAL_SYNC: must be always or interval" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing argument 'URL"),
        (["ftp://medic.example"], "medic: the address must be a http or https address"),
        (["http://medic.example/?x=1"], "without ? and #"),
        (["http://medic.example", "--name", " "], "--name must be"),
    ],
)
def test_a_watcher_that_is_not_told_whom_to_watch_ends_with_2(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_medic("watch", *words, monkeypatch=monkeypatch) == 2
    assert said in capsys.readouterr().err


def test_version_and_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_medic("--version", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.startswith("Medic ")
    assert run_medic("--help", monkeypatch=monkeypatch) == 0
    said = capsys.readouterr().out
    assert all(verb in said for verb in ("serve", "migrate", "doctor", "env", "demo"))
    assert run_medic("frobnicate", monkeypatch=monkeypatch) == 2


# ------------------------------------------------------------------------------------------------------------------ env

OWN = ConnectionTarget(host="db.example", database="it's", user="medic", password="p'a$s`w\n", sslmode="require")


def test_exports_survive_a_shell() -> None:
    lines = "\n".join(exports(OWN.environment(), show_secrets=True))
    shown = subprocess.run(
        [
            "sh",
            "-c",
            f'{lines}\nprintf "%s|" "$PGDATABASE" "$PG_PASS" "$PGPASSWORD" "$DB_HOST" "$PG_USER" "$PGSSLMODE"',
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "it's|p'a$s`w\n|p'a$s`w\n|db.example|medic|require|"


def test_a_terminal_is_not_shown_the_password() -> None:
    lines = list(exports(OWN.environment(), show_secrets=False))
    assert not any("p'a$s" in line or shlex.quote("p'a$s`w\n") in line for line in lines)
    assert [line for line in lines if "PASS" in line and not line.startswith("#")] == []
    assert "export DB_HOST=db.example" in lines


def test_env_prints_exports_of_the_operators_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:secret@db.example/medic")
    assert run_medic("env", monkeypatch=monkeypatch) == 0
    captured = capsys.readouterr()
    assert "export DB_HOST=db.example\n" in captured.out
    assert "export PGPASSWORD=secret\n" in captured.out
    assert captured.err == ""


def test_env_of_an_embedded_database_that_does_not_run_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MEDIC_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MEDIC_DATABASE", "embedded")
    assert run_medic("env", monkeypatch=monkeypatch) == 0
    captured = capsys.readouterr()
    assert "export PGDATABASE=medic\n" in captured.out
    assert "PASS" not in captured.out
    assert "does not run now" in captured.err
    assert not (tmp_path / "data").exists(), "asking makes nothing"


def test_the_database_in_use_is_the_one_of_the_settings(tmp_path: Path) -> None:
    embedded = load_settings({"MEDIC_DATA_DIR": str(tmp_path)})
    target, runs = database_in_use(embedded)
    assert target.is_socket
    assert not runs
    own = load_settings({"DATABASE_URL": "postgresql://me@db.example/medic"})
    assert database_in_use(own) == (own.database.target, True)


# ----------------------------------------------------------------------------------------------------------------- demo


def test_fifty_services_with_names_of_their_own_and_every_habit() -> None:
    services = simulated_services()
    assert len({service.name for service in services}) == 50
    counts = {habit: sum(service.habit == habit for service in services) for habit in {s.habit for s in services}}
    assert counts["is well"] > 30
    assert all(counts[habit] >= 2 for habit in ("falls silent", "fails", "is degraded"))


def test_within_a_minute_services_go_silent_for_longer_than_promised_and_come_back() -> None:
    for service in simulated_services():
        beats = list(itertools.takewhile(lambda beat: beat[0] < 60, beats_of(service)))
        gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(beats)]
        statuses = {status for _, status in beats}
        if service.habit == "falls silent":
            assert max(gaps) > service.interval
            assert max(gaps) + service.begins < 60, "comes back within the minute"
            assert statuses == {"UP"}
        elif service.habit == "fails":
            assert statuses & {"DOWN", "FAILED"}
            assert beats[-1][1] == "UP"
        else:
            assert max(gaps) < service.interval, "is never late"
            assert statuses == ({"UP", "DEGRADED"} if service.habit == "is degraded" else {"UP"})
        assert sorted(beats) == beats


def test_a_round_is_like_the_one_before() -> None:
    service = next(service for service in simulated_services() if service.habit == "fails")
    beats = list(itertools.takewhile(lambda beat: beat[0] < 120, beats_of(service)))
    half = len(beats) // 2
    assert [(at - 60, status) for at, status in beats[half:]] == beats[:half]


def test_a_demo_tells_nobody_whatever_the_environment_says(tmp_path: Path) -> None:
    environment = {
        "PAGERDUTY_ROUTING_KEY": "k",
        "SLACK_API_TOKEN": "t",
        "SLACK_CHANNEL_ID": "C1",
        "DATABASE_URL": "postgresql://prod/prod",
        "MEDIC_TIMEZONE": "Europe/Berlin",
    }
    settings = demo_settings(environment, port=0, folder=tmp_path)
    assert settings.telling.pagerduty is settings.telling.slack is None
    assert settings.database.kind == "embedded"
    assert settings.listen.loopback_only
    assert settings.telling.zone.key == "Europe/Berlin"
    assert settings.listen.addresses[0].port > 0
    assert demo_settings({}, port=4321, folder=tmp_path).listen.addresses[0].port == 4321


async def test_the_services_of_a_demo_register_and_beat(small: SmallMedic) -> None:
    small.scripted = [Answer(503, {"status": "not_ready"})]
    said: list[str] = []
    async with httpx.AsyncClient(base_url=small.url, trust_env=False, timeout=PATIENCE_SECONDS) as client:
        await wait_ready(client)
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(live, client, said.append)
                while len({row["heartbeat_name"] for row in small.heartbeats}) < 50:
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
    assert {row["heartbeat_name"] for row in small.heartbeats} == set(small.services)
    assert any("50 simulated services" in line for line in said)


async def test_a_demo_is_not_disturbed_by_a_medic_that_has_just_stopped() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        with trio.move_on_after(0.3) as scope:
            await wait_ready(client)
        assert scope.cancelled_caught
        with trio.move_on_after(0.3) as scope:
            await live(client, lambda _: None)
        assert scope.cancelled_caught


def test_a_demo_removes_what_it_made_and_keeps_what_it_was_given(tmp_path: Path) -> None:
    with demo_folder(None) as temporary:
        assert temporary.is_dir()
        (temporary / "file").touch()
    assert not temporary.exists()
    with demo_folder(tmp_path) as given:
        assert given == tmp_path
    assert tmp_path.exists()


def test_python_m_medic_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "medic", "--version"], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.startswith("Medic ")


# ------------------------------------------------------------------------------------------------------------ migrating


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--plan", "--adopt"), "--plan and --adopt: one of them"),
        (("--finish", "--back"), "--finish and --back: one of them"),
        (("--adopt", "--zone", "Chicago"), "'Chicago' is no time zone"),
        (("--adopt", "--zone", "../etc/passwd"), "is no time zone"),
    ],
)
def test_steps_that_exclude_each_other_and_zones_that_are_none_are_refused(
    words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run_medic("migrate", *words, monkeypatch=monkeypatch) == EXIT_CONFIGURATION
    assert said in capsys.readouterr().err
