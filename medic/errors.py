"""Every error Medic raises, by who must act.

    MedicError
    ├── RefusedError            the caller changes something (4xx)
    │   ├── InvalidInputError       400, names each faulty field
    │   ├── InactiveServiceError    400, says since when and by whom
    │   ├── UnknownServiceError     404
    │   ├── UnknownAlertError       404
    │   ├── UnknownWebhookError     404
    │   ├── UnknownSnapshotError    404
    │   ├── SnapshotRestoredError   400
    │   ├── UnknownKeyError         404
    │   ├── UnknownSecretError      404
    │   ├── AlertClosedError        409
    │   ├── NameTakenError          409
    │   ├── LastAdminKeyError       409
    │   ├── SecretInUseError        409
    │   ├── SecretsKeyMissingError  503, says how the operator makes a key
    │   ├── UnauthorizedError       401, no key, or none that is valid
    │   ├── ForbiddenError          403, the key (or the open mode) does not allow it
    │   └── RateLimitedError        429 + Retry-After, says which limit
    ├── OverloadedError         the caller waits (503 + Retry-After)
    │   ├── ActorBusyError
    │   ├── MailboxFullError
    │   └── JournalRefusedError
    ├── UnavailableError        the world recovers, Medic retries (503 + Retry-After)
    │   └── DatabaseUnavailableError
    ├── OvertakenError          nobody: another Medic is active, this process ends (503, exit 1)
    ├── ConfigurationError      the operator, before any socket is opened (exit 2)
    │   ├── PassingError            or nobody: the machine may give a moment later what it lacks (exit 1)
    │   └── UnreadableRecordError   a later release wrote the data directory
    └── InvariantError          us: a bug (500)

Foreign errors are translated once, at the border: asyncpg's in `store`, httpx's in `alerting`.
"""

from __future__ import annotations

from dataclasses import dataclass

from medic.core.units import EventId, InstantMs, isoformat


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: the field (or variable), and a sentence that names its bounds."""

    field: str
    message: str


class MedicError(Exception):
    """Base of all."""


class RefusedError(MedicError):
    """The caller has to change something."""

    def __init__(self, message: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.faults = faults


class InvalidInputError(RefusedError):
    """Fields of the input are missing, of a wrong type or out of bounds; `faults` names each."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault.field} {fault.message}" for fault in faults), faults)


class InactiveServiceError(RefusedError):
    """The service is not watched."""

    def __init__(self, heartbeat_name: str, since: InstantMs, by: str) -> None:
        who = f" by {by}" if by else ""
        super().__init__(
            f"{heartbeat_name} is inactive since {isoformat(since)}{who}: no heartbeat is taken. Set active to 1 first."
        )
        self.heartbeat_name = heartbeat_name
        self.since = since
        self.by = by


class UnknownServiceError(RefusedError):
    """No service of that name is registered."""

    def __init__(self, heartbeat_name: str) -> None:
        super().__init__(f"{heartbeat_name} is not registered. POST it to /service first.")
        self.heartbeat_name = heartbeat_name


class UnknownAlertError(RefusedError):
    """There is no alert of that id."""

    def __init__(self, alert_id: EventId) -> None:
        super().__init__(f"There is no alert {alert_id}.")
        self.alert_id = alert_id


class UnknownWebhookError(RefusedError):
    """There is no webhook of that id."""

    def __init__(self, webhook_id: int) -> None:
        super().__init__(f"There is no webhook {webhook_id}.")
        self.webhook_id = webhook_id


class UnknownSnapshotError(RefusedError):
    """There is no snapshot of that id."""

    def __init__(self, snapshot_id: int) -> None:
        super().__init__(f"There is no snapshot {snapshot_id}.")
        self.snapshot_id = snapshot_id


class SnapshotRestoredError(RefusedError):
    """The snapshot was restored before, which can be done once."""

    def __init__(self, snapshot_id: int) -> None:
        super().__init__(
            f"Snapshot {snapshot_id} was restored before. What was changed by that has a snapshot of its own."
        )
        self.snapshot_id = snapshot_id


class NameTakenError(RefusedError):
    """A deleted service cannot come back: its name belongs to another one now."""

    def __init__(self, heartbeat_name: str) -> None:
        super().__init__(
            f"{heartbeat_name} is the name of another service by now. Delete that one first, or update it."
        )
        self.heartbeat_name = heartbeat_name


