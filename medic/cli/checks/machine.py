"""The machine: whether its clock is kept, and how many files Medic may open."""

from __future__ import annotations

import ctypes
import resource
import struct
from dataclasses import dataclass
from typing import Final

import trio

from medic.cli.checks.finding import Finding, Verdict
from medic.config.settings import Settings
from medic.http.limits import CONNECTIONS_MAX, FILES_RESERVED

TIMEX_BYTES: Final = 512
"""More than the kernel's `struct timex` has (208 bytes on 64 bits). All zero it asks and sets nothing."""

TIMEX_FORM: Final = "@Illll i"
"""Its beginning: modes, offset, freq, maxerror, esterror, status."""

UNSYNCHRONISED: Final = 0x40
"""`STA_UNSYNC`: nobody keeps the clock, or nobody has for long."""

FAR_US: Final = 1_000_000
"""An uncertainty from which on times in messages are visibly wrong."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the kernel knows of its clock.

    Attributes:
        is_kept: Whether somebody (NTP, PTP, a hypervisor's agent) keeps it.
        error_us: How far it may be off, in microseconds.
    """

    is_kept: bool
    error_us: int


async def look_at_clock(settings: Settings) -> list[Finding]:  # noqa: ARG001 - one signature for all checks
    """Whether somebody keeps this machine's clock, where its kernel knows."""
    await trio.lowlevel.checkpoint()
    return [clock(kept_clock())]


async def look_at_files(settings: Settings) -> list[Finding]:  # noqa: ARG001
    """How many connections the limit on open files leaves."""
    await trio.lowlevel.checkpoint()
    return [files(resource.getrlimit(resource.RLIMIT_NOFILE)[1])]


def clock(kept: Kept | None) -> Finding:
    """What that means. Nobody is late because of a wrong wall clock: mutes, reminders and times shown are wrong."""
    to_do = "run an NTP client (chrony, systemd-timesyncd) on this machine, or on the host of this container"
    if kept is None:
        return Finding("clock", Verdict.NOTE, "whether it is kept by NTP cannot be known here", to_do)
    if not kept.is_kept:
        return Finding("clock", Verdict.NOTE, "nobody keeps it, as far as the kernel knows", to_do)
    found = f"kept by NTP or its like, to within {kept.error_us / 1000:.0f} ms"
    if kept.error_us > FAR_US:
        return Finding("clock", Verdict.NOTE, found, to_do)
    return Finding("clock", Verdict.OK, found)


def files(most: int) -> Finding:
    """What the hard limit on open files means for connections; Medic raises the soft one by itself."""
    left = CONNECTIONS_MAX if most == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, most - FILES_RESERVED)
    to_do = f"raise it to {CONNECTIONS_MAX + FILES_RESERVED}: LimitNOFILE= in the unit, ulimits in compose, ulimit -Hn"
    if left <= 0:
        return Finding("open files", Verdict.BAD, f"{most} allowed: no room for connections", to_do)
    shown = "no limit" if most == resource.RLIM_INFINITY else f"{most} allowed"
    found = f"{shown}: room for {left} connections, as seen from here"
    return Finding(
        "open files",
        Verdict.OK if left == CONNECTIONS_MAX else Verdict.NOTE,
        found,
        "" if left == CONNECTIONS_MAX else to_do,
    )


def kept_clock() -> Kept | None:
    """What the kernel knows; None where it is not Linux on 64 bits, or does not say."""
    if struct.calcsize("@l") != 8:
        return None
    try:
        ask = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None
    asked = ctypes.create_string_buffer(TIMEX_BYTES)
    if ask(asked) < 0:
        return None
    _, _, _, error_us, _, status = struct.unpack_from(TIMEX_FORM, asked.raw)
    return Kept(is_kept=not status & UNSYNCHRONISED, error_us=error_us)
