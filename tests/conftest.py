"""Hypothesis profiles: `ci` ends within minutes, `deep` looks longer (`HYPOTHESIS_PROFILE=deep ./scripts/test`).

And what tests of several kinds share: one real PostgreSQL for the run, a database of its own for each test.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from medic.store.journal import limits as journal_limits
from medic.store.postgres import leadership
from medic.store.postgres.database import CONNECTIONS_MAX, Limits
from medic.store.tables import history, secrets, services
from tests.patience import PATIENCE_SECONDS
from tests.postgres_server import database, postgres, server
from tests.prometheus import prometheus_binary, promtool, pytest_collection_modifyitems, pytest_terminal_summary

__all__ = [
    "database",
    "patience",
    "postgres",
    "prometheus_binary",
    "promtool",
    "pytest_collection_modifyitems",
    "pytest_terminal_summary",
    "server",
]

# No deadline for one example: a machine with two cores, shared, says nothing about a single run.
# No example database: a failure is printed with what repeats it, and the checkout stays clean.
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=60,
    stateful_step_count=40,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", parent=settings.get_profile("ci"), max_examples=400, stateful_step_count=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """Let Medic, within this process, wait as long as the tests do.

    It gives up after seconds where its callers would: a read, a connection, a sync of the disk.
    A test of one of these limits sets it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Limits.__init__, "__defaults__", (CONNECTIONS_MAX, PATIENCE_SECONDS, PATIENCE_SECONDS))
        for module, limit in (
            (history, "READ_SECONDS"),
            (history, "OWN_WRITES_SECONDS"),
            (history, "MERGE_SECONDS"),
            (services, "CHANGE_SECONDS"),
            (secrets, "CHANGE_SECONDS"),
            (leadership, "ANSWER_SECONDS"),
            (journal_limits, "COMMIT_PATIENCE_SECONDS"),
        ):
            patch.setattr(module, limit, PATIENCE_SECONDS)
        yield
