"""The file of a backup: as it was written, or refused."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from medic.store.backup.archive import (
    DUMP,
    HEADS,
    MANIFEST,
    SUMS,
    DamagedBackupError,
    read_archive,
    replaced,
    write_archive,
)

AT = 1_790_000_000_000
PORTIONS = (b"PGDMP" + bytes(range(256)), b"", b"x" * 700)


def write(path: Path, portions: tuple[bytes, ...] = PORTIONS) -> Path:
    with replaced(path) as file:
        write_archive(file, at=AT, dump=iter(portions), heads=lambda: b"1 ab 2\n", manifest=lambda: b"{}\n")
    return path


@pytest.mark.parametrize("portions", [PORTIONS, (b"d" * 1024,), ()], ids=["some", "whole blocks", "empty"])
def test_what_was_written_is_read(tmp_path: Path, portions: tuple[bytes, ...]) -> None:
    archive = read_archive(write(tmp_path / "backup", portions))
    assert b"".join(archive.portions()) == b"".join(portions)
    assert (archive.heads, archive.manifest) == (b"1 ab 2\n", b"{}\n")


def test_without_a_medic_tar_and_sha256sum_open_it(tmp_path: Path) -> None:
    subprocess.run(["tar", "-xf", write(tmp_path / "backup")], cwd=tmp_path, check=True)
    summed = subprocess.run(["sha256sum", "-c", SUMS], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert summed.stdout.splitlines() == [f"{name}: OK" for name in (DUMP, HEADS, MANIFEST)]
    assert (tmp_path / DUMP).read_bytes() == b"".join(PORTIONS)


def test_any_byte_that_is_another_one_is_found_out(tmp_path: Path) -> None:
    path = write(tmp_path / "backup")
    content = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for place, byte in enumerate(content):
            file.seek(place)
            file.write(bytes((byte ^ (1 << place % 8),)))
            with pytest.raises(DamagedBackupError):
                read_archive(path)
            file.seek(place)
            file.write(bytes((byte,)))
    assert read_archive(path).dump_bytes == len(b"".join(PORTIONS))


def test_cut_anywhere_or_gone_on_with_it_is_found_out(tmp_path: Path) -> None:
    path = write(tmp_path / "backup")
    content = path.read_bytes()
    for length in range(0, len(content), 61):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedBackupError):
            read_archive(path)
    for more in (b"\0", bytes(512), content):
        path.write_bytes(content + more)
        with pytest.raises(DamagedBackupError, match="does not end"):
            read_archive(path)


@pytest.mark.parametrize("content", [b"", b"-- PostgreSQL database dump\n" * 99, bytes(9_999)])
def test_another_file_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(DamagedBackupError, match="is not a whole backup of Medic"):
        read_archive(tmp_path / "other")


def test_a_member_that_is_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "backup")
    monkeypatch.setattr("medic.store.backup.archive.SMALL_BYTES_MAX", 6)
    with pytest.raises(DamagedBackupError, match="longer than it can be"):
        read_archive(path)


def test_it_is_its_owners_and_replaces_what_was_there_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    path.write_bytes(b"the one before")

    def breaks():
        yield b"half"
        assert path.read_bytes() == b"the one before"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), replaced(path) as file:
        write_archive(file, at=AT, dump=breaks(), heads=bytes, manifest=bytes)
    assert path.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [path]

    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_half_a_backup_begins_with_no_header(tmp_path: Path) -> None:
    written: list[bytes] = []

    def watched():
        yield b"d" * 600
        written.append(next(tmp_path.iterdir()).read_bytes()[:512])

    with replaced(tmp_path / "backup") as file:
        write_archive(file, at=AT, dump=watched(), heads=bytes, manifest=bytes)
    assert not any(b"".join(written))


def test_nothing_takes_the_place_of_a_device_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "link", "pipe"):
        with pytest.raises(OSError, match="is not a file"):
            write(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "pipe"]
    assert (tmp_path / "link").is_char_device()


def test_what_a_backup_that_was_killed_has_left_is_in_nobodys_way_and_goes_after_a_day(tmp_path: Path) -> None:
    old, young, anothers = (
        tmp_path / name for name in (".backup.1.unfinished", f".backup.{os.getpid()}.unfinished", ".else.1.unfinished")
    )
    for left in (old, young, anothers):
        left.write_bytes(b"half")
    for left in (old, anothers):
        os.utime(left, (0, 0))
    path = write(tmp_path / "backup")
    assert sorted(tmp_path.iterdir()) == sorted([young, anothers, path])
