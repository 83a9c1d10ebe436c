"""Operations are timed by name, and no number of names can fill the memory."""

from __future__ import annotations

from medic.metrics.operations import OPERATIONS_MAX, OperationMeter


def test_an_operation_is_timed_under_its_name():
    meter = OperationMeter()
    meter.observe("copy", 0.2)
    meter.observe("copy", 0.3)
    meter.observe("select", 0.001)
    statistics = meter.statistics()
    assert statistics["copy"].count == 2
    assert round(statistics["copy"].total, 6) == 0.5
    assert statistics["select"].count == 1


def test_operations_beyond_the_limit_are_other():
    meter = OperationMeter()
    for number in range(OPERATIONS_MAX + 10):
        meter.observe(f"operation-{number}", 0.1)
    assert len(meter.statistics()) == OPERATIONS_MAX + 1
    assert meter.statistics()["other"].count == 10
