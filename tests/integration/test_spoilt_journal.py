"""Records that the disk spoilt in the middle of a journal: nobody is called late for a heartbeat lost there."""

from __future__ import annotations

import trio

from medic.core.draft import ServiceDraft
from medic.core.effects import RecordHeartbeat
from medic.core.policy import Defaults
from medic.core.status import HeartbeatStatus
from medic.core.step import register
from medic.core.units import DurationMs, InstantMs, ServiceId, SightedMs
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.frames import HEADER_BYTES
from medic.store.recovery import recover

NOW = 1_790_000_000_000
DEFAULTS = Defaults()


def heartbeat(number: int) -> RecordHeartbeat:
    at = NOW + 10_000 * number
    return RecordHeartbeat(ServiceId(7), InstantMs(at), SightedMs(at - 500), number, HeartbeatStatus.UP, "UP")


async def journaled(path, count: int) -> list[int]:
    """A journal of a service and that many heartbeats, each a commit of its own; where each of these ends."""
    journal, ends = FileJournal(path), []
    row = ServiceDraft(heartbeat_name="a", service_name="a", interval_ms=DurationMs(60_000)).row(
        ServiceId(7), InstantMs(NOW), "Ann"
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        for effect in register(row, DEFAULTS, at=InstantMs(NOW), sighted=SightedMs(NOW))[1]:
            journal.append_nowait(effect)
        for number in range(1, count + 1):
            ends.append(journal.append_nowait(heartbeat(number)))
            await journal.wait_durable(journal.newest)
        nursery.cancel_scope.cancel()
    return ends


def spoil(path, position: int) -> None:
    [file] = path.glob("*.journal")
    content = bytearray(file.read_bytes())
    content[HEADER_BYTES + position - 10] ^= 0x41
    file.write_bytes(content)


async def test_the_time_between_the_neighbours_of_what_was_spoilt_is_blind(tmp_path):
    ends = await journaled(tmp_path, 9)
    for lost in (4, 5, 8):
        spoil(tmp_path, ends[lost - 1])
    journal = FileJournal(tmp_path)
    recovered = await recover(None, journal, DEFAULTS)
    assert [service.last_heartbeat_at for service in recovered.services] == [NOW + 90_000]
    assert [(span.begun_at, span.ended_at, span.sighted, span.cause) for span in recovered.blind.spans] == [
        (NOW + 30_000, NOW + 60_000, NOW + 29_500, "damaged"),
        (NOW + 70_000, NOW + 90_000, NOW + 69_500, "damaged"),
    ]
    assert [end - start for start, end in journal.unreadable] == [2 * (ends[1] - ends[0]), ends[1] - ends[0]]


async def test_a_whole_journal_was_never_blind(tmp_path):
    await journaled(tmp_path, 3)
    assert (await recover(None, FileJournal(tmp_path), DEFAULTS)).blind.spans == ()
