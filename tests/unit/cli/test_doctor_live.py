"""`medic doctor --live`: alive, not alive, or not there; over TLS as well."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from medic.cli import doctor_live
from medic.cli.doctor_live import ask_life, say_life
from medic.config.load import load_settings
from medic.config.settings import Settings
from tests.unit.cli.small_medic import Answer, SmallMedic
from tests.unit.cli.test_doctor import answering


def settings_for(port: int | str, **environment: str) -> Settings:
    """Those of a Medic that listens there."""
    return load_settings({"PORT": str(port), **environment})


@pytest.mark.parametrize(
    ("answer", "alive", "said"),
    [
        (Answer(200, {"status": "alive"}), True, "is alive."),
        (Answer(200, {"status": "alive", "role": "standby"}), True, "is alive and stands by."),
        (Answer(503, {"status": "stalled"}), False, "is stalled."),
        (Answer(200, {"hello": "world"}), False, "is not Medic."),
        (Answer(200, b"<html>"), False, "is not Medic."),
        (Answer(200, b"[]"), False, "is not Medic."),
    ],
)
def test_what_is_answered_says_whether_it_lives(small: SmallMedic, answer: Answer, said: str, *, alive: bool) -> None:
    small.scripted = [answer]
    life = ask_life(settings_for(small.url.rpartition(":")[2]).listen)
    assert (life.alive, life.sentence.endswith(said)) == (alive, True), life.sentence
    assert small.last.path == "/health/live"


def test_where_medic_listens_on_every_address_it_is_asked_on_its_own_side(
    small: SmallMedic, capsys: pytest.CaptureFixture[str]
) -> None:
    small.scripted = [Answer(200, {"status": "alive"})]
    port = small.url.rpartition(":")[2]
    beyond = {"MEDIC_HOST": "0.0.0.0", "MEDIC_AUTH": "keys", "MEDIC_DATABASE": "embedded"}
    assert say_life(settings_for(port, **beyond)) == 0
    assert capsys.readouterr().out == f"Medic on 127.0.0.1:{port} is alive.\n"


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_nobody_there_is_not_alive(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert say_life(settings_for(port)) == 1
    assert "connection refused" in capsys.readouterr().out


def test_a_loop_that_does_not_turn_is_not_alive(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_live, "PATIENCE_SECONDS", 0.1)
    life = ask_life(settings_for(silent).listen)
    assert (life.alive, life.sentence) == (
        False,
        f"Medic does not answer on 127.0.0.1:{silent}: nothing came within 0.1 s.",
    )


def test_a_broken_answer_is_not_alive() -> None:
    with answering(lambda _: b"nonsense\r\n\r\n") as port:
        life = ask_life(settings_for(port).listen)
    assert (life.alive, life.sentence) == (False, f"Medic does not answer on 127.0.0.1:{port}: the connection broke.")


def test_over_tls_the_name_in_the_certificate_does_not_matter(small: SmallMedic, tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("medic.example")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    leaf.cert_chain_pems[0].write_to_path(str(chain))
    leaf.private_key_pem.write_to_path(str(key))
    small.scripted = [Answer(200, {"status": "alive"})]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    small.speak_tls(context)
    given = {"MEDIC_TLS_CERT": str(chain), "MEDIC_TLS_KEY": str(key)}
    assert ask_life(settings_for(small.url.rpartition(":")[2], **given).listen).alive
