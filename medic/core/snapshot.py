"""A service as it was before a change that may be regretted, and what it takes to have that back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from medic.core.draft import ServiceDraft, ServiceEdit
from medic.core.units import InstantMs, ServiceId

SnapshotId = NewType("SnapshotId", int)
"""Identity of a service's snapshot."""


@dataclass(frozen=True, slots=True)
class ServiceSnapshot:
    """One service as it was. Mutes and alerts are not part of what can be brought back.

    Attributes:
        snapshot_id: Its identity.
        service_id: Whose it was; the service may be gone.
        draft: The operators' columns, the name among them.
        action_type: What was done to the service then.
        actor: Who did that.
        created_at: When.
        restored_at, restored_by: When it was restored and by whom; None and empty: never.
        shown: The whole row as JSON, for people.
    """

    snapshot_id: SnapshotId
    service_id: ServiceId
    draft: ServiceDraft
    action_type: str
    actor: str
    created_at: InstantMs
    restored_at: InstantMs | None = None
    restored_by: str = ""
    shown: str = "{}"

    def edit(self) -> ServiceEdit:
        """The edit that gives the service all these columns again."""
        draft = self.draft
        return ServiceEdit(
            service_name=draft.service_name,
            active=draft.active,
            interval_ms=draft.interval_ms,
            grace_ms=draft.grace_ms,
            threshold=draft.threshold,
            recovery_ms=draft.recovery_ms,
            renotify_ms=draft.renotify_ms,
            renotify_default=draft.renotify_ms is None,
            team=draft.team,
            priority=draft.priority,
            runbook=draft.runbook,
            require_key=draft.require_key,
        )
