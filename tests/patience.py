"""How long a test waits for what has to come: so long that only a hang takes longer.

The machine that runs the tests is shared, and may give a process nothing for seconds. So no test asks how long a thing
took by the wall: it asks what came first, how often, or whether at all. Where a clock is part of the question (an
interval of two seconds, a limit in any second) a slow machine must make the answer wait, and never turn it round.
"""

from __future__ import annotations

PATIENCE_SECONDS = 120.0
"""Some hundred times what the slowest of these waits takes, and less than pytest's own limit for one test."""

NEVER_SECONDS = 10 * PATIENCE_SECONDS
"""For limits that are not to be reached: beyond every wait of a test."""
