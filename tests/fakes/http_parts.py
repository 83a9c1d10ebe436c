"""What tests of the API put beside the real actors: health that says what it is told, webhooks, a tiny scrape."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from medic.access.concealment import Concealer
from medic.access.keyless import KeylessRules
from medic.access.keys import ApiKey, KeyRing, digest_of, key_id_of, secret_of, text_of
from medic.access.mode import AuthMode
from medic.access.scope import Scope
from medic.access.signed import SignedRequests
from medic.access.uses import KeyUses
from medic.alerting.guard import Guard
from medic.core.author import Author
from medic.core.units import DurationMs, InstantMs
from medic.core.webhook import Webhook
from medic.errors import UnknownWebhookError
from medic.http.gate import Gate
from medic.http.parts import ApiParts, ApiSettings
from medic.metrics.exposition import TEXT, Page
from medic.metrics.requests import RequestMeter
from medic.metrics.services import ServiceFilter
from medic.ports import Clock, ComponentHealth, HealthReport
from medic.store.sealing import Sealing
from medic.store.vault import Vault
from tests.actors.world import World
from tests.fakes import names
from tests.fakes.audit import MemoryAuditLog, MemorySnapshots
from tests.fakes.journal_history import JournalHistory
from tests.fakes.keys import MemoryKeyStore, keys_over
from tests.fakes.records import MemoryRecords
from tests.fakes.secrets import KEY, MemorySecretStore, secrets_over
from tests.fakes.webhooks import MemoryWebhookStore

ADMIN_KEY = "the operators' own key, long enough"


class SaidHealth:
    """Implements `ports.Health`: says what a test sets."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.status = "healthy"
        self.stalled: str | None = None
        self.missing: str | None = None
        self.proven: InstantMs | None = None

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

    def proven_at(self) -> InstantMs | None:
        return self.proven


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

    async def rotate(self, webhook_id: int, *, overlap: DurationMs, by: Author) -> Webhook:
        webhook = await self.store.rotate(webhook_id, overlap=overlap, by=by)
        if webhook is None:
            raise UnknownWebhookError(webhook_id)
        self.changes += 1
        return webhook

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

    def __init__(self, settings: ApiSettings | None = None, guard: Guard | None = None) -> None:
        super().__init__()
        self.history: JournalHistory = JournalHistory(self.journal)
        self.changes._history = self.history
        self.health = SaidHealth(self.clock)
        self.webhooks = KeptWebhooks()
        self.audit = MemoryAuditLog()
        self.records = MemoryRecords()
        self.key_store = MemoryKeyStore(self.clock)
        self.keys = keys_over(self.key_store, self.clock)
        self.secret_store = MemorySecretStore(self.clock)
        self.vault = Vault(Sealing(KEY), Concealer())
        self.secrets = secrets_over(self.secret_store, self.webhooks.store, vault=self.vault)
        self.metrics = TwoLines()
        self.meter = RequestMeter()
        self.ring = KeyRing(admin=ADMIN_KEY)
        self.uses = KeyUses()
        self.signed: SignedRequests | None = None
        self._settings = settings or ApiSettings()
        self.parts = ApiParts(
            intake=self.intake,
            roster=self.directory,
            changes=self.changes,
            history=self.history,
            records=self.records,
            webhooks=self.webhooks,
            audit=self.audit,
            snapshots=MemorySnapshots(self.services),
            keys=self.keys,
            secrets=self.secrets,
            health=self.health,
            clock=self.clock,
            metrics=self.metrics,
            meter=self.meter,
            defaults=self.defaults,
            version="9.9.9",
            gatekeeper=self.gate(AuthMode.OPEN),
            settings=self._settings,
            guard=guard or names.guard(),
            request_limits=self.limiter,
        )

    def gate(self, mode: AuthMode) -> Gate:
        """A gatekeeper in this mode. `medic` and `x` are names by which tests call it."""
        keyless = KeylessRules(
            hosts=("medic", "x"),
            origins=self._settings.cors.origins,
            trusts_proxies=bool(self._settings.trusted_proxies),
        )
        return Gate(
            mode,
            self.ring,
            self.uses,
            keyless=keyless,
            roster=self.directory,
            clock=self.clock,
            meter=self.meter,
            signed=self.signed,
        )

    def ask_for_keys(self, mode: AuthMode = AuthMode.KEYS) -> None:
        """Be in this mode from now on."""
        object.__setattr__(self.parts, "gatekeeper", self.gate(mode))

    def take_signed(self, secret: bytes, mode: AuthMode = AuthMode.KEYS) -> None:
        """Be in this mode, and verify signed heartbeats, from now on."""
        self.signed = SignedRequests(secret, added_at=self.clock.now(), awake_until=InstantMs(0))
        self.ask_for_keys(mode)

    def key(self, *scopes: Scope, name: str = "", **restriction: tuple[str, ...]) -> str:
        """The text of a new key."""
        number = len(self.ring.all())
        key_id, secret = key_id_of(number.to_bytes(8)), secret_of(number.to_bytes(32))
        self.ring.put(
            ApiKey(
                key_id, name or f"key {number}", frozenset(scopes), digest_of(secret), self.clock.now(), **restriction
            )
        )
        return text_of(key_id, secret)

    def lose_database(self) -> None:
        """PostgreSQL does not answer from now on."""
        self.history.available = self.services.available = self.webhooks.store.available = False
        self.key_store.available = self.secret_store.available = self.audit.available = False
        self.records.available = False
