"""The express lane in the real process: killed between two answers, and over TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme

from tests.e2e.process import MedicProcess
from tests.patience import PATIENCE_SECONDS


def beat(name: str, count: int) -> bytes:
    body = b'{"heartbeat_name":"%b","status":"UP"}' % name.encode()
    return b"POST /heartbeat HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) * count


def test_what_was_answered_201_on_a_pipeline_survives_kill_9(medic: MedicProcess) -> None:
    medic.register("fast")
    with socket.create_connection(("127.0.0.1", medic.port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(beat("fast", 200))
        received = b""
        while received.count(b"HTTP/1.1 201") < 50:
            piece = client.recv(65_536)
            assert piece, received
            received += piece
        medic.kill()
    acknowledged = received.count(b'"results":""}')
    medic.start()
    rows = medic.results("/heartbeat?heartbeat_name=fast&maxCount=250")
    assert acknowledged <= len(rows) <= 200
    assert len({row["heartbeat_id"] for row in rows}) == len(rows)


def test_heartbeats_come_over_tls(tmp_path: Path, first_data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    files = {name: tmp_path / f"{name}.pem" for name in ("authority", "chain", "key")}
    authority.cert_pem.write_to_path(str(files["authority"]))
    files["chain"].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(files["key"]))
    subprocess.run(["cp", "-a", first_data_dir, tmp_path / "data"], check=True)
    medic = MedicProcess(tmp_path / "data", MEDIC_TLS_CERT=str(files["chain"]), MEDIC_TLS_KEY=str(files["key"]))
    medic.url = f"https://localhost:{medic.port}"
    # urllib trusts whom the environment names.
    monkeypatch.setenv("SSL_CERT_FILE", str(files["authority"]))
    medic.start()
    try:
        medic.register("job")
        assert medic.beat("job").status == 201
        assert f"listens on https://127.0.0.1:{medic.port}" in medic.output()
        context = ssl.create_default_context(cafile=str(files["authority"]))
        with (
            socket.create_connection(("127.0.0.1", medic.port), timeout=PATIENCE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            client.sendall(beat("job", 3))
            received = b""
            while received.count(b'"results":""}') < 3:
                piece = client.recv(65_536)
                assert piece, received
                received += piece
        assert received.count(b"HTTP/1.1 201") == 3
    finally:
        assert medic.stop() == 0, medic.output()
