"""How much and how long: the bounds of a journal on files."""

from __future__ import annotations

from typing import Final

PENDING_BYTES_MAX: Final = 64 << 20
"""Records in memory that no sync covers yet: a minute of intake at the promised peak, for a disk that hangs."""

TURN_BYTES_MAX: Final = 4 << 20
"""What `require_room` keeps, so that a turn that was begun can write down all it decided: a dozen short records. No
turn is longer, so that whoever reads whole turns has a limit too."""

SYNC_EVERY_SECONDS: Final = 0.05
"""What `Sync.INTERVAL` may lose with the machine's power."""

COMMIT_PATIENCE_SECONDS: Final = 2.0
"""A commit not back after this long is a disk that hangs: clients are told to try again and not kept waiting."""

WATCH_EVERY_SECONDS: Final = 0.5
"""Between two looks at a commit. Looks that were not made, because this process was stopped, do not count."""

CLOSE_SECONDS: Final = 10.0
"""How long the last commit may take at the end before the journal gives up and says what is lost."""

SEGMENTS_MIN: Final = 8
"""Files that a full journal has at least, so that deleting the oldest one makes room for an eighth."""

INTAKE_RETRY_SECONDS: Final = 5
"""What clients are told to wait while there is no room: nothing gets better within a second."""

RETRY_FIRST_SECONDS: Final = 0.1
RETRY_MAX_SECONDS: Final = 5.0
"""Pauses between two attempts to begin a new file: a disk that was made room on is noticed within seconds."""
