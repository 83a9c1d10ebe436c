"""`medic demo`: a whole Medic, and fifty simulated services that beat, fall silent, fail and recover before one's eyes.

Medic is the real one, in this process, with an embedded PostgreSQL in a folder of its own; the services speak HTTP to
it like any other client. Nothing of the caller's environment but the time zone is used, so that a demo never pages
anybody: alerts go to the terminal.
"""

from __future__ import annotations

import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import trio

from medic.config.load import load_settings
from medic.config.settings import Settings

NAMES: Final = (
    "checkout",
    "invoices",
    "search-index",
    "backup",
    "mailer",
    "thumbnails",
    "reports",
    "billing",
    "imports",
    "cache",
)
REGIONS: Final = ("eu", "us", "ap", "sa", "af")
TEAMS: Final = ("payments", "payments", "search", "platform", "growth", "media", "data", "payments", "data", "platform")

ROUND_SECONDS: Final = 60.0
"""Each service does again what it did a minute before."""

RETRY_SECONDS: Final = 0.2

LIMITS: Final = httpx.Limits(max_connections=50, max_keepalive_connections=50)
"""A connection for each service, kept."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """A simulated service.

    Attributes:
        name, team, priority: As registered.
        interval: Promised seconds between heartbeats.
        habit: What it does, as `beats_of` knows it.
        begins: Second of each round at which its bad moment begins.
    """

    name: str
    team: str
    priority: str
    interval: float
    habit: str
    begins: float


def simulated_services(count: int = 50) -> list[Simulated]:
    """The services: most are well; some fall silent now and then, report failures, or are degraded for a while."""
    services = []
    for number in range(count):
        name, region = number % len(NAMES), number // len(NAMES) % len(REGIONS)
        habit = _HABITS[number % len(_HABITS)]
        services.append(
            Simulated(
                name=f"{NAMES[name]}-{REGIONS[region]}",
                team=TEAMS[name],
                priority=f"p{1 + number % 5}",
                interval=3.0 + number % 4,
                habit=habit,
                begins=2.0 + (number * 7) % 40,
            )
        )
    return services


def beats_of(service: Simulated) -> Iterator[tuple[float, str]]:
    """Seconds since the service began, and the status it sends then: without end, each round like the one before."""
    pace = service.interval / 3
    round_begin = 0.0
    while True:
        at, told = 0.0, False
        while at < ROUND_SECONDS:
            bad = service.begins <= at < service.begins + _BAD_SECONDS[service.habit]
            match service.habit:
                case "falls silent" if bad:
                    pass
                case "fails" if bad:
                    if not told:
                        yield round_begin + at, "FAILED" if service.interval > 4 else "DOWN"
                    told = True
                case "is degraded" if bad:
                    yield round_begin + at, "DEGRADED"
                case _:
                    yield round_begin + at, "UP"
            at += pace
        round_begin += ROUND_SECONDS


@contextmanager
def demo_folder(folder: Path | None) -> Iterator[Path]:
    """The folder given, kept; or a temporary one, removed at the end."""
    if folder is not None:
        yield folder.expanduser().absolute()
        return
    with tempfile.TemporaryDirectory(prefix="medic-demo-", ignore_cleanup_errors=True) as temporary:
        yield Path(temporary)


def demo_settings(environment: Mapping[str, str], *, port: int, folder: Path) -> Settings:
    """The settings of a Medic that tells nobody but this terminal."""
    return load_settings(
        {
            "PORT": str(port or _free_port()),
            "MEDIC_DATABASE": "embedded",
            "MEDIC_DATA_DIR": str(folder),
            "MEDIC_FIRST_HEARTBEAT_MINUTES": "0",
            "MEDIC_TIMEZONE": environment.get("MEDIC_TIMEZONE") or "UTC",
            "MEDIC_FLAP_OPENINGS": "0",  # what fails every minute would soon be flapping, and nothing more be told
            "LOG_LEVEL": "WARNING",
        }
    )


async def run_demo(settings: Settings, announce: Callable[[str], None], *, seconds: float | None) -> None:
    """Serve, and let the services live, until Ctrl-C, SIGTERM, or the end of `seconds`."""
    from medic.app.serve import serve  # noqa: PLC0415 - everything Medic is made of

    url = f"http://{settings.listen.addresses[0]}"
    async with trio.open_nursery() as nursery:

        async def serve_to_the_end() -> None:
            await serve(settings, announce)
            nursery.cancel_scope.cancel()

        nursery.start_soon(serve_to_the_end)
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10, limits=LIMITS) as client:
            await wait_ready(client)  # before it, no signal is taken in order
            await live(client, announce, seconds=float("inf") if seconds is None else seconds)
        # The same way out as Ctrl-C: drain, journal, PostgreSQL, in order.
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep_forever()


async def live(client: httpx.AsyncClient, announce: Callable[[str], None], *, seconds: float = float("inf")) -> None:
    """Register every service, and let it do what it does for so many seconds from then on."""
    services = simulated_services()
    for service in services:
        await _register(client, service)
    announce("")
    announce(
        f"{len(services)} simulated services beat every few seconds. Within a minute some fall silent or fail; their"
    )
    announce("alerts open below, and close when they recover. Ctrl-C ends the demo and removes what it made.")
    announce("")
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for service in services:
                nursery.start_soon(_beat_on, client, service)


async def wait_ready(client: httpx.AsyncClient) -> None:
    """Return once Medic takes heartbeats."""
    while True:
        try:
            if (await client.get("/health/ready")).status_code == 200:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        await trio.sleep(RETRY_SECONDS)


async def _register(client: httpx.AsyncClient, service: Simulated) -> None:
    body = {
        "heartbeat_name": service.name,
        "service_name": f"{service.name}-service",
        "alert_interval": service.interval / 60,
        "team": service.team,
        "priority": service.priority,
    }
    await _post(client, "/service", body)


async def _beat_on(client: httpx.AsyncClient, service: Simulated) -> None:
    begun = trio.current_time()
    for at, status in beats_of(service):
        await trio.sleep_until(begun + at)
        await _post(client, "/heartbeat", {"heartbeat_name": service.name, "service_name": "", "status": status})


async def _post(client: httpx.AsyncClient, path: str, body: Mapping[str, object]) -> None:
    """Send it; a Medic that is just stopping refuses connections, and that is no news."""
    try:
        await client.post(path, json=dict(body))
    except httpx.TransportError:
        await trio.sleep(RETRY_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_HABITS: Final = (
    "is well",
    "falls silent",
    "is well",
    "is well",
    "fails",
    "is well",
    "is well",
    "falls silent",
    "is well",
    "is well",
    "is well",
    "is degraded",
    "is well",
    "falls silent",
    "is well",
    "is well",
    "is well",
)
"""Seventeen, so that habits, names and regions do not go together."""

_BAD_SECONDS: Final = {"is well": 0.0, "falls silent": 10.0, "fails": 8.0, "is degraded": 6.0}
