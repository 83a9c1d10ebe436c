"""What the kernel knows of a process's signals."""

from __future__ import annotations

import signal
from pathlib import Path


def catches_sigterm(pid: int) -> bool:
    """Whether the process has a handler for SIGTERM by now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    raise AssertionError("no SigCgt")
