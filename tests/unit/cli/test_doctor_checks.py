"""What single findings of the doctor mean, each with a table of cases."""

from __future__ import annotations

import ast
import contextlib
import resource
import socket
import ssl
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from medic.cli.checks import disk, machine, targets, vendors
from medic.cli.checks.database import cleanup
from medic.cli.checks.disk import Mount, lasting, look_at_mount, mount_of
from medic.cli.checks.finding import Verdict
from medic.cli.checks.machine import Kept, clock, files
from medic.cli.checks.targets import look_at_deadman, trouble_with
from medic.cli.checks.vendors import look_at_slack
from medic.config.load import load_settings
from medic.core.units import HOUR_MS, InstantMs
from medic.http.limits import CONNECTIONS_MAX, FILES_RESERVED
from tests.fakes.names import Names, guard
from tests.shape.checkout import at, parsed, python_files
from tests.unit.cli.small_medic import Answer, SmallMedic

TABLE = r"""
22 1 259:1 / / rw,relatime shared:1 - overlay overlay rw,lowerdir=/a,upperdir=/b
23 22 0:21 / /var/lib/medic rw,nosuid - ext4 /dev/sda\0401 rw
24 22 0:22 / /dev/shm rw - tmpfs tmpfs rw
25 22 0:23 / /with\040space rw - xfs /dev/sdb rw
26 22 0:24 / /dev/shm/again rw - ext4 /dev/sdc rw
27 26 0:25 / /dev/shm/again rw - ramfs none rw
a line that is none
"""


@pytest.mark.parametrize(
    ("folder", "mount", "verdict"),
    [
        ("/data", Mount("/", "overlay", "overlay"), Verdict.NOTE),
        ("/var/lib/medic", Mount("/var/lib/medic", "ext4", "/dev/sda 1"), Verdict.OK),
        ("/var/lib/medic/deeper", Mount("/var/lib/medic", "ext4", "/dev/sda 1"), Verdict.OK),
        ("/var/lib/medicine", Mount("/", "overlay", "overlay"), Verdict.NOTE),
        ("/dev/shm/data", Mount("/dev/shm", "tmpfs", "tmpfs"), Verdict.NOTE),
        ("/with space/data", Mount("/with space", "xfs", "/dev/sdb"), Verdict.OK),
        ("/dev/shm/again/data", Mount("/dev/shm/again", "ramfs", "none"), Verdict.NOTE),
    ],
)
def test_whether_a_folder_outlives_its_container_is_read_off_the_mounts(
    folder: str, mount: Mount, verdict: Verdict
) -> None:
    assert mount_of(Path(folder), TABLE) == mount
    finding = lasting(mount)
    assert finding.verdict is verdict
    assert mount.kind in finding.found
    assert bool(finding.to_do) is (verdict is not Verdict.OK)


async def test_a_system_without_such_a_table_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings({"MEDIC_DATA_DIR": str(tmp_path / "not" / "there")})
    [here] = await look_at_mount(settings)
    assert here.part == "lasting"
    monkeypatch.setattr(disk, "MOUNTS", tmp_path / "empty")
    assert await look_at_mount(settings) == []
    (tmp_path / "empty").touch()
    assert await look_at_mount(settings) == []


@pytest.mark.parametrize(
    ("kept", "verdict", "said"),
    [
        (Kept(is_kept=True, error_us=3_000), Verdict.OK, "to within 3 ms"),
        (Kept(is_kept=True, error_us=9_000_000), Verdict.NOTE, "to within 9000 ms"),
        (Kept(is_kept=False, error_us=16_000_000), Verdict.NOTE, "nobody keeps it"),
        (None, Verdict.NOTE, "cannot be known"),
    ],
)
def test_a_clock_that_nobody_keeps_is_worth_knowing(kept: Kept | None, verdict: Verdict, said: str) -> None:
    finding = clock(kept)
    assert finding.verdict is verdict
    assert said in finding.found


def test_a_kernel_that_does_not_say_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for broken in (lambda _: (_ for _ in ()).throw(OSError), lambda _: object(), lambda _: Refusing()):
        monkeypatch.setattr(machine.ctypes, "CDLL", broken)
        assert machine.kept_clock() is None


class Refusing:
    """A library whose kernel says no."""

    @staticmethod
    def adjtimex(_: object) -> int:
        return -1


@pytest.mark.parametrize(
    ("most", "verdict", "said"),
    [
        (resource.RLIM_INFINITY, Verdict.OK, f"no limit: room for {CONNECTIONS_MAX}"),
        (CONNECTIONS_MAX + FILES_RESERVED, Verdict.OK, f"room for {CONNECTIONS_MAX}"),
        (FILES_RESERVED + 100, Verdict.NOTE, "room for 100 connections"),
        (FILES_RESERVED, Verdict.BAD, "no room for connections"),
    ],
)
def test_the_limit_on_open_files_is_said_in_connections(most: int, verdict: Verdict, said: str) -> None:
    finding = files(most)
    assert finding.verdict is verdict
    assert said in finding.found
    assert bool(finding.to_do) is (verdict is not Verdict.OK)


