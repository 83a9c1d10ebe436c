"""The outside watcher over real sockets: what it sees in answers, and what it has told because of it."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import trio

from medic.actors.clock import SightedClock, wall_now
from medic.actors.outbox import Outbox
from medic.alerting.outbound import is_there, outbound_client
from medic.app import looking
from medic.app import watcher as module
from medic.app.looking import judged, references, seen_at
from medic.app.watcher import Watched, Watcher, default_name
from medic.config.load import load_settings, load_settings_to_watch
from medic.config.settings import WatchSettings
from medic.core.ledger import NotificationLedger
from medic.core.notification import Notification
from medic.core.outside import Reply
from medic.core.units import SightedMs
from medic.errors import ConfigurationError
from medic.store.journal.memory_journal import MemoryJournal
from tests.actors.world import Ear
from tests.e2e.process import free_port
from tests.patience import PATIENCE_SECONDS

UNREACHABLE = ("255.255.255.255", 443)
"""No connection leads to the address of everybody, on whatever network."""

FAST = WatchSettings(seconds=0.02, grace_seconds=0.3)


class SmallLife:
    """Answers `GET /health/live`: making progress with each answer, standing still, or standing by."""

    def __init__(self, port: int = 0) -> None:
        self.moves = True
        self.beside: dict[str, str] = {}
        self.asked = 0
        life = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                life.asked += life.moves
                said = {"status": "alive", "progress_at": str(life.asked), **life.beside}
                body = json.dumps(said).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def life() -> Iterator[SmallLife]:
    server = SmallLife()
    yield server
    server.end()


class Telling:
    """An outbox over a journal in memory, and what it told."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.ear = Ear(self.journal)
        self.ledger = NotificationLedger()
        self.clock = SightedClock(resume_at=SightedMs(wall_now()))
        self.outbox = Outbox(self.journal, self.ear, self.clock, self.ledger)

    @property
    def told(self) -> list[Notification]:
        return self.ear.told

    @asynccontextmanager
    async def watching(self, watched: Watched, **beside: object) -> AsyncIterator[None]:
        """One run of a watcher."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.outbox.run)
            nursery.start_soon(Watcher(watched, FAST, outbox=self.outbox, clock=self.clock, **beside).run)
            yield
            nursery.cancel_scope.cancel()

    async def wait_told(self, count: int) -> list[str]:
        with trio.fail_after(PATIENCE_SECONDS):
            while len(self.told) < count:  # noqa: ASYNC110 - nobody tells of it
                await trio.sleep(0.005)
        return [notification.kind.value for notification in self.told]


async def test_a_medic_that_stands_still_is_paged_for_once_by_several_runs_and_resolved_once(life: SmallLife) -> None:
    telling, watched = Telling(), Watched("a", (life.url,))
    life.moves = False
    async with telling.watching(watched):
        assert await telling.wait_told(1) == ["trigger"]
    asked = life.asked
    async with telling.watching(watched):
        with trio.fail_after(PATIENCE_SECONDS):
            await trio.sleep(3 * FAST.grace_seconds)
        life.moves = True
        assert await telling.wait_told(2) == ["trigger", "resolve"]
    assert life.asked > asked
    raised, resolved = telling.told
    assert {raised.key, resolved.key} == {"medic-watch-a"}
    assert raised.alert_id == resolved.alert_id
    assert "makes no progress" in raised.text
    assert resolved.lasted_ms is not None
    assert resolved.lasted_ms > 0
    assert raised.late_since is not None
    assert raised.late_since < raised.at


async def test_progress_that_moves_to_another_address_is_no_page(life: SmallLife) -> None:
    other = SmallLife()
    try:
        other.beside = {"role": "standby"}
        telling = Telling()
        async with telling.watching(Watched("a", (life.url, other.url))):
            with trio.fail_after(PATIENCE_SECONDS):
                while not (life.asked and other.asked):  # noqa: ASYNC110 - nobody tells of it
                    await trio.sleep(0.01)
                other.beside, life.beside = {}, {"role": "standby"}
                seen = other.asked
                while other.asked < seen + 2 * FAST.grace_seconds / FAST.seconds:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            # On a machine that gave this process nothing for so long, whatever was raised has been resolved.
            assert telling.outbox.ledger.open_under("medic-watch-a") is None
    finally:
        other.end()


async def test_a_watcher_that_reaches_nothing_pages_for_nobody_and_says_so_afterwards() -> None:
    port = free_port()
    telling = Telling()
    gone = Watched("a", (f"http://127.0.0.1:{port}",))
    async with telling.watching(gone, references=(UNREACHABLE,)):
        with trio.move_on_after(1.0):
            await telling.wait_told(1)
        assert telling.told == []
        life = SmallLife(port)
        try:
            assert await telling.wait_told(1) == ["blind"]
        finally:
            life.end()
    assert "reached nothing at all" in telling.told[0].text


async def test_a_medic_that_is_gone_while_something_else_is_there_is_paged_for(life: SmallLife) -> None:
    telling = Telling()
    gone = Watched("a", (f"http://127.0.0.1:{free_port()}",))
    async with telling.watching(gone, references=(("127.0.0.1", life.port),)):
        assert await telling.wait_told(1) == ["trigger"]
    assert "cannot be connected to" in telling.told[0].text


async def test_what_the_journal_does_not_take_is_told_once_it_does(life: SmallLife) -> None:
    telling = Telling()
    life.moves = False
    telling.journal.intake_refusal = "The disk is full."
    async with telling.watching(Watched("a", (life.url,))):
        with trio.move_on_after(1.0):
            await telling.wait_told(1)
        assert telling.told == []
        telling.journal.intake_refusal = None
        await telling.wait_told(1)
        telling.journal.intake_refusal = "The disk is full."
        life.moves = True
        with trio.move_on_after(0.5):
            await telling.wait_told(2)
        telling.journal.intake_refusal = None
        assert await telling.wait_told(2) == ["trigger", "resolve"]


async def test_a_watcher_that_knows_nothing_of_before_ends_what_may_be_open_once_all_is_well(life: SmallLife) -> None:
    telling, closed = Telling(), list[Notification]()
    life.moves = False
    async with telling.watching(Watched("a", (life.url,)), close=closed.append):
        with trio.move_on_after(FAST.grace_seconds / 2):
            await telling.wait_told(1)
        assert closed == []
        life.moves = True
        with trio.fail_after(PATIENCE_SECONDS):
            while not closed:  # noqa: ASYNC110 - nobody tells of it
                await trio.sleep(0.005)
    [end] = closed
    assert (end.kind.value, end.key) == ("resolve", "medic-watch-a")


async def test_a_watcher_that_raises_by_itself_knows_what_to_end(life: SmallLife) -> None:
    telling, closed = Telling(), list[Notification]()
    life.moves = False
    async with telling.watching(Watched("a", (life.url,)), close=closed.append):
        await telling.wait_told(1)
        life.moves = True
        assert await telling.wait_told(2) == ["trigger", "resolve"]
    assert closed == []


# -------------------------------------------------------------------------------------------------------- one answer


@pytest.mark.parametrize(
    ("status", "body", "reply", "detail"),
    [
        (200, b'{"status":"alive","progress_at":null}', Reply.ACTIVE, ""),
        (200, b'{"status":"alive","role":"standby"}', Reply.STANDS_BY, ""),
        (503, b'{"status":"stalled","reason":"no progress for 10 s: wheel"}', Reply.STALLED, "wheel"),
        (503, b'{"success":false,"message":"10000 connections are open"}', Reply.OTHER, "10000 connections"),
        (502, b"<html>", Reply.OTHER, "answers 502, and not as Medic does"),
        (200, b'["alive"]', Reply.OTHER, "not as Medic does"),
        (503, b'{"status":"alive"}', Reply.OTHER, "answers 503"),
    ],
)
def test_an_answer_is_read(status: int, body: bytes, reply: Reply, detail: str) -> None:
    seen = judged("http://a", status, body)
    assert seen.reply is reply
    assert detail in seen.detail
    assert bool(seen.progress) is (reply is Reply.ACTIVE)


def test_an_earlier_release_says_nothing_of_progress() -> None:
    assert judged("http://a", 200, b'{"status":"alive"}').progress == ""


async def test_whoever_takes_a_connection_and_says_nothing_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "ASK_SECONDS", 0.1)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, outbound_client() as client:
        seen = await seen_at(client, f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
    assert (seen.reply, seen.detail) == (Reply.NONE, "does not answer within 0.1 s")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.ConnectTimeout("slow"), "does not take a connection in time"),
        (httpx.ReadTimeout("slow"), "does not answer within 5 s"),
        (httpx.ConnectError("no"), "cannot be connected to"),
        (httpx.RemoteProtocolError("gone"), "ends the connection without an answer"),
    ],
)
def test_silence_is_said_in_words(error: httpx.HTTPError, words: str) -> None:
    assert looking._why(error) == words


async def test_a_refused_connection_is_somebody_who_is_there(life: SmallLife) -> None:
    assert await is_there("127.0.0.1", life.port)
    assert await is_there("127.0.0.1", free_port())
    assert not await is_there(*UNREACHABLE)


# ---------------------------------------------------------------------------------------------------------- settings


def test_what_is_nearly_always_there_is_what_the_operator_says_else_the_vendors() -> None:
    vendors = {"PAGERDUTY_ROUTING_KEY": "k", "SLACK_API_TOKEN": "t", "SLACK_CHANNEL_ID": "C"}
    assert references(load_settings({})) == ()
    assert references(load_settings(vendors)) == (("events.pagerduty.com", 443), ("slack.com", 443))
    said = load_settings({**vendors, "MEDIC_WATCH_REFERENCES": "192.0.2.1:53,[::1]:80,router:8080"})
    assert references(said) == (("192.0.2.1", 53), ("::1", 80), ("router", 8080))


def test_a_medic_without_a_name_is_called_by_its_address_and_has_a_folder_of_its_own() -> None:
    assert default_name("https://Medic.example:8443/path") == "medic.example:8443"
    folders = {Watched(name, ()).folder for name in ("a/b", "a%2Fb", "a" * 200, "a" * 199, "ü" * 200)}
    assert len(folders) == 5
    assert all("/" not in folder and len(folder) < 200 for folder in folders)


def test_a_watcher_may_run_in_the_environment_of_a_medic() -> None:
    image = {"MEDIC_DATABASE": "external", "MEDIC_HOST": "0.0.0.0", "PAGERDUTY_ROUTING_KEY": "k"}
    with pytest.raises(ConfigurationError):
        load_settings(image)
    assert load_settings_to_watch(image).telling.pagerduty is not None
    for wrong in (
        {"SLACK_API_TOKEN": "t"},
        {"PORT": "x"},
        {"DATABASE_URL": "http://x"},
        {"MEDIC_REQUIRE_NOTIFIERS": "slack"},
    ):
        with pytest.raises(ConfigurationError):
            load_settings_to_watch({**image, **wrong})


async def test_a_watcher_has_no_stored_secrets() -> None:
    key = "A" * 43 + "="
    settings = load_settings({"PAGERDUTY_ROUTING_KEY": "${secrets.pager}", "MEDIC_SECRETS_KEY": key})
    with pytest.raises(ConfigurationError, match="PAGERDUTY_ROUTING_KEY"):
        await module.watch(settings, Watched("a", ("http://127.0.0.1:1",)), print)