class UnknownKeyError(RefusedError):
    """There is no API key of that id, or none that works."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"There is no API key {key_id} that works.")
        self.key_id = key_id


class LastAdminKeyError(RefusedError):
    """Without this key nobody could make another one."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is the last key with the scope admin, and MEDIC_ADMIN_API_KEY is not set: without it nobody could "
            "make another one over HTTP. Make another one first, or revoke it with force=1."
        )
        self.name = name


class UnknownSecretError(RefusedError):
    """There is no secret of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no secret {name}.")
        self.name = name


class SecretInUseError(RefusedError):
    """Something refers to the secret: without it nobody would be told that way any more."""

    def __init__(self, name: str, used_by: tuple[str, ...]) -> None:
        super().__init__(
            f"The secret {name} is referred to by {', '.join(used_by)}: without it nobody is told that way any more. "
            "Change that first, or delete it with force=1."
        )
        self.name = name
        self.used_by = used_by


class SecretsKeyMissingError(RefusedError):
    """There is no key to seal secrets with. Waiting changes nothing: the operator sets one and starts Medic anew."""

    def __init__(self, key_line: str) -> None:
        super().__init__(f"Secrets cannot be stored: MEDIC_SECRETS_KEY is not set. Start Medic with {key_line}")


class AlertClosedError(RefusedError):
    """The alert is closed already."""

    def __init__(self, alert_id: EventId) -> None:
        super().__init__(f"Alert {alert_id} is closed already.")
        self.alert_id = alert_id


class UnauthorizedError(RefusedError):
    """No key was shown where one is needed, or none that is valid. `reason` is one word, for the metric."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ForbiddenError(RefusedError):
    """It is known who asks, and they may not. `reason` is one word, for the metric."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class RateLimitedError(RefusedError):
    """Too many requests for one of the limits.

    Attributes:
        limit: Requests a minute.
        remaining: How many would be taken now: 0.
        reset_seconds: Until all of them would be taken again.
        retry_after_seconds: Until one would be.
    """

    def __init__(self, message: str, *, limit: int, reset_seconds: int, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.limit = limit
        self.remaining = 0
        self.reset_seconds = reset_seconds
        self.retry_after_seconds = retry_after_seconds


class OverloadedError(MedicError):
    """Medic cannot take this now; the caller tries again after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_seconds = retry_after_seconds


class ActorBusyError(OverloadedError):
    """The service's actor is being rebuilt and takes nothing in this turn; whoever can wait, waits for it."""


class MailboxFullError(OverloadedError):
    """The actor's mailbox is full: it is being rebuilt and its callers are faster than that."""


class JournalRefusedError(OverloadedError):
    """The journal could not make a record durable: full, failing or closing."""


class UnavailableError(MedicError):
    """Something Medic depends on is away; Medic keeps trying by itself."""

    def __init__(self, message: str, *, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_seconds = retry_after_seconds


class DatabaseUnavailableError(UnavailableError):
    """PostgreSQL does not answer. The text names no host, user or password."""


class OvertakenError(MedicError):
    """Another Medic is the active one of this database now: this one writes and tells nothing more, and ends."""

    def __init__(self, own_token: int) -> None:
        super().__init__(
            f"another Medic has taken over this database (it was held here with token {own_token}): this one ends."
        )
        self.message = str(self)
        self.own_token = own_token


class ConfigurationError(MedicError):
    """The environment is wrong; raised once, before any socket is opened, with every fault."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(f"  {fault.field}: {fault.message}" for fault in faults))
        self.faults = faults


class PassingError(ConfigurationError):
    """The machine lacks what Medic needs to start: room on the disk, a port, an address, a folder that is in use.

    The operator may have to change something. Or the disk is cleared, the network comes up, the other process ends; so
    unlike a wrong setting this is no reason to try no more.
    """


class UnreadableRecordError(ConfigurationError):
    """The data directory holds something this release cannot read, although its checksum is right."""

    def __init__(self, what: str) -> None:
        sentence = (
            f"holds {what}. Start the newer release of Medic that wrote it, or restore a backup of this directory."
        )
        super().__init__((Fault("MEDIC_DATA_DIR", sentence),))
        self.what = what


class InvariantError(MedicError):
    """Medic broke a promise to itself: a bug."""
