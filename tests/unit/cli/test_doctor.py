"""`medic doctor` against servers on loopback that work, refuse, or are not there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medic.cli import doctor
from medic.cli.checks import disk
from medic.cli.doctor import Finding, Verdict, examine
from medic.config.load import load_settings
from tests.unit.cli.small_medic import Answer, SmallMedic


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def answering(script: Callable[[bytes], bytes]) -> Iterator[int]:
    """A TCP server that answers each piece it reads."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                while piece := connection.recv(4096):
                    connection.sendall(script(piece))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        thread.join(5)


async def findings(tmp_path: Path, **environment: str) -> dict[str, Finding]:
    """By part; the last one of each."""
    given = {"MEDIC_DATA_DIR": str(tmp_path / "data"), "PORT": str(closed_port()), **environment}
    return {finding.part: finding for finding in await examine(load_settings(given))}


async def test_an_empty_configuration_is_sound_and_full_of_notes(tmp_path: Path) -> None:
    found = await findings(tmp_path)
    assert {part: finding.verdict for part, finding in found.items()} == {
        "configuration": Verdict.OK,
        "data folder": Verdict.NOTE,
        "lasting": found["lasting"].verdict,  # this machine's own, as is its clock and its limit
        "clock": found["clock"].verdict,
        "open files": found["open files"].verdict,
        "PostgreSQL": Verdict.NOTE,
        "Redis": Verdict.NOTE,
        "PagerDuty": Verdict.NOTE,
        "Slack": Verdict.NOTE,
        "webhooks": Verdict.OK,
        "deadman": Verdict.NOTE,
        "Medic": Verdict.NOTE,
    }
    assert "PAGERDUTY_ROUTING_KEY" in found["PagerDuty"].to_do
    assert not (tmp_path / "data").exists(), "looking changes nothing"
    assert found["Medic"].as_json()["verdict"] == "note"


async def test_the_disk_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    found = await findings(tmp_path)
    assert "a sync takes" in found["data folder"].found
    assert "GiB free" in found["disk"].found
    assert list((tmp_path / "data").iterdir()) == []
    monkeypatch.setattr(disk, "SLOW_SYNC_MS", 0)
    assert (await findings(tmp_path))["data folder"].verdict is Verdict.NOTE


@pytest.mark.parametrize(
    ("free", "verdict"),
    [(1 << 40, Verdict.OK), (5 << 30, Verdict.NOTE), (100 << 20, Verdict.NOTE), (1 << 20, Verdict.BAD)],
)
def test_room_on_the_disk_is_judged(free: int, verdict: Verdict) -> None:
    assert disk.room(free, 8 << 30).verdict is verdict


