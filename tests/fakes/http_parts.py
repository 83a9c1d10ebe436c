"""What tests of the API put beside the real actors: health that says what it is told, webhooks, a tiny scrape."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from medic.core.author import Author
from medic.errors import UnknownWebhookError
from medic.http.parts import ApiParts, ApiSettings
from medic.metrics.exposition import TEXT, Page
from medic.metrics.requests import RequestMeter
from medic.metrics.services import ServiceFilter
from medic.ports import Clock, ComponentHealth, HealthReport, Webhook
from tests.actors.world import World
from tests.fakes.audit import KeptSignIns, MemoryAuditLog, MemorySnapshots
from tests.fakes.journal_history import JournalHistory
from tests.fakes.webhooks import MemoryWebhookStore


class SaidHealth:
    """Implements `ports.Health`: says what a test sets."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.status = "healthy"
        self.stalled: str | None = None
        self.missing: str | None = None

    def report(self) -> HealthReport:
        since = self._clock.now()
        components = {
            "database": ComponentHealth("healthy", since, (("kind", "embedded"),)),
            "slack": ComponentHealth("not_configured", since),
        }
        return HealthReport(self.status, since, "9.9.9", components)

    def alive(self) -> str | None:
        return self.stalled

    def ready(self) -> str | None:
        return self.missing


class KeptWebhooks:
    """Implements `ports.Webhooks` over a store in memory; `changes` counts what reached alerting."""

    def __init__(self) -> None:
        self.store = MemoryWebhookStore()
        self.changes = 0

    async def create(
        self, *, url: str, heartbeat_name: str | None, headers: tuple[tuple[str, str], ...], by: Author
    ) -> Webhook:
        webhook = await self.store.insert(url=url, heartbeat_name=heartbeat_name, headers=headers, by=by)
        self.changes += 1
        return webhook

    async def all(self) -> Sequence[Webhook]:
        return await self.store.all()

    async def delete(self, webhook_id: int, *, by: Author) -> None:
        if not await self.store.delete(webhook_id, by=by):
            raise UnknownWebhookError(webhook_id)
        self.changes += 1


class TwoLines:
    """Implements `Metrics`: two lines, and the filter it was asked with."""

    def __init__(self) -> None:
        self.asked: list[ServiceFilter] = []

    def metrics(self, *, accept: str = "", accept_encoding: str = "") -> Page:
        return Page(TEXT, "", _lines())

    def services(self, wanted: ServiceFilter, *, accept: str = "", accept_encoding: str = "") -> Page:
        self.asked.append(wanted)
        return Page(TEXT, "", _lines())


async def _lines() -> AsyncIterator[bytes]:
    yield b"# TYPE medic_build_info gauge\n"
    yield b"medic_build_info 1\n"


class ApiWorld(World):
    """Real actors, and everything else the API asks for."""

    def __init__(self, settings: ApiSettings | None = None) -> None:
        super().__init__()
        self.history: JournalHistory = JournalHistory(self.journal)
        self.changes._history = self.history
        self.health = SaidHealth(self.clock)
        self.webhooks = KeptWebhooks()
        self.audit = MemoryAuditLog()
        self.metrics = TwoLines()
        self.meter = RequestMeter()
        self.parts = ApiParts(
            intake=self.intake,
            roster=self.directory,
            changes=self.changes,
            history=self.history,
            webhooks=self.webhooks,
            audit=self.audit,
            snapshots=MemorySnapshots(self.services),
            sign_ins=KeptSignIns(),
            health=self.health,
            clock=self.clock,
            metrics=self.metrics,
            meter=self.meter,
            defaults=self.defaults,
            version="9.9.9",
            settings=settings or ApiSettings(),
        )

    def lose_database(self) -> None:
        """PostgreSQL does not answer from now on."""
        self.history.available = self.services.available = self.webhooks.store.available = self.audit.available = False
