"""The unit of systemd: sound and safe by systemd's own judgement, and right about how Medic ends."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from medic.http.limits import CONNECTIONS_MAX, FILES_RESERVED
from tests.patience import PATIENCE_SECONDS
from tests.shape.checkout import ROOT
from tests.shape.test_kubernetes import longest_drain

UNIT = ROOT / "deploy" / "systemd" / "medic.service"

EXPOSURE_MAX = 20
"""Tenths. systemd calls what is below 20 safe; a service that uses none of its means has 96."""


def given() -> dict[str, list[str]]:
    """The values of each setting, in order."""
    lines = re.findall(r"^(\w+)=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)
    return {name: [value for other, value in lines if other == name] for name, _ in lines}


def test_the_unit_ends_medic_in_order_and_starts_it_again() -> None:
    unit = given()
    assert float(unit["TimeoutStopSec"][0]) > longest_drain()
    # Only Medic itself is told: it ends its PostgreSQL last.
    assert unit["KillMode"] == ["mixed"]
    assert unit["Restart"] == ["always"]
    assert unit["RestartPreventExitStatus"] == ["2"]
    assert int(unit["LimitNOFILE"][0]) > CONNECTIONS_MAX + FILES_RESERVED
    assert unit["ExecStart"][0].endswith("/bin/medic serve")
    assert unit["Environment"] == [f"MEDIC_DATA_DIR=/var/lib/{unit['StateDirectory'][0]}"]


def test_systemd_finds_the_unit_sound_and_safe(tmp_path: Path) -> None:
    # The program has to be there to be verified.
    text = UNIT.read_text("utf-8").replace("/opt/medic/bin/medic", shutil.which("true") or "")
    (tmp_path / "medic.service").write_text(text, "utf-8")
    unit = str(tmp_path / "medic.service")
    verified = analyze("verify", "--man=no", unit)
    said = [line for line in verified.stderr.splitlines() if "medic.service" in line]
    assert (verified.returncode, said) == (0, [])
    secure = analyze("security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", unit)
    assert secure.returncode == 0, secure.stdout.splitlines()[-1:]


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says."""
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )
