"""Hypothesis profiles: `ci` ends within minutes, `deep` looks longer (`HYPOTHESIS_PROFILE=deep ./scripts/test`).

And what tests of several kinds share: one real PostgreSQL for the run, a database of its own for each test.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.postgres_server import database, postgres, server

__all__ = ["database", "postgres", "server"]

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
