"""What all tests over real sockets share."""

from __future__ import annotations

import pytest

from medic.alerting import guard, outbound, supervision
from tests.integration.adopting import adopted, earlier, templates
from tests.patience import PATIENCE_SECONDS

__all__ = ["adopted", "earlier", "patient_with_vendors", "templates"]


@pytest.fixture(autouse=True)
def patient_with_vendors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Medic wait for vendors as long as the tests do; a test of one of these limits sets it."""
    for module, limit in (
        (outbound, "CONNECT_SECONDS"),
        (guard, "CONNECT_SECONDS"),
        (guard, "LOOKUP_SECONDS"),
        (outbound, "ATTEMPT_SECONDS"),
        (supervision, "HANG_SECONDS"),
    ):
        monkeypatch.setattr(module, limit, PATIENCE_SECONDS)
