"""A webhook: an address that users configure, which is told as plain JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from medic.core.units import InstantMs


@dataclass(frozen=True, slots=True)
class Webhook:
    """A target of plain JSON webhooks.

    Attributes:
        heartbeat_name: Of this service only; None: of every one.
        headers: Sent as they are, with values in place of references to stored secrets.
        secret: What requests are signed with; empty where a copy of an earlier release knows none yet.
        former_secret: What they were signed with before `secret`, and are beside it until `former_until`.
    """

    webhook_id: int
    url: str
    heartbeat_name: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    date_added: InstantMs = InstantMs(0)
    added_by: str = ""
    secret: str = field(default="", repr=False)
    former_secret: str = field(default="", repr=False)
    former_until: InstantMs | None = None

    @property
    def target(self) -> str:
        """Its name among the targets."""
        return f"webhook:{self.webhook_id}"

    @property
    def hidden(self) -> tuple[str, ...]:
        """What nobody must see of it. A text that refers to a secret holds none itself, as far as anybody knows."""
        literal = (text for _, text in self.headers if "${secrets." not in text)
        return (*literal, self.secret, self.former_secret)

    def secrets_at(self, now: InstantMs) -> tuple[str, ...]:
        """What a request is signed with at that instant, the newest first."""
        is_over = self.former_until is None or self.former_until <= now
        return tuple(secret for secret in (self.secret, "" if is_over else self.former_secret) if secret)
