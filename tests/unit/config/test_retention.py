"""How long things are kept, as the environment says it."""

from __future__ import annotations

import pytest

from medic.config.load import load_settings


@pytest.mark.parametrize(
    ("hours", "days", "remarked"), [(92, 91, 1), (0, 5_000, 1), (92, 0, 0), (0, 0, 0), (30, 30, 0)]
)
def test_counts_by_the_day_that_could_never_be_are_remarked(hours: int, days: int, remarked: int) -> None:
    kept = {"MEDIC_HOURS_RETENTION_DAYS": str(hours), "MEDIC_DAYS_RETENTION_DAYS": str(days)}
    assert [said[:25] for said in load_settings(kept).remarks] == ["MEDIC_DAYS_RETENTION_DAYS"] * remarked
