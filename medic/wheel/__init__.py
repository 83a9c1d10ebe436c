"""Pure: the hierarchical timing wheel, in integer ticks. Imports nothing of Medic."""

from medic.wheel.level import Tick, Timer
from medic.wheel.wheel import Wheel, WheelStatistics

__all__ = ["Tick", "Timer", "Wheel", "WheelStatistics"]