async def test_a_file_where_the_folder_should_be_is_bad(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    found = await findings(tmp_path)
    assert found["data folder"].verdict is Verdict.BAD


async def test_a_database_that_is_not_there_is_bad(tmp_path: Path) -> None:
    found = await findings(tmp_path, DATABASE_URL=f"postgresql://me:geheim@127.0.0.1:{closed_port()}/medic")
    assert found["PostgreSQL"].verdict is Verdict.BAD
    assert "DB_HOST" in found["PostgreSQL"].to_do
    assert "geheim" not in str(found)


async def test_pagerduty_is_connected_to_and_not_called(tmp_path: Path, small: SmallMedic) -> None:
    with answering(lambda _: b"") as port:
        url = f"http://127.0.0.1:{port}/v2/enqueue"
        found = await findings(tmp_path, PAGERDUTY_ROUTING_KEY="k", PAGERDUTY_EVENTS_URL=url)
    assert found["PagerDuty"].verdict is Verdict.OK
    assert "no page was sent" in found["PagerDuty"].found
    gone = {"PAGERDUTY_ROUTING_KEY": "k", "PAGERDUTY_EVENTS_URL": f"http://127.0.0.1:{closed_port()}"}
    assert (await findings(tmp_path, **gone))["PagerDuty"].verdict is Verdict.BAD
    gone["PAGERDUTY_EVENTS_URL"] = small.url.replace("http://", "https://")
    assert (await findings(tmp_path, **gone))["PagerDuty"].verdict is Verdict.BAD, "no TLS there"


@pytest.mark.parametrize(
    ("answer", "verdict", "said"),
    [
        (Answer(200, {"ok": True, "user": "medic", "team": "T"}), Verdict.OK, "the token is valid: medic of T"),
        (Answer(200, {"ok": False, "error": "invalid_auth"}), Verdict.BAD, "Slack refuses the token: invalid_auth"),
        (Answer(200, b"<html>"), Verdict.BAD, "is not Slack's API"),
        (Answer(502, ["x"]), Verdict.BAD, "is not Slack's API"),
    ],
)
async def test_slack_is_asked_whose_the_token_is(
    tmp_path: Path, small: SmallMedic, answer: Answer, verdict: Verdict, said: str
) -> None:
    small.scripted = [answer]
    slack = {"SLACK_API_TOKEN": "xoxb-geheim", "SLACK_CHANNEL_ID": "C1", "SLACK_API_URL": f"{small.url}/api"}
    found = (await findings(tmp_path, **slack))["Slack"]
    assert found.verdict is verdict
    assert said in found.found
    assert small.last.path == "/api/auth.test"
    assert small.last.headers["authorization"] == "Bearer xoxb-geheim"
    assert "geheim" not in str(found)


async def test_slack_out_of_reach_is_bad(tmp_path: Path) -> None:
    slack = {"SLACK_API_TOKEN": "t", "SLACK_CHANNEL_ID": "C1", "SLACK_API_URL": f"http://127.0.0.1:{closed_port()}"}
    assert "cannot be reached" in (await findings(tmp_path, **slack))["Slack"].found


async def test_redis_is_asked_in_its_own_words(tmp_path: Path) -> None:
    heard: list[bytes] = []

    def script(piece: bytes) -> bytes:
        heard.append(piece)
        return b"+OK\r\n" if b"AUTH" in piece else b"*2\r\n:0\r\n:60\r\n"

    with answering(script) as port:
        found = (await findings(tmp_path, REDIS_URL=f"redis://me:p%40ss@127.0.0.1:{port}/0"))["Redis"]
    assert found == Finding("Redis", Verdict.OK, "answers, and counts")
    assert heard[0] == b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$4\r\np@ss\r\n"


@pytest.mark.parametrize("answer", [b"-NOAUTH Authentication required.\r\n", b"HTTP/1.1 400\r\n"])
async def test_a_redis_that_refuses_is_bad(tmp_path: Path, answer: bytes) -> None:
    with answering(lambda _: answer) as port:
        found = (await findings(tmp_path, REDIS_URL=f"redis://:geheim@127.0.0.1:{port}"))["Redis"]
    assert found.verdict is Verdict.BAD
    assert "geheim" not in str(found)


async def test_a_redis_that_is_not_there_is_bad(tmp_path: Path) -> None:
    for url in (f"redis://127.0.0.1:{closed_port()}", f"unix://{tmp_path}/none", f"rediss://127.0.0.1:{closed_port()}"):
        assert (await findings(tmp_path, REDIS_URL=url))["Redis"].verdict is Verdict.BAD


@pytest.mark.parametrize(
    ("status", "verdict"), [("healthy", Verdict.OK), ("degraded", Verdict.NOTE), ("unhealthy", Verdict.BAD)]
)
async def test_a_running_medic_is_asked_how_it_is(
    tmp_path: Path, small: SmallMedic, status: str, verdict: Verdict
) -> None:
    small.health["status"] = status
    found = await findings(tmp_path, PORT=small.url.rpartition(":")[2])
    assert found["Medic"].verdict is verdict


async def test_another_program_on_the_port_is_bad(tmp_path: Path, small: SmallMedic) -> None:
    small.scripted = [Answer(200, b"hello")]
    found = await findings(tmp_path, PORT=small.url.rpartition(":")[2])
    assert found["Medic"].verdict is Verdict.BAD
    assert "another program" in found["Medic"].found


async def test_a_look_that_takes_too_long_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOOK_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = await findings(tmp_path, REDIS_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}")
    assert found["Redis"] == Finding("Redis", Verdict.BAD, "no answer within 0.2 s", "see that it is up")
