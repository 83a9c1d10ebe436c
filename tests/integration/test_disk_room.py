"""The disk under the data directory, as metrics tell of it."""

from __future__ import annotations

import shutil

import trio

from medic.store.disk import LOOK_EVERY_SECONDS, DiskRoom


async def first_look(room):
    """What it found; nothing tells when a thread has looked."""
    while (found := room.statistics()) is None:  # noqa: ASYNC110
        await trio.sleep(0.01)
    return found


async def test_the_room_of_the_disk_is_known(tmp_path, nursery):
    room = DiskRoom(tmp_path)
    assert room.statistics() is None
    nursery.start_soon(room.run)
    found = await first_look(room)
    disk = shutil.disk_usage(tmp_path)
    assert found.size_bytes == disk.total
    assert 0 < found.free_bytes < found.size_bytes


async def test_a_folder_that_is_gone_has_no_room_to_speak_of(tmp_path, nursery, autojump_clock):
    room = DiskRoom(tmp_path / "data")
    nursery.start_soon(room.run)
    await trio.sleep(LOOK_EVERY_SECONDS)
    assert room.statistics() is None
    (tmp_path / "data").mkdir()
    assert await first_look(room) is not None
