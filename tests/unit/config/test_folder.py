"""The data folder is made privately, or refused in one sentence."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest

from medic.config.folder import look, prepare, refused
from medic.errors import ConfigurationError, PassingError


def test_a_folder_is_made_for_medics_user_only(tmp_path: Path) -> None:
    prepare(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_is_there_keeps_its_permissions(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    prepare(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_file_in_the_way_is_one_sentence(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError) as caught:
        prepare(tmp_path / path)
    [fault] = caught.value.faults
    assert fault.field == "MEDIC_DATA_DIR"
    assert "file" in fault.message
    assert "Set it to a folder that can be written" in fault.message


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EROFS, "read-only"),
        (errno.EACCES, "may not write"),
        (errno.ENOSPC, "full"),
        (errno.EIO, "input/output error"),
    ],
)
def test_each_reason_has_its_words(number: int, reason: str) -> None:
    error = OSError(number, "Input/output error")
    assert reason in refused(Path("/data"), error).faults[0].message


@pytest.mark.parametrize(("number", "passes"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EACCES, False)])
def test_a_full_disk_is_nothing_that_stays_so(number: int, passes: bool) -> None:
    assert isinstance(refused(Path("/data"), OSError(number, "")), PassingError) is passes


def test_a_look_makes_nothing_and_finds_nothing_wrong_where_the_folder_can_be_made(tmp_path: Path) -> None:
    assert list(look(tmp_path / "a" / "b")) == []
    assert list(look(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["file", "file/below", "x" * 300])
def test_a_look_says_what_making_the_folder_would_say(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError) as caught:
        prepare(tmp_path / path)
    [seen] = look(tmp_path / path)
    assert seen.field == "MEDIC_DATA_DIR"
    assert seen.message.partition(": ")[2] in {
        caught.value.faults[0].message.partition(": ")[2],
        "a part of the path is a file. Set it to a folder that can be written",
    }