@pytest.mark.parametrize(
    ("hours", "verdict", "said"),
    [
        (None, Verdict.NOTE, "none yet"),
        (3, Verdict.OK, "3 h ago"),
        (30, Verdict.NOTE, "30 h ago"),
        (24 * 5, Verdict.BAD, "5 d ago"),
        (-1, Verdict.OK, "0 s ago"),
    ],
)
def test_the_last_cleanup_is_said_with_how_long_ago_it_was(hours: int | None, verdict: Verdict, said: str) -> None:
    now = InstantMs(1_767_225_600_000)
    finding = cleanup(None if hours is None else InstantMs(now - hours * HOUR_MS), now)
    assert finding.verdict is verdict
    assert finding.found.startswith(said)


@pytest.mark.parametrize(
    ("scopes", "verdict"), [("chat:write,users:read", Verdict.OK), ("users:read", Verdict.BAD), (None, Verdict.OK)]
)
async def test_a_slack_token_that_may_not_post_is_bad(small: SmallMedic, scopes: str | None, verdict: Verdict) -> None:
    headers = {} if scopes is None else {"X-OAuth-Scopes": scopes}
    small.scripted = [Answer(200, {"ok": True, "user": "medic", "team": "T"}, headers)]
    slack = {"SLACK_API_TOKEN": "t", "SLACK_CHANNEL_ID": "C1", "SLACK_API_URL": f"{small.url}/api"}
    [finding] = await look_at_slack(load_settings(slack))
    assert finding.verdict is verdict
    assert ("chat:write" in finding.to_do) is (verdict is Verdict.BAD)


# ----------------------------------------------------------------------------------------------------------- deadman


async def deadman(url: str, **more: str) -> tuple[Verdict, str]:
    given = {"MEDIC_DEADMAN_URL": url, "MEDIC_ALLOWED_WEBHOOK_HOSTS": "127.0.0.1", **more}
    [finding] = await look_at_deadman(load_settings(given))
    return finding.verdict, finding.found


async def test_whom_medic_calls_is_connected_to_and_not_called(small: SmallMedic) -> None:
    verdict, said = await deadman(f"{small.url}/secret-of-the-check", MEDIC_DEADMAN_SECONDS="30")
    assert verdict is Verdict.OK
    assert said == "127.0.0.1 can be reached; it is called every 30 s while Medic makes progress"
    assert small.asked == []
    verdict, said = await deadman(f"{small.url}/secret-of-the-check", MEDIC_ALLOWED_WEBHOOK_HOSTS="hooks.example")
    assert verdict is Verdict.BAD
    assert "secret-of-the-check" not in said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://gone.example/x", "the name was not resolved"),
        ("http://inside.example/x", "nothing is sent there: the address"),
        ("http://me:secret@public.example/x", "must not have a user name"),
        ("http://[::1/x", "cannot be read in one way only"),
    ],
)
async def test_a_target_that_cannot_be_told_says_why_and_what_to_do(url: str, said: str) -> None:
    names = Names(gone_example=("",), inside_example=("10.0.0.1",))
    trouble = await trouble_with(url, guard(names=names))
    assert trouble is not None
    assert said in trouble[0]
    assert trouble[1]
    assert "secret" not in str(trouble)


async def test_a_certificate_that_nobody_trusts_is_bad_and_one_that_is_trusted_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, host="127.0.0.1", https_compatible=True)
        [listener] = await nursery.start(serve, _wait_end, 0, context)
        url = f"https://127.0.0.1:{listener.transport_listener.socket.getsockname()[1]}/"
        verdict, said = await deadman(url)
        assert (verdict, "certificate verify failed" in said) == (Verdict.BAD, True)
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        monkeypatch.setattr(vendors, "trusted_authorities", lambda: trusting)
        assert (await deadman(url))[0] is Verdict.OK
        nursery.cancel_scope.cancel()


async def test_a_target_that_hangs_is_bad_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "REACH_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert await deadman(f"https://127.0.0.1:{silent.getsockname()[1]}/") == (
            Verdict.BAD,
            "127.0.0.1: it does not answer within 0.1 s",
        )


async def _wait_end(stream: trio.SSLStream) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass


async def test_a_secret_that_is_missing_is_said_of_the_secrets(tmp_path: Path) -> None:
    given = {
        "MEDIC_DEADMAN_URL": "https://calls.example/${secrets.check}",
        "MEDIC_SECRETS_KEY": "A" * 43 + "=",
        "MEDIC_DATA_DIR": str(tmp_path),
    }
    assert await look_at_deadman(load_settings(given)) == []


# ----------------------------------------------------------------------------------------------------------- to do


def test_each_finding_that_is_not_ok_says_what_to_do() -> None:
    silent, found = [], 0
    for path in [path for path in python_files("medic") if path.parent.name == "checks"]:
        calls = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
        for call in [call for call in calls if ast.unparse(call.func) == "Finding"]:
            if "OK" in ast.unparse(call.args[1]):
                continue
            found += 1
            if len(call.args) < 4 or ast.unparse(call.args[3]) == "''":
                silent.append(at(path, call.lineno))
    assert silent == []
    assert found > 30
