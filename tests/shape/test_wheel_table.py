"""The table at the head of `medic/wheel/wheel.py` is what the code does."""

from __future__ import annotations

import re

from medic.actors.host import TICK_MS
from medic.core.policy import GRACE_MAX_MS, INTERVAL_MAX_MS
from medic.wheel import Tick, Wheel, wheel
from medic.wheel.level import SLOT_BITS, SLOTS

UNITS = (("y", 365.25 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1))


def shown(milliseconds: int) -> str:
    """In the largest unit of which there is at least one; minutes from two on."""
    for unit, length in UNITS:
        if milliseconds >= length and not (unit == "min" and milliseconds < 2 * length):
            amount = milliseconds / length
            return f"{amount:g} {unit}" if amount == int(amount) else f"{amount:.2f} {unit}"
    raise AssertionError(milliseconds)


def test_the_level_table_is_right():
    rows = re.findall(r"^    (\d) +([\d ]*\d)  +(\S+ \w+)  +(\S+ \w+)$", wheel.__doc__, re.MULTILINE)
    expected = []
    for level in range(wheel.LEVELS):
        width = 1 << (SLOT_BITS * level)
        expected.append(
            (str(level), f"{width:,}".replace(",", " "), shown(width * TICK_MS), shown(width * SLOTS * TICK_MS))
        )
    assert rows == expected


def test_ticks_are_as_long_as_the_table_says():
    assert f"With ticks of {TICK_MS} ms" in re.sub(r"\s+", " ", wheel.__doc__)


def test_the_longest_interval_and_grace_are_reached_in_one_link():
    reach = (SLOTS - 1) << (SLOT_BITS * (wheel.LEVELS - 1))
    assert reach * TICK_MS > 2 * 732 * 86_400_000
    assert reach * TICK_MS > INTERVAL_MAX_MS + GRACE_MAX_MS
    assert f"{reach * TICK_MS / UNITS[0][1]:.1f} years" in re.sub(r"\s+", " ", wheel.__doc__)


def test_the_wheel_has_the_levels_of_its_table():
    assert len(Wheel(Tick(0), lambda _timer: None)._levels) == wheel.LEVELS
