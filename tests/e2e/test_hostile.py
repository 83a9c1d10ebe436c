"""The real process among ill-meaning clients: ten thousand idle connections, SQL in every field, forged log lines."""

from __future__ import annotations

import base64
import contextlib
import re
import resource
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from medic.http.routes import ROUTES
from tests.e2e.process import MedicProcess
from tests.patience import PATIENCE_SECONDS

CROWD = 10_000
FILES_OF_OURS = 512
ABREAST = 500
"""Connections that are opened before the first of them is looked at: less than the kernel holds until they come in."""

SQL = [
    "'; DROP TABLE services; --",
    "' OR '1'='1",
    '" OR ""="',
    "1); DELETE FROM alerts; --",
    "$1",
    "%s %(x)s {x} ${x}",
    "\\'; SELECT pg_sleep(10) --",
    "/* x */ UNION SELECT 1",
    "E'\\x27'",
    "a'||(SELECT version())||'b",
]

UNFIT = ["a%00b", "%0a", "%ud800", "%ED%A0%80", "a" * 5_000]
"""Texts that a parser or a database may stumble over: NUL, a line's end, surrogates in two spellings, too much."""

_PLACE = re.compile(r"\{.*?\}")


@pytest.fixture(params=["text", "json"])
def form(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def medic(tmp_path: Path, first_data_dir: Path) -> Iterator[MedicProcess]:
    subprocess.run(["cp", "-a", first_data_dir, tmp_path / "data"], check=True)
    process = MedicProcess(tmp_path / "data").start()
    yield process
    assert process.stop() == 0, process.output()


@pytest.fixture
def many_files() -> Iterator[int]:
    """How many connections this process may hold, up to `CROWD`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(CROWD + FILES_OF_OURS, hard), hard))
    yield min(CROWD, hard - FILES_OF_OURS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_crowd(port: int, count: int, opened: list[socket.socket]) -> None:
    """So many connections; every third has sent half a head, every third a whole request."""
    for number in range(count):
        opened.append(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS))
        if number % 3:
            opened[-1].sendall(b"POST /heartbeat HTTP/1.1\r\nHost: " if number % 3 == 1 else b"PUT /x HTTP/1.1\r\nX: ")


def test_ten_thousand_idle_connections_keep_no_heartbeat_out(medic: MedicProcess, many_files: int) -> None:
    medic.register("job")
    kept = socket.create_connection(("127.0.0.1", medic.port), timeout=PATIENCE_SECONDS)
    body = b'{"heartbeat_name":"job","status":"UP"}'
    beat = b"POST /heartbeat HTTP/1.1\r\nHost: medic\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    crowd: list[socket.socket] = []
    answered = 0
    try:
        for _ in range(many_files // ABREAST):
            open_crowd(medic.port, ABREAST, crowd)
            assert medic.beat("job").status == 201, "on a connection of its own"
            answered += 1
            with contextlib.suppress(OSError):
                kept.sendall(beat)
                if b"HTTP/1.1 201" in kept.recv(65_536):
                    answered += 1
                    continue
            # It gave way like any other that waits, and comes again.
            kept.close()
            kept = socket.create_connection(("127.0.0.1", medic.port), timeout=PATIENCE_SECONDS)
        assert medic.get("/health/live").status == medic.get("/health/ready").status == 200
        assert len(medic.results("/service")) == 1
    finally:
        for client in (kept, *crowd):
            client.close()
    assert len(medic.results("/heartbeat?heartbeat_name=job&maxCount=250")) == answered
    assert "Traceback" not in medic.output()


def test_text_of_sql_is_text_in_every_field(medic: MedicProcess) -> None:
    for number, text in enumerate(SQL):
        name = f"job {number} {text}"
        fields = {"service_name": text, "team": text, "mute_reason": text, "muted": 1}
        registered = medic.post(
            "/service",
            {"heartbeat_name": name, "alert_interval": 60, "runbook": "https://x/?q=" + quote(text), **fields},
        )
        assert registered.status == 201, registered
        assert medic.post("/heartbeat", {"heartbeat_name": name, "status": text, "run_id": text}).status == 201
        assert (
            medic.request(
                "POST", f"/service/{quote(name, safe='')}", {"service_name": text}, **{"X-Actor": text}
            ).status
            == 200
        )
        assert medic.beat(name, "DOWN").status == 201
        [alert] = medic.wait_for(lambda name=name: medic.results(f"/alerts?heartbeat_name={quote(name)}"))
        path = f"/alerts/{alert['alert_id']}/acknowledge"
        assert medic.request("POST", path, {"note": text}, **{"X-Actor": text}).status == 200
        [service] = medic.results(f"/service/{quote(name, safe='')}")
        assert {field: service[field] for field in fields} == fields
        assert (service["heartbeat_name"], service["muted_by"]) == (name, "127.0.0.1")
        rows = medic.results(f"/heartbeat?heartbeat_name={quote(name)}")
        assert {(row["status"], row["run_id"]) for row in rows} == {(text, text), ("DOWN", None)}
        question = path.removesuffix("/acknowledge")
        medic.wait_for(lambda question=question: medic.results(question)["acknowledged_by"])
        shown = medic.results(question)
        assert (shown["acknowledged_by"], shown["team"]) == (text, text)
    for text in SQL:
        asked = quote(text, safe="")
        for path in (
            f"/service?q={asked}",
            f"/service?team={asked}",
            f"/heartbeat?service_name={asked}",
            f"/alerts?team={asked}",
        ):
            found = medic.get(path)
            assert found.status == 200
            assert found.json["results"], path
        for path in (
            f"/alerts/{asked}",
            f"/service?limit={asked}",
            f"/alerts?cursor={asked}",
            f"/service?cursor={asked}",
        ):
            assert medic.get(path).status == 400
    assert len(medic.results("/service")) == len(SQL)


def test_no_text_in_a_path_or_a_query_is_a_500(medic: MedicProcess) -> None:
    """Over the real PostgreSQL: fakes take every text, it does not."""
    assert medic.stop() == 0
    medic.environment["MEDIC_SECRETS_KEY"] = base64.b64encode(bytes(32)).decode()
    medic.start()
    asked = 0
    for route in ROUTES:
        usual = _PLACE.sub("1", route.path)
        queries = [f"{usual}?{parameter.name}={text}" for parameter in route.query or () for text in UNFIT]
        places = [_PLACE.sub(text, route.path) for text in UNFIT if usual != route.path]
        for path in queries + places:
            answer = medic.request(route.method, path, {} if route.method == "POST" else None)
            assert answer.status < 500, (route.method, path[:80], answer)
            asked += 1
    assert asked > len(UNFIT) * len(ROUTES), "routes without places and parameters only"
    assert "Traceback" not in medic.output()


def test_no_line_of_the_log_is_a_callers(medic: MedicProcess, form: str, tmp_path: Path) -> None:
    assert medic.stop() == 0
    medic.environment |= {"MEDIC_LOG_FORMAT": form} if form == "json" else {"DEBUG": "1"}
    medic.start()
    before = len(medic.output())
    forged = "x\r\n2026-01-01T00:00:00Z [error    ] forged\x1b[2J\u2028\u202e"
    medic.register("job")
    medic.beat("job", forged[:64])
    medic.post("/heartbeat", {"heartbeat_name": forged, "status": "UP"})
    medic.post("/heartbeat", {"heartbeat_name": "nobody", "status": forged[:64], forged: forged})
    medic.post("/service/job", {"mute_reason": forged, "muted": 1})
    medic.get("/service?" + quote(forged))
    with socket.create_connection(("127.0.0.1", medic.port), timeout=PATIENCE_SECONDS) as raw:
        raw.sendall(b"GET /\x1b[2J\xff HTTP/1.1\r\nHost: x\x1b\r\nUser-Agent: \x1b[2J\r\nX-Actor: \x1b\r\n\r\n")
        raw.recv(65_536)
    said = medic.output()[before:]
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert not any(line.startswith("2026-01-01T00:00:00Z") for line in said.splitlines())
